"""Requests to addresses that clients name: a corpus of ways inside, and receivers that misbehave. All servers are real."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from functools import partial
from ipaddress import ip_address, ip_network

import pytest
import trustme

from storage.errors import BadSetting, UrlRefused
from tests.receivers import Receiver, misbehaving
from worker.webhooks import guarded_http

HERE = (ip_network("127.0.0.0/8"),)
PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]

NOT_ADDRESSES = [
    "", " ", "example.com", "//example.com/", "/hook", "https://", "https:///", "https:/example.com", "https:example.com",
    "https:\\\\example.com", "https://example.com\\@169.254.169.254/", "https://example.com/\\..\\", "ftp://example.com/",
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "dict://127.0.0.1:11211/", "ldap://127.0.0.1/",
    "unix:///var/run/docker.sock", "javascript:alert(1)", "data:text/plain,x", "jar:https://example.com!/", "ws://example.com/",
    "https://user@example.com/", "https://user:word@example.com/", "https://example.com@127.0.0.1/",
    "https://127.0.0.1#@example.com/", "https://example.com:443@127.0.0.1/", "https://%40example.com@127.0.0.1/",
    "https://exa mple.com/", "https://example.com/a b", "https://example.com/\r\nHost: 127.0.0.1", "https://example.com\x00.evil.com/",
    "https://\texample.com/", " https://example.com/", "https://example.com/#fragment", "https://example.com:0x1bb/",
    "https://example.com:99999/", "https://example.com:-1/", "https://[::1", "https://[::1%25lo]/", "https://[fe80::1%eth0]/",
    "https://[1.2.3.4]/", "https://1.2.3.4.5/", "https://256.256.256.256/", "https://0x100000000/", "https://.../", "https://?x",
    "https://example.com/" + "a" * 2000,
]  # fmt: skip

NUMBERS = [  # hosts that are addresses, in every way of writing them: parsers and resolvers may take them for names
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "017700000001",
    "0", "0.0.0.0", "00.00.00.00", "127.0.0.1.", "127.255.255.254", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "%31%32%37.0.0.1",
    "10.0.0.1", "10.255.255.255", "0xa000001", "012.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "3232235521",
    "0xc0a80001", "0300.0250.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.0.1",
    "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "4294967295",
    "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:a9fe:a9fe]", "[::ffff:10.0.0.1]",
    "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::10.0.0.1]",
    "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2002:c0a8:1::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[2001:db8::1]",
    "[3fff::1]", "[fc00::1]", "[fd12:3456::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]",
    "[100::1]", "[5f00::1]", "[4000::1]",
]  # fmt: skip

NAMES = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "foo.localhost",
    "ip6-localhost",
    "no-such-host.invalid",
]

INSIDE = {  # what a name of somebody else's may resolve to
    "loopback": ["127.0.0.1"],
    "one of two": ["93.184.215.14", "10.0.0.5"],
    "the metadata of a cloud": ["169.254.169.254"],
    "IPv6 only": ["fd00::5"],
    "IPv4 in IPv6": ["::ffff:192.168.1.1"],
    "a translator": ["64:ff9b::a00:1"],
    "a zone": ["fe80::1%eth0"],
    "nothing": [],
}


def resolving(*answers):
    """A resolver that gives these answers one after the other, and then fails the test."""
    waiting = list(answers)

    def resolve(host, port):
        assert waiting, "it was looked up once too often"
        return waiting.pop(0)

    return resolve


def refused(url, **more):
    with pytest.raises(UrlRefused):
        guarded_http.resolve_allowed(guarded_http.parse(url), **({"allowed": ()} | more))


@pytest.mark.parametrize("url", NOT_ADDRESSES, ids=lambda url: repr(url)[:40])
def test_what_is_no_plain_address_is_refused(url):
    refused(url, resolve=resolving())


@pytest.mark.parametrize("host", [*NUMBERS, *NAMES])
def test_no_way_of_writing_it_leads_inside(host):
    """With the system's own resolver, which knows more ways of writing an address than one thinks."""
    refused(f"https://{host}/")


@pytest.mark.parametrize("answer", INSIDE.values(), ids=INSIDE)
def test_a_name_that_leads_inside_is_refused(answer):
    refused("https://hooks.example.com/", resolve=resolving(answer))


def test_why_is_said_in_the_same_words_whatever_is_there():
    """Else a webhook would tell which names and addresses there are in the operator's network."""
    told = set()
    for answer in INSIDE.values():
        with pytest.raises(UrlRefused) as caught:
            guarded_http.resolve_allowed(guarded_http.parse("https://hooks.example.com/"), (), resolving(answer))
        told.add(str(caught.value))
    assert len(told) == 1


@pytest.mark.parametrize("port", [22, 25, 80, 6379, 9200, 65535])
def test_other_ports_and_plain_http_are_refused(port):
    for url in (
        f"https://example.com:{port}/",
        f"http://example.com:{port}/",
        "http://example.com/",
        "http://example.com:443/",
    ):
        refused(url, resolve=resolving(PUBLIC))


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "https://EXAMPLE.com:443/a?b=c&d", "https://example.com:8443/", "https://bücher.example/"],
)
def test_what_is_public_is_called(url):
    assert guarded_http.resolve_allowed(guarded_http.parse(url), (), resolving(PUBLIC)) == [
        ip_address(text) for text in PUBLIC
    ]


def test_an_address_is_taken_apart_once():
    assert guarded_http.parse("https://Bücher.example./a b%20?q=ü".replace(" ", "")) == (
        "https", "xn--bcher-kva.example", 443, "/ab%20?q=%C3%BC",
    )  # fmt: skip
    assert guarded_http.parse("https://[2606:2800:21f::1]:8443") == ("https", "2606:2800:21f::1", 8443, "/")


def test_networks_that_the_operator_names_are_open_by_http_and_at_any_port():
    allowed = guarded_http.networks("10.1.0.0/16, fd00::/8")
    assert guarded_http.resolve_allowed(
        guarded_http.parse("http://hooks:8080/"), allowed, resolving(["10.1.2.3", "fd00::1"])
    )
    refused("http://hooks:8080/", allowed=allowed, resolve=resolving(["10.2.2.3"]))
    refused("http://hooks:8080/", allowed=allowed, resolve=resolving(["10.1.2.3", "93.184.215.14"]))
    assert guarded_http.networks("") == ()
    with pytest.raises(BadSetting):
        guarded_http.networks("10.1.0.0/16,intranet")


def test_name_servers_that_do_not_answer_are_not_waited_for(monkeypatch):
    go_on, asked = threading.Event(), []

    def stuck(*_, **__):
        asked.append(1)
        go_on.wait(60)
        return []

    monkeypatch.setattr(guarded_http, "RESOLVE_S", 0.05)
    monkeypatch.setattr(guarded_http, "_look_ups", guarded_http.LookUps(10, 4))  # others may wait for real answers
    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    waited_for = []
    try:
        for owner in ("mallory", "ann", "bob"):
            for _ in range(6):
                refused("https://slow.example/", resolve=partial(guarded_http.resolve, owner=owner))
            waited_for.append(len(asked))
        assert waited_for == [4, 8, 10], "one owner leaves room to others, and there is an end"
    finally:
        go_on.set()


def post(url, **more):
    return guarded_http.post(url, {"X-Test": "yes"}, b"{}", allowed=HERE, **more)


def test_a_name_is_looked_up_once_and_what_was_judged_is_called():
    """Rebinding: the second answer would be another one, but nobody asks for it; and the first one is not called by name."""
    with Receiver(200) as receiver:
        answer = post(f"http://rebind.example:{receiver.port}/a?b=c", resolve=resolving(["127.0.0.1"]))
    assert (answer.status, answer.body) == (200, b"answer 200")
    (received,) = receiver.received
    assert (received.path, received.body) == ("/a?b=c", b"{}")
    assert received.headers["host"] == f"rebind.example:{receiver.port}"
    assert received.headers["x-test"] == "yes"
    assert "cookie" not in received.headers
    with pytest.raises(UrlRefused):
        guarded_http.post("https://rebind.example/", {}, b"", resolve=resolving(["127.0.0.1"]))


def test_the_next_address_is_tried_where_one_does_not_answer():
    with Receiver(200) as receiver:
        addresses = ["127.0.0.9", "127.0.0.1"]  # at the first nobody listens
        assert post(f"http://two.example:{receiver.port}/", resolve=resolving(addresses)).status == 200


def test_redirects_are_answers_and_are_not_followed():
    with Receiver(200) as inside, Receiver(302, headers={"Location": inside.url}) as receiver:
        assert post(receiver.url).status == 302
    assert inside.received == []


def test_the_environment_s_proxies_are_not_asked(monkeypatch):
    with Receiver(200) as proxy, Receiver(204) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(receiver.url).status == 204
    assert proxy.received == []


def drip(beginning):
    """A receiver that goes on and on, a byte at a time."""

    def behave(connection):
        connection.sendall(beginning)
        for _ in range(300):
            connection.sendall(b"x")
            time.sleep(0.05)

    return behave


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9,
    ],
    ids=["status", "header", "body", "not yet"],
)
def test_a_receiver_that_drips_is_left_at_the_deadline(beginning):
    begun = time.monotonic()
    with misbehaving(drip(beginning)) as url, pytest.raises(guarded_http.RequestFailed):
        try:
            post(url, deadline_s=0.5)
        finally:
            took = time.monotonic() - begun
    assert 0.4 < took < 10, "the deadline, and not the 15 s that the receiver takes"


def test_of_an_endless_answer_only_the_beginning_is_read():
    sent = 0

    def flood(connection):
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent += connection.send(b"y" * 65536)

    with misbehaving(flood) as url:
        assert post(url) == (200, b"y" * guarded_http.MAX_BODY_BYTES)
    assert sent < 64 << 20, "more than what the kernel keeps for a reader who does not read"


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"-ERR unknown command\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000]
)
def test_what_is_not_http_is_no_answer(answer):
    with (
        misbehaving(lambda connection: connection.sendall(answer)) as url,
        pytest.raises(guarded_http.RequestFailed, match="broke"),
    ):
        post(url)


def test_nobody_there_is_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(guarded_http.RequestFailed, match="No connection"):
        post(f"http://127.0.0.1:{port}/")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def served_as(authority, name, asked):
    """The TLS of a server that is called `name`, and notes which names it is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    return context


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_is_for_the_name_though_the_address_is_called(authority):
    asked = []
    with Receiver(200, tls=served_as(authority, "hooks.example.com", asked)) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/"
        answer = post(url, resolve=resolving(["127.0.0.1"]), tls=trusting(authority))
    assert answer.status == 200
    assert asked == ["hooks.example.com"]


def test_the_certificate_must_be_of_that_name_and_trusted(authority):
    with Receiver(200, tls=served_as(authority, "other.example.com", [])) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/"
        with pytest.raises(guarded_http.RequestFailed, match="certificate"):
            post(url, resolve=resolving(["127.0.0.1"]), tls=trusting(authority))
        with pytest.raises(guarded_http.RequestFailed, match="certificate"):
            post(url.replace("hooks", "other"), resolve=resolving(["127.0.0.1"]))
    assert receiver.received == []
    with Receiver(200) as receiver, pytest.raises(guarded_http.RequestFailed, match="TLS"):
        post(receiver.url.replace("http:", "https:"))
