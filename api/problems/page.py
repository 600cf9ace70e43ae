"""What each problem means, for people: the page at /errors, where the `type` of a problem leads.

`api/problems/problems.py` has status, title and remedy of each code; here is when it happens. The page also lists why jobs fail, from
the core's own errors.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from html import escape

from adnerf_core.errors import AdnerfError, BadFolder
from api.problems.problems import ERRORS_PAGE, PROBLEMS, ProblemType
from storage.tables.jobs import WORKER_LOST

EXPLANATIONS: dict[str, str] = {
    "malformed_body": "A multipart body ended early, its boundary is missing or wrong, or one of its headers is too long.",
    "bad_request": "The request as a whole makes no sense to the server: a header that cannot be right, or a broken line.",
    "unauthorized": "There is no key in the request, or one that is unknown, was revoked, or is out of date.",
    "keys_needed": "Before there is a first key, only programs on the service's own machine are answered.",
    "forbidden": "The key is good, but it lacks the scope that this needs: read, write, or admin.",
    "quota_exceeded": "What the owner of the key may have, or may use in a day, is used up; `quota` in the answer says which.",
    "not_found": "The path names nothing, or a thing that was deleted, or one that belongs to somebody else.",
    "preview_not_ready": "A subject has its first picture soon after training has begun, and not before.",
    "object_missing": "The database names a file that the object store does not have: somebody removed it there.",
    "method_not_allowed": "There is something at this path, but not for this method.",
    "upload_stalled": "For a minute not a single byte of the body came, so the sender was taken for gone.",
    "subject_not_ready": "Videos can be made once a subject has been trained. It is still in work, or its job failed.",
    "consent_withdrawn": "The person in this subject's footage no longer agrees to be shown.",
    "video_not_ready": "There is no file before the video has been rendered. It is still in work, or its job failed.",
    "report_not_ready": "The report is written at the end of training.",
    "views_not_ready": "The pictures of the subject turned are drawn at the end of training.",
    "move_not_allowed": "A job that is over cannot be cancelled, and one that waits, runs or is done cannot be tried again.",
    "idempotency_in_flight": "An equal request with this Idempotency-Key came before, and has not been answered yet.",
    "answer_not_kept": "This Idempotency-Key was used: what it asked for was done, but secrets are not kept to be repeated.",
    "offset_mismatch": "A PATCH of an upload began at another place than the one up to which bytes have arrived.",
    "upload_incomplete": "The form names an upload of which not all bytes have arrived.",
    "upload_used": "An upload becomes one subject or one video, and this one has become one.",
    "tus_version_unsupported": "Uploads speak tus 1.0.0, and the header Tus-Resumable asked for another version.",
    "key_revoked": "A revoked key can be neither rotated nor brought back.",
    "too_many_webhooks": "One owner may have a limited number of webhooks.",
    "webhook_disabled": "It was switched off by its owner, or because it took nothing for days, and hears of nothing.",
    "webhooks_off": "Without a key to make secrets from, deliveries could not be signed.",
    "body_too_large": "The text of a request may have a mebibyte; only files may have more.",
    "file_too_large": "Each kind of file has a limit, which the operator sets.",
    "unsupported_media_type": "A form is sent as multipart/form-data, the rest as application/json.",
    "range_not_satisfiable": "The Range begins behind the end of the file.",
    "validation_failed": "A value is missing, too much, or not among those that are allowed; `errors` points at each one.",
    "idempotency_key_reused": "A key stands for one request: same path, same values, same files. This request is another.",
    "empty_file": "A file arrived, without a single byte in it.",
    "not_media": "The first bytes show that it is something else, such as a picture, a document, or a playlist.",
    "not_an_image": "The first bytes are not those of a PNG, JPEG or WebP.",
    "too_many_uploads": "Each upload that was begun takes room until it is used, deleted or given up.",
    "checksum_mismatch": "What arrived has another checksum than the one that Upload-Checksum names.",
    "rate_limited": "More requests came in a short time than one key, or one address, may make.",
    "url_refused": "Webhooks go to the public internet, so that nobody reaches the service's own network through them.",
    "internal_error": "A fault of the service. Its log has the details, under the X-Request-Id of the answer.",
    "store_away": "Files lie in an object store, which does not answer, or refuses.",
    "unavailable": "The database or another part that is needed is busy or away; GET /readyz says which.",
    "disk_full": "There is no room where uploads or the database lie.",
}

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem }
section { border-top: 1px solid #8886; padding: .5rem 0 1rem }
section:target { outline: 3px solid #e90; outline-offset: .5rem }
h3 { font-family: ui-monospace, monospace; margin: .5rem 0 }
h3 a { color: inherit; text-decoration: none }
h3 span { float: right; font-weight: normal; opacity: .7 }
pre { background: #8882; overflow-x: auto; padding: .75rem }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page() -> str:
    """The page: every code that a request can be answered with, and every one that a job can fail with."""
    problems = "".join(_problem(code, kind) for code, kind in PROBLEMS.items())
    failures = "".join(_section(f"job-{code}", code, "job", _remedy(remedy)) for code, remedy in _failures())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Problems</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f"<h1>Problems</h1><p>Errors are <code>application/problem+json</code>; <code>code</code> is stable, and "
        f"<code>detail</code> says what is wrong and what to do about it.</p>{problems}"
        f"<h2>Why jobs fail</h2><p>What <code>error.code</code> of a job can be, beside <code>internal_error</code>; "
        f"<code>error.message</code> says what was found.</p>{failures}</html>"
    )


def _problem(code: str, kind: ProblemType) -> str:
    example = {"type": f"{ERRORS_PAGE}#{code}", "title": kind.title, "status": kind.status}
    example |= {"detail": f"{kind.title}. {kind.remedy}", "code": code, "remedy": kind.remedy}
    meaning = f"<p>{escape(kind.title)}. {escape(EXPLANATIONS[code])}</p>"
    shown = f"<pre>{escape(json.dumps(example, indent=2))}</pre>"
    return _section(code, code, str(kind.status), meaning + _remedy(kind.remedy) + shown)


def _section(anchor: str, code: str, beside: str, content: str) -> str:
    heading = f'<h3><a href="#{anchor}">{code}</a> <span>{beside}</span></h3>'
    return f'<section id="{anchor}">{heading}{content}</section>'


def _remedy(remedy: str) -> str:
    return f"<p><strong>What to do:</strong> {escape(remedy)}</p>"


def _failures() -> Iterator[tuple[str, str]]:
    for kind in _leaves(AdnerfError):
        if kind is not BadFolder:  # no job imports folders
            yield kind.code, kind.remedy
    yield WORKER_LOST["code"], WORKER_LOST["remedy"]


def _leaves(kind: type[AdnerfError]) -> Iterator[type[AdnerfError]]:
    """Those of the core's errors that are no mere branches of their tree."""
    for each in kind.__subclasses__():
        yield from _leaves(each) if each.__subclasses__() else [each]
