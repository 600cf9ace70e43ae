"""Whether promises hold under fire: `python -m benchmarks.chaos [EXPERIMENT ...] [--kills N] [--json FILE]`.

Real Redis, PostgreSQL and S3 (moto) on free ports of the loopback address, real API, beat and Celery workers with the
service's own settings, and a core that only goes through the motions. Prints a table for each experiment and writes
all as JSON. Exit status 1: a promise was broken.
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
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.chaos.broker import flush, network_cut, repeats
from benchmarks.chaos.handling import cancels, hand_overs, poison
from benchmarks.chaos.load import load
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.stage import Servers, servers
from benchmarks.chaos.storm import storm

RESULT = Path(__file__).parents[1] / "results" / "chaos.json"
QUICK_LEASE = {"lease_s": 10.0}
"""Where a lease has to run out; the others have the service's own settings."""


def experiments(kills: int, limit_s: float) -> dict[str, Callable[[Servers, Path], Outcome]]:
    """Everything in full, by name."""
    return {
        "storm": partial(storm, kills=kills, pause_s=(2.0, 4.0), limit_s=limit_s),
        "flush": partial(flush, subjects=6, flushes=4),
        "freeze": partial(network_cut, how="freeze", **QUICK_LEASE),
        "cut": partial(network_cut, how="cut", **QUICK_LEASE),
        "repeats": partial(repeats, deliveries=5, job_s=20.0, visibility_s=5.0),
        "cancels": partial(cancels, count=20, within_s=5.0),
        "hand-overs": partial(hand_overs, count=6, within_s=30.0),
        "poison": poison,
        "load": partial(load, upload_mib=500, requests=300, jobs=1000),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, runs, prints; returns an exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="which ones (default: all, one after the other)")
    parser.add_argument("--kills", type=int, default=200, help="kills of the storm (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=2400.0, help="seconds of it at most (default: %(default).0f)")
    parser.add_argument("--json", type=Path, default=RESULT, help="where figures go, beside those that stand there")
    given = parser.parse_args(arguments)
    table = experiments(given.kills, given.limit)
    if unknown := set(given.names) - set(table):
        parser.error(f"no such experiment: {', '.join(sorted(unknown))}; there are {', '.join(table)}")
    figures = {name: run(name, table[name], given.json) for name in given.names or table}
    return int(any(figure["broken"] for figure in figures.values()))


def run(name: str, experiment: Callable[[Servers, Path], Outcome], result: Path) -> dict[str, Any]:
    """One experiment on servers of its own, printed and added to the results."""
    folder = Path(mkdtemp(prefix="chaos-"))
    with servers() as on:
        try:
            outcome = experiment(on, folder / name)
        except Exception as error:
            traceback.print_exc()
            outcome = Outcome(name, broken=[f"it did not come to its end: {error}"])
    show(outcome)
    if outcome.broken:
        print(f"The logs and the journal are in {folder}.")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    figures = {"machine": machine(), "figures": outcome.figures, "broken": outcome.broken}
    known: dict[str, Any] = {}
    with suppress(FileNotFoundError):
        known = json.loads(result.read_text())
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(known | {name: figures}, indent=2) + "\n")
    return figures


def machine() -> dict[str, Any]:
    """Where and when figures were measured, and how busy it was there."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
    }


def show(outcome: Outcome) -> None:
    """Prints one experiment."""
    table = Table("figure", "value", title=outcome.name, title_justify="left")
    for name, value in outcome.figures.items():
        table.add_row(name.replace("_", " "), say(value))
    for sentence in outcome.broken:
        table.add_row("[bold red]BROKEN", sentence)
    Console(width=120).print(table)


def say(value: Any) -> str:
    """A figure as a line of text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {say(inner)}" for name, inner in value.items()) or "none"
    return f"({value})" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: what was started is ended
    sys.exit(main())
