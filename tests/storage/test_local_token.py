"""The token that proves that a program may read this user's files."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from adnerf_client import local_token as client
from storage.local_token import FILE, PREFIX, load_or_create
from tests.storage.places import MAKE


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: load_or_create(tmp_path), range(8)))
    (token,) = tokens
    assert token.startswith(PREFIX) and len(token) == len(PREFIX) + 64
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_one_that_others_could_read_is_replaced(tmp_path):
    token = load_or_create(tmp_path)
    (tmp_path / FILE).chmod(0o644)
    again = load_or_create(tmp_path)
    assert again != token
    (tmp_path / FILE).write_bytes(b"\xff\xfe")  # no token, as of a damaged disk
    assert load_or_create(tmp_path) not in (token, again)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_no_file_is_replaced_or_named(tmp_path, monkeypatch, kind):
    MAKE[kind](tmp_path / FILE)
    monkeypatch.setenv("ADNERF_TOKEN_FILE", str(tmp_path / FILE))
    assert client.find() is None
    if kind == "a folder":
        with pytest.raises(OSError, match="it is a folder, not a file; move it away"):
            load_or_create(tmp_path)
        return
    assert (load_or_create(tmp_path), os.geteuid()) == client.find()
    assert not (tmp_path / FILE).is_symlink()
