"""From a video to a dataset: of a synthetic speaker, of footage that must be refused, and of a real clip."""

from __future__ import annotations

import hashlib
import json
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from adnerf_core.config import FPS, SAMPLE_RATE, FaceChoice, PreprocessConfig
from adnerf_core.errors import (
    AdnerfError,
    FaceOutOfView,
    FaceTooSmall,
    FaceTurned,
    NoAudio,
    NoFaceFound,
    NoSpeech,
    NotMedia,
    NoVideo,
    SceneCut,
    SeveralFaces,
    SilentAudio,
    TooShort,
)
from adnerf_core.face.landmarks import CHIN, FOREHEAD_TOP
from adnerf_core.files import ffmpeg
from adnerf_core.preprocess import pipeline
from adnerf_core.preprocess.footage_report import cut_off, warnings
from adnerf_core.preprocess.pipeline import STAGES, preprocess
from adnerf_core.progress import Cancelled
from benchmarks.badfiles import good
from tests.adnerf_core import clips
from tests.adnerf_core.ffmpeg_runs import reads_of, record_runs

MEDIA = Path(__file__).parents[4] / "shared" / "media"
BRIEF = PreprocessConfig(min_seconds=5)
SPOKEN = 6 * FPS
FRAMES = 6 * FPS
"""Of footage that is refused although it is long enough."""
FOOTAGE = {
    "duration_s", "fps", "width", "height", "frames", "frames_with_face", "face_px", "head_yaw_deg", "sharpness", "warnings",
    "usable_s", "takes", "left_out", "faces", "camera_shift", "lag_ms", "speech_share",
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Six seconds of the synthetic speaker, with sound that is 150 ms late."""
    opening = clips.syllables(SPOKEN)
    path = tmp_path_factory.mktemp("clip") / "speaker.mp4"
    return clips.write(path, clips.speaker(opening), clips.voice(opening, late_s=0.15))


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """The commands of ffmpeg by which `dataset` was made."""
    return []


@pytest.fixture(scope="module")
def dataset(clip, commands, tmp_path_factory):
    """The dataset of the clip, whose digest is passed in."""
    sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_digest", lambda path: pytest.fail("the video was read for its digest"))
        recorded = record_runs(patch)
        made = preprocess(clip, tmp_path_factory.mktemp("uninterrupted") / "dataset", BRIEF, source_sha256=sha256)
    commands += recorded
    return made


def test_the_video_is_probed_once_and_decoded_twice(clip, dataset, commands):
    """Once for the sound and once for the pictures, which are kept as footage."""
    assert reads_of(clip, commands) == ["probe", "sound", "pictures"]
    assert reads_of(dataset.root / "footage.mp4", commands) == ["probe", "pictures"]
    assert len(commands) == 6  # and one that puts the sound onto the timeline


def test_a_dataset_is_complete(dataset, clip):
    frames, size = dataset.frames, dataset.size
    assert (frames, size) == (SPOKEN, 256)
    assert dataset.held_out_from == frames - round(frames / 11)
    manifest = dataset.manifest
    assert manifest["source"]["name"] == clip.name and manifest["config"] == BRIEF.model_dump(mode="json")
    assert manifest["crop"] == [0, 0, 256, 256]
    assert dataset.footage == {"width": 256, "height": 256, "crop": [0, 0, 256]} and manifest["center"] == [128, 128]
    assert manifest["reprojection_px"] < 0.9
    assert manifest["lag_ms"] == pytest.approx(100, abs=40)  # these lips do not lead their sound by 50 ms
    assert set(manifest["seconds"]) == set(STAGES)

    track = dataset.track()
    assert track.valid.all()
    assert track.landmarks.shape == track.canonical_landmarks.shape == (frames, 478, 3)
    assert track.pose.shape == (frames, 4, 4) and track.points.shape == (len(track.point_ids), 3)
    assert np.all(track.pose[:, 2, 3] > 2) and np.all(track.pose[:, 2, 2] > 0.9)  # in front of the face, facing it
    assert track.eyes.min() >= 0 and track.eyes.max() <= 1
    truth = clips.syllables(SPOKEN)
    assert np.corrcoef(track.opening, truth)[0, 1] > 0.8

    sound = ffmpeg.extract_audio(dataset.audio)
    assert len(sound) == frames * SAMPLE_RATE // FPS
    assert np.load(dataset.root / "features.npy").shape == (2 * frames, 200)
    names = {path.name for path in dataset.root.iterdir()}
    assert names == {
        "dataset.json", "footage.json", "footage.mp4", "frames", "masks", "background.png", "audio.wav", "features.npy", "track.npz",
    }  # fmt: skip
    assert len(list((dataset.root / "frames").iterdir())) == len(list((dataset.root / "masks").iterdir())) == frames


def test_points_fall_on_the_landmarks_as_the_format_says(dataset):
    """Projected as the description in dataset.py says: within 1.5 px."""
    track = dataset.track()
    world_to_camera = np.linalg.inv(track.pose[100])
    camera = track.points @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    x, y = dataset.manifest["focal"] * camera[:, :2].T / -camera[:, 2]
    placed = np.stack([dataset.size / 2 + x, dataset.size / 2 - y], 1)
    assert np.linalg.norm(placed - track.landmarks[100, track.point_ids, :2], axis=1).max() < 1.5


def test_the_footage_report_says_what_limits_quality(dataset):
    report = json.loads((dataset.root / "footage.json").read_text())
    assert set(report) == FOOTAGE
    assert report["frames"] == report["frames_with_face"] == SPOKEN
    assert report["duration_s"] == pytest.approx(6, abs=0.1) and report["fps"] == FPS
    assert 70 < report["face_px"] < 110
    text = " ".join(report["warnings"])
    for part in ("Only 6 s", "px high", "hardly turns", "late, which was corrected"):
        assert part in text


@pytest.mark.parametrize(
    ("yaw", "text"), [((-1, 2), "hardly turns"), ((-8, 9), None), ((-19, 33), "turns by 52 degrees")]
)
def test_a_head_that_turns_too_little_or_too_much_gives_a_warning(yaw, text):
    texts = warnings({"head_yaw_deg": yaw})
    assert texts == [] if text is None else text in texts[0]


def test_a_chin_at_the_edge_is_told():
    landmarks = np.full((20, 478, 3), 100.0)
    landmarks[10:, CHIN, 1], landmarks[:10, FOREHEAD_TOP, 1], landmarks[19] = 199, 2, np.nan
    facts = {"cut_off": cut_off(landmarks, 200)}
    assert facts["cut_off"] == {"chin": pytest.approx(9 / 19, abs=1e-3), "forehead": 0}
    (text,) = warnings(facts)
    assert "leave room below the chin" in text
    landmarks[:, FOREHEAD_TOP, 1] = -1
    assert any("leave room above the head" in text for text in warnings({"cut_off": cut_off(landmarks, 200)}))
    assert not warnings({"cut_off": {"chin": 0.05, "forehead": 0.05}})


def test_a_small_face_is_told_to_be_small_and_not_blurred():
    """It looks blurred because it is enlarged."""
    small, large = (" ".join(warnings({"sharpness": 2.8, "face_px": height})) for height in (83, 250))
    assert "83 px high" in small and "blurred" not in small
    assert "blurred (sharpness 2.8)" in large


def test_masks_and_plate_separate_person_and_background(dataset):
    assert_masks_are_sane(dataset, range(0, SPOKEN, 15))
    plate = cv2.imread(str(dataset.root / "background.png"))
    corner = clips.portrait()[:60, :50, ::-1]
    assert np.abs(plate[:60, :50].astype(float) - corner).mean() < 4  # seen all the time
    assert 0.3 < dataset.manifest["hole_share"] < 0.7
    middle = plate[60:140, 100:156].astype(float)  # never seen: filled from around, without her
    assert middle.std(axis=(0, 1)).max() < 15 and np.abs(middle.mean() - corner.mean()) < 40


def read_mask(dataset, k: int) -> np.ndarray:
    return cv2.imread(str(dataset.root / "masks" / f"{k:06d}.png"))[..., ::-1].astype(int)


def assert_masks_are_sane(dataset, chosen) -> None:
    """Checks that nose and cheeks are head, the neck torso, and the corners background, and that masks change slowly."""
    track, size = dataset.track(), dataset.size
    for k in chosen:
        mask = read_mask(dataset, k)
        head, torso, nothing = np.moveaxis(mask, -1, 0)
        assert mask.shape == (size, size, 3) and not nothing.any() and (head + torso).max() <= 256
        x, y = track.landmarks[k, [1, 151, 50, 280], :2].round().astype(int).T
        assert head[y, x].min() > 240
        chin, forehead = track.landmarks[k, [152, 10], :2]
        x, y = (chin + 0.15 * (chin - forehead)).round().astype(int)
        assert torso[y, x] > 200 and head[y, x] < 30
        assert max(head[:9, :9].max(), torso[:9, :9].max(), head[:9, -9:].max()) < 30
        assert 0.08 < head.mean() / 255 < 0.5 and 0.1 < torso.mean() / 255 < 0.6
        assert np.abs(mask - read_mask(dataset, k + 1)).mean() < 3


@pytest.mark.parametrize(("stage", "folder"), [("track", "frames"), ("parse", "masks")])
def test_a_stopped_preprocessing_goes_on_with_the_same_result(stage, folder, clip, dataset, tmp_path):
    """It stops in the middle of a stage; earlier stages are not repeated, and every file is as after an uninterrupted run.

    The digest of the video, which the uninterrupted run was told, is the same, too.
    """

    def stop(at, done, total):
        if at == stage and done >= total / 2:
            raise Cancelled

    ran = []
    with pytest.raises(Cancelled):
        preprocess(clip, tmp_path, BRIEF, progress=stop)
    assert not (tmp_path / "dataset.json").exists()
    (tmp_path / folder / ".000003.99.tmp").touch()  # what kill -9 leaves in the middle of a write
    again = preprocess(clip, tmp_path, BRIEF, progress=lambda at, done, total: ran.append(at))
    assert list(dict.fromkeys(ran)) == list(STAGES)[list(STAGES).index(stage) :]
    assert {**again.manifest, "seconds": None} == {**dataset.manifest, "seconds": None}
    files = sorted(path.relative_to(dataset.root) for path in dataset.root.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in files:
        if name.suffix in (".mp4", ".jpg", ".png", ".npy", ".wav"):
            assert (tmp_path / name).read_bytes() == (dataset.root / name).read_bytes(), name
    for name in ("landmarks", "pose", "canonical_landmarks", "eyes"):
        np.testing.assert_array_equal(getattr(again.track(), name), getattr(dataset.track(), name))


def test_a_finished_dataset_is_kept_and_another_video_replaces_it(clip, dataset, tmp_path):
    def forbidden(*_):
        raise AssertionError("nothing is left to do")

    assert preprocess(clip, dataset.root, BRIEF, progress=forbidden).frames == SPOKEN
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "000999.jpg").touch()
    (tmp_path / "dataset.json").write_text((dataset.root / "dataset.json").read_text())
    with pytest.raises(NoAudio):
        preprocess(clips.write(tmp_path / "mute.mp4", repeat(clips.portrait(), SPOKEN), None), tmp_path, BRIEF)
    assert not (tmp_path / "dataset.json").exists() and not (tmp_path / "frames").exists()


VOICE = clips.voice(clips.syllables(FRAMES))


def two_people():
    return repeat(np.hstack([clips.portrait(320), clips.portrait(320)[:, ::-1]]), FRAMES)


def two_shots():
    room = next(iter(an_empty_room()))
    return (room if k > 100 else clips.portrait(320)[:240] for k in range(FRAMES))


def someone_far_away():
    room = cv2.resize(np.random.default_rng(0).integers(90, 160, (12, 16, 3), np.uint8), (640, 480))
    room[300:420, 240:360] = clips.portrait(120)
    return repeat(room, FRAMES)


def an_empty_room():
    return repeat(cv2.resize(np.random.default_rng(0).integers(90, 160, (12, 16, 3), np.uint8), (320, 240)), FRAMES)


def someone_who_leaves():
    """Out of the picture and back: no face for about 3 s."""
    wide = np.hstack([clips.portrait(320), cv2.resize(astronaut()[:120, 400:], (400, 320))])
    for k in range(FRAMES):
        left = int(np.clip((70 - abs(k - 75)) * 12, 0, 398)) + k % 2  # it trembles: equal pictures would be a freeze
        yield wide[:, left : left + 320]


def a_still_picture(frames=FRAMES):
    return repeat(clips.portrait(320), frames)


@pytest.mark.parametrize(
    ("frames", "sound", "error", "words"),
    [
        (two_people, VOICE, SeveralFaces, None),
        (two_shots, VOICE, SceneCut, r"Only 4\.0 s .* at 4\.04 s"),
        (someone_far_away, VOICE, FaceTooSmall, None),
        (an_empty_room, VOICE, NoFaceFound, None),
        (someone_who_leaves, VOICE, FaceOutOfView, None),
        (a_still_picture, VOICE, NoSpeech, None),
        (a_still_picture, np.zeros_like(VOICE), SilentAudio, None),
        (lambda: a_still_picture(4 * FPS), VOICE, TooShort, None),
    ],
    ids=lambda value: getattr(value, "code", None) or getattr(value, "__name__", "sound"),
)
def test_unusable_footage_is_refused(frames, sound, error, words, tmp_path):
    video = clips.write(tmp_path / "clip.mp4", frames(), sound)
    with pytest.raises(AdnerfError, match=words) as caught:
        preprocess(video, tmp_path / "dataset", BRIEF)
    assert type(caught.value) is error, caught.value
    assert not (tmp_path / "dataset" / "dataset.json").exists()
    report = json.loads((tmp_path / "dataset" / "footage.json").read_text())
    assert set(report) == FOOTAGE
    assert (report["duration_s"], report["fps"]) == (pytest.approx(6, abs=0.1) if error is not TooShort else 4, FPS)


def test_only_the_takes_are_learnt_from(tmp_path):
    """A title dissolves into a take with a flash; a card follows, another take, nearer by, and an end card. The voice goes on."""
    opening = clips.syllables(9 * FPS)
    card = np.full((256, 256, 3), (18, 30, 60), np.uint8)
    cv2.rectangle(card, (30, 120), (180, 132), (255, 255, 255), -1)

    def frames():
        for k, frame in enumerate(clips.speaker(opening)):
            if k >= 130:  # the second take
                frame = cv2.resize(frame[10:234, 16:240], (256, 256))
            there = float(np.clip((k - 12) / 12, 0, 1)) * float(k < 110 or 130 <= k < 205)
            if 70 <= k < 73:
                frame = frame * 0.12 + 224
            yield np.rint(frame * there + card * (1.0 - there)).astype(np.uint8)

    video = clips.write(tmp_path / "takes.mp4", frames(), clips.voice(opening))
    dataset = preprocess(video, tmp_path / "dataset", BRIEF.model_copy(update={"min_seconds": 4}))
    valid = dataset.track().valid
    assert not valid[:22].any() and not valid[70:73].any() and not valid[108:132].any() and not valid[203:].any()
    assert valid[45:67].all() and valid[77:106].all() and valid[135:200].all()
    assert dataset.held_out_from < 203 and valid[dataset.held_out_from :].sum() == round(valid.sum() / 11)
    plate = dataset.background(256).astype(float)
    assert np.abs(plate[:60, :50] - clips.portrait()[:60, :50]).mean() < 6 and dataset.manifest["hole_share"] > 0.3
    report = json.loads((tmp_path / "dataset" / "footage.json").read_text())
    assert len(report["takes"]) == 3 and report["usable_s"] == pytest.approx(valid.sum() / FPS)
    assert any("are left out" in text and "a cut" in text for text in report["warnings"])
    used = report["usable_s"] + sum(part["seconds"] for part in report["left_out"])
    assert used == pytest.approx(9, abs=0.05)


def two_faces(opening):
    """The speaker on the right, and a larger picture of her on the left, which does not speak."""
    still = cv2.resize(clips.portrait(320)[:, ::-1][20:300, 20:300], (320, 320))
    return (np.hstack([still, frame]) for frame in clips.speaker(opening, 320))


def test_the_face_that_speaks_is_learnt_and_another_one_by_choice(tmp_path):
    opening = clips.syllables(SPOKEN)
    video = clips.write(tmp_path / "two.mp4", two_faces(opening), clips.voice(opening))
    dataset = preprocess(video, tmp_path / "dataset", BRIEF)
    x, _, edge, _ = dataset.manifest["crop"]
    assert x + edge / 2 > 400 and np.corrcoef(dataset.track().opening, opening)[0, 1] > 0.8
    report = json.loads((tmp_path / "dataset" / "footage.json").read_text())
    assert report["faces"] == 2 and any("`face`" in text for text in report["warnings"])
    with pytest.raises(NoSpeech):
        preprocess(video, tmp_path / "other", BRIEF.model_copy(update={"face": FaceChoice(x=0.25, y=0.4, second=1)}))


@pytest.mark.parametrize(("turns", "words"), [(2, "180 degrees"), (1, "90 degrees counter-clockwise")])
def test_a_picture_that_is_not_upright_is_refused_with_the_turn(turns, words, tmp_path):
    opening = clips.syllables(FRAMES)
    frames = (np.ascontiguousarray(np.rot90(frame, turns)) for frame in clips.speaker(opening))
    video = clips.write(tmp_path / "turned.mp4", frames, clips.voice(opening))
    with pytest.raises(FaceTurned, match=words):
        preprocess(video, tmp_path / "dataset", BRIEF)


def test_files_that_are_no_video_are_refused(tmp_path):
    text, sound = tmp_path / "text.mp4", tmp_path / "sound.wav"
    text.write_text("no video at all\n" * 50)
    ffmpeg.write_wav(sound, VOICE, SAMPLE_RATE)
    for path, error in ((text, NotMedia), (sound, NoVideo), (tmp_path / "missing.mp4", NotMedia)):
        with pytest.raises(error):
            preprocess(path, tmp_path / "dataset")


@pytest.mark.parametrize("name", ["mp4", "mkv", "webm", "avi"])
def test_files_with_large_gaps_are_refused_before_their_pictures_are_decoded(name, tmp_path):
    """A second of pictures, eight minutes without, and some more: the gap is not filled with copies."""
    gaps, steps = tmp_path / f"leaps.{name}", []
    gaps.write_bytes(good.leaping(name))
    with pytest.raises(NotMedia, match=r"has 0\.06 frames per second"):
        preprocess(gaps, tmp_path / "dataset", progress=lambda *step: steps.append(step))
    assert not steps


def test_a_person_in_a_wide_picture_is_cropped_to_head_and_shoulders(tmp_path):
    """The speaker stands on the right of a picture four times as large; two frames in the middle show no face."""
    wide = np.full((480, 854, 3), 150, np.uint8)
    wide[::40] = 170

    def frames():
        for k, frame in enumerate(clips.speaker(clips.syllables(SPOKEN), 320)):
            wide[150:470, 500:820] = 128 if k in (70, 71) else frame
            yield wide

    video = clips.write(tmp_path / "wide.mp4", frames(), clips.voice(clips.syllables(SPOKEN)))
    dataset = preprocess(video, tmp_path / "dataset", BRIEF.model_copy(update={"max_size": 160}))
    x, y, width, height = dataset.manifest["crop"]
    assert dataset.size == 160 and width == height
    assert 480 < x < 660 and x + width <= 854 and 130 < y < 200 and 200 < width < 330
    track = dataset.track()
    assert np.flatnonzero(~track.valid).tolist() == [68, 69, 70, 71, 72, 73]
    assert not (tmp_path / "dataset" / "frames" / "000070.jpg").exists()
    assert not (tmp_path / "dataset" / "masks" / "000071.png").exists()
    assert np.isfinite(track.pose).all() and np.isfinite(track.eyes).all() and np.isnan(track.opening[70])
    nose = track.landmarks[10, 1, :2] / 160
    assert 0.3 < nose[0] < 0.7 and 0.3 < nose[1] < 0.65


@pytest.mark.parametrize(
    ("name", "seconds", "lag_ms"), [("reference.mp4", 6, None), ("reference_audio_late_200ms.mp4", 9, 200)]
)
def test_a_real_clip(name, seconds, lag_ms, tmp_path):
    """A part of real footage: reprojection at most 0.8 px at 512 px, sane masks, the offset to 40 ms if it is large."""
    if not (MEDIA / name).exists():
        pytest.skip(f"../shared/media/{name} is not here")
    dataset = preprocess(MEDIA / name, tmp_path, PreprocessConfig(min_seconds=5, max_seconds=seconds))
    assert dataset.frames == seconds * FPS
    assert dataset.manifest["reprojection_px"] < 0.8
    assert dataset.track().valid.all()
    assert lag_ms is None or dataset.manifest["lag_ms"] == pytest.approx(lag_ms, abs=40)
    assert_masks_are_sane(dataset, range(5, dataset.frames, 20))
    report = json.loads((tmp_path / "footage.json").read_text())
    assert report["face_px"] == pytest.approx(245, abs=25)
    assert not any(word in text for text in report["warnings"] for word in ("blurred", "dark", "camera"))
