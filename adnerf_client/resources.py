"""What a service has: subjects, videos, jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adnerf_client.collection import Collection, Resource
from adnerf_client.connection import BytesDone, Connection, parse
from adnerf_client.downloads import download
from adnerf_client.errors import NotServed
from adnerf_client.models import (
    Consent,
    Job,
    JobKind,
    JobState,
    Options,
    Preset,
    Subject,
    SubjectState,
    Verification,
    Video,
    VideoState,
)
from adnerf_client.uploads import Uploads, readable

RESUMABLE_FROM = 8 << 20
"""Files from this size on (bytes) are sent piece by piece; smaller ones are as quickly sent again."""


class Made(Collection[Resource]):
    """Resources that are made of a file."""

    create_path = ""
    """Where they are made, if not at `path`."""

    def __init__(self, connection: Connection, uploads: Uploads):
        super().__init__(connection)
        self._uploads = uploads

    def _create(
        self,
        form: Mapping[str, str],
        name: str,
        path: str | Path | None,
        upload_id: str | None,
        progress: BytesDone | None,
        others: Mapping[str, Path] = MappingProxyType({}),
    ) -> Resource:
        """A new resource of the file `path`, which the form calls `name`, or of an upload; `others` are small files beside it."""
        if (path is None) == (upload_id is None):
            raise TypeError(f"either {name} or upload_id is needed")
        files = dict(others)
        if path is not None:
            upload_id = self._upload(readable(path), progress)
        if upload_id is None:
            files[name] = Path(path)
        else:
            form, progress = {**form, "upload_id": upload_id}, None
        to = self.create_path or self.path
        return parse(self.model, self._connection.send("POST", to, form=form, files=files, progress=progress))

    def _upload(self, path: Path, progress: BytesDone | None) -> str | None:
        """The id of an upload that holds a large file; None for a small one, or where the service takes no uploads."""
        if path.stat().st_size < RESUMABLE_FROM:
            return None
        try:
            return self._uploads.create(path, progress=progress).id
        except NotServed:
            return None


class Subjects(Made[Subject]):
    """People of whom videos can be made."""

    path, model = "/v1/subjects", Subject

    def create(
        self,
        video: str | Path | None = None,
        *,
        consent: str,
        consent_by: str | None = None,
        name: str | None = None,
        preset: Preset = "standard",
        upload_id: str | None = None,
        progress: BytesDone | None = None,
    ) -> Subject:
        """A new subject of a reference video; two jobs follow, `preprocess` and `train` (see Client.wait).

        `consent` says who agreed to be shown, and to what; `consent_by` can name that person apart.
        `video` is a file, or `upload_id` an upload (Client.uploads).
        """
        form = {"consent": consent, "preset": preset}
        if consent_by is not None:
            form["consent_by"] = consent_by
        if name is None and video is not None:
            name = (
                Path(video).stem.encode(errors="replace").decode()
            )  # the service takes it from the form's file, which an upload is not
        if name is not None:
            form["name"] = name
        return self._create(form, "video", video, upload_id, progress)

    def list(self, *, state: SubjectState | None = None, limit: int | None = None) -> Iterator[Subject]:
        """Subjects, newest first, at most `limit`."""
        return self._list(limit, state=state)

    def rename(self, which: str | Subject, name: str) -> Subject:
        """The subject with its new name."""
        return parse(Subject, self._connection.send("PATCH", self._path(which), json={"name": name}))

    def consent(self, which: str | Subject) -> Consent:
        """The record of who agreed to be shown, to what, when, with which footage."""
        return parse(Consent, self._connection.send("GET", self._path(which, "/consent")))

    def withdraw_consent(self, which: str | Subject, *, purge: bool = False) -> Subject:
        """The subject, cancelled for ever with its videos; with `purge` all files go too, and the record alone stays."""
        return self._post(which, "withdraw-consent", json={"purge": purge})

    def preview(self, which: str | Subject, to: str | Path) -> Path:
        """Saves a picture (JPEG) of what training has come to."""
        return download(self._connection, self._path(which, "/preview"), to)

    def report(self, which: str | Subject, to: str | Path) -> Path:
        """Saves the page (HTML) that tells how good the subject is."""
        return download(self._connection, self._path(which, "/report"), to)


class Videos(Made[Video]):
    """Subjects saying something."""

    path, model = "/v1/videos", Video

    def create(
        self,
        subject: str | Subject,
        audio: str | Path | None = None,
        *,
        options: Options | Mapping[str, Any] | None = None,
        background: str | Path | None = None,
        upload_id: str | None = None,
        progress: BytesDone | None = None,
    ) -> Video:
        """A new video of a ready subject speaking `audio`; one job follows, `render` (see Client.wait).

        `audio` is a file, or `upload_id` an upload. `background` is a picture (PNG, JPEG, WebP) to stand behind the person.
        """
        given = Options.model_validate(options or {})
        form = {
            "subject_id": subject if isinstance(subject, str) else subject.id,
            "options": given.model_dump_json(exclude_none=True),
        }
        others = {} if background is None else {"background": readable(background)}
        return self._create(form, "audio", audio, upload_id, progress, others)

    def list(
        self, *, state: VideoState | None = None, subject_id: str | None = None, limit: int | None = None
    ) -> Iterator[Video]:
        """Videos, newest first, at most `limit`."""
        return self._list(limit, state=state, subject_id=subject_id)

    def download(self, which: str | Video, to: str | Path, *, progress: BytesDone | None = None) -> Path:
        """Saves the MP4 or WebM as `to`, whole or not at all; a cut download is taken up again, also by a later call."""
        return download(self._connection, self._path(which, "/file"), to, progress=progress)


class Jobs(Collection[Job]):
    """The work behind subjects and videos."""

    path, model = "/v1/jobs", Job

    def list(
        self,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        subject_id: str | None = None,
        video_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, at most `limit`."""
        return self._list(limit, state=state, kind=kind, subject_id=subject_id, video_id=video_id)

    def cancel(self, which: str | Job) -> Job:
        """Cancels a queued or running job; running work stops within seconds. Raises Conflict for others."""
        return self._post(which, "cancel")

    def retry(self, which: str | Job) -> Job:
        """Queues a failed or cancelled job again; it goes on from what stands. Raises Conflict for others."""
        return self._post(which, "retry")


class Verifications(Made[Verification]):
    """Answers to the question whether a file was made by the service; they can be read for a day."""

    path, model, create_path = "/v1/verifications", Verification, "/v1/verify"

    def create(
        self,
        file: str | Path | None = None,
        *,
        upload_id: str | None = None,
        progress: BytesDone | None = None,
    ) -> Verification:
        """The answer for a video file, or for an upload; `finished_at` is None while the service looks."""
        return self._create({}, "file", file, upload_id, progress)
