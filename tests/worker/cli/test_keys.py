"""`adnerf keys` and `adnerf owners`, the operator's commands on the machine of the service."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from storage.database.models import Key, now
from storage.errors import Unauthorized
from storage.settings import Settings, environment_of
from storage.tables import api_keys, quotas
from worker.__main__ import main


def find_key(house, token):
    with house.database.session(write=False) as session:
        return api_keys.find(session, token)


def make_key(adnerf, *words):
    """Makes a key; returns its id and token from the output."""
    printed = adnerf("keys", "create", "--name", "laptop", *words)
    return re.match(r"key_\w+", printed)[0], printed.splitlines()[-1]


def test_a_key_is_made_with_the_given_values(adnerf, house):
    key_id, token = make_key(adnerf, "--owner", "ann", "--scopes", "read,metrics", "--expires", "90d")
    key = find_key(house, token)
    assert (key.id, key.owner, key.name, key.scopes) == (key_id, "ann", "laptop", ["read", "metrics"])
    assert 89 < (key.expires_at - now()).total_seconds() / 86_400 < 90
    plain = find_key(house, make_key(adnerf)[1])
    assert (plain.owner, plain.scopes, plain.expires_at) == ("local", ["read", "write"], None)


def test_who_makes_the_first_key_for_another_owner_hears_how_to_open_what_was_there(adnerf, house):
    house.submit_subject()
    assert "the subjects (1) that were made without keys. Make one with --owner local" in adnerf(
        "keys", "create", "--name", "laptop", "--owner", "ann"
    )
    make_key(adnerf)
    assert "--owner local" not in adnerf("keys", "create", "--name", "laptop", "--owner", "ann")


def test_keys_are_listed_without_their_secrets(adnerf):
    ids, tokens = zip(*(make_key(adnerf, "--owner", owner) for owner in ("ann", "bob")), strict=True)
    listed = adnerf("keys", "list")
    assert [line.split()[0] for line in listed.splitlines()] == list(ids[::-1])
    assert "never used" in listed and not any(token in listed for token in tokens)
    assert adnerf("keys", "list", "--owner", "ann").split()[0] == ids[0]


def test_keys_are_rotated_and_revoked(adnerf, house):
    key_id, first = make_key(adnerf)
    second = adnerf("keys", "rotate", key_id, "--grace", "1h").splitlines()[-1]
    assert find_key(house, first).id == find_key(house, second).id == key_id
    assert "revoked" in adnerf("keys", "revoke", key_id)
    for token in (first, second):
        with pytest.raises(Unauthorized):
            find_key(house, token)
    assert "was revoked" in adnerf("keys", "revoke", key_id, status=1)
    assert "no key key_0" in adnerf("keys", "rotate", "key_0", status=1)
    assert "revoked 20" in adnerf("keys", "list")


@pytest.mark.parametrize(
    "words",
    [
        ["create", "--name", "x", "--owner", "an n"],
        ["create", "--name", "x", "--scopes", "read,everything"],
        ["create", "--name", "x", "--expires", "tomorrow"],
        ["create"],
        ["rotate"],
        [],
    ],
)
def test_a_wrong_command_line_makes_no_key(adnerf, house, words):
    with pytest.raises(SystemExit) as ended:
        main(["keys", *words])
    assert ended.value.code == 2
    with house.database.session(write=False) as session:
        assert session.query(Key).all() == []


def test_quotas_of_an_owner_are_set_and_reset(adnerf, house):
    printed = adnerf("owners", "set", "ann", "--subjects", "20", "--stored-bytes", "10G")
    assert re.search(r"subjects +0 of 20$", printed, re.MULTILINE)
    with house.database.session(write=False) as session:
        ann = quotas.limits(session, house.settings, "ann")
    assert (ann["subjects"], ann["stored_bytes"]) == (20, 10 << 30)
    assert ann["queued_jobs"] == house.settings.quota_queued_jobs
    adnerf("owners", "set", "ann", "--subjects", "default")
    with house.database.session(write=False) as session:
        assert quotas.limits(session, house.settings, "ann")["subjects"] == house.settings.quota_subjects
    make_key(adnerf, "--owner", "bob")
    assert re.findall(r"^\w+$", adnerf("owners", "list"), re.MULTILINE) == ["ann", "bob"]


@pytest.mark.parametrize("command", ["serve", "api"])
def test_without_keys_a_public_address_is_refused(house, command):
    words = [sys.executable, "-m", "worker", command, "--host", "0.0.0.0", "--port", "1"]
    ended = subprocess.run(words, env=environment_of(house.settings), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "no key was made yet" in ended.stderr and "adnerf keys create" in ended.stderr


@pytest.mark.parametrize(
    ("command", "url"),
    [
        ("api", "postgresql+psycopg://nobody@127.0.0.1:1/none"),
        ("serve", "postgresql+psycopg://nobody@127.0.0.1:1/none"),
    ],
)
def test_an_unusable_database_is_reported_with_its_remedy(tmp_path, command, url):
    words = [sys.executable, "-m", "worker", command, "--host", "0.0.0.0", "--port", "1"]
    environment = environment_of(Settings(data_dir=tmp_path, database_url=url))
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "The database cannot be used" in ended.stderr and "adnerf migrate" in ended.stderr


def test_a_time_beyond_the_calendar_ends_with_it(adnerf, house):
    key_id, token = make_key(adnerf, "--expires", "999999w")
    assert find_key(house, token).expires_at == api_keys.END_OF_TIME
    adnerf("keys", "rotate", key_id, "--grace", "999999w")
    assert find_key(house, token).previous_until == api_keys.END_OF_TIME
