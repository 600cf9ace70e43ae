"""Logs: one line per event, readable text on a terminal and JSON everywhere else.

Each line carries what it belongs to: `request_id` in the API; `job_id`, `kind` and `attempt` in a worker. `log_context` binds
these values, so that every line logged inside its block carries them, including the lines of libraries. Logs hold ids only: no
names of subjects or files, no query strings, no settings.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict

from storage import settings

log_context: Callable[..., AbstractContextManager[None]] = structlog.contextvars.bound_contextvars
"""log_context(job_id=..., attempt=...): a `with` block whose log lines carry these values."""

QUIET = dict.fromkeys(("alembic", "botocore", "httpx", "multiprocessing"), logging.WARNING)
"""Libraries that log every request or step at INFO: only their warnings are kept."""


def configure(style: str = "auto", stream: TextIO | None = None) -> None:
    """Sends all log lines of this process to one stream.

    Args:
        style: `json`, `human` (text), or `auto` (text on a terminal, else JSON).
        stream: default: stderr.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    human = style == "human" or (style == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(human, terminal)],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for sentence in settings.warnings():
        logging.getLogger(__name__).warning(sentence)
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)


def context_thread(target: Callable[[], Any], name: str) -> threading.Thread:
    """Returns a daemon thread, not yet started, whose log lines carry the values that are bound in the calling thread."""
    return threading.Thread(target=contextvars.copy_context().run, args=(target,), name=name, daemon=True)


def _renderer(human: bool, colors: bool) -> list[Callable[..., Any]]:
    if human:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain, pad_event_to=0)]
    return [structlog.processors.format_exc_info, _named, structlog.processors.JSONRenderer()]


def _named(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Puts the same keys first in every line: time, level, logger, message; the bound values follow."""
    head = {"time": "timestamp", "level": "level", "logger": "logger", "message": "event"}
    return {new: event.pop(old) for new, old in head.items()} | event
