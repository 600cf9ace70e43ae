"""The life cycle of jobs: the moves between their states.

move        from                  to          by
claim       queued                running     a worker; raises `attempt`, takes a lease
succeed     running               succeeded   the worker of this attempt
fail        running               failed      the same
release     running               queued      the same, when its process is told to stop, or has given the job up unrecorded
cancel      queued, running       cancelled   a client
retry       failed, cancelled     queued      a client
requeue     running               queued      the sweep, if the worker is lost
give_up     running               failed      the sweep, if the worker is lost for the third time
forgive     failed                queued      a worker that the sweep has taken for lost and that was not
time_out    running               failed      the worker of this attempt, at the time limit
"""

from __future__ import annotations

from storage.tables.queue import KINDS

MOVES: dict[str, tuple[tuple[str, ...], str]] = {
    "claim": (("queued",), "running"),
    "succeed": (("running",), "succeeded"),
    "fail": (("running",), "failed"),
    "release": (("running",), "queued"),
    "cancel": (("queued", "running"), "cancelled"),
    "retry": (("failed", "cancelled"), "queued"),
    "requeue": (("running",), "queued"),
    "give_up": (("running",), "failed"),
    "forgive": (("failed",), "queued"),
    "time_out": (("running",), "failed"),
}
"""By move: the states that it may come from, and the state that it leads to."""

TARGET_STATE: dict[tuple[str, str], str] = {
    ("preprocess", "queued"): "pending",
    ("preprocess", "running"): "preprocessing",
    ("preprocess", "succeeded"): "training",
    ("train", "queued"): "training",
    ("train", "running"): "training",
    ("train", "succeeded"): "ready",
    ("render", "queued"): "pending",
    ("render", "running"): "rendering",
    ("render", "succeeded"): "ready",
    **{(kind, state): state for kind in KINDS for state in ("failed", "cancelled")},
}
"""The state of the subject or video, by the kind and state of its job."""
