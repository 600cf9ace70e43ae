"""Whose request it is, behind proxies that the settings name."""

from __future__ import annotations

import logging

import httpx
import pytest
from starlette.requests import HTTPConnection

from api.app import create_app
from api.middleware.client_address import ClientAddresses
from storage.errors import BadSetting
from storage.tables import api_keys
from tests.api.conftest import serving

STRANGER, OTHER = "203.0.113.7", "2001:db8::7"


@pytest.mark.parametrize(
    ("trusted", "peer", "way", "client"),
    [
        ("", "10.0.0.5", [STRANGER], "10.0.0.5"),  # nobody is trusted
        ("10.0.0.0/8", "10.0.0.5", [STRANGER], STRANGER),
        ("10.0.0.5", "10.0.0.6", [STRANGER], "10.0.0.6"),
        ("10.0.0.0/8", "10.0.0.5", [f"1.1.1.1, {STRANGER}"], STRANGER),  # the first is invented
        ("10.0.0.0/8", "10.0.0.5", [f"{STRANGER}, 10.0.0.9"], STRANGER),  # two proxies
        ("10.0.0.0/8", "10.0.0.5", [STRANGER, "10.0.0.9"], STRANGER),  # in two lines
        ("10.0.0.0/8", "10.0.0.5", ["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        ("10.0.0.0/8", "10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.0/8", "10.0.0.5", ["rubbish"], "10.0.0.5"),
        ("10.0.0.0/8, ::1", "::1", [OTHER], OTHER),
        ("10.0.0.0/8", "::ffff:10.0.0.5", [f"{STRANGER}:4711"], STRANGER),
        ("10.0.0.0/8", "10.0.0.5", [f"[{OTHER}]:4711"], OTHER),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy_s_is_the_client_s(trusted, peer, way, client):
    headers = [(b"x-forwarded-for", line.encode()) for line in way]
    connection = HTTPConnection({"type": "http", "client": (peer, 5), "headers": headers})
    assert ClientAddresses(trusted).of(connection) == client


def test_a_network_that_makes_no_sense_is_refused():
    with pytest.raises(BadSetting, match="ADNERF_TRUSTED_PROXIES"):
        ClientAddresses("the proxy")


@pytest.fixture
def behind_a_proxy(settings):
    """The URL of a service with keys, of which this test is the trusted proxy."""
    app = create_app(settings.replace(trusted_proxies="127.0.0.1", address_rate_limit="3/minute"))
    with app.state.database.session() as session:
        api_keys.create(session, owner="ann", name="k", scopes=["read"])
    with serving(app) as url, httpx.Client(base_url=url) as client:
        yield client


def statuses(client, path, count, **headers):
    return [client.get(path, headers=headers).status_code for _ in range(count)]


def test_strangers_behind_one_trusted_proxy_are_counted_apart(behind_a_proxy, caplog):
    caplog.set_level(logging.INFO)
    flood = {"X-Forwarded-For": STRANGER}
    assert statuses(behind_a_proxy, "/v1/jobs", 4, **flood) == [401, 401, 401, 429]
    assert statuses(behind_a_proxy, "/v1/jobs", 1, **{"X-Forwarded-For": OTHER}) == [401]
    invented = {"X-Forwarded-For": f"9.9.9.9, {STRANGER}"}
    assert statuses(behind_a_proxy, "/v1/jobs", 1, **invented) == [429]
    assert {STRANGER, OTHER} <= {getattr(record, "client", None) for record in caplog.records}


def test_the_addresses_of_one_ipv6_network_are_one_client(behind_a_proxy):
    for number in range(3):
        assert statuses(behind_a_proxy, "/v1/jobs", 1, **{"X-Forwarded-For": f"2001:db8:0:1::{number}"}) == [401]
    assert statuses(behind_a_proxy, "/v1/jobs", 1, **{"X-Forwarded-For": "2001:db8:0:1:ffff::9"}) == [429]
    assert statuses(behind_a_proxy, "/v1/jobs", 1, **{"X-Forwarded-For": "2001:db8:0:2::1"}) == [401]


def test_a_flood_of_the_api_does_not_take_the_page_away(behind_a_proxy):
    assert statuses(behind_a_proxy, "/v1/jobs", 4)[-1] == 429
    assert statuses(behind_a_proxy, "/", 1) == [200]
    assert statuses(behind_a_proxy, "/static/js/main.js", 1) == [200]
    assert statuses(behind_a_proxy, "/static/js/main.js", 2) == [200, 429]  # it has a rate of its own
