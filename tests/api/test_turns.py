"""Turns of an API process: one owner's many requests leave turns to others."""

from __future__ import annotations

import threading

import anyio
import pytest

from api import deps
from api.problems.problems import Problem

TOTALS = {"look_up": deps.LOOK_UPS, "store": deps.FILES, "slot": deps.WRITERS}


async def take(turns, kind, work):
    """Runs `work` in a turn; one to write without a transaction, because on SQLite these exclude each other."""
    if kind != "slot":
        return await getattr(turns, kind)(work)
    async with turns.slot():
        return await anyio.to_thread.run_sync(work)


def test_a_request_without_a_turn_is_told_so(app, monkeypatch):
    monkeypatch.setattr(deps, "WAIT_S", 0.2)
    ended = threading.Event()

    async def main():
        turns = app.state.turns.of("ann")
        async with anyio.create_task_group() as group:
            for _ in range(deps.FILES // deps.PART):
                group.start_soon(turns.store, lambda: ended.wait(60))
            await anyio.sleep(0.1)
            with pytest.raises(Problem) as refused:
                await turns.store(lambda: None)
            ended.set()
        assert (refused.value.code, refused.value.headers["Retry-After"]) == ("unavailable", "10")
        await turns.store(lambda: None)

    anyio.run(main)


@pytest.mark.parametrize("kind", TOTALS)
def test_one_owner_leaves_turns_to_others(app, kind):
    started, ended = threading.Semaphore(0), threading.Event()

    def slow():
        started.release()
        assert ended.wait(60)

    async def main():
        mallory, ann = (app.state.turns.of(owner) for owner in ("mallory", "ann"))
        try:
            async with anyio.create_task_group() as group:
                for _ in range(2 * TOTALS[kind]):
                    group.start_soon(take, mallory, kind, slow)
                await anyio.sleep(0.5)
                with anyio.fail_after(20):
                    assert await take(ann, kind, lambda: "done") == "done"
                ended.set()
        finally:
            ended.set()

    anyio.run(main)
    taken = 0
    while started.acquire(blocking=False):
        taken += 1
    assert taken == 2 * TOTALS[kind]  # all of them had their turn in the end
    assert not any(
        shares._owners for shares in (app.state.turns._look_ups, app.state.turns._files, app.state.turns._writers)
    )
