"""How often a client may ask, and that it is told."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from limits.storage import MemoryStorage

from api.app import create_app
from api.middleware import access, pace, rate_limit
from api.middleware.access import REFUSAL_S
from api.middleware.pace import BURST_S, Pacer
from api.middleware.rate_limit import RateLimiter
from storage.errors import BadSetting
from storage.settings import Settings
from storage.tables import api_keys
from tests.api.conftest import check_problem, serving
from tests.servers import Redis, running


def tokens(app, *owners):
    with app.state.database.session() as session:
        made = [api_keys.create(session, owner=owner, name="k", scopes=["read"])[1] for owner in owners]
    return [{"Authorization": f"Bearer {token}"} for token in made]


def served(settings, **changes):
    app = create_app(settings.replace(**changes))
    return app, serving(app)


def test_each_key_has_a_rate_of_its_own_and_is_told_of_it(settings):
    app, server = served(settings, rate_limit="3/minute", address_rate_limit="2/minute")
    ann, bob = tokens(app, "ann", "bob")
    with server as url, httpx.Client(base_url=url) as client:
        left = [client.get("/v1/jobs", headers=ann) for _ in range(3)]
        assert [answer.status_code for answer in left] == [200, 200, 200]
        assert [answer.headers["ratelimit-policy"] for answer in left] == ['"key";q=3;w=60'] * 3
        told = [re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["ratelimit"]) for answer in left]
        assert [int(each[1]) for each in told] == [2, 1, 0]
        assert all(0 < int(each[2]) <= 60 for each in told)
        refused = client.get("/v1/jobs", headers=ann)
        check_problem(refused, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"key";r=0;')
        assert client.get("/v1/jobs", headers=bob).status_code == 200
        codes = [client.get("/v1/jobs").status_code for _ in range(3)]  # without a key: one rate for the address
        assert codes == [401, 401, 429]
        assert client.get("/healthz").status_code == 200


def test_probes_without_end_are_paced(settings, monkeypatch):
    monkeypatch.setattr(access, "PROBES_PER_S", 10.0)
    monkeypatch.setattr(pace, "BURST_S", 0.1)
    monkeypatch.setattr(pace, "LEAST_BURST", 1)
    with serving(create_app(settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
        begun = time.monotonic()
        assert [client.get("/healthz").status_code for _ in range(6)] == 6 * [200]
        assert time.monotonic() - begun > 0.3


def test_a_client_that_stops_is_soon_answered_at_once_again():
    seconds = [0.0]
    pacer = Pacer(per_s=10.0, most_s=0.5, clock=lambda: seconds[0])
    assert max(pacer.wait_s("ann") for _ in range(10_000)) == pytest.approx(0.5)
    seconds[0] = 0.6
    assert pacer.wait_s("ann") == 0


def test_a_burst_is_spread_and_others_have_their_turns_in_between(settings):
    app, server = served(settings, rate_limit="600/minute")
    ann, bob = tokens(app, "ann", "bob")
    at_once = int(10 * BURST_S)
    with server as url, ThreadPoolExecutor(20) as pool, httpx.Client(base_url=url, timeout=30) as client:

        def ended(headers):
            assert client.get("/v1/jobs", headers=headers).status_code == 200
            return time.monotonic()

        begun = time.monotonic()
        asked = [pool.submit(ended, ann) for _ in range(at_once + 20)]
        asked[at_once - 1].result()
        others = ended(bob)
        times = [each.result() - begun for each in asked]
    assert max(times) > 1.8 and others - begun < max(times)


def test_the_pace_of_a_client_is_kept_for_as_long_as_it_matters(monkeypatch):
    monkeypatch.setattr(pace, "FORGET_AT", 2)
    seconds = [0.0]
    pacer = Pacer(per_s=10.0, clock=lambda: seconds[0])
    waits = [pacer.wait_s("ann") for _ in range(int(10 * BURST_S) + 3)]
    assert waits[:-2] == [0.0] * len(waits[:-2]) and waits[-2:] == pytest.approx([0.1, 0.2])
    seconds[0] = 1.0
    assert pacer.wait_s("bob") == pacer.wait_s("cyd") == 0.0 and set(pacer._next) == {"ann", "bob", "cyd"}
    seconds[0] = 60.0
    assert pacer.wait_s("ann") == 0.0 and set(pacer._next) == {"ann"}


def test_whoever_asks_again_at_once_is_kept_waiting_and_nobody_else(settings):
    app, server = served(settings, rate_limit="1/hour")
    ann, bob = tokens(app, "ann", "bob")
    with server as url, ThreadPoolExecutor(2) as pool:
        assert httpx.get(f"{url}/v1/jobs", headers=ann).status_code == 200
        begun = time.monotonic()
        refused = pool.submit(httpx.get, f"{url}/v1/jobs", headers=ann)
        other = httpx.get(f"{url}/v1/jobs", headers=bob)
        assert other.status_code == 200 and not refused.done()
        check_problem(refused.result(), "rate_limited")
        assert time.monotonic() - begun >= REFUSAL_S[0]


def test_after_the_time_in_retry_after_there_is_room_again(settings):
    app, server = served(settings, rate_limit="2/second")
    (ann,) = tokens(app, "ann")
    with server as url, httpx.Client(base_url=url) as client:
        while (answer := client.get("/v1/jobs", headers=ann)).status_code == 200:
            pass
        time.sleep(int(answer.headers["retry-after"]))
        assert client.get("/v1/jobs", headers=ann).status_code == 200


def test_polling_at_the_service_s_own_pace_is_never_too_often(settings):
    """The shortest Retry-After is a second: a key may poll twenty things at once, all the time."""
    for policy in RateLimiter(settings).items.values():
        assert policy.amount / policy.get_expiry() >= 20


def test_it_can_be_switched_off(settings):
    _, server = served(settings, address_rate_limit="off")
    with server as url:
        answer = httpx.get(f"{url}/v1/jobs")
        assert answer.status_code == 200 and "ratelimit" not in answer.headers


def test_a_rate_that_makes_no_sense_is_refused(settings):
    with pytest.raises(BadSetting, match="ADNERF_RATE_LIMIT='often' is not a rate"):
        RateLimiter(settings.replace(rate_limit="often"))


def test_processes_count_together_where_there_is_a_redis(settings, redis_server):
    shared = settings.replace(broker_url=redis_server.url, rate_limit="10/minute")
    one, other = RateLimiter(shared), RateLimiter(shared)
    who = str(time.time())
    paces = [each.hit("key", who) for _ in range(6) for each in (one, other)]
    assert [pace.admitted for pace in paces] == [True] * 10 + [False] * 2
    assert [pace.remaining for pace in paces[:4]] == [9, 8, 7, 6]


def test_without_its_redis_each_process_counts_by_itself(settings, monkeypatch):
    monkeypatch.setattr(rate_limit, "RETRY_REDIS_S", 0.0)
    with running(Redis) as (server,):
        counting = RateLimiter(settings.replace(broker_url=server.url, rate_limit="3/minute"))
        assert counting.hit("key", "ann").remaining == 2
        server.kill()
        assert [counting.hit("key", "ann").admitted for _ in range(4)] == [True, True, True, False]
        server.start()
        assert counting.hit("key", "bob").remaining == 2


def test_while_redis_hangs_one_request_at_a_time_waits_for_it(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and never answers
        monkeypatch.setattr(rate_limit, "ANSWER_S", 0.5)
        monkeypatch.setattr(rate_limit, "RETRY_REDIS_S", 3.0)
        limiter = RateLimiter(Settings(broker_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        assert limiter.hit("key", "a").admitted
        limiter._retry_shared_at = 0.0
        asked = [limiter._asks_shared() for _ in range(5)]
        assert asked == [True, False, False, False, False]
        began = time.monotonic()
        assert limiter.hit("key", "a").remaining == 1198
        assert time.monotonic() - began < 0.4


class SlowStorage(MemoryStorage):
    """The library's counters, in a thread that other threads overtake before it starts the timer that it has made."""

    @property
    def timer(self):
        time.sleep(0.01)
        return self._timer

    @timer.setter
    def timer(self, timer):
        self._timer = timer


def test_many_threads_may_count_at_once():
    limiter = RateLimiter(Settings(rate_limit="100/minute"))
    counters = limiter._local.storage
    counters.timer.cancel()  # as after ten quiet seconds
    counters.timer.join()
    counters._timer, counters.__class__ = counters.timer, SlowStorage
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: limiter.hit("key", "k"), range(8)))) == 8
    assert limiter.hit("key", "k").remaining == 91
