"""Runs one job. Only this module calls the core to do work; whatever the core raises ends as a state of the job.

    preprocess   source object -> dataset object, footage report
    train        dataset object -> run object, quality, report, views; checkpoints and previews on the way
    render       run and audio objects -> video object

A result is stored under a key of its attempt alone, and becomes visible only when the fenced move to `succeeded`
names it.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

from adnerf_core.config import PRESETS, PreprocessConfig, RenderOptions
from adnerf_core.errors import AdnerfError, DiskFull, NotReady, OutOfMemory
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.progress import Cancelled
from storage.database.engine import Database
from storage.database.models import Job, Subject
from storage.errors import NotFound, ObjectDamaged, ObjectMissing, StorageError
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import jobs, lip_priors
from worker.jobs.attempt import AWAY, Attempt, TrainingSnapshots
from worker.jobs.core_functions import CoreFunctions
from worker.jobs.lease import Lease
from worker.jobs.model_cache import ModelCache
from worker.jobs.progress import ProgressEstimator
from worker.jobs.video_parts import VideoSpeech, store_captions, store_pictures, store_thumbnail, warning
from worker.jobs.video_stream import VideoStream
from worker.jobs.workspace import Workspace

log = logging.getLogger(__name__)

QUALITY = (
    "psnr", "ssim", "mouth_psnr", "lmd_px", "lip_sync", "sync_offset_ms", "sync_confidence", "held_out_frames",
    "full_psnr", "full_ssim", "full_lpips", "region_psnr", "region_lpips", "seam",
)  # fmt: skip
"""The evaluation figures that a subject shows to clients."""

MEMORY_WORDS = ("out of memory", "can't allocate memory", "insufficient memory", "not enough memory")
"""Parts of the messages by which torch and OpenCV report that memory ran out; their exceptions have no class in common."""

INTERNAL_ERROR = {
    "code": "internal_error",
    "message": "Something went wrong inside the service.",
    "remedy": "Retry; if it happens again, report the job's id to the operator.",
}


class Pipeline:
    """Runs jobs of the three kinds."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore, core: CoreFunctions):
        self.settings, self.database, self.store, self.core = settings, database, store, core
        self.workspace = Workspace(settings.work, store)
        self.model_cache = ModelCache(core.load, core.free)
        self.provenance = core.provenance(settings)
        self.voices = core.speech(settings)
        self.fonts = Path(settings.fonts_dir) if settings.fonts_dir else None
        self.speech = VideoSpeech(self.voices, core.transcriber(settings))
        self.on_exit: list[Callable[[], object]] = []
        """What leaves notes about work beside the jobs, when a job ends this process: the work is not at fault. None may wait."""

    def run(self, job: Job, stopping: threading.Event) -> None:
        """Runs a claimed job to its end: succeeded, failed, timed out, lost, or released.

        The job is released in three cases: `stopping` is set, the database or the object store cannot be reached for long, or others have
        filled the disk. Raises only if the end cannot be recorded, because the database stays away or the disk is full; the worker releases
        the job later.
        """
        kinds = {"preprocess": self._preprocess, "train": self._train, "render": self._render}
        log.info("%s (%s): attempt %d", job.id, job.kind, job.attempt)
        succeeded = queued_again = False
        if job.kind != "render":
            self.model_cache.clear()  # this job needs the memory
        estimator = ProgressEstimator(self.core.weights[job.kind])
        with Lease(self.database, self.settings, job, estimator, stopping, self._exit) as lease:
            try:
                kinds[job.kind](Attempt(self.workspace, self.store, self.database, job, lease))
                succeeded = True
                log.info("%s: done", job.id)
            except (Cancelled, NotFound):  # NotFound: the subject or video was deleted
                queued_again = lease.release_or_time_out()
            except AWAY as error:  # not the job's fault: no attempt is counted
                log.warning("%s: the database or the object store could not be reached: %s", job.id, error)
                queued_again = lease.release_or_time_out()
            except Exception as error:
                told = client_error(error)
                if told["code"] == DiskFull.code and not self.workspace.has_room(besides=job):
                    log.warning("%s waits: others have filled the disk", job.id)
                    self.workspace.clear(job)  # the folders of all that wait would keep the disk full
                    lease.release_or_time_out()
                else:
                    self._fail(lease, told)
        if not (succeeded and job.kind == "render"):
            self.model_cache.clear()  # outside the except clauses: an exception's frames hold the tensors of the job
        if not queued_again:
            self.workspace.clear(job)  # otherwise the next attempt continues from these files

    def leave_notes(self) -> None:
        """Leaves notes about the work beside the jobs, before this process ends."""
        for leave in self.on_exit:
            leave()

    def _exit(self, status: int) -> None:
        self.leave_notes()
        os._exit(status)

    def _fail(self, lease: Lease, error: dict[str, str]) -> None:
        job = lease.job
        log.warning("%s: %s: %s", job.id, error["code"], error["message"])
        self.workspace.clear(job)  # first: on a full disk the database needs the space as well
        lease.record(lambda session: jobs.fail(session, job.id, job.attempt, error))

    def _preprocess(self, attempt: Attempt) -> None:
        subject = attempt.target()
        source, out = attempt.file(subject.source_key, "source"), attempt.folder / "dataset"
        config = PreprocessConfig(face=subject.face, audio_track=subject.audio_track)
        try:
            self.core.preprocess(source, out, config, attempt.lease.progress, source_sha256=subject.footage_sha256)
        finally:  # the report on refused footage is published as well
            with suppress(NotReady):
                attempt.publish(footage=read_json(out / "footage.json"))
        key = attempt.key("datasets", ".zip")
        attempt.upload_folder(out, key)
        pictures = store_thumbnail(attempt, source, self.core)
        attempt.succeed(key, *pictures.values(), dataset_key=key, **pictures)
        self.workspace.cache_folder(out, key)  # the training that follows is likely to run here

    def _train(self, attempt: Attempt) -> None:
        subject, run = attempt.target(), RunDir(attempt.folder / "run")
        if not run.root.exists() and subject.checkpoint_key:  # an earlier attempt ran on another machine
            try:
                attempt.wait_for_store(lambda: self.workspace.download_folder(subject.checkpoint_key, run.root))
            except (ObjectMissing, ObjectDamaged) as error:  # such as in a restored backup: only time is lost
                log.warning("%s begins again from its dataset: %s", attempt.job.id, error)
        changes = {"device": self.device(), "cuda_graphs": self.settings.cuda_graphs}
        config = PRESETS[subject.preset].model_copy(update=changes)
        snapshots = TrainingSnapshots(attempt, run)
        try:
            dataset = attempt.cached_folder(subject.dataset_key)
            # Last: a person may revoke it while the dataset is fetched.
            config = config.model_copy(update={"lip_prior": self._lip_prior(attempt)})
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
        stored = read_json(run.subject)
        footage = stored.get("footage")  # a dataset of an earlier version has none
        attempt.succeed(
            key,
            report_key,
            views_key,
            run_key=key,
            report_key=report_key,
            views_key=views_key,
            checkpoint_key=None,
            quality={name: figures.get(name) for name in QUALITY},
            lip_prior=run.lip_prior(),
            view_limits=stored["view_limits"],
            full_frame=footage and {edge: footage[edge] for edge in ("width", "height")},
            views=dict(layout),
        )
        snapshots.delete_checkpoint()

    def _lip_prior(self, attempt: Attempt) -> Path | None:
        """Fetches the prior of lips that trainings start from now; None for the shipped one."""

        def current() -> str | None:
            with self.database.session(write=False) as session:
                prior = lip_priors.current(session)
                return prior and prior.object_key

        while (key := attempt.wait_for(current)) is not None:
            try:
                prior = attempt.file(key, Path(key).name)
                self.core.check_prior(prior)
            except (ObjectMissing, ObjectDamaged, NotReady) as error:  # dropped meanwhile, lost, or of another version
                log.warning("%s starts from the shipped prior of lips: %s", attempt.job.id, error)
                return None
            if attempt.wait_for(current) == key:  # the transfer may have taken minutes
                return prior
            prior.unlink()
        return None

    def _render(self, attempt: Attempt) -> None:
        video = attempt.target()
        subject = attempt.load(Subject, video.subject_id)
        self.provenance.check()  # before hours of rendering
        run = RunDir(attempt.cached_folder(subject.run_key))

        def sign(path: Path, frame: str) -> tuple[Path, bytes | None]:
            return attempt.call_server(lambda: self.provenance.sign(path, video, subject, frame))

        audio, spoken = self.speech.audio(attempt, video, lambda path, frame: sign(path, frame)[0])
        background = attempt.file(video.background_key, "background") if video.background_key else None
        options = RenderOptions(**video.options)
        words, warnings = self.speech.words(attempt, audio, spoken, options.captions)
        out = attempt.folder / f"video.{options.format}"
        watched = options.format == "mp4" and self.settings.streams
        with VideoStream(attempt, video) if watched else nullcontext() as stream:
            rendered = self.core.render(
                run,
                audio,
                out,
                options,
                attempt.lease.progress,
                background=background,
                device=self.device(),
                load=self.model_cache.load,
                mark=self.provenance.mark(video.mark),
                duration_s=video.idle_s,
                watch=stream,
                fonts=self.fonts,
                **({"words": words} if options.captions.burn is not None else {}),
            )
        attempt.lease.check()
        signed, manifest = sign(out, rendered.frame)
        attempt.wait_for(self._record_certificate)
        key, manifest_key = (attempt.key(f"videos/{video.id}", suffix) for suffix in (signed.suffix, ".c2pa"))
        stored = attempt.put(key, signed)
        if manifest is not None:
            attempt.wait_for_store(lambda: self.store.put(manifest_key, io.BytesIO(manifest)))
        measures = {name: getattr(rendered, name) for name in ("frame", "frames", "duration_s", "width", "height")}
        measures["view"] = rendered.view.model_dump()
        measures["credentials_key"] = None if manifest is None else manifest_key
        measures["warnings"] = [*warnings, *map(warning, getattr(rendered, "warnings", ()))] or None
        beside = store_captions(attempt, video, words, rendered.duration_s, options.captions)
        beside |= store_pictures(attempt, video, signed, self.core, lambda path: sign(path, rendered.frame)[0])
        attempt.succeed(
            key,
            manifest_key,
            *beside.values(),
            file_key=key,
            sha256=stored.sha256,
            size_bytes=stored.size,
            **measures,
            **beside,
        )

    def _record_certificate(self) -> None:
        with self.database.session() as session:
            self.provenance.record_certificate(session)

    def device(self) -> str:
        """Returns the device that jobs compute on: `cpu` or `cuda`."""
        if self.settings.device != "auto":
            return self.settings.device
        return "cuda" if self.core.gpu() else "cpu"


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
    log.error("unexpected exception", exc_info=error)
    return dict(INTERNAL_ERROR)


def _is_out_of_memory(error: Exception) -> bool:
    raised_here = isinstance(error, AdnerfError | StorageError)
    return not raised_here and any(word in str(error).lower() for word in MEMORY_WORDS)
