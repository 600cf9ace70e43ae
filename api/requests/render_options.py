"""The options of a video as requests send them: JSON in a form, beside a background picture."""

from __future__ import annotations

import json

from adnerf_core.config import RenderOptions
from api.problems.problems import from_validation, validation_problem
from api.requests.json_body import parse_json, validate_json
from api.requests.multipart import Form
from api.schemas.one_line import visible_line


def options_of_form(form: Form) -> RenderOptions:
    """Takes the field `options` out of a form. If a picture is sent and they do not mention the background, its kind becomes `image`.

    Raises Problem `validation_failed`.
    """
    has_picture = "background" in form.files
    text = form.values.pop("options", "{}")
    if has_picture and isinstance(value := parse_json(text, "options"), dict):
        text = json.dumps({"background": {"kind": "image"}} | value)
    return checked_options(validate_json(RenderOptions, text, "options"), has_picture=has_picture)


def checked_options(options: RenderOptions, *, has_picture: bool) -> RenderOptions:
    """Returns options that fit the files. Raises Problem `validation_failed`."""
    if isinstance(options.label, str):
        try:
            visible_line(options.label)
        except ValueError as error:
            raise from_validation([{"loc": ("label",), "msg": str(error)}], "options") from error
    if has_picture != (options.background.kind == "image"):
        required = "Field required with background kind `image`"
        raise validation_problem("Only allowed with background kind `image`" if has_picture else required, "background")
    return options
