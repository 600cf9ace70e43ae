"""API keys: only a valid token finds its key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from storage.database.models import Key, now
from storage.errors import KeyRevoked, NotFound, NotSafe, Unauthorized
from storage.tables import api_keys


def new_key(database, **values):
    """A new key, and its token."""
    with database.session() as session:
        return api_keys.create(session, **{"owner": "ann", "name": "laptop", "scopes": ["read"]} | values)


def find(database, token):
    with database.session(write=False) as session:
        return api_keys.find(session, token)


def refused(database, token, words):
    with pytest.raises(Unauthorized, match=words):
        find(database, token)


def test_a_key_is_found_by_its_token_and_by_nothing_else(database):
    with database.session(write=False) as session:
        assert not api_keys.any_exist(session)
    key, token = new_key(database, scopes=["write", "read"])
    other, other_token = new_key(database, owner="bob")
    with database.session(write=False) as session:
        assert api_keys.any_exist(session)
    assert (find(database, token).id, find(database, other_token).id) == (key.id, other.id)
    assert find(database, token).scopes == ["read", "write"]
    swapped = f"{token[:39]}_{other_token[40:]}"
    assert api_keys.TOKEN.fullmatch(swapped)
    for wrong in (swapped, token[:-1], token + "0", token.upper(), key.id, "", token[:-1] + "\n"):
        refused(database, wrong, "no such key")


def test_the_database_does_not_contain_the_secret(database):
    _, token = new_key(database)
    with database.engine.connect() as connection:
        stored = repr(connection.execute(text("SELECT * FROM keys")).all())
    secret = api_keys.TOKEN.fullmatch(token)[2]
    assert token not in stored and secret not in stored


def test_an_expired_key_is_refused(database):
    _, token = new_key(database, expires_at=now() + timedelta(hours=1))
    assert find(database, token)
    with database.session() as session:
        session.scalars(select(Key)).one().expires_at = now()
    refused(database, token, "expired")


def test_after_a_rotation_both_secrets_work_for_a_while(database):
    key, first = new_key(database)
    with database.session() as session:
        _, second = api_keys.rotate(session, key.id, grace_s=60)
    assert find(database, first).id == find(database, second).id == key.id
    with database.session() as session:
        session.get(Key, key.id).previous_until = now()
    refused(database, first, "no such key")
    with database.session() as session:
        _, third = api_keys.rotate(session, key.id, grace_s=0)
    refused(database, second, "no such key")
    assert find(database, third)


def test_a_revoked_key_stays_revoked(database):
    key, token = new_key(database)
    with database.session() as session:
        api_keys.revoke(session, key.id)
    refused(database, token, "revoked")
    for move in (api_keys.revoke, api_keys.rotate):
        with pytest.raises(KeyRevoked), database.session() as session:
            move(session, key.id)
        with pytest.raises(NotFound), database.session() as session:
            move(session, "key_0")
    with database.session(write=False) as session:
        assert api_keys.any_exist(session)  # The service does not return to the open mode.


def test_its_use_is_recorded_once_a_minute(database):
    key, token = new_key(database)
    assert api_keys.is_stale(key)
    written = []
    for _ in range(2):
        with database.session() as session:
            api_keys.touch(session, key.id)
        written.append(find(database, token).last_used_at)
    assert written[0] == written[1] > key.created_at
    assert not api_keys.is_stale(find(database, token))
    with database.session() as session:
        session.get(Key, key.id).last_used_at = now() - timedelta(seconds=api_keys.TOUCH_S)
    assert api_keys.is_stale(find(database, token))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("page.localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("notlocalhost", False),
        ("127.1", False),
    ],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_without_keys_the_service_listens_on_loopback_only(database, host, loopback):
    def check():
        with database.session(write=False) as session:
            api_keys.check_listening(session, host)

    assert api_keys.is_loopback(host) == loopback
    if loopback:
        check()
        return
    with pytest.raises(NotSafe, match="adnerf keys create"):
        check()
    new_key(database)
    check()
