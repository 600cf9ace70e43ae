"""`adnerf store`: cleaning, adopting and the trash, at the command line."""

from __future__ import annotations

import io
import os
import time

import pytest

from storage.cleanup import ObjectCleaner


@pytest.fixture
def put_old(house):
    """Stores objects that are two hours old."""

    def put_old(*keys):
        for key in keys:
            house.store.put(key, io.BytesIO(b"12345"))
            os.utime(house.store.root / key, (0, time.time() - 7200))

    return put_old


def test_objects_are_cleaned_listed_and_restored(adnerf, house, put_old):
    house.submit_subject()
    adnerf("store", "adopt")
    before = house.objects()
    gone = [f"subjects/sub_gone/{number}" for number in range(200)]
    put_old(*gone)
    assert ObjectCleaner(house.database, house.store).run_batch() == []  # more than a share
    assert "200 objects are in the trash, for 7 days" in adnerf("store", "clean")
    assert house.objects() == before
    listed = adnerf("store", "trash", "list", "subjects/sub_gone/19")
    assert len(listed.splitlines()) == 11 and "             5  subjects/sub_gone/19\n" in listed
    assert "1 objects are restored" in adnerf("store", "trash", "restore", "subjects/sub_gone/199")
    assert "199 objects are restored" in adnerf("store", "trash", "restore")
    assert house.objects() == sorted([*before, *gone])
    assert adnerf("store", "trash", "list") == ""


def test_the_wrong_database_cannot_clean(adnerf, house, put_old):
    put_old("subjects/sub_gone/source")
    refused = adnerf("store", "clean", status=1)
    assert "knows 0 of the 1 subjects" in refused and "adnerf store adopt" in refused
    adnerf("store", "adopt")
    assert "1 objects are in the trash" in adnerf("store", "clean")


def test_a_copy_of_the_store_names_what_is_damaged(adnerf, house, tmp_path):
    house.store.put("s/1", io.BytesIO(b"1"))
    assert "1 objects are copied to" in adnerf("store", "export", str(tmp_path / "copy"))
    house.store.delete("s/1")
    (tmp_path / "copy/objects/s/1").write_bytes(b"2")
    assert "s/1 is damaged" in adnerf("store", "import", str(tmp_path / "copy"), status=1)
    (tmp_path / "copy/objects/s/1").write_bytes(b"1")
    assert "1 objects are copied from" in adnerf("store", "import", str(tmp_path / "copy"))
    assert "is missing" not in adnerf("store", "export", str(tmp_path / "copy"))
