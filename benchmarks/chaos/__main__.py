"""Runs the chaos experiments: `python -m benchmarks.chaos [EXPERIMENT ...] [--faults N] [--json FILE]`.

Redis, PostgreSQL and S3 (nanio, with its objects on disk) are real servers on free ports of the loopback address; API, beat and
Celery workers are the real ones with default settings; only the core is a stub, whose steps do no work. Prints a table for each
experiment and writes all figures as JSON. Exit status 1: a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.chaos.broker import flush, network_cut, repeats
from benchmarks.chaos.empty_database import replaced
from benchmarks.chaos.handling import cancels, hand_overs, poison
from benchmarks.chaos.hung import hung
from benchmarks.chaos.load import load
from benchmarks.chaos.outages import outages
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import Servers, servers
from benchmarks.chaos.shared_folder import cancel_and_retry
from benchmarks.chaos.storm import storm
from benchmarks.chaos.versions import older_worker

RESULT = Path(__file__).parents[1] / "results" / "chaos.json"
QUICK_LEASE = {"lease_s": 10.0}
"""Settings of the experiments that wait for a lease to expire; the others have the default settings."""


def experiments(faults: int, limit_s: float) -> dict[str, Callable[[Servers, Path], Outcome]]:
    """Returns all experiments by name, in full length.

    Args:
        faults: number of faults of the experiment `storm`.
        limit_s: longest duration of its faults, seconds.
    """
    return {
        "storm": partial(storm, faults=faults, pause_s=(1.0, 3.0), limit_s=limit_s),
        "flush": partial(flush, subjects=6, flushes=4),
        "freeze": partial(network_cut, how="freeze", **QUICK_LEASE),
        "cut": partial(network_cut, how="cut", **QUICK_LEASE),
        "repeats": partial(repeats, deliveries=5, job_s=20.0, visibility_s=5.0),
        "outages": partial(outages, rounds=1, longer_s=3.0, **QUICK_LEASE),
        "hung": partial(hung, count=3, within_s=90.0),
        "shared-folder": partial(cancel_and_retry, rounds=6),
        "empty-database": partial(replaced, subjects=3, rounds=3),
        "older-version": partial(older_worker, subjects=8, kills=6),
        "cancels": partial(cancels, count=20, within_s=5.0),
        "hand-overs": partial(hand_overs, count=6, within_s=30.0),
        "poison": poison,
        "load": partial(load, upload_mib=500, requests=300, jobs=1000),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and runs and prints the experiments; returns the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="the experiments to run (default: all)")
    parser.add_argument("--faults", type=int, default=320, help="number of faults of the storm (default: %(default)s)")
    parser.add_argument(
        "--limit", type=float, default=2400.0, help="longest duration of the storm, seconds (default: %(default).0f)"
    )
    parser.add_argument(
        "--json", type=Path, default=RESULT, help="file that the figures are added to (default: %(default)s)"
    )
    args = parser.parse_args(arguments)
    table = experiments(args.faults, args.limit)
    if unknown := set(args.names) - set(table):
        parser.error(f"no such experiment: {', '.join(sorted(unknown))}; there are {', '.join(table)}")
    figures = {name: run(name, table[name], args.json) for name in args.names or table}
    return int(any(figure["broken"] for figure in figures.values()))


def run(name: str, experiment: Callable[[Servers, Path], Outcome], result: Path) -> dict[str, Any]:
    """Runs one experiment with servers of its own, prints it, and adds it to the results; returns its figures."""
    folder = Path(mkdtemp(prefix="chaos-"))
    with servers() as backends:
        try:
            outcome = experiment(backends, folder / name)
        except Exception as error:
            traceback.print_exc()
            outcome = Outcome(name, broken=[f"the experiment did not finish: {error}"])
    show(outcome)
    if outcome.broken:
        print(f"The logs and the journal are in {folder}.")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    figures = {"machine": machine(), "figures": outcome.figures, "broken": outcome.broken}
    results: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        results = json.loads(result.read_text())
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(results | {name: figures}, indent=2) + "\n")
    return figures


def machine() -> dict[str, Any]:
    """Returns the time of the measurement, the machine, and its load."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
    }


def show(outcome: Outcome) -> None:
    """Prints the figures and the broken promises of one experiment."""
    table = Table("figure", "value", title=outcome.name, title_justify="left")
    for name, value in outcome.figures.items():
        table.add_row(name.replace("_", " "), format_figure(value))
    for sentence in outcome.broken:
        table.add_row("[bold red]BROKEN", sentence)
    Console(width=120).print(table)


def format_figure(value: Any) -> str:
    """Formats a figure as one line of text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {format_figure(inner)}" for name, inner in value.items()) or "none"
    return f"({value})" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # like Ctrl-C: ends all processes that were started
    sys.exit(main())
