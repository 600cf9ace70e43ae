"""Whose connection it is, as the system tells it."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from api.middleware import peer_user

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")

WAYS = [peer_user.owner_by_netlink, peer_user.owner_by_table]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def owner(request, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as own:
        own.connect(listening.getsockname())
        try:
            usable = request.param(own.getsockname(), listening.getsockname()) == os.geteuid()
        except OSError:
            usable = False
    if not usable:
        pytest.skip("this system does not tell in this way")
    monkeypatch.setattr(peer_user, "_usable", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("family", "listening", "calling"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_a_connection_of_this_process_is_of_this_user(owner, family, listening, calling, monkeypatch):
    try:
        server = socket.create_server((listening, 0), family=family)
    except OSError:
        pytest.skip("there is no IPv6 here")
    with server, socket.socket(socket.AF_INET6 if ":" in calling else socket.AF_INET) as client:
        client.connect((calling, server.getsockname()[1]))
        accepted, address = server.accept()
        with accepted:
            ends = address[:2], accepted.getsockname()[:2]
            assert owner(*ends) == os.geteuid()
            assert peer_user.is_own_user(*ends) and not peer_user.has_gone(*ends)
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
            monkeypatch.setattr(peer_user, "ROOT", 12345)
            assert not peer_user.is_own_user(*ends)


def test_a_client_that_has_gone_is_nobody(owner):
    """Not even if this user listens on the port that it came from."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, address = server.accept()
        client.close()
        with accepted:
            assert owner(address, accepted.getsockname()) is None
            assert not peer_user.is_own_user(address, accepted.getsockname())
            assert peer_user.has_gone(address, accepted.getsockname())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert owner(listening.getsockname(), ("127.0.0.1", 1)) is None


def test_where_the_system_does_not_tell_the_user_does_not_count(monkeypatch):
    monkeypatch.setattr(peer_user, "_usable", lambda: None)
    assert peer_user.is_own_user(("127.0.0.1", 1), ("127.0.0.1", 2))


def test_this_system_tells():
    assert peer_user._usable() in WAYS
