"""Runs one job: the only driver of adnerf_core. Whatever the core raises ends as a state of the job.

    preprocess   source object -> dataset object, footage report
    train        dataset object -> run object, quality, report, views; checkpoints and previews on the way
    render       run and audio objects -> video object

A result is stored under a key that carries the attempt's number, and becomes visible only when the fenced move to `succeeded`
names it.
"""

from __future__ import annotations

import errno
import gc
import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

from adnerf_core.config import PRESETS, PreprocessConfig, RenderOptions
from adnerf_core.errors import AdnerfError, DiskFull, NotReady, OutOfMemory
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.progress import Cancelled
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Job, Subject, Video
from storage.errors import NotFound, ObjectMissing, StorageError, StoreAway
from storage.objects.base import ObjectStore, Stored
from storage.settings import Settings
from storage.tables import counters, jobs
from worker.jobs.lease import Lease
from worker.jobs.model_cache import ModelCache
from worker.jobs.progress import ProgressEstimator
from worker.jobs.workspace import Workspace

log = logging.getLogger(__name__)

T = TypeVar("T")
"""Result of an action on the object store."""

QUALITY = ("psnr", "ssim", "mouth_psnr", "lmd_px", "lip_sync", "held_out_frames")
"""The evaluation figures that a subject shows to clients."""

MEMORY_WORDS = ("out of memory", "can't allocate memory", "insufficient memory", "not enough memory")
"""Parts of the messages by which torch and OpenCV report that memory ran out; their exceptions have no class in common."""

STORE_PATIENCE_S = 600.0
"""Seconds for which a job waits for an object store that does not answer before the job is released: a restart or a network failure
takes minutes. A released job is claimed again and waits again, so this only bounds how long it occupies one worker at a stretch."""
SNAPSHOT_RETRY_S = 30.0
"""Seconds after which a running training tries again to store a snapshot: each attempt delays the training by the client's timeouts."""
STORE_RETRY_S = 5.0
"""Seconds between two attempts to reach the object store. An attempt itself takes up to the client's own timeouts."""

INTERNAL_ERROR = {
    "code": "internal_error",
    "message": "Something went wrong inside the service.",
    "remedy": "Retry; if it happens again, report it with the worker's log.",
}


@dataclass(frozen=True)
class CoreFunctions:
    """The functions of adnerf_core that the pipeline calls; `load_core` returns the real ones, tests pass others."""

    preprocess: Callable[..., object]
    """(video, out, config, progress, source_sha256=)"""
    train: Callable[..., object]
    """(dataset folder, run, config, progress)"""
    evaluate: Callable[..., Mapping[str, Any]]
    """(run, progress, device=, name=) -> figures; writes run.report"""
    views: Callable[..., Mapping[str, Any]]
    """(run, progress, device=) -> layout; writes run.views"""
    load: Callable[[RunDir, str], Any]
    """(run, device) -> subject"""
    render: Callable[..., Any]
    """(run, audio, out, options, progress, background=, device=, load=, mark=) -> frames, duration_s, width, height, view"""
    weights: Mapping[str, Mapping[str, float]]
    """By kind of job and stage: the share of the time."""
    gpu: Callable[[], dict[str, Any] | None]
    """() -> the CUDA device: `name`, `memory_bytes`, `used_bytes`; None if there is none."""
    free: Callable[[], object]
    """Returns device memory that nothing uses any more to the device."""
    provenance: Callable[[Settings], Any]
    """(settings) -> an object that marks and signs videos, as worker.provenance.provenance.Provenance does."""


def load_core() -> CoreFunctions:
    """Imports the real core. It loads torch, so only worker processes call this."""
    from adnerf_core.data.dataset import SubjectDataset
    from adnerf_core.evaluation.evaluate import evaluate
    from adnerf_core.preprocess.pipeline import preprocess
    from adnerf_core.progress import STAGE_WEIGHTS
    from adnerf_core.synthesis.render import render
    from adnerf_core.synthesis.subject import load_subject
    from adnerf_core.synthesis.view_sheet import render_view_sheet
    from adnerf_core.training.train import train
    from worker.provenance.provenance import Provenance

    return CoreFunctions(
        preprocess=preprocess,
        train=lambda dataset, run, config, progress: train(SubjectDataset(dataset), run, config, progress),
        evaluate=evaluate,
        views=render_view_sheet,
        load=load_subject,
        render=render,
        weights=STAGE_WEIGHTS,
        gpu=describe_gpu,
        free=free_memory,
        provenance=Provenance,
    )


def describe_gpu() -> dict[str, Any] | None:
    """Describes the CUDA device of this process.

    Returns:
        `name`, `memory_bytes` (of the device) and `used_bytes` (by all processes together); None if there is no device.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    return {
        "name": torch.cuda.get_device_name(),
        "memory_bytes": total_bytes,
        "used_bytes": total_bytes - free_bytes,
    }


def free_memory() -> None:
    """Returns CUDA memory that no tensor uses to the device, where other processes can have it."""
    import torch

    gc.collect()  # a failed job leaves its tensors in the frames of its exception, which refer to one another
    torch.cuda.empty_cache()


class Pipeline:
    """Runs jobs of the three kinds."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore, core: CoreFunctions):
        self.settings, self.database, self.store, self.core = settings, database, store, core
        self.workspace = Workspace(settings.work, store)
        self.model_cache = ModelCache(core.load, core.free)
        self.provenance = core.provenance(settings)

    def run(self, job: Job, stopping: threading.Event) -> None:
        """Runs a claimed job to its end: succeeded, failed, lost, or released.

        A job is released if `stopping` is set, and if the database or the object store cannot be reached for long. Raises only if the database
        or the disk keeps the end from being recorded; the lease then expires.
        """
        kinds = {"preprocess": self._preprocess, "train": self._train, "render": self._render}
        log.info("%s (%s): attempt %d", job.id, job.kind, job.attempt)
        succeeded = queued_again = False
        if job.kind != "render":
            self.model_cache.clear()  # this job needs the memory
        with Lease(
            self.database, self.settings, job, ProgressEstimator(self.core.weights[job.kind]), stopping
        ) as lease:
            try:
                kinds[job.kind](_Attempt(self, job, lease))
                succeeded = True
                log.info("%s: done", job.id)
            except (Cancelled, NotFound):  # NotFound: the subject or video was deleted
                queued_again = lease.release_or_expire()
            except (OperationalError, InterfaceError, StoreAway) as error:  # not the job's fault: no attempt is counted
                log.warning("%s: the database or the object store was away: %s", job.id, error)
                queued_again = lease.release_or_expire()
            except Exception as error:
                self._fail(job, client_error(error))
        if not (succeeded and job.kind == "render"):
            self.model_cache.clear()  # outside the except clauses: an exception's frames hold the tensors of the job
        if not queued_again:
            self.workspace.clear(job)  # otherwise the next attempt continues from these files

    def _fail(self, job: Job, error: dict[str, str]) -> None:
        log.warning("%s: %s: %s", job.id, error["code"], error["message"])
        self.workspace.clear(job)  # first: on a full disk the database needs the space as well
        with self.database.session() as session:
            jobs.fail(session, job.id, job.attempt, error)

    def _preprocess(self, attempt: _Attempt) -> None:
        subject = attempt.target()
        source, out = attempt.file(subject.source_key, "source"), attempt.folder / "dataset"
        try:
            self.core.preprocess(
                source, out, PreprocessConfig(), attempt.lease.progress, source_sha256=subject.footage_sha256
            )
        finally:  # the report on refused footage is published as well
            with suppress(NotReady):
                attempt.publish(footage=read_json(out / "footage.json"))
        key = attempt.key("datasets", ".zip")
        attempt.upload_folder(out, key)
        attempt.succeed(key, dataset_key=key)
        self.workspace.cache_folder(out, key)  # the training that follows is likely to run here

    def _train(self, attempt: _Attempt) -> None:
        subject, run = attempt.target(), RunDir(attempt.folder / "run")
        if not run.root.exists() and subject.checkpoint_key:  # an earlier attempt ran on another machine
            attempt.wait_for_store(lambda: self.workspace.download_folder(subject.checkpoint_key, run.root))
        config = PRESETS[subject.preset].model_copy(update={"device": self._device()})
        snapshots = _TrainingSnapshots(attempt, run)
        try:
            dataset = attempt.cached_folder(subject.dataset_key)
            self.core.train(dataset, run, config, snapshots.progress)
        finally:
            snapshots.publish()
        figures = self.core.evaluate(run, attempt.lease.progress, device=config.device, name=subject.name)
        layout = self.core.views(run, attempt.lease.progress, device=config.device)
        key, report_key, views_key = (
            attempt.key(*place) for place in (("runs", ".zip"), ("reports", ".html"), ("views", ".jpg"))
        )
        attempt.upload_folder(run.root, key, skip=("checkpoints", "previews", run.report.name, run.views.name))
        for path, object_key in ((run.report, report_key), (run.views, views_key)):
            attempt.put(object_key, path)
        attempt.succeed(
            key,
            report_key,
            views_key,
            run_key=key,
            report_key=report_key,
            views_key=views_key,
            checkpoint_key=None,
            quality={name: figures.get(name) for name in QUALITY},
            view_limits=read_json(run.subject)["view_limits"],
            views=dict(layout),
        )
        snapshots.delete_checkpoint()

    def _render(self, attempt: _Attempt) -> None:
        video = attempt.target()
        with self.database.session(write=False) as session:
            subject = queries.get(session, Subject, video.subject_id)
        self.provenance.check()  # before hours of rendering
        run = RunDir(attempt.cached_folder(subject.run_key))
        audio = attempt.file(video.audio_key, "audio")
        background = attempt.file(video.background_key, "background") if video.background_key else None
        options = RenderOptions(**video.options)
        out = attempt.folder / f"video.{options.format}"
        rendered = self.core.render(
            run,
            audio,
            out,
            options,
            attempt.lease.progress,
            background=background,
            device=self._device(),
            load=self.model_cache.load,
            mark=self.provenance.mark(video.mark),
        )
        attempt.lease.check()
        signed, manifest = self.provenance.sign(out, video, subject)
        with self.database.session() as session:
            self.provenance.record_certificate(session)
        key, manifest_key = (attempt.key(f"videos/{video.id}", suffix) for suffix in (signed.suffix, ".c2pa"))
        stored = attempt.put(key, signed)
        if manifest is not None:
            attempt.wait_for_store(lambda: self.store.put(manifest_key, io.BytesIO(manifest)))
        measures = {name: getattr(rendered, name) for name in ("frames", "duration_s", "width", "height")}
        measures["view"] = rendered.view.model_dump()
        measures["credentials_key"] = None if manifest is None else manifest_key
        attempt.succeed(key, manifest_key, file_key=key, sha256=stored.sha256, size_bytes=stored.size, **measures)

    def _device(self) -> str:
        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if self.core.gpu() else "cpu"


class _Attempt:
    """One attempt at one job: its folder, its object keys, and its fenced writes to the database."""

    def __init__(self, pipeline: Pipeline, job: Job, lease: Lease):
        self.pipeline, self.job, self.lease = pipeline, job, lease
        self.folder = pipeline.workspace.attempt(job)

    def target(self) -> Subject | Video:
        """Loads the subject or video that the job is for. Raises NotFound."""
        with self.pipeline.database.session(write=False) as session:
            if self.job.video_id:
                return queries.get(session, Video, self.job.video_id)
            return queries.get(session, Subject, self.job.subject_id)

    def file(self, key: str, name: str) -> Path:
        """Fetches an object to a file in the attempt's folder."""
        path = self.folder / name
        self.wait_for_store(lambda: self.pipeline.store.fetch(key, path))
        return path

    def cached_folder(self, key: str) -> Path:
        """Returns an unpacked copy of an object, to be read only."""
        return self.wait_for_store(lambda: self.pipeline.workspace.cached_folder(key))

    def put(self, key: str, path: Path) -> Stored:
        """Stores a file as an object."""

        def store() -> Stored:
            with path.open("rb") as file:
                return self.pipeline.store.put(key, file)

        return self.wait_for_store(store)

    def wait_for_store(self, action: Callable[[], T]) -> T:
        """Calls `action` until the object store answers, for STORE_PATIENCE_S at most.

        Raises:
            StoreAway: the object store did not answer in that time.
            Cancelled: the work must stop.
        """
        deadline = time.monotonic() + STORE_PATIENCE_S
        while True:
            try:
                return action()
            except StoreAway as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("%s waits for the object store: %s", self.job.id, error)
                self.lease.sleep(STORE_RETRY_S)

    def key(self, folder: str, suffix: str) -> str:
        """Returns the key of an object that this attempt makes."""
        return f"subjects/{self.job.subject_id}/{folder}/{self.job.id}-{self.job.attempt}{suffix}"

    def upload_folder(self, folder: Path, key: str, *, skip: tuple[str, ...] = ()) -> None:
        """Stores a folder, unless the work must stop."""
        self.lease.progress("store", 0, 1)
        self.wait_for_store(lambda: self.pipeline.workspace.upload_folder(folder, key, skip=skip))

    def publish(self, **values: Any) -> bool:
        """Shows values of a running job to clients; returns False if the job is not this attempt's any more."""
        with self.pipeline.database.session() as session:
            return jobs.publish(session, self.job.id, self.job.attempt, **values)

    def succeed(self, *keys: str, **values: Any) -> None:
        """Ends the job as succeeded, with `values` for its target.

        Raises:
            Cancelled: the job is not this attempt's any more; the objects `keys` are removed again.
        """
        stored_bytes = sum(self.wait_for_store(lambda key=key: self._size(key)) for key in keys)
        with self.pipeline.database.session() as session:
            recorded = jobs.succeed(session, self.job.id, self.job.attempt, stored=stored_bytes, **values)
            if recorded:
                for stage, seconds in self.lease.estimator.seconds.items():
                    counters.add(session, counters.STAGE, self.job.kind, stage, seconds)
        if not recorded:
            self.pipeline.store.delete(*keys)
            raise Cancelled

    def _size(self, key: str) -> int:
        with suppress(ObjectMissing):  # a job does not store every object that it would have to remove
            return self.pipeline.store.size(key)
        return 0


class _TrainingSnapshots:
    """Publishes the newest preview and the newest checkpoint of a running training."""

    def __init__(self, attempt: _Attempt, run: RunDir):
        self.attempt, self.run = attempt, run
        self.preview = run.previews / "preview.jpg"
        self.modified = {path: _modified_ns(path) for path in (self.preview, run.checkpoint)}
        self.count = 0
        self.retry_at = 0.0
        self.checkpoint_key: str | None = attempt.target().checkpoint_key

    def progress(self, stage: str, done: float, total: float) -> None:
        """Takes a progress report of the training (its `Progress` callback)."""
        self.attempt.lease.progress(stage, done, total)
        self.publish()

    def publish(self) -> None:
        """Stores the files that have changed since the last call.

        If the object store does not answer, the training goes on, and the files are stored by a later call.
        """
        if time.monotonic() < self.retry_at:
            return
        try:
            if self._has_changed(self.preview):
                key = self._next_key("previews", ".jpg")
                with self.preview.open("rb") as file:
                    self.attempt.pipeline.store.put(key, file)
                self._publish_key(key, preview_key=key)
                self.modified[self.preview] = _modified_ns(self.preview)
            if self._has_changed(self.run.checkpoint):
                key = self._next_key("checkpoints", ".zip")
                self.attempt.pipeline.workspace.upload_folder(self.run.root, key, skip=("previews",))
                if self._publish_key(key, checkpoint_key=key):
                    self.delete_checkpoint()
                    self.checkpoint_key = key
                self.modified[self.run.checkpoint] = _modified_ns(self.run.checkpoint)
        except StoreAway as error:
            log.warning("%s: a snapshot is not stored yet: %s", self.attempt.job.id, error)
            self.retry_at = time.monotonic() + SNAPSHOT_RETRY_S

    def delete_checkpoint(self) -> None:
        """Removes the previous checkpoint from the store, once a newer one or the finished run replaces it."""
        if self.checkpoint_key:
            with suppress(StoreAway):  # the cleanup of unnamed objects removes it later
                self.attempt.pipeline.store.delete(self.checkpoint_key)

    def _has_changed(self, path: Path) -> bool:
        return self.modified[path] != _modified_ns(path)

    def _next_key(self, folder: str, suffix: str) -> str:
        self.count += 1
        return self.attempt.key(folder, f"-{self.count}{suffix}")

    def _publish_key(self, key: str, **values: str) -> bool:
        published = self.attempt.publish(**values)
        if not published:
            self.attempt.pipeline.store.delete(key)
        return published


def _modified_ns(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def client_error(error: Exception) -> dict[str, str]:
    """Returns the code, message and remedy that a client sees; paths, addresses and texts of libraries go to the log only."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = DiskFull("No space left where the worker writes.")
    elif isinstance(error, MemoryError) or _is_out_of_memory(error):
        error = OutOfMemory("The worker ran out of memory.")
    if isinstance(error, NotReady):  # in the service only a damaged or outdated file; the message names its path
        log.error("a file of this job cannot be used: %s", error)
        error = NotReady(
            "The service's files of this subject are missing, damaged, or made by another version.",
            "Retry; if it happens again, create the subject again.",
        )
    if isinstance(error, AdnerfError | StorageError):
        if error.details:
            log.error("%s: %s", error.code, error)
        return {"code": error.code, "message": error.message, "remedy": error.remedy}
    log.error("unforeseen", exc_info=error)
    return dict(INTERNAL_ERROR)


def _is_out_of_memory(error: Exception) -> bool:
    raised_here = isinstance(error, AdnerfError | StorageError)
    return not raised_here and any(word in str(error).lower() for word in MEMORY_WORDS)
