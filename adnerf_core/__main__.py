"""Entry point of `python -m adnerf_core`."""

from adnerf_core import threads
from adnerf_core.cli import main

if __name__ == "__main__":
    threads.sleep_while_waiting()
    raise SystemExit(main())
