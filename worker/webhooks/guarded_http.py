"""HTTP requests to URLs that clients or operators choose, such as webhooks: allowed targets and a deadline (protection against SSRF).

A host name could resolve to the operator's own network, at once or at a second look-up (DNS rebinding). Therefore the URL is
parsed once (WHATWG's rules, by pydantic), the name is resolved once, and the connection goes to exactly the addresses that
`resolve_allowed` has checked; TLS still verifies the name. httpcore sends the request: it follows no redirects, keeps no cookies and
reads no proxy settings. One deadline covers the whole exchange, however slowly bytes arrive.
"""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections import Counter
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
"""(host, port) -> IP addresses as text. Raises OSError if there are none."""

PORTS = (443, 8443)
"""Ports that are allowed on the public internet: the usual ones of HTTPS, so that no other protocol's server receives a POST."""
MAX_URL_LENGTH = 2000
"""Characters of a URL: the length that browsers and proxies commonly accept."""
DEADLINE_S = 10.0
"""Seconds for an exchange, from connecting to the last byte that is read of the response. Standard Webhooks recommends 15 to 30;
ten keep a thread free for others."""
MAX_BODY_BYTES = 1024
"""Bytes of the response's body that are read and stored for the owner: enough for an error message."""
RESOLVE_S = 5.0
"""Seconds for a DNS look-up; the system's resolver waits much longer for name servers that do not answer."""
MAX_ADDRESSES = 3
"""Addresses of one name that are tried: each gets its share of the deadline, and a third of it suffices to connect."""

URL_PATTERN = re.compile(r"https?://[^/?#\\@\s\x00-\x20\x7f][^\\\s\x00-\x20\x7f]*", re.IGNORECASE)
"""URLs that every parser reads in the same way; parsers differ on the others, and a difference would defeat the check."""
PUBLIC_IPV6 = IPv6Network("2000::/3")
NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: metadata services of clouds
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
"""IANA's special-purpose registries. IPv6 outside PUBLIC_IPV6 is refused anyway: loopback, mapped and compatible IPv4, NAT64,
unique local, link-local, multicast."""


class Target(NamedTuple):
    """A parsed URL. `path` includes the query; `host` is a name, or an IP address without brackets."""

    scheme: str
    host: str
    port: int
    path: str


class Response(NamedTuple):
    """The status, and the beginning of the body."""

    status: int
    body: bytes


class RequestFailed(Exception):
    """The exchange failed; the message says why without revealing anything about the operator's network."""


def networks(setting: str, variable: str = "ADNERF_WEBHOOK_NETWORKS") -> tuple[Network, ...]:
    """Parses the value of `variable`, a list of networks separated by commas. Raises BadSetting."""
    try:
        return tuple(ipaddress.ip_network(text.strip()) for text in setting.split(",") if text.strip())
    except ValueError as error:
        raise BadSetting(f"{variable}: {error}.") from error


def parse(url: str) -> Target:
    """Parses an http(s) URL. Raises UrlRefused."""
    if len(url) > MAX_URL_LENGTH or not URL_PATTERN.fullmatch(url):
        raise UrlRefused("This is not a URL that begins with https:// and a host, without user name or spaces.")
    try:
        parsed = Url(url)
    except ValidationError as error:
        raise UrlRefused("This is not a URL.") from error
    if parsed.username or parsed.password or parsed.fragment is not None:
        raise UrlRefused("The URL has a user name or a fragment.")
    host = parsed.host.strip("[]").rstrip(".")
    if not host:
        raise UrlRefused("The URL has no host.")
    query = f"?{parsed.query}" if parsed.query else ""
    return Target(parsed.scheme, host, parsed.port, (parsed.path or "/") + query)


class LookUps:
    """Counts the unanswered look-ups of a process, and limits them: their threads cannot be stopped, and slow name servers must not
    pile them up. Threads may share it.

    Args:
        most: of all owners.
        of_owner: of one owner, so that one owner's names leave look-ups to others.
    """

    def __init__(self, most: int = 64, of_owner: int = 4):
        self._most, self._of_owner = most, of_owner
        self._owners: Counter[str] = Counter()
        self._changed = threading.Condition()

    def begin(self, owner: str) -> bool:
        """Counts a look-up for `owner`; returns False if there is no room for it within RESOLVE_S."""
        with self._changed:
            has_room = self._changed.wait_for(lambda: self._has_room(owner), RESOLVE_S)
            self._owners[owner] += has_room
            return has_room

    def end(self, owner: str) -> None:
        """Ends the count of a look-up that was answered."""
        with self._changed:
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]
            self._changed.notify_all()

    def _has_room(self, owner: str) -> bool:
        return self._owners[owner] < self._of_owner and self._owners.total() < self._most


_look_ups = LookUps()


def resolve(host: str, port: int, owner: str = "") -> list[str]:
    """Resolves a name by the system's resolver.

    Args:
        host: the name.
        port: for which addresses are asked.
        owner: the tenant who chose the name; "" if the operator did.

    Returns:
        IP addresses as text, in the order in which they should be tried.

    Raises:
        OSError: the name has no address, or there is no answer within RESOLVE_S.
        ValueError: the name is not valid.
    """
    look_ups = _look_ups
    if not look_ups.begin(owner):
        raise TimeoutError("too many DNS look-ups are in progress")
    results: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()
    threading.Thread(
        target=_resolve_in_thread, args=(host, port, results, look_ups, owner), name="look-up", daemon=True
    ).start()
    try:
        result = results.get(timeout=RESOLVE_S)
    except queue.Empty:
        raise TimeoutError("the name servers do not answer") from None
    if isinstance(result, Exception):
        raise result
    return result


def _resolve_in_thread(host: str, port: int, results: queue.SimpleQueue, look_ups: LookUps, owner: str) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        results.put([str(address[0]) for *_, address in addresses])
    except (OSError, ValueError) as error:  # ValueError: a name that IDNA forbids
        results.put(error)
    finally:
        look_ups.end(owner)


def resolve_allowed(target: Target, allowed: Iterable[Network], resolve: Resolve = resolve) -> list[Address]:
    """Resolves `target` and checks that every address may be connected to.

    Args:
        target: the parsed URL.
        allowed: networks that are allowed in addition to the public internet.
        resolve: the resolver; tests replace it.

    Raises:
        UrlRefused: an address is not allowed. The message is the same for unknown and for private hosts, so that it does
            not reveal which names exist in the operator's network.
    """
    try:
        addresses = [ipaddress.ip_address(text) for text in resolve(target.host, target.port)]
    except (OSError, ValueError):  # ValueError: also an address with a zone, which ipaddress may refuse
        addresses = []
    allowed = tuple(allowed)
    if addresses and all(any(address in network for network in allowed) for address in addresses):
        return addresses
    if not addresses or not all(is_public(address) for address in addresses):
        raise UrlRefused("The host is unknown, or not on the public internet.")
    if target.scheme != "https" or target.port not in PORTS:
        raise UrlRefused(f"On the public internet only https on the ports {PORTS[0]} and {PORTS[1]} is allowed.")
    return addresses


def is_public(address: Address) -> bool:
    """Returns True for a unicast address of the public internet."""
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
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Response:
    """POSTs `body` and returns the response, whatever its status.

    Args:
        url: chosen by a client.
        headers: of the request; Host and Content-Length are added.
        body: of the request.
        allowed: networks that are allowed in addition to the public internet.
        resolve: the resolver; tests replace it.
        tls: the trusted certificates; default: those of the system and of certifi.
        deadline_s: for the whole exchange.
        max_body_bytes: how much of the response's body is read.

    Raises:
        UrlRefused: the URL or its host is not allowed.
        RequestFailed: there was no complete response before the deadline.
    """
    target = parse(url)
    addresses = resolve_allowed(target, allowed, resolve)
    backend = _PinnedBackend(addresses, time.monotonic() + deadline_s)
    literal = f"[{target.host}]" if ":" in target.host else target.host
    is_default_port = target.port == {"http": 80, "https": 443}[target.scheme]
    required = {"Host": literal if is_default_port else f"{literal}:{target.port}", "Content-Length": str(len(body))}
    origin = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=tls, network_backend=backend) as pool,
            pool.stream("POST", origin, headers=list({**headers, **required}.items()), content=body) as response,
        ):
            return Response(response.status, _read_start(response, max_body_bytes))
    except httpcore.TimeoutException as error:
        raise RequestFailed(f"No response within {deadline_s:.0f} s.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise RequestFailed(_reason(error)) from error


def _read_start(response: httpcore.Response, limit: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"The certificate is not valid: {cause.verify_message}."
    if isinstance(cause, ssl.SSLError):
        return "The server does not speak TLS on that port."
    if isinstance(error, httpcore.ConnectError):
        return "No connection."
    return "The connection broke, or the response was not HTTP."


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the checked addresses, whatever host httpcore passes; every operation ends at the deadline."""

    def __init__(self, addresses: list[Address], ends_at: float):
        self.addresses, self.ends_at, self._system = addresses[:MAX_ADDRESSES], ends_at, httpcore.SyncBackend()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None) -> httpcore.NetworkStream:
        """Connects to the first address that accepts; each attempt gets an equal share of the remaining time."""
        for remaining, address in zip(range(len(self.addresses), 0, -1), self.addresses, strict=True):
            share = _remaining_s(self.ends_at) / remaining
            try:
                return _Stream(self._system.connect_tcp(str(address), port, timeout=share), self.ends_at)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if remaining == 1:
                    raise


class _Stream(httpcore.NetworkStream):
    """A connection whose operations time out at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, ends_at: float):
        self.stream, self.ends_at = stream, ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads at most `max_bytes`."""
        return self.stream.read(max_bytes, _remaining_s(self.ends_at))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all of `buffer`."""
        self.stream.write(buffer, _remaining_s(self.ends_at))

    def start_tls(self, ssl_context, server_hostname=None, timeout=None) -> httpcore.NetworkStream:
        """Wraps the connection in TLS."""
        secured = self.stream.start_tls(ssl_context, server_hostname, _remaining_s(self.ends_at))
        return _Stream(secured, self.ends_at)

    def get_extra_info(self, info: str):
        """Passes the question on to the wrapped connection."""
        return self.stream.get_extra_info(info)

    def close(self) -> None:
        """Closes the connection."""
        self.stream.close()


def _remaining_s(ends_at: float) -> float:
    seconds = ends_at - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout("the deadline is over")
    return seconds
