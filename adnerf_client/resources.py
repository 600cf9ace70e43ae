"""The subjects and the videos of a service."""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from adnerf_client.connection import BytesDone, parse, retry_after_s
from adnerf_client.downloads import download, save_answer
from adnerf_client.errors import StillRunning
from adnerf_client.made import Made
from adnerf_client.models import (
    BatchItem,
    BatchResult,
    Consent,
    Options,
    Preset,
    Share,
    Subject,
    SubjectState,
    Video,
    VideoState,
)
from adnerf_client.uploads import readable
from adnerf_client.watching import watch

PREVIEW_S = 60.0
"""Seconds to wait for a preview frame: a worker loads the subject first, and may render a video meanwhile."""
SAMPLE_S = 300.0
"""Seconds to wait for a subject of the sample person: its footage is made at the first request, for half a minute on a free core."""


class Subjects(Made[Subject]):
    """The people of whom videos are made."""

    path, model = "/v1/subjects", Subject

    def create(
        self,
        video: str | Path | None = None,
        *,
        consent: str,
        consent_by: str | None = None,
        consent_clip: str | Path | None = None,
        may_improve_others: bool = False,
        name: str | None = None,
        preset: Preset = "standard",
        audio_track: int | None = None,
        upload_id: str | None = None,
        sample: Literal["person"] | None = None,
        face: tuple[float, float, float] | None = None,
        progress: BytesDone | None = None,
    ) -> Subject:
        """Makes a subject from a reference video. Two jobs follow, `preprocess` and `train` (Client.wait).

        Args:
            video: The reference video; None if `upload_id` or `sample` is given.
            consent: Who agreed to be shown, and to what.
            consent_by: The name of that person, besides the text.
            consent_clip: A video of 2 to 60 s in which the person speaks the consent, where the service takes one.
            may_improve_others: Whether the person agreed that the lips of other people on the service are learnt from the footage.
            name: Name of the subject; None takes the name of the file.
            preset: Quality and duration of the training.
            audio_track: The sound track of the video, from 1 on; None takes the one that holds speech.
            upload_id: Id of a complete upload of the reference video (Client.uploads).
            sample: `person` takes the sample person, an animated photograph that the service makes, in place of a video.
            face: Which face is the person, if there are several: x and y of its middle (0..1 from the upper left) and the second at
                which it is there. None takes the face that speaks.
            progress: Called with the bytes sent so far and the total.

        Returns:
            The new subject, whose work is not yet done.
        """
        form, clips = self._consent_form(consent, consent_by, consent_clip, may_improve_others)
        form["preset"] = preset
        if audio_track is not None:
            form["audio_track"] = str(audio_track)
        if face is not None:
            form["face"] = json.dumps(dict(zip(("x", "y", "second"), face, strict=True)))
        if name is None and video is not None:
            # The service names it after the file in the form, and an upload is not in the form. Bytes of the name that are not
            # UTF-8 become question marks.
            name = Path(video).stem.encode(errors="replace").decode()
        if name is not None:
            form["name"] = name
        if sample is None:
            return self._create(form, "video", video, upload_id, progress, clips)
        if video is not None or upload_id is not None:
            raise TypeError("give either video, or upload_id, or sample")
        form["sample"] = sample
        return parse(Subject, self._connection.send("POST", self.path, form=form, files=clips, timeout=SAMPLE_S))

    def _consent_form(
        self, consent: str, consent_by: str | None, clip: str | Path | None, may_improve_others: bool
    ) -> tuple[dict[str, str], dict[str, Path]]:
        """Returns the form fields of the consent, and the clip as a file of the form, unless it is large and has been uploaded."""
        form, files = {"consent": consent}, {}
        if may_improve_others:
            form["may_improve_others"] = "true"
        if consent_by is not None:
            form["consent_by"] = consent_by
        if clip is not None:
            file = readable(clip)
            if (sent := self._upload(file, None)) is None:
                files["consent_clip"] = file
            else:
                form["consent_upload_id"] = sent
        return form, files

    def list(
        self, *, state: SubjectState | None = None, trash: bool = False, limit: int | None = None
    ) -> Iterator[Subject]:
        """Lists at most `limit` subjects, newest first; with `trash` those in the trash instead of all others."""
        return self._list(limit, state=state, trash="true" if trash else None)

    def trash(self, which: str | Subject) -> Subject:
        """Moves a subject and its videos to the trash, where they stay until `trashed_until`; running jobs are cancelled."""
        return self._post(which, "trash")

    def restore(self, which: str | Subject) -> Subject:
        """Takes a subject, with the videos that went with it, out of the trash."""
        return self._post(which, "restore")

    def rename(self, which: str | Subject, name: str) -> Subject:
        """Renames a subject and returns it."""
        return parse(Subject, self._connection.send("PATCH", self._path(which), json={"name": name}))

    def set_may_improve_others(self, which: str | Subject, allowed: bool) -> Subject:
        """Allows or forbids that the lips of other people are learnt from the footage of a subject, and returns the subject."""
        return parse(Subject, self._connection.send("PATCH", self._path(which), json={"may_improve_others": allowed}))

    def consent(self, which: str | Subject) -> Consent:
        """Gets the record of consent: who agreed to be shown, to what, when, and with which footage."""
        return parse(Consent, self._connection.send("GET", self._path(which, "/consent")))

    def consent_clip(self, which: str | Subject, to: str | Path) -> Path:
        """Saves the clip in which the person speaks the consent as `to` and returns its path."""
        return download(self._connection, self._path(which, "/consent/clip"), to)

    def withdraw_consent(self, which: str | Subject, *, purge: bool = False) -> Subject:
        """Withdraws the consent of a subject: it and its videos are cancelled, and this cannot be undone.

        Args:
            which: The subject or its id.
            purge: Also delete all files; only the record of consent stays.

        Returns:
            The cancelled subject.
        """
        return self._post(which, "withdraw-consent", json={"purge": purge})

    def preview_frame(
        self,
        which: str | Subject,
        to: str | Path,
        *,
        options: Options | Mapping[str, Any] | None = None,
        background: str | Path | None = None,
        timeout: float = PREVIEW_S,
    ) -> Path:
        """Saves a frame as a video with these options will show it (JPEG) as `to`, and returns its path.

        Args:
            which: The subject, which is ready, or its id.
            to: The file.
            options: The options of the video.
            background: A picture (PNG, JPEG, WebP) of at most 4 MiB, for the background kind `image`.
            timeout: Seconds to wait for a worker.

        Raises:
            StillRunning: No worker has rendered the frame within `timeout`.
        """
        form = {"options": Options.model_validate(options or {}).model_dump_json(exclude_none=True)}
        files = {} if background is None else {"background": readable(background)}
        deadline = time.monotonic() + timeout
        while True:
            response = self._connection.send("POST", self._path(which, "/preview-frame"), form=form, files=files)
            if response.status_code == 200:
                Path(to).write_bytes(response.content)
                return Path(to)
            if time.monotonic() >= deadline:
                remedy = "Check that a worker runs, and ask again."
                raise StillRunning(f"The frame was not rendered within {timeout:g} s.", remedy, job=None)
            time.sleep(retry_after_s(response) or 1.0)

    def export(self, which: str | Subject, to: str | Path) -> Path:
        """Saves a subject as a bundle (ZIP), which other services can import, as `to`, and returns its path."""
        return save_answer(self._connection, self._path(which, "/export"), to)

    def import_bundle(
        self,
        bundle: str | Path | None = None,
        *,
        name: str | None = None,
        upload_id: str | None = None,
        progress: BytesDone | None = None,
    ) -> Subject:
        """Makes a subject from a bundle that `export` has saved; it is ready at once.

        Args:
            bundle: The bundle, of this service or of one that it trusts; None if `upload_id` is given.
            name: Name of the subject; None takes the one in the bundle.
            upload_id: Id of a complete upload of the bundle (Client.uploads).
            progress: Called with the bytes sent so far and the total.
        """
        form = {} if name is None else {"name": name}
        return self._create(form, "bundle", bundle, upload_id, progress, to=f"{self.path}/import")

    def preview(self, which: str | Subject, to: str | Path) -> Path:
        """Saves the latest preview picture of the training (JPEG) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/preview"), to)

    def thumbnail(self, which: str | Subject, to: str | Path) -> Path:
        """Saves a frame of the footage (JPEG) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/thumbnail"), to)

    def report(self, which: str | Subject, to: str | Path) -> Path:
        """Saves the report on the quality of a subject (HTML) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/report"), to)


class Videos(Made[Video]):
    """The videos of speaking subjects."""

    path, model = "/v1/videos", Video

    def create(
        self,
        subject: str | Subject,
        audio: str | Path | None = None,
        *,
        script: str | None = None,
        voice: str | None = None,
        speed: float | None = None,
        duration_s: float | None = None,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        priority: Literal["normal", "low"] | None = None,
        options: Options | Mapping[str, Any] | None = None,
        background: str | Path | None = None,
        upload_id: str | None = None,
        progress: BytesDone | None = None,
    ) -> Video:
        """Makes a video of a ready subject. One job follows, `render` (Client.wait).

        Args:
            subject: The subject or its id.
            audio: The speech; None if `upload_id`, `script` or `duration_s` is given.
            script: A text that a voice reads, in place of the speech.
            voice: Id of the voice (Client.voices); None takes the service's default.
            speed: Pace of the voice, 0.5 to 2.
            duration_s: Length of a video without speech, 1 to 60 s, in place of the speech. It loops.
            title: A name for people.
            metadata: Up to 16 texts of your own, by name.
            priority: `low` renders the video when nothing else waits.
            options: The options of the video.
            background: A picture (PNG, JPEG, WebP) for behind the person; it belongs to the background kind `image`.
            upload_id: Id of a complete upload of the speech (Client.uploads).
            progress: Called with the bytes sent so far and the total.

        Returns:
            The new video, whose work is not yet done.
        """
        checked = Options.model_validate(options or {})
        form = {
            "subject_id": subject if isinstance(subject, str) else subject.id,
            "options": checked.model_dump_json(exclude_none=True),
        }
        texts = {"script": script, "voice": voice, "speed": speed, "duration_s": duration_s, "title": title}
        texts |= {"metadata": None if metadata is None else json.dumps(dict(metadata)), "priority": priority}
        form |= {name: str(value) for name, value in texts.items() if value is not None}
        others = {} if background is None else {"background": readable(background)}
        if script is None and duration_s is None:
            return self._create(form, "audio", audio, upload_id, progress, others)
        if [audio, upload_id, script, duration_s].count(None) != 3:
            raise TypeError("give either recorded speech, or script, or duration_s")
        return parse(Video, self._connection.send("POST", self.path, form=form, files=others, progress=progress))

    def create_batch(self, requests: Iterable[Mapping[str, Any]]) -> builtins.list[BatchItem]:
        """Makes up to 100 videos at once; each request is carried out or refused by itself.

        Args:
            requests: JSON bodies of POST /v1/videos: `subject_id`, and `script`, `upload_id` or `duration_s`, and so on.

        Returns:
            What became of each, in their order.
        """
        body = {"videos": [dict(each) for each in requests]}
        return parse(BatchResult, self._connection.send("POST", f"{self.path}/batch", json=body)).items

    def list(
        self,
        *,
        state: VideoState | None = None,
        subject_id: str | None = None,
        ids: Iterable[str] | None = None,
        title: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        trash: bool = False,
        limit: int | None = None,
    ) -> Iterator[Video]:
        """Lists at most `limit` videos, newest first.

        Args:
            state: Only videos in this state.
            subject_id: Only videos of this subject.
            ids: Only these videos, at most 100.
            title: Only videos with this in their title, in any case.
            created_after: Only videos created at this time (with a time zone) or later.
            created_before: Only videos created before this time.
            trash: Those in the trash instead of all others.
            limit: The largest number.
        """
        return self._list(
            limit,
            state=state,
            subject_id=subject_id,
            ids=None if ids is None else ",".join(ids),
            title=title,
            created_after=None if created_after is None else created_after.isoformat(),
            created_before=None if created_before is None else created_before.isoformat(),
            trash="true" if trash else None,
        )

    def update(self, which: str | Video, **values: Any) -> Video:
        """Changes `title` or `metadata` (None: none; `metadata` is replaced as a whole), and returns the video."""
        return parse(Video, self._connection.send("PATCH", self._path(which), json=values))

    def watch(self, which: str | Video) -> Iterator[bytes]:
        """Yields a video while it is rendered: a fragmented MP4, piece by piece, without content credentials (watching.watch)."""
        return watch(self._connection, self._path(which))

    def trash(self, which: str | Video) -> Video:
        """Moves a video to the trash, where it stays until `trashed_until`; its job is cancelled, and its links are closed."""
        return self._post(which, "trash")

    def restore(self, which: str | Video) -> Video:
        """Takes a video out of the trash. Raises Conflict if its subject is there too."""
        return self._post(which, "restore")

    def share(self, which: str | Video, *, expires_in_s: int = 7 * 86_400) -> Share:
        """Makes a link by which everybody can watch a video for `expires_in_s` seconds, without a key."""
        body = {"expires_in_s": expires_in_s}
        return parse(Share, self._connection.send("POST", self._path(which, "/shares"), json=body))

    def shares(self, which: str | Video) -> Iterator[Share]:
        """Lists the links to a video that are valid, newest first."""
        return self._pages(self._path(which, "/shares"), Share, None)

    def unshare(self, share: Share) -> None:
        """Closes a link at once."""
        self._connection.send("DELETE", self._path(share.video_id, f"/shares/{share.id}"))

    def captions(self, which: str | Video, to: str | Path) -> Path:
        """Saves the caption file of a video as `to` and returns its path."""
        return download(self._connection, self._path(which, "/captions"), to)

    def thumbnail(self, which: str | Video, to: str | Path) -> Path:
        """Saves a picture of a video (JPEG) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/thumbnail"), to)

    def preview_clip(self, which: str | Video, to: str | Path) -> Path:
        """Saves the silent beginning of a video (a small MP4) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/preview-clip"), to)

    def audio(self, which: str | Video, to: str | Path) -> Path:
        """Saves the speech of a script (WAV) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/audio"), to)

    def download(self, which: str | Video, to: str | Path, *, progress: BytesDone | None = None) -> Path:
        """Saves the MP4 or WebM file of a video as `to`, and returns its path.

        An interrupted download continues from where it stopped, also in a later call (downloads.download).
        """
        return download(self._connection, self._path(which, "/file"), to, progress=progress)
