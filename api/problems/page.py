"""The page at /errors, to which the `type` of each problem leads: the table of problems, and the codes that jobs fail with."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from html import escape

from adnerf_core.errors import AdnerfError, BadFolder
from api.problems.problems import ERRORS_PAGE
from api.problems.table import PROBLEMS, ProblemType
from storage.tables.jobs import WORKER_LOST

STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
:root { background: light-dark(#fff, #141315); color: light-dark(#1d1b19, #f1eeeb) }
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem }
section { border-top: 1px solid #8886; padding: .5rem 0 1rem }
section:target { outline: 3px solid #e90; outline-offset: .5rem }
h3 { font-family: ui-monospace, monospace; margin: .5rem 0; overflow-wrap: anywhere }
h3 a { color: inherit; text-decoration: none }
h3 span { float: right; font-weight: normal }
main > p > a { color: light-dark(#98193a, #ffa9ba) }
summary { cursor: pointer }
pre { background: #8882; padding: .75rem; white-space: pre-wrap; overflow-wrap: anywhere }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page() -> str:
    """Renders the page as HTML."""
    problems = "".join(_problem(code, problem) for code, problem in PROBLEMS.items())
    failures = "".join(_section(f"job-{code}", code, "job", _remedy(remedy)) for code, remedy in _failures())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Help with errors</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f'<main><p><a href="/">To the page</a></p><h1>Help with errors</h1>'
        f"<h2>Why requests are refused</h2><p>Errors are <code>application/problem+json</code>. <code>code</code> is stable; "
        f"<code>detail</code> says what is wrong and what to do about it.</p>{problems}"
        f"<h2>Why jobs fail</h2><p>These are the values of a job's <code>error.code</code>, besides <code>internal_error</code>; "
        f"<code>error.message</code> says what exactly is wrong.</p>{failures}</main></html>"
    )


def _problem(code: str, problem: ProblemType) -> str:
    example = {"type": f"{ERRORS_PAGE}#{code}", "title": problem.title, "status": problem.status}
    example |= {"detail": f"{problem.title}. {problem.remedy}", "code": code, "remedy": problem.remedy}
    explanation = f"<p>{_text(problem.title)}. {_text(problem.explanation)}</p>"
    listing = f"<details><summary>The answer</summary><pre>{escape(json.dumps(example, indent=2))}</pre></details>"
    return _section(code, code, str(problem.status), explanation + _remedy(problem.remedy) + listing)


def _section(anchor: str, code: str, note: str, content: str) -> str:
    heading = f'<h3><a href="#{anchor}">{code}</a> <span>{note}</span></h3>'
    return f'<section id="{anchor}">{heading}{content}</section>'


def _remedy(remedy: str) -> str:
    return f"<p><strong>What to do:</strong> {_text(remedy)}</p>"


def _text(text: str) -> str:
    """Text as HTML; what is between backticks becomes code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _failures() -> Iterator[tuple[str, str]]:
    for error in _leaves(AdnerfError):
        if error is not BadFolder:  # no job imports folders
            yield error.code, error.remedy
    yield WORKER_LOST["code"], WORKER_LOST["remedy"]


def _leaves(base: type[AdnerfError]) -> Iterator[type[AdnerfError]]:
    """The subclasses of `base` that have no subclasses themselves: the others only group errors."""
    for each in base.__subclasses__():
        yield from _leaves(each) if each.__subclasses__() else [each]
