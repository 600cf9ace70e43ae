"""ServiceStats for Prometheus: what this process sees, and what the database and the parts of the service tell.

Every family has few label values, whatever subjects, videos and jobs there are. What comes from the database is read when
somebody asks, and kept for a few seconds, so that several who ask cost no more than one.
"""

from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from api.monitoring.readiness import ComponentStatus, Readiness
from storage.database.engine import Database
from storage.database.models import now
from storage.settings import Settings
from storage.tables import counters, jobs, service_stats, webhooks
from storage.tables.service_stats import ServiceStats
from worker.broker import QUEUES

log = logging.getLogger(__name__)

KEPT_S = 5.0
"""For how long figures from the database and answers of the parts are passed on without asking again."""

ENDS = {"succeed": "succeeded", "fail": "failed", "give_up": "failed", "time_out": "failed", "cancel": "cancelled"}
"""Moves after which a job has ended, by the state that it ends in."""
LOST = ("requeue", "give_up")
"""Moves of jobs whose worker was gone."""


def registry(settings: Settings, database: Database, readiness: Readiness) -> CollectorRegistry:
    """A registry with all figures but those of requests, which api/middleware/request_log.py adds."""
    made = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=made)
    made.register(ServiceCollector(settings, database, readiness))
    return made


class ServiceCollector(Collector):
    """The figures of the whole service; every API process tells the same of it."""

    def __init__(self, settings: Settings, database: Database, readiness: Readiness):
        self.settings, self.database, self.readiness = settings, database, readiness
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered must not need the database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All families. Where the database does not answer, those that need it are left out, and `adnerf_up` tells."""
        with self._lock:
            if time.monotonic() - self._read_at > KEPT_S:
                self._kept = list(self._read())
                self._read_at = time.monotonic()
            return self._kept

    def _read(self) -> Iterator[Metric]:
        parts = self.readiness.parts()
        yield _up(parts)
        free = {(socket.gethostname(), "api"): shutil.disk_usage(self.settings.data_dir).free}
        read = self._figures() if parts["database"].ok else None
        if read is not None:
            yield from (*_queues(read), *_counts(read), *_workers(read), *_deliveries(read))
            free |= {(each.host, "worker"): each.device["disk_free_bytes"] for each in read.workers}
        disk = GaugeMetricFamily(
            "adnerf_disk_free_bytes", "Free space where the data folder lies.", labels=("host", "process")
        )
        for labels, size in free.items():
            disk.add_metric(labels, size)
        yield disk

    def _figures(self) -> ServiceStats | None:
        try:
            with self.database.session(write=False) as session:
                return service_stats.read(session, worker_silence_s=self.settings.worker_silence_s)
        except Exception as error:  # it went in this moment; the other figures are still good
            log.warning("no figures from the database: %s", error)
            return None


def _up(parts: dict[str, ComponentStatus]) -> Metric:
    family = GaugeMetricFamily("adnerf_up", "Whether a part of the service is well: 1 or 0.", labels=("part",))
    for name, part in parts.items():
        family.add_metric((name,), float(part.ok))
    return family


def _queues(read: ServiceStats) -> Iterator[Metric]:
    moment = now()
    found = {(each.kind, each.state): each for each in read.queue}
    number = GaugeMetricFamily("adnerf_jobs", "Jobs waiting and at work.", labels=("kind", "state"))
    oldest = GaugeMetricFamily(
        "adnerf_queue_oldest_age_seconds", "Age of the oldest queued job; 0: none is queued.", labels=("kind",)
    )
    for kind in jobs.KINDS:
        for state in ("queued", "running"):
            number.add_metric((kind, state), found[kind, state].jobs if (kind, state) in found else 0)
        waiting = found.get((kind, "queued"))
        oldest.add_metric((kind,), (moment - waiting.oldest_queued_at).total_seconds() if waiting else 0)
    yield from (number, oldest)


def _counts(read: ServiceStats) -> Iterator[Metric]:
    attempts = CounterMetricFamily("adnerf_attempts", "Jobs taken up by a worker.", labels=("kind",))
    lost = CounterMetricFamily("adnerf_leases_lost", "Jobs whose worker was gone.", labels=("kind",))
    ended = CounterMetricFamily("adnerf_jobs_ended", "Jobs that came to an end.", labels=("kind", "state"))
    stages = SummaryMetricFamily(
        "adnerf_stage_seconds", "Time in a stage of jobs that succeeded.", labels=("kind", "stage")
    )
    moved = Counter({(each.kind, each.label): each.count for each in read.counts if each.name == counters.MOVE})
    for kind in jobs.KINDS:
        attempts.add_metric((kind,), moved[kind, "claim"])
        lost.add_metric((kind,), sum(moved[kind, move] for move in LOST))
        for state in sorted(set(ENDS.values())):
            ended.add_metric((kind, state), sum(moved[kind, move] for move, end in ENDS.items() if end == state))
    for each in read.counts:
        if each.name == counters.STAGE:
            stages.add_metric((each.kind, each.label), count_value=each.count, sum_value=each.seconds)
    yield from (attempts, lost, ended, stages)


def _deliveries(read: ServiceStats) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "adnerf_webhook_attempts",
        "Attempts at telling a webhook; those that failed are made again.",
        labels=("outcome",),
    )
    counted = Counter({each.label: each.count for each in read.counts if each.name == counters.DELIVERY})
    for outcome in webhooks.OUTCOMES:
        attempts.add_metric((outcome,), counted[outcome])
    since = read.delivery_due_since
    late = 0.0 if since is None else (now() - since).total_seconds()
    yield attempts
    yield GaugeMetricFamily(
        "adnerf_webhook_oldest_due_seconds", "For how long a delivery has been due that nobody makes; 0: none is.", late
    )


def _workers(read: ServiceStats) -> Iterator[Metric]:
    """By host, not by worker: a worker that starts anew has a new name."""
    serving = Counter(queue for worker in read.workers for queue in worker.queues)
    alive = GaugeMetricFamily("adnerf_workers", "Workers alive that serve a queue.", labels=("queue",))
    for queue in QUEUES.values():
        alive.add_metric((queue,), serving[queue])
    yield alive
    for name, text, key in (
        ("adnerf_gpu_memory_bytes", "Memory of the GPUs that workers have.", "memory_bytes"),
        ("adnerf_gpu_memory_used_bytes", "Of that, what is in use.", "used_bytes"),
    ):
        by_host: Counter[str] = Counter()
        for worker in read.workers:
            by_host[worker.host] += worker.device.get(key, 0)
        family = GaugeMetricFamily(name, text, labels=("host",))
        for host, total in sorted(by_host.items()):
            family.add_metric((host,), total)
        yield family
