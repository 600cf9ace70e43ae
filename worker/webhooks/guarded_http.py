"""Requests to addresses that clients name, such as webhooks: where they may go, and how long they may take.

A name could lead into the operator's own network, now or when it is looked up for the second time. So there is one
parser of addresses (WHATWG's, by pydantic), one look-up, and the connection is made to what that look-up gave and `resolve_allowed`
let pass; TLS is for the name all the same. There is no way around it: HTTP is spoken by httpcore, which follows no
redirects, keeps no cookies, and asks no environment for proxies. One deadline holds for the whole exchange, however its
bytes drip in.
"""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

import httpcore
from pydantic import ValidationError
from pydantic_core import Url

from storage.errors import BadSetting, UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Iterable[str]]
"""Name and port to addresses. Raises OSError where there are none."""

PORTS = (443, 8443)
"""Where receivers on the public internet listen; other services that might take a POST for something else do not."""
LONGEST = 2000
"""Characters of an address."""
DEADLINE_S = 10.0
"""How long an exchange may take, from the first connection to the end of what is read of the answer."""
EXCERPT = 1024
"""Bytes of the answer's body that are read."""
LOOK_UP_S = 5.0
"""How long a look-up may take; the system's resolver gives up much later, on name servers that do not answer."""
TRIES = 3
"""Addresses of one name that are tried."""

URL_PATTERN = re.compile(r"https?://[^/?#\\@\s\x00-\x20\x7f][^\\\s\x00-\x20\x7f]*", re.IGNORECASE)
"""What an address looks like to everybody; parsers differ in what they make of the rest."""
PUBLIC_IPV6 = IPv6Network("2000::/3")
NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: clouds tell secrets here
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation, as 198.51.100.0 and 203.0.113.0
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays to IPv6
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocols: Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address within
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
"""IANA's special-purpose registries. Of IPv6, all that lies outside PUBLIC_IPV6 is refused anyway: loopback, mapped and
compatible IPv4, NAT64, unique local, link-local, multicast."""


class Target(NamedTuple):
    """An address taken apart. `path` has the query with it; `host` is a name, or an IP address without brackets."""

    scheme: str
    host: str
    port: int
    path: str


class Response(NamedTuple):
    """What came back: the status, and at most EXCERPT bytes of the body."""

    status: int
    body: bytes


class RequestFailed(Exception):
    """The exchange came to nothing; the message says why, in words that tell nothing of the operator's network."""


def networks(setting: str) -> tuple[Network, ...]:
    """The networks that ADNERF_WEBHOOK_NETWORKS names. Raises BadSetting."""
    try:
        return tuple(ipaddress.ip_network(text.strip()) for text in setting.split(",") if text.strip())
    except ValueError as error:
        raise BadSetting(f"ADNERF_WEBHOOK_NETWORKS: {error}.") from error


def parse(url: str) -> Target:
    """The parts of an http(s) address. Raises UrlRefused."""
    if len(url) > LONGEST or not URL_PATTERN.fullmatch(url):
        raise UrlRefused("This is not an address that begins with https:// and a host, without user name or spaces.")
    try:
        parsed = Url(url)
    except ValidationError as error:
        raise UrlRefused("This is not an address.") from error
    if parsed.username or parsed.password or parsed.fragment is not None:
        raise UrlRefused("The address has a user name or a fragment.")
    host = parsed.host.strip("[]").rstrip(".")
    if not host:
        raise UrlRefused("The address has no host.")
    query = f"?{parsed.query}" if parsed.query else ""
    return Target(parsed.scheme, host, parsed.port, (parsed.path or "/") + query)


_looking = threading.BoundedSemaphore(16)
"""Look-ups of this process that are not answered yet."""


def resolve(host: str, port: int) -> list[str]:
    """The system's answer, in the order in which addresses should be tried. Raises OSError, ValueError."""
    looking = _looking
    if not looking.acquire(timeout=LOOK_UP_S):
        raise TimeoutError("too many names are being looked up")
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()
    threading.Thread(target=_ask, args=(host, port, answers, looking), name="look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=LOOK_UP_S)
    except queue.Empty:
        raise TimeoutError("the name servers do not answer") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _ask(host: str, port: int, answers: queue.SimpleQueue, looking: threading.Semaphore) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        answers.put([str(address[0]) for *_, address in found])
    except (OSError, ValueError) as error:  # ValueError: a name that IDNA forbids
        answers.put(error)
    finally:
        looking.release()


def resolve_allowed(target: Target, allowed: Iterable[Network], resolve: Resolve = resolve) -> list[Address]:
    """The IP addresses of `target`, all of which may be connected to. Raises UrlRefused, in the same words for all."""
    try:
        addresses = [ipaddress.ip_address(text) for text in resolve(target.host, target.port)]
    except (OSError, ValueError):  # ValueError: also an address with a zone, which ipaddress may not take
        addresses = []
    allowed = tuple(allowed)
    if addresses and all(any(address in network for network in allowed) for address in addresses):
        return addresses
    if not addresses or not all(is_public(address) for address in addresses):
        raise UrlRefused("The host is not known, or not on the public internet.")
    if target.scheme != "https" or target.port not in PORTS:
        raise UrlRefused(f"On the public internet only https at the ports {PORTS[0]} and {PORTS[1]} is called.")
    return addresses


def is_public(address: Address) -> bool:
    """Whether this is an address of the public internet, of one host."""
    if address.version == 6 and address not in PUBLIC_IPV6:
        return False
    return not any(address in network for network in NOT_PUBLIC)


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    allowed: Iterable[Network] = (),
    resolve: Resolve = resolve,
    tls: ssl.SSLContext | None = None,
    deadline_s: float = DEADLINE_S,
) -> Response:
    """POSTs `body` and returns what came back, whatever its status. Raises UrlRefused, RequestFailed.

    `tls`: whose certificates are trusted; default: those of the system and of certifi.
    """
    target = parse(url)
    addresses = resolve_allowed(target, allowed, resolve)
    wire = _PinnedBackend(addresses, time.monotonic() + deadline_s)
    literal = f"[{target.host}]" if ":" in target.host else target.host
    usual = target.port == {"http": 80, "https": 443}[target.scheme]
    named = {"Host": literal if usual else f"{literal}:{target.port}", "Content-Length": str(len(body))}
    origin = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=tls, network_backend=wire) as pool,
            pool.stream("POST", origin, headers=list({**headers, **named}.items()), content=body) as response,
        ):
            return Response(response.status, _beginning(response))
    except httpcore.TimeoutException as error:
        raise RequestFailed(f"No answer within {deadline_s:.0f} s.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise RequestFailed(_reason(error)) from error


def _beginning(response: httpcore.Response) -> bytes:
    found = b""
    for chunk in response.iter_stream():
        found += chunk
        if len(found) >= EXCERPT:
            break
    return found[:EXCERPT]


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"The certificate is not valid: {cause.verify_message}."
    if isinstance(cause, ssl.SSLError):
        return "There is no TLS at that port."
    if isinstance(error, httpcore.ConnectError):
        return "No connection."
    return "The connection broke, or the answer was not HTTP."


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were judged, whatever host is asked for; all that follows ends at the deadline."""

    def __init__(self, addresses: list[Address], ends_at: float):
        self.addresses, self.ends_at, self._system = addresses[:TRIES], ends_at, httpcore.SyncBackend()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None) -> httpcore.NetworkStream:
        """A connection to the first address that takes it; those before the last get their share of the time."""
        for left, address in zip(range(len(self.addresses), 0, -1), self.addresses, strict=True):
            share = _remaining(self.ends_at) / left
            try:
                return _Stream(self._system.connect_tcp(str(address), port, timeout=share), self.ends_at)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise


class _Stream(httpcore.NetworkStream):
    """A connection of which every operation gets no more than the time that is left."""

    def __init__(self, stream: httpcore.NetworkStream, ends_at: float):
        self.stream, self.ends_at = stream, ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _remaining(self.ends_at))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _remaining(self.ends_at))

    def start_tls(self, ssl_context, server_hostname=None, timeout=None) -> httpcore.NetworkStream:
        secured = self.stream.start_tls(ssl_context, server_hostname, _remaining(self.ends_at))
        return _Stream(secured, self.ends_at)

    def get_extra_info(self, info: str):
        return self.stream.get_extra_info(info)

    def close(self) -> None:
        self.stream.close()


def _remaining(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline is over")
    return left
