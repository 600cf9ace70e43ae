"""The network address of a client: that of the connection, or the one that trusted proxies report in X-Forwarded-For."""

from __future__ import annotations

import ipaddress
import re

from starlette.requests import HTTPConnection

from storage.errors import BadSetting

HEADER = "x-forwarded-for"
WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:\d+)?|(?P<four>[^:]*):\d+")
"""An address with a port, as some proxies write it."""
UNKNOWN = "unknown"
IPV6_PREFIX = 64
"""Bits of the smallest network that a provider gives a client, who has all of its addresses (RFC 6177)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ClientAddresses:
    """Finds the addresses of clients. Raises BadSetting if `trusted_proxies` (ADNERF_TRUSTED_PROXIES) is no list of networks."""

    def __init__(self, trusted_proxies: str):
        try:
            self.trusted = tuple(
                ipaddress.ip_network(each.strip()) for each in trusted_proxies.split(",") if each.strip()
            )
        except ValueError as error:
            raise BadSetting(f"ADNERF_TRUSTED_PROXIES: {error}.") from error

    def of(self, connection: HTTPConnection) -> str:
        """Returns the last address on the request's way that is no trusted proxy's.

        Every proxy appends the address that it was called from, so everything before an untrusted address may be invented.
        """
        peer = _parse(connection.client.host) if connection.client else None
        if peer is None:
            return connection.client.host if connection.client else UNKNOWN
        way = [part for line in connection.headers.getlist(HEADER) for part in line.split(",")]
        while way and self._is_trusted(peer):
            address = _parse(way.pop())
            if address is None:
                break
            peer = address
        return str(peer)

    def counted_peer(self, host: str) -> str | None:
        """Returns what the connections from `host` are counted under (`counted`); None for a trusted proxy, and for no address."""
        peer = _parse(host)
        return None if peer is None or self._is_trusted(peer) else counted(str(peer))

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def counted(client: str) -> str:
    """Returns what the requests of a client's address are counted under: of an IPv6 address, its network of IPV6_PREFIX bits."""
    address = _parse(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, IPV6_PREFIX), strict=False))
    return client


def _parse(text: str) -> Address | None:
    text = text.strip()
    if match := WITH_PORT.fullmatch(text):
        text = match["six"] or match["four"] or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
