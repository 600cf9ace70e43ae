"""Metrics for Prometheus: of this process, and of the whole service as the database and the components show it.

The number of label values does not grow with the number of subjects, videos and jobs. Values from the database are read at a
scrape and cached for a few seconds, so that several scrapers cost no more than one.
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

CACHE_S = 5.0
"""Seconds for which values are cached: below the usual scrape intervals of 10 to 60 s, so that no scrape repeats old values."""

ENDS = {"succeed": "succeeded", "fail": "failed", "give_up": "failed", "time_out": "failed", "cancel": "cancelled"}
"""State moves (storage/tables/jobs.py) that end a job, with the state that it ends in."""
WORKER_LOST = ("requeue", "give_up")
"""State moves of jobs whose worker was gone."""


def registry(settings: Settings, database: Database, readiness: Readiness) -> CollectorRegistry:
    """Creates the registry; api/middleware/request_log.py adds the metrics of requests."""
    collectors = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=collectors)
    collectors.register(ServiceCollector(settings, database, readiness))
    return collectors


class ServiceCollector(Collector):
    """Collects the metrics of the whole service; every API process reports the same values."""

    def __init__(self, settings: Settings, database: Database, readiness: Readiness):
        self.settings, self.database, self.readiness = settings, database, readiness
        self._lock = threading.Lock()
        self._cached: list[Metric] = []
        self._read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Describes nothing, since registering must not need the database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Returns all families; if the database does not respond, those that need it are missing and `adnerf_up` is 0."""
        with self._lock:
            if time.monotonic() - self._read_at > CACHE_S:
                self._cached = list(self._read())
                self._read_at = time.monotonic()
            return self._cached

    def _read(self) -> Iterator[Metric]:
        components = self.readiness.parts()
        yield _up(components)
        free = {(socket.gethostname(), "api"): shutil.disk_usage(self.settings.data_dir).free}
        stats = self._service_stats() if components["database"].ok else None
        if stats is not None:
            yield from (*_queues(stats), *_counts(stats), *_workers(stats), *_deliveries(stats))
            free |= {(worker.host, "worker"): worker.device["disk_free_bytes"] for worker in stats.workers}
        disk = GaugeMetricFamily(
            "adnerf_disk_free_bytes", "Free space in the file system of the data folder.", labels=("host", "process")
        )
        for labels, size in free.items():
            disk.add_metric(labels, size)
        yield disk

    def _service_stats(self) -> ServiceStats | None:
        try:
            with self.database.session(write=False) as session:
                return service_stats.read(session, worker_silence_s=self.settings.worker_silence_s)
        except Exception as error:  # it went down just now; the other metrics are still valid
            log.warning("no metrics from the database: %s", error)
            return None


def _up(components: dict[str, ComponentStatus]) -> Metric:
    family = GaugeMetricFamily("adnerf_up", "Whether a component of the service responds: 1 or 0.", labels=("part",))
    for name, component in components.items():
        family.add_metric((name,), float(component.ok))
    return family


def _queues(stats: ServiceStats) -> Iterator[Metric]:
    current = now()
    groups = {(each.kind, each.state): each for each in stats.queue}
    number = GaugeMetricFamily("adnerf_jobs", "Queued and running jobs.", labels=("kind", "state"))
    oldest = GaugeMetricFamily(
        "adnerf_queue_oldest_age_seconds", "Age of the oldest queued job; 0: none is queued.", labels=("kind",)
    )
    for kind in jobs.KINDS:
        for state in ("queued", "running"):
            number.add_metric((kind, state), groups[kind, state].jobs if (kind, state) in groups else 0)
        waiting = groups.get((kind, "queued"))
        oldest.add_metric((kind,), (current - waiting.oldest_queued_at).total_seconds() if waiting else 0)
    yield from (number, oldest)


def _counts(stats: ServiceStats) -> Iterator[Metric]:
    attempts = CounterMetricFamily("adnerf_attempts", "Attempts that a worker began.", labels=("kind",))
    lost = CounterMetricFamily("adnerf_leases_lost", "Jobs whose worker was gone.", labels=("kind",))
    ended = CounterMetricFamily("adnerf_jobs_ended", "Jobs that ended.", labels=("kind", "state"))
    stages = SummaryMetricFamily(
        "adnerf_stage_seconds", "Seconds in each stage of succeeded jobs.", labels=("kind", "stage")
    )
    moves = Counter({(each.kind, each.label): each.count for each in stats.counts if each.name == counters.MOVE})
    for kind in jobs.KINDS:
        attempts.add_metric((kind,), moves[kind, "claim"])
        lost.add_metric((kind,), sum(moves[kind, move] for move in WORKER_LOST))
        for state in sorted(set(ENDS.values())):
            ended.add_metric((kind, state), sum(moves[kind, move] for move, end in ENDS.items() if end == state))
    for each in stats.counts:
        if each.name == counters.STAGE:
            stages.add_metric((each.kind, each.label), count_value=each.count, sum_value=each.seconds)
    yield from (attempts, lost, ended, stages)


def _deliveries(stats: ServiceStats) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "adnerf_webhook_attempts",
        "Attempts to deliver a webhook event; failed ones are repeated.",
        labels=("outcome",),
    )
    counted = Counter({each.label: each.count for each in stats.counts if each.name == counters.DELIVERY})
    for outcome in webhooks.OUTCOMES:
        attempts.add_metric((outcome,), counted[outcome])
    since = stats.delivery_due_since
    late = 0.0 if since is None else (now() - since).total_seconds()
    yield attempts
    yield GaugeMetricFamily(
        "adnerf_webhook_oldest_due_seconds", "Age of the oldest overdue delivery; 0: none is overdue.", late
    )


def _workers(stats: ServiceStats) -> Iterator[Metric]:
    """Labels are hosts, since a restarted worker has a new name."""
    serving = Counter(queue for worker in stats.workers for queue in worker.queues)
    alive = GaugeMetricFamily("adnerf_workers", "Live workers that serve a queue.", labels=("queue",))
    for queue in QUEUES.values():
        alive.add_metric((queue,), serving[queue])
    yield alive
    yield GaugeMetricFamily(
        "adnerf_cleanup_paused",
        "1 if a worker removes nothing from the object store, because it may not belong to the database; else 0.",
        float(any(worker.device.get("cleanup_paused") for worker in stats.workers)),
    )
    for name, text, key in (
        ("adnerf_gpu_memory_bytes", "Memory of the workers' GPUs.", "memory_bytes"),
        ("adnerf_gpu_memory_used_bytes", "Memory of the workers' GPUs in use.", "used_bytes"),
    ):
        by_host: Counter[str] = Counter()
        for worker in stats.workers:
            by_host[worker.host] += worker.device.get(key, 0)
        family = GaugeMetricFamily(name, text, labels=("host",))
        for host, total in sorted(by_host.items()):
            family.add_metric((host,), total)
        yield family
