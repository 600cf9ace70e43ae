"""A bucket is copied to a folder and back, and what was damaged on the way is found."""

from __future__ import annotations

import io
import os
import subprocess

import pytest

from storage import store_copy, store_identity
from storage.errors import BackupRefused, ObjectDamaged
from storage.objects.base import ANY_AGE_S
from storage.objects.local import LocalStore
from storage.objects.open_store import open_store
from tests.servers import BUCKET


@pytest.fixture
def store(settings, s3_settings):
    store = open_store(settings.replace(**s3_settings))
    for key in ("s/1", "s/2", store_identity.KEY, "trash/2026-05-02/s/0"):
        store.put(key, io.BytesIO(key.encode()))
    return store


@pytest.fixture
def other(settings, s3_settings):
    """An empty store in the same bucket."""
    return open_store(settings.replace(**s3_settings | {"store_url": f"{s3_settings['store_url']}-restored"}))


def keys(store):
    return sorted(store.keys(older_than_s=-60))


def test_digests_survive_the_way_out_and_back(store, other, tmp_path, s3_server):
    assert store_copy.export_objects(store, tmp_path / "copy") == (2, [])
    store.put("s/3", io.BytesIO(b"newer"))
    assert store_copy.export_objects(store, tmp_path / "copy") == (1, [])
    check = ["sha256sum", "--check", "--strict", "--quiet", store_copy.SUMS]
    assert subprocess.run(check, cwd=tmp_path / "copy").returncode == 0
    assert store_copy.import_objects(other, tmp_path / "copy") == (3, [])
    assert store_copy.import_objects(other, tmp_path / "copy") == (0, [])
    assert keys(other) == ["s/1", "s/2", "s/3"]
    client, place = s3_server.client(), {"Bucket": BUCKET, "Key": other.folder + "s/1"}
    client.put_object(**place, Body=b"S/1", Metadata=client.head_object(**place)["Metadata"])  # as a disk that rots
    with other.open("s/1") as file, pytest.raises(ObjectDamaged):
        file.read()
    assert store_copy.export_objects(other, tmp_path / "again") == (2, ["s/1"])


@pytest.mark.parametrize("cut", [10, 66, 70])
def test_a_copy_that_a_full_disk_has_cut_short_is_completed(store, other, tmp_path, cut):
    store_copy.export_objects(store, tmp_path)
    sums = tmp_path / store_copy.SUMS
    first, last = sums.read_text().splitlines(keepends=True)
    sums.write_text(first + last[:cut])
    assert store_copy.export_objects(store, tmp_path) == (1, [])
    assert store_copy.import_objects(other, tmp_path) == (2, []) and keys(other) == ["s/1", "s/2"]


def test_what_was_damaged_in_the_copy_is_not_restored(store, other, tmp_path):
    store_copy.export_objects(store, tmp_path)
    (tmp_path / "objects/s/1").write_bytes(b"S/1")
    assert store_copy.import_objects(other, tmp_path) == (1, ["s/1"])
    (tmp_path / "objects/s/1").unlink()
    assert store_copy.import_objects(other, tmp_path) == (0, ["s/1"])
    assert keys(other) == ["s/2"]


def test_a_folder_without_a_copy_is_refused(other, tmp_path):
    with pytest.raises(BackupRefused, match="no copy"):
        store_copy.import_objects(other, tmp_path)


def test_objects_from_a_clock_that_was_ahead_are_copied_and_those_without_a_digest_are_told(other, tmp_path):
    local, copy = LocalStore(tmp_path / "local"), tmp_path / "copy"
    local.put("s/1", io.BytesIO(b"of tomorrow"))
    os.utime(local.root / "s/1", (2**32, 2**32))
    assert store_copy.export_objects(local, copy) == (1, [])
    (copy / store_copy.OBJECTS / "s/2").write_bytes(b"its line was lost with the power")
    assert store_copy.import_objects(other, copy) == (1, ["s/2"]) and keys(other) == ["s/1"]
    assert list(other.keys(older_than_s=ANY_AGE_S)) == ["s/1"]
