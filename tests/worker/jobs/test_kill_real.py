"""The real core, killed during each of its three jobs: the made speaker still ends as a talking video."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adnerf_core.config import RenderOptions
from adnerf_core.files.ffmpeg import probe, write_wav
from adnerf_core.files.run_dir import RunDir
from api.services import videos
from storage.database.models import LOCAL
from storage.tables import certificates, jobs
from tests.incoming import incoming
from worker.provenance.content_credentials import read


def kill_during(house, kind, stage):
    """Starts a worker, kills it in this stage of a job of this kind, and returns the job."""
    worker = house.start("real_worker")
    job = house.until(lambda: (job := house.newest_job()).kind == kind and job.stage == stage and job, seconds=300)
    worker.kill()
    worker.wait()
    return job


def test_a_talking_video_in_spite_of_three_kills(house, speaker_video, tmp_path):
    subject = house.submit_subject(footage=speaker_video.path.read_bytes())
    killed = [kill_during(house, "preprocess", "parse"), kill_during(house, "train", "torso")]
    worker = house.start("real_worker")
    house.until(lambda: house.subject(subject).state == "ready", seconds=300)
    worker.terminate()
    assert worker.wait(60) == 0
    subject = house.subject(subject)
    assert subject.footage["frames_with_face"] > 200
    assert subject.quality["held_out_frames"] > 10
    assert subject.full_frame == {"width": 256, "height": 256}
    with house.unzip(subject.run_key) as run:
        lines = [json.loads(line) for line in run.read(RunDir(Path()).metrics.name).splitlines()]
    heads = [line["step"] for line in lines if line["phase"] == "head"]
    assert heads.count(0) == 1  # the head's training went on from its checkpoint

    write_wav(tmp_path / "say.wav", 0.1 * np.sin(np.arange(4 * 16_000) * 0.05), 16_000)
    with house.database.session() as session:
        options = RenderOptions(size=128)
        video = videos.submit_video(
            session,
            house.store,
            house.settings,
            owner=LOCAL,
            subject_id=subject.id,
            options=options,
            audio=incoming(house.store, (tmp_path / "say.wav").read_bytes()),
        )
    killed.append(kill_during(house, "render", "render"))
    house.start("real_worker")
    house.until(lambda: house.video(video).state == "ready", seconds=300)
    for job in killed:
        again = house.job(job)
        assert (again.state, again.attempt, again.max_attempts) == ("succeeded", 2, jobs.MAX_ATTEMPTS)
    video = house.video(video)
    made = probe(house.store.root / video.file_key)
    assert (made.width, made.height, made.has_audio) == (128, 128, True)
    assert made.duration_s == pytest.approx(4.0, abs=0.04)
    assert (video.frames, video.duration_s) == (100, 4.0)
    with house.database.session(write=False) as session:
        chains = certificates.chains(session)
    stated = read(house.store.root / video.file_key, chains)
    assert (stated["video_id"], stated["footage_sha256"]) == (video.id, subject.footage_sha256)
    assert (video.frame, stated["source_type"]) == ("full", "compositeWithTrainedAlgorithmicMedia")
