"""Evaluation of the toy run: the figures, the report, the pictures and the video."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import NotReady
from adnerf_core.evaluation import evaluate as evaluation
from adnerf_core.evaluation.evaluate import cut_sound, evaluate
from adnerf_core.evaluation.evaluator import detect_landmarks
from adnerf_core.evaluation.heldout_renderer import WRONG_SOUNDS, HeldOutRenderer, LipCodes
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.synthesis.subject import load_subject
from tests.adnerf_core.toy import FRAMES, HELD_OUT_FROM, SIZE

HELD_OUT = FRAMES - HELD_OUT_FROM


class Marker:
    """A face tracker for the toy: places the lips at the upper and lower edge of the dark mouth."""

    def __call__(self, frame):
        if frame.shape[0] != SIZE:
            return None
        rows, cols = np.nonzero(frame[:, 12:36].mean(-1) < 80)
        rows, cols = rows[rows < 40], cols[rows < 40] + 12
        if len(rows) < 3:
            return None
        points = np.random.default_rng(0).uniform(0, SIZE, (478, 3)).astype(np.float32)
        middle, half = rows.mean(), len(rows) / 12
        points[[82, 13, 312], 1], points[[87, 14, 317], 1] = middle - half, middle + half
        points[[82, 13, 312, 87, 14, 317], 0] = cols.mean()
        return points

    def close(self):
        pass


VOICES = []
"""Files with the person's voice that were encoded by `evaluated`."""


@pytest.fixture(scope="module")
def evaluated(toy_run):
    reports, write_video = [], ffmpeg.write_video

    def note_voice(*arguments, audio, **options):
        VOICES.append(audio)
        write_video(*arguments, audio=audio, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "load_tracker", lambda name: Marker())
        patch.setattr(ffmpeg, "write_video", note_voice)
        figures = evaluate(toy_run, lambda *progress: reports.append(progress), name="Toy & <Co>")
    return figures, reports


def test_a_killed_process_leaves_no_voice_outside_the_part_of_the_run_that_is_not_copied(evaluated, toy_run):
    (voice,) = VOICES
    assert voice.parent.parent == toy_run.previews, "the worker's cleanup finds it there, and no stored run has it"
    assert not voice.parent.exists(), "and whoever is not killed leaves nothing"


def test_figures_pictures_and_progress(evaluated, toy_run):
    figures, reports = evaluated
    assert json.loads(toy_run.evaluation.read_text()) == figures
    assert {"psnr", "ssim", "mouth_psnr", "lmd_px", "lip_sync", "lip_offset_ms", "held_out_frames"} <= figures.keys()
    assert figures["held_out_frames"] == HELD_OUT and figures["size"] == SIZE
    assert 0.5 < figures["ssim"] < 1 and figures["psnr"] > 20
    assert figures["mouth_psnr_true_lips"] > figures["mouth_psnr_wrong_sound"]
    assert figures["true_torso_psnr"] > figures["psnr"] - 0.1
    assert figures["frames_per_second"] > 1 and figures["frame_cpu_seconds"] > 0
    assert figures["lip_sync_true_lips"] >= figures["lip_sync"] - 0.1
    assert figures["quiet_opening"] is None  # the toy never pauses
    assert "lpips" not in figures and "full_lpips" not in figures
    assert figures["full_psnr"] > figures["psnr"] and figures["full_psnr"] > figures["region_psnr"] > 15
    assert figures["full_ssim"] > figures["ssim"] and 0.5 < figures["seam"] < 2
    assert reports == [("evaluate", k, HELD_OUT) for k in range(HELD_OUT + 1)]


def test_the_report_shows_name_and_figures(evaluated, toy_run):
    page = toy_run.report.read_text()
    assert "Toy &amp; &lt;Co&gt;: how good it is" in page
    # The held-out part is so short: one best, median and worst moment.
    assert page.count("data:image/jpeg;base64,") == 3 * 3
    assert f"{evaluated[0]['head_psnr']:.1f} dB" in page


def test_a_partial_rendering_equals_the_whole_inside_its_part(toy_run, toy_dataset):
    renderer = HeldOutRenderer(load_subject(toy_run), toy_dataset, toy_dataset.track())
    part, mouth = renderer.lower_face(HELD_OUT_FROM), renderer.mouth(HELD_OUT_FROM)
    assert (part & mouth).sum() == mouth.sum() > 0 and not part.all()
    code = torch.zeros(renderer.subject.model.lip_code)
    whole, lower = renderer(HELD_OUT_FROM, code), renderer(HELD_OUT_FROM, code, part)
    assert np.array_equal(lower[part], whole[part]) and not lower[~part].any()


def test_the_contact_sheet_shows_truth_rendering_and_difference(evaluated, toy_run, toy_dataset):
    sheet = cv2.cvtColor(cv2.imread(str(toy_run.contact_sheet)), cv2.COLOR_BGR2RGB).astype(int)
    assert sheet.shape == (HELD_OUT * SIZE, 3 * SIZE, 3)
    truth, render, difference = np.split(sheet, 3, axis=1)
    assert np.array_equal(truth[:SIZE], toy_dataset.picture(HELD_OUT_FROM, SIZE))
    assert np.array_equal(difference, (4 * np.abs(truth - render)).clip(0, 255))


def test_the_side_by_side_plays_the_held_out_part_with_its_sound(evaluated, toy_run):
    info = ffmpeg.probe(toy_run.side_by_side)
    assert (info.width, info.height, info.has_audio) == (2 * SIZE, SIZE, True)
    assert info.duration_s == pytest.approx(HELD_OUT / 25, abs=0.05)


def test_frames_without_a_face_keep_their_time_in_the_video(toy_run, toy_dataset, tmp_path, monkeypatch):
    run = RunDir(shutil.copytree(toy_run.root, tmp_path / "run"))
    track = toy_dataset.track()
    track.valid[[HELD_OUT_FROM + 2, HELD_OUT_FROM + 3]] = False
    monkeypatch.setattr(SubjectDataset, "track", lambda self: track)
    monkeypatch.setattr(evaluation, "load_tracker", lambda name: Marker())
    figures = evaluate(run)
    assert figures["held_out_frames"] == HELD_OUT - 2
    assert sum(1 for _ in ffmpeg.read_frames(run.side_by_side)) == HELD_OUT


def test_footage_without_a_held_out_face_is_refused(toy_run, toy_dataset, monkeypatch):
    track = toy_dataset.track()
    track.valid[HELD_OUT_FROM:] = False
    monkeypatch.setattr(SubjectDataset, "track", lambda self: track)
    with pytest.raises(NotReady, match="longer footage"):
        evaluate(toy_run)


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(NotReady):
        evaluate(RunDir(tmp_path))


def test_wrong_sounds_come_from_other_times_and_all_differ():
    codes = torch.arange(25.0)[:, None]
    wrong = LipCodes(codes, codes).mismatched()
    shifts = {int(w[0, 0]) for w in wrong}
    assert len(shifts) == WRONG_SOUNDS == 4 and 0 not in shifts
    assert all(sorted(w[:, 0].tolist()) == codes[:, 0].tolist() for w in wrong)
    assert all((w - codes).abs().min() >= 5 for w in wrong)


def test_landmarks_are_given_for_a_picture_of_512_px():
    picture = np.zeros((128, 128, 3), np.uint8)
    landmarks = detect_landmarks(lambda p: np.full((478, 3), 32.0), picture)
    assert landmarks.shape == (478, 2) and (landmarks == 128).all()
    assert np.isnan(detect_landmarks(lambda p: None, picture)).all()


def test_the_sound_is_cut_to_the_frames(tmp_path):
    samples = (np.arange(16000) % 640 == 0).astype(np.float32) * 0.5
    samples[640 * 10] = 0.25
    ffmpeg.write_wav(tmp_path / "all.wav", samples, 16000)
    cut = ffmpeg.extract_audio(cut_sound(tmp_path / "all.wav", 10, 20, tmp_path / "cut.wav"))
    assert len(cut) == 6400
    assert cut[0] == pytest.approx(0.25, abs=1e-3) and cut[640] == pytest.approx(0.5, abs=1e-3)
