"""Open mode: while no API key exists, only requests of this user's own programs and pages are accepted.

A request with the local token is accepted: only this user can read it. Any other request must come from this machine, by a
connection of this user's, without traces of a proxy. The rules are about what a caller cannot choose: the user and the address that it
connects from, and the headers that a browser writes itself.
A page whose name was rebound to 127.0.0.1 sends that name in `Host`; any other page sends its own origin in `Origin`, or its relation
to this service in `Sec-Fetch-Site`. docs/decisions/0027-open-mode.md gives the reasons, and says what is not covered.
"""

from __future__ import annotations

import hmac
import logging
import re
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from api.auth import READS
from api.middleware import peer_user
from api.problems.problems import Problem
from storage import local_token
from storage.errors import Unauthorized
from storage.settings import Settings
from storage.tables import api_keys

log = logging.getLogger(__name__)

TOKEN_REMEDY = (
    f"Send `Authorization: Bearer` with the content of the file {local_token.FILE} in the service's data folder, or create a key: "
    "adnerf keys create --owner local --name first --scopes read,write,admin."
)

FORWARDING_HEADERS = re.compile(
    r"forwarded|via|x-forwarded.*|(.*-)?(client|real)-ip|cf-.*|cdn-loop|x-envoy-.*|x-original-.*|x-amzn-trace-id|x-arr-.*|proxy-.*"
)
"""Names of headers that proxies add: such a request was made by a client behind the address that it comes from."""
UPLOADS = "/v1/uploads/"
"""Start of the paths of single uploads."""
OLD_HTTP = ("0.9", "1.0")
"""Versions of HTTP in which no client of today asks, but a proxy may (nginx does, unless told otherwise)."""
FOREIGN_SITES = ("cross-site", "same-site")
"""Values of `Sec-Fetch-Site` for pages of other origins; pages on other ports of this machine are `same-site`."""
DEFAULT_PORTS = {"http": 80, "https": 443}


class OpenMode:
    """Decides about requests while no API key exists."""

    def __init__(self, settings: Settings):
        self.needs_token = settings.open_mode == "token"
        try:
            self._token = local_token.load_or_create(settings.data_dir)
        except OSError as error:
            log.warning("there is no local token, so that only the user of a connection counts: %s", error)
            self._token = ""

    def check(self, connection: HTTPConnection, token: str, *, guarded: bool) -> None:
        """Decides about one request.

        Args:
            connection: the request.
            token: what it has in its header Authorization; empty if there is nothing.
            guarded: whether the path shows or changes anything; the page and the documentation do not.

        Raises:
            Problem: `keys_needed`; the request is not one of this machine and user.
            Unauthorized: the request needs the token and lacks it.
        """
        if self._token and hmac.compare_digest(token.encode(), self._token.encode()):
            return
        check_local(connection)
        if not guarded:
            return
        if self.needs_token:
            raise Unauthorized("The request lacks the local token.", TOKEN_REMEDY)
        ends = tuple(connection.scope["client"]), tuple(connection.scope["server"])
        # What arrived of an upload before its connection broke counts. Nobody guesses the id of an upload.
        is_cut_upload = connection.scope["path"].startswith(UPLOADS) and peer_user.has_gone(*ends)
        if not (is_cut_upload or peer_user.is_own_user(*ends)):
            why = "The request was made by another user of this machine, such as a proxy"
            raise Problem("keys_needed", f"{why}, and no API key exists yet.")


def check_local(connection: HTTPConnection) -> None:
    """Raises the Problem `keys_needed` unless the request was made on this machine, and by no page of another origin."""
    headers = connection.headers
    if connection.client is None or not api_keys.is_loopback(connection.client.host):
        why = "The request comes from another machine"
    elif connection.scope.get("http_version") in OLD_HTTP or any(map(FORWARDING_HEADERS.fullmatch, headers.keys())):
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
