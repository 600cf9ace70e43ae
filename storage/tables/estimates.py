"""How long jobs will take, from how long earlier ones took with the workers of this service."""

from __future__ import annotations

from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.models import Job, JobKind, Subject, now
from storage.tables import workers

REMEMBERED = 5
"""Number of the newest jobs whose durations count: machines and presets change, and the median of five bears two odd ones."""

FIRST_S: dict[tuple[JobKind, str | None], float] = {
    ("preprocess", None): 60.0,
    ("train", "draft"): 360.0,
    ("train", "standard"): 540.0,
}
"""Durations before any job has ended, seconds: those of a minute of footage on two cores. The slower presets need a GPU, whose
speed nobody knows, and a rendering is as long as its speech."""


class Estimates:
    """Estimates for one request; whatever many jobs share is looked up once."""

    def __init__(self, session: Session):
        self.session = session
        self._busy: dict[JobKind, list[Job]] = {}
        self._typical: dict[tuple[JobKind, str | None], float | None] = {}

    def to_end(self, job: Job, position: int | None) -> float | None:
        """Returns the seconds until a queued or running job ends; None if unknown.

        Args:
            job: the job.
            position: in the queue, from 1; None if it is running.
        """
        if position is None:
            return self._left(job)
        own, wait = self._duration(job), self._wait(job, position)
        return None if own is None or wait is None else own + wait

    def to_ready(self, job: Job, eta_s: float | None) -> float | None:
        """Returns the seconds until the subject of a `preprocess` or `train` job is ready; `eta_s` is what to_end says."""
        if eta_s is None or job.kind == "train":
            return eta_s
        training = self._of("train", self._preset(job))
        return None if training is None else eta_s + training

    def from_footage(self, preset: str) -> float | None:
        """Returns the seconds from an upload until a subject of this preset is ready, if nothing is before it; None if unknown."""
        check, training = self._of("preprocess", None), self._of("train", preset)
        return None if check is None or training is None else check + training

    def _left(self, job: Job) -> float | None:
        """The seconds that a running job still takes: measured, or else the usual duration less the time since its start."""
        if job.eta_s is not None:
            return job.eta_s
        usual = self._duration(job)
        if usual is None or job.started_at is None:
            return None
        return max(0.0, usual - (now() - job.started_at).total_seconds())

    def _wait(self, job: Job, position: int) -> float | None:
        """The seconds until a queued job starts: what runs has to end, and what is before it to run, on as many workers as are busy."""
        left = [self._left(each) for each in self._before(job.kind)]
        before = 0.0 if position == 1 else self._duration(job)  # those before are taken to be like it
        if before is None or None in left:
            return None
        return (sum(left) + (position - 1) * before) / max(1, len(left))

    def _before(self, kind: JobKind) -> list[Job]:
        """The running jobs of the workers that serve this kind."""
        if kind not in self._busy:
            kinds = workers.competing_kinds(self.session)[kind]
            running = select(Job).where(Job.state == "running", Job.kind.in_(kinds))
            self._busy[kind] = list(self.session.scalars(running))
        return self._busy[kind]

    def _duration(self, job: Job) -> float | None:
        return self._of(job.kind, self._preset(job) if job.kind == "train" else None)

    def _preset(self, job: Job) -> str | None:
        subject = self.session.get(Subject, job.subject_id)
        return None if subject is None else subject.preset

    def _of(self, kind: JobKind, preset: str | None) -> float | None:
        """The usual duration of a kind of job, of a training by its preset, seconds; None if unknown."""
        if (kind, preset) not in self._typical:
            query = select(Job.started_at, Job.finished_at).where(Job.kind == kind, Job.state == "succeeded")
            if preset is not None:
                query = query.join(Subject, Subject.id == Job.subject_id).where(Subject.preset == preset)
            found = self.session.execute(query.order_by(Job.id.desc()).limit(REMEMBERED)).all()
            spans = [(end - start).total_seconds() for start, end in found if start and end]
            self._typical[kind, preset] = median(spans) if spans else FIRST_S.get((kind, preset))
        return self._typical[kind, preset]
