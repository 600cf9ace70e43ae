"""Ids and times of all rows."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

LOCAL = "local"
"""The owner of everything that is created without an API key."""


def now() -> datetime:
    """Returns the current time in UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """Returns a new id such as `sub_0198c2...`: 12 hex digits of the Unix time in ms, then 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def first_id(prefix: str, at: datetime, *, later_s: float = 0.0) -> str:
    """Returns what sorts after all ids that `new_id` made before a time (and `later_s` seconds), and before all others."""
    return f"{prefix}_{max(0, int((at.timestamp() + later_s) * 1000)):012x}"
