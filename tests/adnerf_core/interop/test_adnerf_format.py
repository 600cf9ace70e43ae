"""Folders in AD-NeRF's format: export, import of exported and of foreign folders, and refusal of damaged ones."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from adnerf_core.audio.windows import windows
from adnerf_core.cli import main
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import BadFolder
from adnerf_core.face.landmarks import RIGID_LANDMARKS
from adnerf_core.files import ffmpeg
from adnerf_core.interop.adnerf_format import AdNerfFolder, features_from_windows
from adnerf_core.interop.export_adnerf import export_adnerf
from adnerf_core.interop.import_adnerf import FrameTransform, import_adnerf, triangulate
from tests.adnerf_core import clips
from tests.adnerf_core.toy import make_toy_dataset

COUNT, HELD_OUT = 44, 40
EDGE, FOCAL, DISTANCE = 160, 320.0, 9.0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> SubjectDataset:
    """A toy dataset with frames in which a face is found, and soft masks."""
    toy = make_toy_dataset(tmp_path_factory.mktemp("folder") / "dataset")
    track = dict(np.load(toy.root / "track.npz"))
    opening = clips.syllables(COUNT)
    for k, picture in enumerate(clips.speaker(opening, EDGE)):
        cv2.imwrite(str(toy.root / f"frames/{k:06d}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        mask = np.zeros((EDGE, EDGE, 3), np.uint8)
        cv2.circle(mask, (EDGE // 2, EDGE // 3), EDGE // 4, (0, 0, 255), -1)
        cv2.rectangle(mask, (20, EDGE // 2 + 40), (EDGE - 20, EDGE), (0, 255, 0), -1)
        cv2.imwrite(str(toy.root / f"masks/{k:06d}.png"), cv2.GaussianBlur(mask, (5, 5), 0))
    cv2.imwrite(str(toy.root / "background.png"), cv2.GaussianBlur(picture, (31, 31), 0))
    np.save(toy.root / "features.npy", toy.features()[: 2 * COUNT])
    ffmpeg.write_wav(toy.root / "audio.wav", clips.voice(opening))
    frames = {name: values[:COUNT] for name, values in track.items() if not name.startswith("point")}
    frames["landmarks"] = frames["landmarks"] * (EDGE / toy.size)
    frames["valid"][7] = False
    for name in ("landmarks", "depose"):
        frames[name][7] = np.nan
    np.savez(toy.root / "track.npz", **(track | frames))
    manifest = toy.manifest | {"size": EDGE, "frames": COUNT, "held_out_from": HELD_OUT, "focal": FOCAL}
    (toy.root / "dataset.json").write_text(json.dumps(manifest | {"center": [EDGE / 2, EDGE / 2]}))
    return SubjectDataset(toy.root)


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory) -> Path:
    """The exported dataset."""
    return export_adnerf(dataset, tmp_path_factory.mktemp("folder") / "exported")


@pytest.fixture(scope="module")
def back(folder, tmp_path_factory) -> SubjectDataset:
    """The exported dataset, imported."""
    out = tmp_path_factory.mktemp("folder") / "imported"
    assert main(["import-adnerf", str(folder), str(out)]) == 0
    return SubjectDataset(out)


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """A copy of the exported dataset that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change(folder: Path, split: str, how) -> None:
    path = folder / f"transforms_{split}.json"
    transforms = json.loads(path.read_text())
    how(transforms)
    path.write_text(json.dumps(transforms))


def test_an_exported_folder_has_the_published_format(folder, dataset):
    train, val = (json.loads((folder / f"transforms_{split}.json").read_text()) for split in ("train", "val"))
    assert [frame["img_id"] for frame in train["frames"]] == [k for k in range(HELD_OUT) if k != 7]
    assert [frame["aud_id"] for frame in val["frames"]] == list(range(HELD_OUT, COUNT))
    assert train["focal_len"] == FOCAL and train["cx"] == train["cy"] == EDGE / 2
    x, y, width, height = train["frames"][0]["face_rect"]
    assert 0 <= x < x + width <= EDGE and 0 <= y < y + height <= EDGE
    assert np.load(folder / "aud.npy").shape == (COUNT, 16, 80)
    assert np.loadtxt(folder / "ori_imgs" / "0.lms").shape == (68, 2)
    assert not (folder / "ori_imgs" / "7.jpg").exists()
    parsing = cv2.imread(str(folder / "parsing" / "0.png"))
    assert {tuple(color) for color in parsing.reshape(-1, 3).tolist()} == {(255, 0, 0), (0, 0, 255), (255, 255, 255)}
    plate, head, person = (
        cv2.imread(str(folder / name)).astype(int) for name in ("bc.jpg", "head_imgs/0.jpg", "com_imgs/0.jpg")
    )
    truth = dataset.picture(0, EDGE)[..., ::-1].astype(int)
    assert np.abs(head - truth)[45:55, 70:90].mean() < 3 and np.abs(head - plate)[140:].mean() < 3
    assert np.abs(person - truth)[140:, 60:100].mean() < 3 and np.abs(person - plate)[:10].mean() < 3


def test_a_round_trip_restores_the_dataset(dataset, back):
    before, after = dataset.track(), back.track()
    assert back.camera == dataset.camera and back.held_out_from == HELD_OUT and back.frames == COUNT
    assert np.array_equal(after.valid, before.valid)
    assert np.allclose(after.pose[before.valid], before.pose[before.valid], atol=1e-5)
    assert np.array_equal(back.features(), dataset.features())
    assert back.manifest["features"] == dataset.manifest["features"]
    assert np.array_equal(ffmpeg.extract_audio(back.audio), ffmpeg.extract_audio(dataset.audio))
    assert np.array_equal(back.picture(3, EDGE), dataset.picture(3, EDGE))
    assert np.abs(back.background(EDGE).astype(int) - dataset.background(EDGE)).mean() < 2
    one, other = (d.mask(3, EDGE) > 127 for d in (dataset, back))
    assert ((one & other).sum((0, 1)) / (one | other).sum((0, 1)) > 0.98).all()


def test_an_imported_dataset_has_all_that_training_needs(back):
    track = back.track()
    seen = track.landmarks[track.valid]
    assert np.isfinite(track.canonical_landmarks[track.valid]).all() and len(seen) == COUNT - 1
    face = seen[:, :, :2].mean(1)
    assert (np.abs(face - face.mean(0)) < EDGE / 16).all()  # one face, that sways a little
    assert track.torso.shape == (COUNT, 4) and ((track.eyes >= 0) & (track.eyes <= 1)).all()
    assert track.opening[track.valid].std() > 0


def test_windows_and_features_convert_into_each_other():
    features = torch.randn(60, 29)
    cut = windows(features, torch.arange(25)).numpy()  # the audio is longer than the frames
    again = features_from_windows(cut)
    assert np.array_equal(again, features[:56].numpy())
    assert np.array_equal(windows(torch.from_numpy(again), torch.arange(25)).numpy(), cut)


def test_a_folder_without_the_note_of_an_export_has_deepspeech_features(copy, tmp_path):
    for split in ("train", "val"):
        change(copy, split, lambda transforms: transforms.pop("adnerf"))
    sound = np.random.default_rng(0).normal(size=(2 * COUNT, 29)).astype(np.float32)
    cut = windows(torch.from_numpy(sound), torch.arange(COUNT)).numpy()
    np.save(copy / "aud.npy", cut.astype(np.float64))
    (copy / "aud.wav").unlink()
    shutil.rmtree(copy / "head_imgs")
    made = import_adnerf(copy, tmp_path / "dataset")
    assert made.manifest["features"] == {"name": "deepspeech", "width": 29, "rate": 50}
    assert np.array_equal(made.features(), sound)
    samples = ffmpeg.extract_audio(made.audio)
    assert len(samples) == COUNT * SAMPLE_RATE // FPS and not samples.any()
    assert any("aud.wav" in warning for warning in json.loads((made.root / "footage.json").read_text())["warnings"])


def test_other_features_are_computed_from_the_audio(copy, tmp_path):
    made = import_adnerf(copy, tmp_path / "dataset", features="mel")
    assert made.manifest["features"]["name"] == "mel" and made.features().shape == (2 * COUNT, 80)
    (copy / "aud.wav").unlink()
    with pytest.raises(BadFolder, match=r"no aud\.wav"):
        import_adnerf(copy, tmp_path / "other", features="mel")


def turned(yaw: float, pitch: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("yx", [yaw, pitch]).as_matrix()
    pose[:3, 3] = pose[:3, :3] @ (0, 0, DISTANCE)
    return pose


def test_the_head_frame_is_estimated_in_another_world():
    """A turning camera observes a head; its poses are given in a world with other axes, unit and origin."""
    generator = np.random.default_rng(0)
    face = generator.uniform(-0.5, 0.5, (len(RIGID_LANDMARKS), 3))
    face -= face.mean(0)
    right, left = RIGID_LANDMARKS.index(33), RIGID_LANDMARKS.index(263)
    face /= np.linalg.norm(face[left] - face[right])
    poses = np.stack([turned(0.15 * np.sin(k / 5), 0.1 * np.cos(k / 7)) for k in range(60)])
    local = np.einsum("fji,fnj->fni", poses[:, :3, :3], face - poses[:, None, :3, 3])
    observed = FOCAL * local[..., :2] / -local[..., 2:] + generator.normal(0, 0.3, (60, len(RIGID_LANDMARKS), 2))
    transform = FrameTransform(
        Rotation.from_euler("xyz", (0.2, -0.1, 0.05)).as_matrix(), 0.093, np.array([0.01, -0.02, 0.1])
    )
    world = poses.copy()
    world[:, :3, :3] = transform.rotation @ poses[:, :3, :3]
    world[:, :3, 3] = transform.origin + transform.unit * poses[:, :3, 3] @ transform.rotation.T
    found = FrameTransform.estimate(triangulate(world, observed, FOCAL), face)
    assert found.unit == pytest.approx(transform.unit, rel=0.02)
    assert np.allclose(found.to_head_poses(world)[:, :3, :3], poses[:, :3, :3], atol=0.02)
    assert np.allclose(found.to_head_poses(world)[:, :3, 3], poses[:, :3, 3], atol=0.2)


def without(name: str):
    return lambda folder: (folder / name).unlink()


def written(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def saved(array: np.ndarray):
    return lambda folder: np.save(folder / "aud.npy", array)


def edited(how, split: str = "train"):
    return lambda folder: change(folder, split, how)


def shuffled(folder: Path) -> None:
    cut = np.load(folder / "aud.npy")
    np.save(folder / "aud.npy", cut[::-1])


@pytest.mark.parametrize(
    "damage, words",
    [
        (without("transforms_train.json"), r"transforms_train\.json is missing"),
        (written("transforms_val.json", b"{"), r"transforms_val\.json is missing or damaged"),
        (written("transforms_val.json", b"[]"), r"transforms_val\.json .* not in AD-NeRF's format"),
        (edited(lambda t: t.pop("focal_len")), "focal_len"),
        (edited(lambda t: t.update(focal_len=-1.0), "val"), "focal length of -1"),
        (edited(lambda t: t["frames"][3].pop("aud_id")), "aud_id"),
        (edited(lambda t: t["frames"][3].update(transform_matrix=[[1.0]])), "4x4"),
        (edited(lambda t: t["frames"][3]["transform_matrix"][0].__setitem__(0, 9.0)), "rigid"),
        (edited(lambda t: t["frames"][3].update(aud_id=4)), "two frames with the same aud_id"),
        (edited(lambda t: t["frames"][3].update(aud_id=5000)), "must come after"),
        (edited(lambda t: t.update(adnerf={"features": 3})), "not in AD-NeRF's format"),
        (without("aud.npy"), r"aud\.npy is missing"),
        (saved(np.zeros((COUNT, 8, 29), np.float32)), "shape"),
        (saved(np.zeros((COUNT - 1, 16, 80), np.float32)), "43 windows"),
        (saved(np.array([{}], dtype=object)), "damaged"),
        (saved(np.zeros((COUNT, 16, 29), np.float32)), "29 numbers a step"),
        (shuffled, "does not overlap its neighbours"),
        (written("ori_imgs/5.jpg", b"no picture"), r"ori_imgs/5\.jpg is missing or damaged"),
        (without("parsing/5.png"), r"parsing/5\.png is missing"),
        (without("bc.jpg"), r"bc\.jpg is missing"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(copy, tmp_path, damage, words):
    damage(copy)
    with pytest.raises(BadFolder, match=words) as refused:
        import_adnerf(copy, tmp_path / "dataset")
    assert refused.value.remedy.endswith(".")
    assert not (tmp_path / "dataset" / "dataset.json").exists()


def test_images_of_another_size_and_masks_without_a_head_are_refused(copy, tmp_path):
    cv2.imwrite(str(copy / "parsing" / "2.png"), np.full((EDGE, EDGE, 3), 255, np.uint8))
    with pytest.raises(BadFolder, match="shows no head"):
        import_adnerf(copy, tmp_path / "dataset")
    cv2.imwrite(str(copy / "parsing" / "2.png"), np.full((90, EDGE, 3), 255, np.uint8))
    with pytest.raises(BadFolder, match="160x90 px"):
        import_adnerf(copy, tmp_path / "dataset")


def test_a_frame_may_exist_over_the_clean_plate_only(copy):
    (copy / "ori_imgs" / "0.jpg").unlink()
    source = AdNerfFolder.read(copy)
    assert source.image_file("0") == "com_imgs/0.jpg" and source.image_file("1") == "ori_imgs/1.jpg"


def test_the_command_prints_the_problem(tmp_path, capsys):
    assert main(["import-adnerf", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "bad_folder: " in capsys.readouterr().err
    assert main(["export-adnerf", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "not_ready: " in capsys.readouterr().err
