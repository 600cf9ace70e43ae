"""Texts that people read: names, labels, descriptions of one line, consents of several. They hold no character that a reader
cannot see coming.

Control characters move the cursor of a terminal, and the overriding direction marks make a text look like another one. Texts
that were stored before these rules stay readable, because only requests are checked.
"""

from __future__ import annotations

import re

CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Characters that are refused: the controls C0, DEL and C1, separators of lines, and marks that override the direction. Joiners
and plain direction marks stay allowed: Persian, Hebrew and emoji need them."""

TEXT_CONTROLS = CONTROLS.replace(r"\x00-\x1f", r"\x00-\x08\x0b\x0c\x0e-\x1f")
"""Characters that are refused in texts of several lines: CONTROLS without tab, line feed and carriage return."""

INVISIBLE = CONTROLS + (
    r"\s\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
"""Characters that leave no mark by themselves: with nothing else a text looks empty."""

PATTERN = f"^[^{CONTROLS}]*[^{INVISIBLE}][^{CONTROLS}]*$"
"""The pattern of a text of one line, for /openapi.json."""
TEXT_PATTERN = f"^[^{TEXT_CONTROLS}]*[^{INVISIBLE}][^{TEXT_CONTROLS}]*$"
"""The pattern of a text of several lines."""

_CONTROL, _VISIBLE = re.compile(f"[{CONTROLS}]"), re.compile(f"[^{INVISIBLE}]")
_TEXT_CONTROL = re.compile(f"[{TEXT_CONTROLS}]")


def without_controls(text: str, controls: re.Pattern[str] = _CONTROL) -> str:
    """Returns `text`. Raises ValueError if it holds one of CONTROLS, or of others; the message names it."""
    if control := controls.search(text):
        raise ValueError(f"The invisible control character U+{ord(control[0]):04X} is not allowed here")
    return text


def plain_text(text: str) -> str:
    """Returns `text`, which may be empty. Raises ValueError if it holds one of TEXT_CONTROLS."""
    return without_controls(text, _TEXT_CONTROL)


def visible_line(text: str) -> str:
    """Returns `text`. Raises ValueError if it holds one of CONTROLS, or no visible character."""
    return _visible(without_controls(text))


def visible_text(text: str) -> str:
    """Returns `text`. Raises ValueError if it holds one of TEXT_CONTROLS, or no visible character."""
    return _visible(without_controls(text, _TEXT_CONTROL))


def _visible(text: str) -> str:
    if not _VISIBLE.search(text):
        raise ValueError("At least one visible character is needed")
    return text
