"""Running one job: the only driver of adnerf_core. Whatever the core raises ends as a state of the job.

    preprocess   source object -> dataset object, footage report
    train        dataset object -> run object, quality, report, views; checkpoints and previews on the way
    render       run and audio objects -> video object

A result is stored under a key that carries the attempt, and seen only when the fenced move to `succeeded` names it.
"""

from __future__ import annotations

import errno
import gc
import io
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError

from adnerf_core.config import PRESETS, PreprocessConfig, RenderOptions
from adnerf_core.errors import AdnerfError, DiskFull, NotReady, OutOfMemory
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.progress import Cancelled
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Job, Subject, Video
from storage.errors import NotFound, ObjectMissing, StorageError
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import counters, jobs
from worker.jobs.lease import Lease
from worker.jobs.model_cache import ModelCache
from worker.jobs.progress import ProgressEstimator
from worker.jobs.workspace import Workspace

log = logging.getLogger(__name__)

QUALITY = ("psnr", "ssim", "mouth_psnr", "lmd_px", "lip_sync", "held_out_frames")
"""The figures of an evaluation that a subject shows."""

MEMORY_WORDS = ("out of memory", "can't allocate memory", "insufficient memory", "not enough memory")
"""By which the errors of torch and OpenCV tell that memory ran out; they have no class in common for it."""


@dataclass(frozen=True)
class CoreFunctions:
    """What the pipeline asks of adnerf_core; `load_core` fills it with the real thing."""

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
    """The CUDA device: `name`, `memory_bytes`, `used_bytes`; None where there is none."""
    free: Callable[[], object]
    """Gives back the memory of the device that nothing uses any more."""
    seal: Callable[[Settings], Any]
    """(settings) -> what marks and signs videos, as worker/provenance/provenance.py does"""


def load_core() -> CoreFunctions:
    """The real core. Loads torch, so only a worker process calls this."""
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
        seal=Provenance,
    )


def describe_gpu() -> dict[str, Any] | None:
    """The CUDA device that this process would use: its name, its memory, and how much of that is in use by anybody."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, whole = torch.cuda.mem_get_info()
    return {"name": torch.cuda.get_device_name(), "memory_bytes": whole, "used_bytes": whole - free}


def free_memory() -> None:
    """Gives the CUDA memory that no tensor uses back to the device, where other processes can have it."""
    import torch

    gc.collect()  # a failed job leaves its tensors in the frames of its exception, which are a circle
    torch.cuda.empty_cache()


class Pipeline:
    """What running a job needs, and the three ways of running one."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore, core: CoreFunctions):
        self.settings, self.database, self.store, self.core = settings, database, store, core
        self.workspace = Workspace(settings.work, store)
        self.warm = ModelCache(core.load, core.free)
        self.seal = core.seal(settings)

    def run(self, job: Job, stopping: threading.Event) -> None:
        """Runs a claimed job to its end: succeeded, failed, lost, or given back (when `stopping` is set, and when the
        database was away in between).

        Raises only where the database or the disk keeps it from telling that end; the lease then runs out.
        """
        kinds = {"preprocess": self._preprocess, "train": self._train, "render": self._render}
        log.info("%s (%s): attempt %d", job.id, job.kind, job.attempt)
        done = queued_again = False
        if job.kind != "render":
            self.warm.drop()  # the memory is for this job
        with Lease(
            self.database, self.settings, job, ProgressEstimator(self.core.weights[job.kind]), stopping
        ) as lease:
            try:
                kinds[job.kind](_Attempt(self, job, lease))
                done = True
                log.info("%s: done", job.id)
            except (Cancelled, NotFound):  # NotFound: the subject or video was deleted
                queued_again = lease.give_up()
            except (OperationalError, InterfaceError) as error:  # the database was away: the job is not to blame
                log.warning("%s: the database was away: %s", job.id, error)
                queued_again = lease.give_up()
            except Exception as error:
                self._fail(job, client_error(error))
        if not (done and job.kind == "render"):
            self.warm.drop()  # here, not above: while an exception is handled, its frames hold what they worked on
        if not queued_again:
            self.workspace.clear(job)  # else the next attempt goes on from what stands

    def _fail(self, job: Job, error: dict[str, str]) -> None:
        log.warning("%s: %s: %s", job.id, error["code"], error["message"])
        self.workspace.clear(job)  # first: on a full disk the database, too, needs the room
        with self.database.session() as session:
            jobs.fail(session, job.id, job.attempt, error)

    def _preprocess(self, attempt: _Attempt) -> None:
        subject = attempt.owner()
        source, out = attempt.file(subject.source_key, "source"), attempt.folder / "dataset"
        try:
            self.core.preprocess(
                source, out, PreprocessConfig(), attempt.lease.progress, source_sha256=subject.footage_sha256
            )
        finally:  # what is known of footage that was refused is published too
            with suppress(NotReady):
                attempt.publish(footage=read_json(out / "footage.json"))
        key = attempt.key("datasets", ".zip")
        attempt.push(out, key)
        attempt.succeed(key, dataset_key=key)
        self.workspace.keep(out, key)  # the training that follows is likely to run here

    def _train(self, attempt: _Attempt) -> None:
        subject, run = attempt.owner(), RunDir(attempt.folder / "run")
        if not run.root.exists() and subject.checkpoint_key:  # an earlier attempt was made on another machine
            self.workspace.unpack(subject.checkpoint_key, run.root)
        config = PRESETS[subject.preset].model_copy(update={"device": self._device()})
        outcrop = _TrainingSnapshots(attempt, run)
        try:
            self.core.train(self.workspace.folder(subject.dataset_key), run, config, outcrop.progress)
        finally:
            outcrop.publish()
        figures = self.core.evaluate(run, attempt.lease.progress, device=config.device, name=subject.name)
        layout = self.core.views(run, attempt.lease.progress, device=config.device)
        key, report_key, views_key = (
            attempt.key(*place) for place in (("runs", ".zip"), ("reports", ".html"), ("views", ".jpg"))
        )
        attempt.push(run.root, key, skip=("checkpoints", "previews", run.report.name, run.views.name))
        for path, place in ((run.report, report_key), (run.views, views_key)):
            with path.open("rb") as file:
                self.store.put(place, file)
        told = {
            "quality": {name: figures.get(name) for name in QUALITY},
            "view_limits": read_json(run.subject)["view_limits"],
            "views": dict(layout),
        }
        keys = {"run_key": key, "report_key": report_key, "views_key": views_key}
        attempt.succeed(*keys.values(), checkpoint_key=None, **keys, **told)
        outcrop.forget_checkpoint()

    def _render(self, attempt: _Attempt) -> None:
        video = attempt.owner()
        with self.database.session(write=False) as session:
            subject = queries.get(session, Subject, video.subject_id)
        self.seal.check()  # before the hours of a long rendering
        run = RunDir(self.workspace.folder(subject.run_key))
        audio = attempt.file(video.audio_key, "audio")
        background = attempt.file(video.background_key, "background") if video.background_key else None
        options = RenderOptions(**video.options)
        out = attempt.folder / f"video.{options.format}"
        made = self.core.render(
            run,
            audio,
            out,
            options,
            attempt.lease.progress,
            background=background,
            device=self._device(),
            load=self.warm.load,
            mark=self.seal.mark(video.mark),
        )
        attempt.lease.check()
        signed, manifest = self.seal.sign(out, video, subject)
        with self.database.session() as session:
            self.seal.enlist(session)
        key, beside = (attempt.key(f"videos/{video.id}", suffix) for suffix in (signed.suffix, ".c2pa"))
        with signed.open("rb") as file:
            stored = self.store.put(key, file)
        if manifest is not None:
            self.store.put(beside, io.BytesIO(manifest))
        measures = {name: getattr(made, name) for name in ("frames", "duration_s", "width", "height")}
        measures["view"] = made.view.model_dump()
        measures["credentials_key"] = None if manifest is None else beside
        attempt.succeed(key, beside, file_key=key, sha256=stored.sha256, size_bytes=stored.size, **measures)

    def _device(self) -> str:
        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if self.core.gpu() else "cpu"


class _Attempt:
    """One attempt at one job: its folder, its keys, and its fenced words to the database."""

    def __init__(self, pipeline: Pipeline, job: Job, lease: Lease):
        self.pipeline, self.job, self.lease = pipeline, job, lease
        self.folder = pipeline.workspace.attempt(job)

    def owner(self) -> Subject | Video:
        """The subject or video that the job is for. Raises NotFound."""
        with self.pipeline.database.session(write=False) as session:
            if self.job.video_id:
                return queries.get(session, Video, self.job.video_id)
            return queries.get(session, Subject, self.job.subject_id)

    def file(self, key: str, name: str) -> Path:
        """An object as a file in the attempt's folder."""
        path = self.folder / name
        self.pipeline.store.fetch(key, path)
        return path

    def key(self, folder: str, suffix: str) -> str:
        """The key of something that this attempt makes."""
        return f"subjects/{self.job.subject_id}/{folder}/{self.job.id}-{self.job.attempt}{suffix}"

    def push(self, folder: Path, key: str, *, skip: tuple[str, ...] = ()) -> None:
        """Stores a folder, unless the work was told to stop."""
        self.lease.progress("store", 0, 1)
        self.pipeline.workspace.push(folder, key, skip=skip)

    def publish(self, **values: Any) -> bool:
        """Shows something of a job that still runs; False where it is not this attempt's any more."""
        with self.pipeline.database.session() as session:
            return jobs.publish(session, self.job.id, self.job.attempt, **values)

    def succeed(self, *keys: str, **values: Any) -> None:
        """The job's last word. Where it comes too late, the objects `keys` go again and Cancelled is raised."""
        stored = sum(self._size(key) for key in keys)
        with self.pipeline.database.session() as session:
            done = jobs.succeed(session, self.job.id, self.job.attempt, stored=stored, **values)
            if done:
                for stage, seconds in self.lease.meter.seconds.items():
                    counters.add(session, counters.STAGE, self.job.kind, stage, seconds)
        if not done:
            self.pipeline.store.delete(*keys)
            raise Cancelled

    def _size(self, key: str) -> int:
        with suppress(ObjectMissing):  # not every job makes all that it might have to take back
            return self.pipeline.store.size(key)
        return 0


class _TrainingSnapshots:
    """What of a running training is seen and kept outside: the newest preview, and the newest checkpoint."""

    def __init__(self, attempt: _Attempt, run: RunDir):
        self.attempt, self.run = attempt, run
        self.preview = run.previews / "preview.jpg"
        self.seen = {path: _age(path) for path in (self.preview, run.checkpoint)}
        self.count = 0
        self.checkpoint_key: str | None = attempt.owner().checkpoint_key

    def progress(self, stage: str, done: float, total: float) -> None:
        """The Progress of the training."""
        self.attempt.lease.progress(stage, done, total)
        self.publish()

    def publish(self) -> None:
        """Stores what has changed since the last time."""
        if self._changed(self.preview):
            key = self._next_key("previews", ".jpg")
            with self.preview.open("rb") as file:
                self.attempt.pipeline.store.put(key, file)
            self._show(key, preview_key=key)
        if self._changed(self.run.checkpoint):
            key = self._next_key("checkpoints", ".zip")
            self.attempt.pipeline.workspace.push(self.run.root, key, skip=("previews",))
            if self._show(key, checkpoint_key=key):
                self.forget_checkpoint()
                self.checkpoint_key = key

    def forget_checkpoint(self) -> None:
        """Removes the last checkpoint from the store; another one, or the finished run, stands in its place."""
        if self.checkpoint_key:
            self.attempt.pipeline.store.delete(self.checkpoint_key)

    def _changed(self, path: Path) -> bool:
        before, self.seen[path] = self.seen[path], _age(path)
        return self.seen[path] != before

    def _next_key(self, folder: str, suffix: str) -> str:
        self.count += 1
        return self.attempt.key(folder, f"-{self.count}{suffix}")

    def _show(self, key: str, **values: str) -> bool:
        shown = self.attempt.publish(**values)
        if not shown:
            self.attempt.pipeline.store.delete(key)
        return shown


def _age(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def client_error(error: Exception) -> dict[str, str]:
    """What a client is told of an exception: code, message, remedy. What nobody foresaw goes to the log only."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = DiskFull("No space left where the worker writes.")
    elif isinstance(error, MemoryError) or _tells_of_memory(error):
        error = OutOfMemory("The worker ran out of memory.")
    if isinstance(error, AdnerfError | StorageError):
        return {"code": error.code, "message": error.message, "remedy": error.remedy}
    log.error("unforeseen", exc_info=error)
    return {
        "code": "internal_error",
        "message": "Something went wrong inside the service.",
        "remedy": "Retry; if it happens again, report it with the worker's log.",
    }


def _tells_of_memory(error: Exception) -> bool:
    ours = isinstance(error, AdnerfError | StorageError)
    return not ours and any(word in str(error).lower() for word in MEMORY_WORDS)
