"""Links to videos: their number is limited."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.database.models import Video
from storage.errors import TooManyShares
from storage.tables import shares
from tests.storage.tables.test_jobs import new_job


def test_requests_at_the_same_time_do_not_exceed_the_number_of_links(database, monkeypatch):
    monkeypatch.setattr(shares, "MOST", 5)
    job = new_job(database, "render")

    def try_to_create(_):
        try:
            with database.session() as session:
                shares.create(session, session.get(Video, job.video_id), for_s=60.0)
        except TooManyShares:
            return 0
        return 1

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(try_to_create, range(25))) == 5


def test_an_owner_has_a_limit_over_all_videos(database, monkeypatch):
    monkeypatch.setattr(shares, "MOST_OF_OWNER", 2)
    videos = [new_job(database, "render").video_id for _ in range(3)]
    with database.session() as session:
        for video_id in videos[:2]:
            shares.create(session, session.get(Video, video_id), for_s=60.0)
        with pytest.raises(TooManyShares):
            shares.create(session, session.get(Video, videos[2]), for_s=60.0)
