"""`python -m api`: the API as a process of its own. `adnerf api` and `adnerf serve` run this."""

from __future__ import annotations

import argparse

import uvicorn

from storage.settings import load
from worker import logs

GRACE_S = 3
"""How long answers may take to end when the process is told to stop."""


def main() -> None:
    """Serves until SIGTERM or SIGINT. The database must have its tables."""
    parser = argparse.ArgumentParser("python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args()
    settings = load()
    logs.configure(settings.log)
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=options.host,
        port=options.port,
        timeout_graceful_shutdown=GRACE_S,
        log_config=None,  # what uvicorn says goes the way of all our lines
        log_level="warning",
        access_log=False,  # api/observe.py writes one, without query strings
    )


if __name__ == "__main__":
    main()
