"""PartJoiner: objects of all sizes are joined within a bucket, on a real server, which refuses parts that are too small."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random

import pytest

from storage.objects import s3_join
from storage.objects.open_store import open_store
from storage.objects.s3_join import MIN_PART_BYTES as MIN
from tests.servers import BUCKET
from tests.storage.objects.test_objects import FUTURE_S, keys

CONTENT = random.Random(9).randbytes(3 * MIN)


@pytest.fixture
def store(settings, s3_settings):
    return open_store(dataclasses.replace(settings, **s3_settings))


def join(store, sizes) -> None:
    """Joins objects of these sizes, and checks the result."""
    stop, part_keys = 0, []
    for number, size in enumerate(sizes):
        part_keys.append(f"parts/{number:03d}")
        store.put(part_keys[-1], io.BytesIO(CONTENT[stop : stop + size]))
        stop += size
    stored = store.put_joined("joined", part_keys)
    assert (stored.size, stored.sha256) == (stop, hashlib.sha256(CONTENT[:stop]).hexdigest())
    with store.open("joined") as file:
        assert file.read() == CONTENT[:stop]
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0


@pytest.mark.parametrize(
    ("sizes", "copied", "sent"),
    [
        ([1000], 0, 1),
        ([MIN], 1, 0),
        ([MIN, MIN + 1, 7], 2, 1),
        ([MIN - 1, 2, MIN - 1], 0, 2),
        ([1, 2 * MIN], 1, 1),
        ([1, 2 * MIN - 1, MIN], 2, 1),
        ([1000] * 100, 0, 1),
    ],
)
def test_large_parts_are_copied_and_small_ones_sent(store, monkeypatch, sizes, copied, sent):
    calls = []
    for name in ("_copy", "_send_pending"):
        method = getattr(s3_join.PartJoiner, name)
        monkeypatch.setattr(
            s3_join.PartJoiner, name, lambda *values, name=name, method=method: (calls.append(name), method(*values))
        )
    join(store, sizes)
    assert (calls.count("_copy"), calls.count("_send_pending")) == (copied, sent)


def test_an_object_beyond_the_largest_part_is_copied_in_ranges(store, monkeypatch):
    monkeypatch.setattr(s3_join, "MAX_PART_BYTES", MIN)
    join(store, [1, 2 * MIN + 5, 3])


def test_parts_grow_if_there_would_be_too_many(store, s3_server, monkeypatch):
    monkeypatch.setattr(s3_join, "MAX_PARTS", 2)
    monkeypatch.setattr(s3_join, "MIN_PART_BYTES", 10)
    join(store, [MIN, MIN, 5])
    head = s3_server.client().head_object(Bucket=BUCKET, Key=store.folder + "joined")
    assert head["ETag"].endswith('-2"')


def test_a_join_that_is_refused_is_aborted(store, monkeypatch):
    monkeypatch.setattr(s3_join, "MIN_PART_BYTES", 10)  # too small for the server
    with pytest.raises(Exception, match="EntityTooSmall"):
        join(store, [1000, 1000])
    assert keys(store) == ["parts/000", "parts/001"]
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0
