"""Full frames and portraits without speech, rendered, marked and signed by the real core from a small trained run."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core.config import RenderOptions, ViewChange
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import read_json
from api.services import videos
from storage.database.models import Subject
from storage.tables import certificates
from tests.adnerf_core.toy import FOOTAGE_SIZE
from worker.jobs.core_functions import load_core
from worker.jobs.workspace import Workspace
from worker.processes.polling import PollingWorker
from worker.provenance.content_credentials import read


@pytest.fixture
def subject(house, toy_run):
    """A ready subject whose run is the toy's."""
    row = house.ready_subject()
    key = f"subjects/{row.id}/runs/toy.zip"
    Workspace(house.settings.work, house.store).upload_folder(toy_run.root, key)
    footage = read_json(toy_run.subject)["footage"]
    with house.database.session() as session:
        stored = session.get(Subject, row.id)
        stored.run_key, stored.full_frame = key, {edge: footage[edge] for edge in ("width", "height")}
    return house.subject(row)


def test_silent_loops_of_both_frames_by_the_real_core(house, subject):
    assert (subject.full_frame["width"], subject.full_frame["height"]) == FOOTAGE_SIZE
    turned = RenderOptions(view=ViewChange(yaw_deg=3), motion=0.5, size=64)
    submitted = [house.submit_video(subject.id, options=options, idle_s=1.2) for options in (RenderOptions(), turned)]
    worker = PollingWorker(house.settings, load_core())
    while worker.run_next():
        pass
    worker.close()
    with house.database.session(write=False) as session:
        chains = certificates.chains(session)
    whole, portrait = (house.read(videos.video_file, video.id) for video in submitted)
    assert (whole.frame, whole.width, whole.height) == ("full", *FOOTAGE_SIZE)
    assert (portrait.frame, portrait.width, portrait.height) == ("portrait", 64, 64)
    sources = {"full": "compositeWithTrainedAlgorithmicMedia", "portrait": "trainedAlgorithmicMedia"}
    for video in (whole, portrait):
        path = house.store.root / video.file_key
        info = ffmpeg.probe(path)
        assert (info.width, info.height, info.has_audio) == (video.width, video.height, False)
        assert (video.frames, video.duration_s, video.idle_s) == (30, 1.2, 1.2)
        pictures = [picture.astype(int) for picture in ffmpeg.read_frames(path)]
        change = [np.abs(picture - pictures[0]).mean() for picture in pictures]
        assert len(pictures) == 30
        assert change[-1] < min(3, max(change)), (
            "it ends as it begins, up to the watermark, which is strong in small pictures"
        )
        stated = read(path, chains)
        assert (stated["ours"], stated["source_type"]) == (True, sources[video.frame])
        assert stated["footage_sha256"] == (subject.footage_sha256 if video is whole else None)
