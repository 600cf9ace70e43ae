"""Open mode: while no API key exists, only requests of this machine's own programs and pages are accepted.

The rules are about what a caller cannot choose: the address that it connects from, and the headers that a browser writes itself.
A page whose name was rebound to 127.0.0.1 sends that name in `Host`; any other page sends its own origin in `Origin`, or its relation
to this service in `Sec-Fetch-Site`. docs/decisions/0027-open-mode.md gives the reasons, and says what is not covered.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from api.auth import READS
from api.problems.problems import Problem
from storage.tables import api_keys

FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers that proxies add: such a request was made by a client behind the address that it comes from."""
FOREIGN_SITES = ("cross-site", "same-site")
"""Values of `Sec-Fetch-Site` for pages of other origins; pages on other ports of this machine are `same-site`."""
DEFAULT_PORTS = {"http": 80, "https": 443}


def check_local(connection: HTTPConnection) -> None:
    """Raises the Problem `keys_needed` unless the request was made on this machine, and by no page of another origin."""
    headers = connection.headers
    if connection.client is None or not api_keys.is_loopback(connection.client.host):
        why = "The request comes from another machine"
    elif any(name in headers for name in FORWARDING_HEADERS):
        why = "The request was forwarded by a proxy"
    elif not api_keys.is_loopback(_host(f"//{headers.get('host', '')}")):
        why = "The request is addressed to another host name than this machine's"
    elif _is_of_foreign_page(connection):
        why = "The request was made by a web page of another origin"
    else:
        return
    raise Problem("keys_needed", f"{why}, and no API key exists yet.")


def _is_of_foreign_page(connection: HTTPConnection) -> bool:
    """Whether a browser made the request for a page that is not this service's own.

    A link from another page may open this service's page; therefore Sec-Fetch-Site counts only for requests that change something.
    """
    scheme = connection.scope["scheme"]
    origin = connection.headers.get("origin")
    if origin is not None and _origin(origin) != _origin(f"{scheme}://{connection.headers.get('host', '')}"):
        return True
    changes = connection.scope["method"] not in (*READS, "OPTIONS")
    return changes and connection.headers.get("sec-fetch-site") in FOREIGN_SITES


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of a URL; None if it has none of them, such as `null`."""
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            return None
        return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None


def _host(url: str) -> str:
    """Returns the host of a URL without its port; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
