"""`python -m api`: runs the API as a process. `adnerf api` and `adnerf serve` start it."""

from __future__ import annotations

import argparse
import socket
import sys
from contextlib import closing, suppress

import uvicorn

from api.app import create_app
from api.connection_guard import guarded_protocol, raise_descriptor_limit
from api.middleware.client_address import ClientAddresses
from api.responses.job_events import JobEventHub
from storage.database.engine import Database, require_database
from storage.database.startup import require_data_dir, require_tables
from storage.errors import StorageError
from storage.private_files import restrict_umask
from storage.settings import load
from storage.tables import api_keys
from worker import logs
from worker.processes.supervisor import await_port

GRACE_S = 3
"""Seconds that running responses get to end when the process is stopped. Event streams end at once (`Server.shutdown`), so this
is the time for downloads and small requests; a supervisor kills a process that takes much longer."""


class Server(uvicorn.Server):
    """A uvicorn server that closes event streams at shutdown; uvicorn alone would wait for them until GRACE_S is over."""

    def __init__(self, config: uvicorn.Config, hub: JobEventHub):
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the event streams, then shuts down as uvicorn does."""
        self._hub.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serves until SIGTERM or SIGINT. Exits with a message if the settings or the database cannot be used."""
    parser = argparse.ArgumentParser("python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    restrict_umask()
    try:
        settings = load()
        logs.configure(settings.log)
        require_tables(settings.database)
        require_data_dir(settings)
        with (
            closing(Database(settings.database)) as database,
            require_database(),
            database.session(write=False) as session,
        ):
            api_keys.check_listening(session, options.host)
        app = create_app(settings)
        await_port(options.host, options.port)  # uvicorn's own message names no remedy
    except StorageError as error:
        sys.exit(f"adnerf: {error}")
    hub, connections = app.state.job_event_hub, raise_descriptor_limit()
    hub.max_streams = min(hub.max_streams, connections // 2)
    app.state.request_shares.connections = connections
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        timeout_graceful_shutdown=GRACE_S,
        http=guarded_protocol(connections, ClientAddresses(settings.trusted_proxies)),
        log_config=None,  # uvicorn's messages go through worker/logs.py like all others
        log_level="warning",
        proxy_headers=False,  # anyone could send X-Forwarded-For; the address of the connection counts
        access_log=False,  # api/middleware/request_log.py writes one line per request, without query strings
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has stopped properly
        Server(config, hub).run()


if __name__ == "__main__":
    main()
