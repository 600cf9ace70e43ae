"""Processes with the stub core: `worker`, or `serve` (which starts such a worker). Settings by the environment."""

from __future__ import annotations

import logging
import sys

from storage.settings import load
from tests.worker.stub_core import CORE
from worker.local import run_worker
from worker.serve import only_service, supervise

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {sys.argv[1]} %(message)s")
    settings = load()
    if sys.argv[1] == "worker":
        run_worker(settings, CORE)
    else:
        with only_service(settings):
            sys.exit(supervise(settings, {"worker": [sys.executable, "-m", __spec__.name, "worker"]}))
