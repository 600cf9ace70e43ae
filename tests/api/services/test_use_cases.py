"""Use cases of subjects and videos: what is refused, and what is changed at once."""

from __future__ import annotations

from functools import partial

import pytest

from api.services import jobs as job_service
from api.services import subjects, videos
from storage.database import queries
from storage.database.models import Job, Subject
from storage.errors import (
    NotFound,
    PreviewNotReady,
    QuotaExceeded,
    ReportNotReady,
    SubjectNotReady,
    VideoNotReady,
    ViewsNotReady,
)


def test_a_subject_in_work_cannot_speak_yet(house):
    subject = house.submit_subject()
    with pytest.raises(SubjectNotReady, match="pending"):
        house.submit_video(subject.id)
    with pytest.raises(NotFound):
        house.submit_video("sub_none")
    assert [key.split("/")[-1] for key in house.objects()] == ["source"]


def test_what_is_refused_leaves_nothing(house):
    house.settings = house.settings.replace(quota_stored_bytes=1000)
    with pytest.raises(QuotaExceeded):
        house.submit_subject(words="x" * 20_000)
    assert house.objects() == []
    assert house.read(queries.page, Subject).items == []


def test_what_is_not_there_yet_is_refused(house):
    subject = house.ready_subject()
    with pytest.raises(PreviewNotReady):
        house.read(subjects.subject_part, subject.id, "preview_key")
    with pytest.raises(ReportNotReady, match="no report yet"):
        house.read(subjects.subject_part, house.submit_subject().id, "report_key")
    with pytest.raises(ViewsNotReady, match="no view sheet"):
        house.read(subjects.subject_part, house.submit_subject().id, "views_key")
    video = house.submit_video(subject.id)
    with pytest.raises(VideoNotReady, match="pending"):
        house.read(videos.video_file, video.id)


def test_places_in_the_queue(house):
    submitted = [house.submit_subject() for _ in range(3)]
    found = house.read(queries.page, Job).items
    with house.database.session(write=False) as session:
        places = job_service.queue_positions(session, found)
    assert [places[subject.jobs[0].id] for subject in submitted] == [1, 2, 3]


def test_renaming(house):
    subject = house.submit_subject()
    renamed = house.write(partial(subjects.change_subject, name="Lovelace"), subject.id)
    assert (renamed.name, house.subject(subject).name) == ("Lovelace", "Lovelace")
    assert renamed.updated_at > subject.updated_at
