"""Keys in the database: found by their token only, for as long as they hold."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from storage.database.models import Key, now
from storage.errors import KeyRevoked, NotFound, NotSafe, Unauthorized
from storage.tables import api_keys


def made(database, **values):
    """A new key, and its token."""
    with database.session() as session:
        return api_keys.create(session, **{"owner": "ann", "name": "laptop", "scopes": ["read"]} | values)


def found(database, token):
    with database.session(write=False) as session:
        return api_keys.find(session, token)


def refused(database, token, words):
    with pytest.raises(Unauthorized, match=words):
        found(database, token)


def test_a_key_is_found_by_its_token_and_by_nothing_else(database):
    with database.session(write=False) as session:
        assert not api_keys.any_exist(session)
    key, token = made(database, scopes=["write", "read"])
    other, other_token = made(database, owner="bob")
    with database.session(write=False) as session:
        assert api_keys.any_exist(session)
    assert (found(database, token).id, found(database, other_token).id) == (key.id, other.id)
    assert found(database, token).scopes == ["read", "write"]
    swapped = f"{token[:39]}_{other_token[40:]}"
    assert api_keys.TOKEN.fullmatch(swapped)
    for wrong in (swapped, token[:-1], token + "0", token.upper(), key.id, "", token[:-1] + "\n"):
        refused(database, wrong, "no such key")


def test_the_database_does_not_know_the_secret(database):
    _, token = made(database)
    with database.engine.connect() as connection:
        kept = repr(connection.execute(text("SELECT * FROM keys")).all())
    secret = api_keys.TOKEN.fullmatch(token)[2]
    assert token not in kept and secret not in kept


def test_a_key_ends(database):
    _, token = made(database, expires_at=now() + timedelta(hours=1))
    assert found(database, token)
    with database.session() as session:
        session.scalars(select(Key)).one().expires_at = now()
    refused(database, token, "expired")


def test_after_a_rotation_both_secrets_work_for_a_while(database):
    key, first = made(database)
    with database.session() as session:
        _, second = api_keys.rotate(session, key.id, grace_s=60)
    assert found(database, first).id == found(database, second).id == key.id
    with database.session() as session:
        session.get(Key, key.id).previous_until = now()
    refused(database, first, "no such key")
    with database.session() as session:
        _, third = api_keys.rotate(session, key.id, grace_s=0)
    refused(database, second, "no such key")
    assert found(database, third)


def test_what_was_revoked_stays_so(database):
    key, token = made(database)
    with database.session() as session:
        api_keys.revoke(session, key.id)
    refused(database, token, "revoked")
    for move in (api_keys.revoke, api_keys.rotate):
        with pytest.raises(KeyRevoked), database.session() as session:
            move(session, key.id)
        with pytest.raises(NotFound), database.session() as session:
            move(session, "key_0")
    with database.session(write=False) as session:
        assert api_keys.any_exist(session)  # it does not fall open


def test_its_use_is_noted_once_a_minute(database):
    key, token = made(database)
    assert api_keys.is_stale(key)
    written = []
    for _ in range(2):
        with database.session() as session:
            api_keys.touch(session, key.id)
        written.append(found(database, token).last_used_at)
    assert written[0] == written[1] > key.created_at
    assert not api_keys.is_stale(found(database, token))
    with database.session() as session:
        session.get(Key, key.id).last_used_at = now() - timedelta(seconds=api_keys.TOUCH_S)
    assert api_keys.is_stale(found(database, token))


@pytest.mark.parametrize(
    ("host", "alone"),
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
def test_who_may_listen_without_keys(database, host, alone):
    def check():
        with database.session(write=False) as session:
            api_keys.check_listening(session, host)

    assert api_keys.is_loopback(host) == alone
    if alone:
        check()
        return
    with pytest.raises(NotSafe, match="adnerf keys create"):
        check()
    made(database)
    check()
