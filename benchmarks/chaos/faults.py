"""Faults of every kind, injected at random into a running service: killed and frozen parts, leaping clocks, a suspend."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psutil

from benchmarks.chaos.attempts import Interrupted
from benchmarks.chaos.service import RESTART_S, Program, Service, answers
from storage.database.models import Job

SHARES = {
    "kill worker": 0.13,
    "kill worker process": 0.11,
    "kill api": 0.1,
    "kill beat": 0.06,
    "kill redis": 0.08,
    "kill postgresql": 0.08,
    "kill store": 0.1,
    "freeze worker": 0.05,
    "freeze api": 0.05,
    "freeze beat": 0.03,
    "freeze redis": 0.03,
    "freeze postgresql": 0.03,
    "freeze store": 0.05,
    "leap worker": 0.02,
    "leap api": 0.02,
    "leap beat": 0.02,
    "suspend machine": 0.02,
    "flush redis": 0.02,
}
"""Relative frequency of each kind of fault and the part that it hits. `worker` is the main process of Celery, for a kill in half of
the cases with all its children, otherwise always; `worker process` is the child that runs the job. Only workers that run a
job are killed or frozen."""
WORKERS = {"worker-1": "a", "worker-2": "a", "worker-3": "b"}
"""The workers, and the machine (the data folder) of each."""
SUSPEND_S = 1.0
"""Real duration of a suspend. For the wall clocks it takes longer than a lease; after a second, all processes read their clocks anew."""


@dataclass
class Injector:
    """Injects faults into a service at random and records the consequences."""

    service: Service
    url: str
    random: random.Random
    freeze_s: tuple[float, float]
    """Shortest and longest time for which a part is frozen; half of the frozen workers are frozen for a lease longer."""
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    interrupted: list[Interrupted] = field(default_factory=list)
    outages_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SHARES})
    """Seconds from each fault until the API reports that the service is ready."""
    recovering: dict[str, threading.Thread] = field(default_factory=dict)
    """Threads that wait for the recovery, by the place of the fault."""

    def inject_one(self) -> None:
        """Injects a random fault into a part that is up: first each kind once. Does nothing if the chosen worker is idle."""
        shares = {fault: share for fault, share in SHARES.items() if not self._is_recovering(place(fault))}
        if missing := [fault for fault in shares if not self.faults[fault]]:
            shares = dict.fromkeys(missing, 1.0)
        (fault,) = self.random.choices(list(shares), list(shares.values()))
        kind, _, part = fault.partition(" ")
        kinds = {"kill": self._kill, "freeze": self._freeze, "leap": self._leap}
        others = {"suspend machine": self._suspend, "flush redis": self._flush}
        done = others[fault]() if fault in others else kinds[kind](part)
        self.faults[fault] += done

    def wait_for_recovery(self) -> None:
        """Waits until all parts have recovered."""
        for thread in self.recovering.values():
            thread.join()

    def _is_recovering(self, name: str) -> bool:
        return name in self.recovering and self.recovering[name].is_alive()

    def _recover(self, fault: str, mend: Callable[[], object]) -> None:
        """Calls `mend`, which may wait, in a thread, and measures the time until the service is ready."""
        begin = time.monotonic()

        def wait() -> None:
            mend()
            self.service.until(lambda: answers(self.url))
            self.outages_s[fault].append(time.monotonic() - begin)

        self.recovering[place(fault)] = threading.Thread(target=wait, name=f"recovery from {fault}")
        self.recovering[place(fault)].start()

    def _kill(self, part: str) -> bool:
        if part.startswith("worker"):
            return self._kill_worker(part)
        server, killed_at = self.service.backends.named().get(part), time.time()
        (server or self.service.programs[part]).kill()

        def mend() -> None:
            if server is not None:
                time.sleep(RESTART_S)
                server.start()
            elif part == "beat":
                heartbeat = self.service.folder / "a" / "beat"
                self.service.until(lambda: is_newer(heartbeat, killed_at))

        self._recover(f"kill {part}", mend)
        return True

    def _kill_worker(self, part: str) -> bool:
        program = self._busy_worker()
        if program is None:
            return False
        with interrupting(self.service, f"kill {part}", program, self.interrupted) as victims:
            if part == "worker":
                program.kill(whole=self.random.random() < 0.5)
            elif victims:
                os.kill(claimer(victims[0]), signal.SIGKILL)
        return part == "worker" or bool(victims)

    def _freeze(self, part: str) -> bool:
        seconds = self.random.uniform(*self.freeze_s)
        if part == "worker":
            program = self._busy_worker()
            if program is None:
                return False
            if self.random.random() < 0.5:
                seconds += self.service.settings.lease_s
                with interrupting(self.service, "freeze worker", program, self.interrupted):
                    program.freeze()
            else:  # too short to count
                program.freeze()
            frozen = program
        else:
            frozen = self.service.backends.named().get(part) or self.service.programs[part]
            frozen.freeze()
        self._recover(f"freeze {part}", lambda: (time.sleep(seconds), frozen.thaw()))
        return True

    def _leap(self, part: str) -> bool:
        """Moves one process's clock ahead by two leases, and back some seconds later."""
        name = self.random.choice(list(WORKERS)) if part == "worker" else part
        seconds, clocks = 2 * self.service.settings.lease_s, self.service.backends.clocks
        clocks.leap(seconds, name)
        pause = self.random.uniform(*self.freeze_s)
        self._recover(f"leap {part}", lambda: (time.sleep(pause), clocks.leap(-seconds, name)))
        return True

    def _suspend(self) -> bool:
        suspend(self.service, 2 * self.service.settings.lease_s)
        self._recover("suspend machine", lambda: None)
        return True

    def _flush(self) -> bool:
        if self._is_recovering("redis"):
            return False
        self.service.redis.flushall()
        return True

    def _busy_worker(self) -> Program | None:
        """Returns a random worker if it runs a job; that cannot be known while the database is away."""
        if self._is_recovering("postgresql") or self._is_recovering("machine"):
            return None
        program = self.service.programs[self.random.choice(list(WORKERS))]
        running = self.service.jobs(Job.state == "running")
        return program if any(program.owns(claimer(job)) for job in running) else None


@contextmanager
def interrupting(service: Service, fault: str, program: Program, interrupted: list[Interrupted]) -> Iterator[list[Job]]:
    """Adds the jobs that a worker runs before or after the block, which kills or freezes it; yields those before."""
    pids = {program.process.pid, *(child.pid for child in psutil.Process(program.process.pid).children(recursive=True))}

    def victims() -> list[Job]:
        return [job for job in service.jobs(Job.state == "running") if claimer(job) in pids]

    before = victims()
    yield before
    hit = {(job.id, job.attempt) for job in before + victims()}  # it may have claimed a job in between
    interrupted += [Interrupted(fault, time.monotonic(), *one) for one in sorted(hit)]


def place(fault: str) -> str:
    """Returns the part that is hit, which can have one fault at a time; there are several workers, so theirs exclude only the same."""
    part = fault.partition(" ")[2]
    return fault if part == "worker" else part


def suspend(service: Service, seconds: float) -> None:
    """Suspends the whole machine: everything is frozen for a moment, in which all wall clocks move on by `seconds`."""
    with ExitStack() as stack:
        for part in [*service.programs.values(), *service.backends.named().values()]:
            part.freeze()
            stack.callback(part.thaw)
        service.backends.clocks.leap(seconds)
        time.sleep(SUSPEND_S)


def claimer(job: Job) -> int:
    """Returns the id of the process that runs the job."""
    return int(job.worker.split("-")[-2])


def is_newer(path: os.PathLike[str], moment: float) -> bool:
    """Returns whether the file exists and was modified after the Unix time `moment`."""
    return os.path.exists(path) and os.stat(path).st_mtime > moment
