"""Turns of an API process: one owner's many requests leave turns to others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import anyio
import httpx
import pytest

from api import deps
from api.problems.problems import Problem
from api.services import samples
from storage.tables import api_keys

TOTALS = {"look_up": deps.LOOK_UPS, "store": deps.FILES, "slot": deps.WRITERS, "reading": deps.READERS}
TOTALS |= {"batch": deps.FILES, "search": deps.READERS}  # of which an owner has one at a time


async def take(turns, kind, work):
    """Runs `work` in a turn; one to write without a transaction, because on SQLite these exclude each other."""
    if kind not in ("slot", "reading", "batch", "search"):
        return await getattr(turns, kind)(work)
    async with getattr(turns, kind)():
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
                if kind in ("batch", "search"):
                    assert started.acquire(blocking=False) and not started.acquire(blocking=False)
                    started.release()
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
        shares._owners
        for shares in (
            app.state.turns._look_ups,
            app.state.turns._files,
            app.state.turns._writers,
            app.state.turns._readers,
            app.state.turns._batches,
            app.state.turns._searches,
        )
    )


def test_many_readers_at_once_all_get_their_answer(app):
    """Each holds a connection until its answer is checked, in another thread: none may wait for a connection in the last thread."""
    with app.state.database.session() as session:
        keys = [api_keys.create(session, owner=owner, name="key", scopes=["read"])[1] for owner in ("ann", "mallory")]
    statuses = []

    async def main():
        address = httpx.ASGITransport(app, client=("127.0.0.1", 5))
        async with httpx.AsyncClient(transport=address, base_url="http://127.0.0.1", timeout=60) as client:

            async def read(key, path="/v1/videos?limit=100"):
                statuses.append((await client.get(path, headers={"Authorization": f"Bearer {key}"})).status_code)

            with anyio.fail_after(25):  # the database's patience is 30 s
                async with anyio.create_task_group() as group:
                    for _ in range(120):
                        group.start_soon(read, keys[1])
                    group.start_soon(read, keys[0])
                    group.start_soon(read, keys[0], "/healthz")

    anyio.run(main)
    assert statuses == [200] * 122


def test_who_waits_for_samples_leaves_threads_to_others(client, monkeypatch):
    made = threading.Event()
    monkeypatch.setattr(
        samples, "_make", lambda folder: (made.wait(30), folder.mkdir(), (folder / "speech.wav").write_bytes(b"RIFF"))
    )
    with ThreadPoolExecutor(45) as pool:  # more than all requests have threads
        asked = [pool.submit(httpx.get, f"{client.base_url}/v1/samples/speech", timeout=60) for _ in range(45)]
        try:
            assert not wait(asked, timeout=1).done
            assert client.get("/v1/subjects", timeout=5).status_code == 200
        finally:
            made.set()
    assert {answer.result().content for answer in asked} == {b"RIFF"}
