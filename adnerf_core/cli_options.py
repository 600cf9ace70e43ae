"""Options and arguments that several commands of the core share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import TypeAdapter, ValidationError
from typer import Argument, BadParameter, Option

from adnerf_core.config import MARK_BITS, DeviceName, FeatureName, TrackerName

FEATURES = "mel, mel+phones, wav2vec2[:WEIGHTS] or hubert[:WEIGHTS]; WEIGHTS is a folder or a hub id"


def feature_name(text: str) -> str:
    """Checks the name of audio features. Raises BadParameter if there are none of that name."""
    try:
        return TypeAdapter(FeatureName).validate_python(text)
    except ValidationError as error:
        raise BadParameter(f"{text!r} is none of {FEATURES}") from error


def mark_number(text: str) -> int:
    """Reads the number of a watermark, 0 to 2**MARK_BITS - 1. Raises BadParameter if it is none."""
    if not text.isdecimal() or int(text) >> MARK_BITS:
        raise BadParameter(f"{text!r} is no number from 0 to 2**{MARK_BITS} - 1")
    return int(text)


def key_file(text: str) -> bytes:
    """Reads the key from the file `text`: hexadecimal digits. Raises BadParameter if they are missing or too few."""
    from adnerf_core.watermark.spread_spectrum import KEY_BYTES

    try:
        secret = bytes.fromhex(Path(text).read_text())
    except OSError as error:
        raise BadParameter(f"{text}: {error.strerror}") from error
    except ValueError as error:
        raise BadParameter(f"{text} holds no hexadecimal digits") from error
    if len(secret) < KEY_BYTES:
        raise BadParameter(f"{text} has {len(secret)} bytes; a key has {KEY_BYTES} or more")
    return secret


SubjectArgument = Annotated[Path, Argument(metavar="RUN", help="Folder that train wrote.", show_default=False)]
DatasetArgument = Annotated[Path, Argument(help="Folder that preprocess wrote.", show_default=False)]
DeviceOption = Annotated[DeviceName, Option(help="Device that computes.")]
TrackerOption = Annotated[TrackerName, Option(help="Face tracker.")]
TrackerModelOption = Annotated[
    str | None, Option(metavar="FILE", help="Model file of the landmarker tracker (face_landmarker.task).")
]
KeyOption = Annotated[
    bytes | None,
    Option(
        "--key-file",
        parser=key_file,
        metavar="FILE",
        help="File with the secret key of the mark, 32 hexadecimal digits or more.  [default: a public key]",
    ),
]
SpeechArgument = Annotated[
    Path | None, Argument(help="Speech: any common audio format, or a video with sound.", show_default=False)
]
DurationOption = Annotated[
    float | None, Option(metavar="S", help="Instead of speech: a silent loop of so many seconds, mouth at rest.")
]
FrameOption = Annotated[
    Literal["full", "portrait"] | None,
    Option(
        help="full: the frame of the footage, its lips rendered; portrait: a square, all of it rendered.  "
        "[default: full, unless another option needs a portrait]"
    ),
]
LabelOption = Annotated[str | None, Option(metavar="[TEXT]", help="Show a text in a corner: TEXT, or `AI-generated`.")]
MarkOption = Annotated[
    int | None, Option(parser=mark_number, metavar="NUMBER", help="Number of up to 48 bits, embedded as a watermark.")
]
