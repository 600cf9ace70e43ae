"""Numbers that arrive as text, in headers, queries and forms: decimal digits alone.

Python's own parsers, which pydantic uses, also take `1_0` for ten and digits of other scripts; proxies and clients do not.
"""

from __future__ import annotations

import re

from pydantic import BeforeValidator

_NUMBER = re.compile(r"\s*-?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?\s*", re.IGNORECASE | re.ASCII)
"""No two neighbouring repetitions can match the same text: trying all ways to divide it would take minutes for a header of 60 kB."""


def _plain(value: object) -> object:
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("This must be a number in decimal digits, such as 10")
    return value


PLAIN = BeforeValidator(_plain)
"""For the annotation of a number: refuses text that is no plain number, before the framework's own checks."""
