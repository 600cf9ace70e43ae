"""`python -m adnerf_core`."""

from adnerf_core.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
