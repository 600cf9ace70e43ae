"""`python -m api`: the API as a process of its own. `adnerf api` and `adnerf serve` run this."""

from __future__ import annotations

import argparse
import socket
import sys
from contextlib import closing, suppress

import uvicorn

from api.app import create_app
from api.responses.job_events import JobEventHub
from storage.database.engine import Database, require_database
from storage.errors import StorageError
from storage.settings import load
from storage.tables import api_keys
from worker import logs

GRACE_S = 3
"""How long answers may take to end when the process is told to stop."""


class Server(uvicorn.Server):
    """A server that ends the answers which have no end of their own, before it waits for all answers to end."""

    def __init__(self, config: uvicorn.Config, watch: JobEventHub):
        super().__init__(config)
        self._watch = watch

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watch.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serves until SIGTERM or SIGINT. The database must have its tables."""
    parser = argparse.ArgumentParser("python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    try:
        settings = load()
        logs.configure(settings.log)
        with (
            closing(Database(settings.database)) as database,
            require_database(),
            database.session(write=False) as session,
        ):
            api_keys.check_listening(session, options.host)
    except StorageError as error:
        sys.exit(f"adnerf: {error}")
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        timeout_graceful_shutdown=GRACE_S,
        log_config=None,  # what uvicorn says goes the way of all our lines
        log_level="warning",
        proxy_headers=False,  # nobody's word on where a request comes from is taken
        access_log=False,  # api/middleware/request_log.py writes one, without query strings
    )
    with suppress(KeyboardInterrupt):  # uvicorn has stopped in good order by then
        Server(config, app.state.watch).run()


if __name__ == "__main__":
    main()
