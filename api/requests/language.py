"""The language in which a page answers."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request

USUAL = "en"
"""What is spoken to somebody none of whose languages is there."""


def preferred(request: Request, spoken: Collection[str]) -> str:
    """Returns the first language that the browser names and that is among `spoken` (two letters each), or USUAL."""
    named = (part.strip()[:2].lower() for part in request.headers.get("accept-language", "").split(","))
    return next((each for each in named if each in spoken), USUAL)
