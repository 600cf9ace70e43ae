"""The drawn speakers: what a tracker sees of them is the truth; and the benchmark that tries people's clips."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from adnerf_core.config import FPS
from adnerf_core.face.trackers.facemesh import FaceMesh
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import read_rgb
from benchmarks.people.__main__ import flat, main
from demo import crowd, family
from demo.scene import Scene, Stage
from demo.speaker import perform
from demo.speech import join, speak

SMALL = Scene(400, 300, room=1, turn=1.5)
CLIPS = {
    "pan": family.Clip("pan", replace(family.DARK_MAN, beard=0.8, glasses=True), replace(SMALL, camera="pan"), 0),
    "hair": family.Clip("hair", family.LONG_HAIRED, replace(SMALL, closeness=0.9, eyes=(0.55, 0.42), grain=2.0), 1),
}
"""Two speakers who differ in all that is drawn; the camera moves before one of them."""


@pytest.mark.parametrize("name", CLIPS)
def test_a_tracker_sees_the_truth_about_a_drawn_speaker(tmp_path, name):
    video = family.draw(CLIPS[name], tmp_path, seconds=6)
    truth = json.loads(video.with_suffix(".json").read_text())
    with closing(FaceMesh()) as tracker:
        tracked = [tracker(frame) for frame in ffmpeg.read_frames(video)]
    assert len(tracked) == truth["frames"] == 150 and all(points is not None for points in tracked)
    points = np.array(tracked)[..., :2]
    corners = points[:, 33], points[:, 263]
    middle, unit = (corners[0] + corners[1]) / 2, np.linalg.norm(corners[1] - corners[0], axis=1)
    nose, mouth = (points[:, 4] - middle) / unit[:, None], points[:, 13] - points[:, 14]
    motion = {key: np.array(values) for key, values in truth["motion"].items()}
    assert np.corrcoef(nose[:, 0], motion["yaw"])[0, 1] > 0.9
    assert np.corrcoef(np.linalg.norm(mouth, axis=1) / unit, motion["opening"])[0, 1] > 0.85
    roll = np.arctan2(*(corners[1] - corners[0]).T[::-1])
    assert np.corrcoef(roll, motion["roll"])[0, 1] > 0.9
    eyes_at = np.array(truth["faces"][0]["eyes_at"])
    assert np.median(np.abs(middle - eyes_at[:, :2])) < 0.06 * np.median(unit)
    assert np.corrcoef(middle[:, 0], eyes_at[:, 0])[0, 1] > 0.97
    assert np.median(unit) == pytest.approx(np.median(eyes_at[:, 2]), rel=0.1)


def test_takes_faces_and_what_covers_the_mouth_are_in_the_truth():
    two_takes = replace(family.choose(["cuts"])[0], scene=replace(SMALL, takes=2))
    speech = join([speak("Papa."), speak("Mama.")], family.BREAK_S)
    truth = perform(speech, 0)
    stage = Stage(two_takes.speaker, two_takes.scene, len(truth.opening), 0)
    facts = family.describe(two_takes, stage, truth)
    (first, end), (start, last) = facts["takes"]
    assert first == 0 < end < start < last == facts["frames"]
    shape = next(truth.shapes())
    takes = [stage.draw(k, shape).astype(int) for k in (0, end - 1, start, last - 1)]
    assert np.abs(takes[0] - takes[1]).max() == np.abs(takes[2] - takes[3]).max() == 0
    card = stage.draw(end, shape).astype(int)
    assert min(np.abs(takes[1] - takes[2]).mean(), np.abs(takes[0] - card).mean(), np.abs(takes[2] - card).mean()) > 12
    assert truth.opening[end:start].max() < 0.03  # nobody speaks behind the title card

    crowded = replace(SMALL, other=family.OLDER, passing="hand")
    stage = Stage(family.WITH_CAP, crowded, len(truth.opening), 0)
    facts = family.describe(replace(two_takes, scene=crowded), stage, truth)
    assert [face["speaks"] for face in facts["faces"]] == [True, False]
    assert 0 < len(facts["covered"]) < 50
    clear = Stage(family.WITH_CAP, replace(crowded, passing=None), len(truth.opening), 0)
    covered = facts["covered"][len(facts["covered"]) // 2]
    x, y, unit = stage.eyes_at(covered, shape)
    at = slice(int(y + 0.7 * unit), int(y + 1.0 * unit)), slice(int(x - 0.2 * unit), int(x + 0.2 * unit))
    hidden = np.abs(stage.draw(covered, shape)[at].astype(int) - clear.draw(covered, shape)[at]).mean()
    assert hidden > 15 and np.array_equal(stage.draw(0, shape), clear.draw(0, shape))


def test_a_question_of_somebody_else_moves_only_the_lips_of_the_one_who_asks():
    clip = family.choose(["conversation"])[0]
    heard, others = family.say(clip, 3)
    asked = slice(round(3.6 * FPS), round((heard.seconds - 3.6) * FPS))
    answers, asks = perform(heard, 0).opening, perform(others, 1).opening
    assert answers[asked].max() < 0.03 < 0.1 < asks[asked].max() and asks[: 3 * FPS].max() < 0.03
    assert np.array_equal(heard.samples, others.samples)
    assert np.abs(heard.samples[round(4 * heard.rate) : round(5 * heard.rate)]).max() > 0.1


def test_the_family_is_distinct():
    assert len(family.FAMILY) >= 10 and len({clip.name for clip in family.FAMILY}) == len(family.FAMILY)
    assert len({(clip.speaker, clip.scene) for clip in family.FAMILY}) == len(family.FAMILY)
    with pytest.raises(ValueError, match="nobody"):
        family.choose(["nobody"])


def test_the_trials_go_on_after_a_failure_and_continue_after_a_stop(tmp_path, speaker_video, capsys):
    """A broken file and a good clip; the good one is stopped after its preprocessing, then continued."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a_text.mp4").write_text("no video")
    shutil.copy(speaker_video.path, clips / "b_speaker.mp4")
    foreign, voice = speak("Mama, papa."), tmp_path / "voice.wav"
    ffmpeg.write_wav(voice, foreign.samples, foreign.rate)
    options = [str(clips), "--steps", "6", "--voice", str(voice)]
    assert main([*options, "--until", "preprocess"]) == 0
    stopped = json.loads((clips / "results" / "people.json").read_text())["clips"]
    assert stopped["a_text"]["code"] == "not_media" and list(stopped["b_speaker"]["stages"]) == ["preprocess"]
    assert stopped["b_speaker"]["code"] == "" and "figures" not in stopped["b_speaker"]

    assert main([*options, "--only", "b_speaker", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    done = figures["clips"]["b_speaker"]
    assert done["code"] == "" and list(done["stages"]) == ["preprocess", "train", "evaluate", "render"]
    assert done["stages"]["preprocess"] == stopped["b_speaker"]["stages"]["preprocess"]  # it was not done again
    assert all(seconds["cpu_s"] > 0 and seconds["wall_s"] > 0 for seconds in done["stages"].values())
    assert flat(done["figures"])["psnr"] > 5 and figures["steps"] == 6
    assert done["footage"]["warnings"] and done["video"]["frames"] == round(foreign.seconds * 25)
    results = clips / "results" / "b_speaker"
    assert ffmpeg.probe(results / "foreign.mp4").has_audio
    sheet = read_rgb(results / "sheet.jpg")
    assert sheet.shape[1] == 1536 and sheet.std() > 20
    printed = capsys.readouterr().out
    assert "not_media" in printed and "psnr" in printed


def test_a_crowd_is_of_different_people_and_the_same_each_time():
    """A longer crowd begins with the shorter one, so that its results are continued."""
    people = crowd.crowd(40)
    assert people[:10] == crowd.crowd(10) and people != crowd.crowd(40, seed=1)
    assert len({clip.speaker for clip in people}) == len({clip.name for clip in people}) == 40
    assert {clip.scene.camera for clip in people} == set(crowd.CAMERAS)
    assert any(clip.speaker.beard for clip in people) and any(clip.scene.height > clip.scene.width for clip in people)
