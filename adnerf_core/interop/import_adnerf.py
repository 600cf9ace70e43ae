"""import_adnerf: a folder of AD-NeRF's preprocessing becomes a dataset of ours, for training with any preset."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from adnerf_core.audio.features import load_features
from adnerf_core.config import FPS, SAMPLE_RATE, FeatureName, TrackerName
from adnerf_core.data.dataset import VERSION, SubjectDataset
from adnerf_core.errors import BadFolder, NoFaceFound
from adnerf_core.face.landmarks import EYE_CORNERS, NUM_LANDMARKS, RIGID_LANDMARKS
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import load_tracker
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import read_rgb, write_rgb
from adnerf_core.files.run_dir import atomic, write_json
from adnerf_core.interop import adnerf_format
from adnerf_core.interop.adnerf_format import AdNerfFolder
from adnerf_core.preprocess import expression, footage_report
from adnerf_core.preprocess.bundle_adjustment import HeadTrack, Motions, mean_face, similarity
from adnerf_core.preprocess.torso_tracking import track_torso
from adnerf_core.progress import Progress, silent

DEEPSPEECH = {"name": "deepspeech", "width": 29, "rate": 50}
"""What the windows of a folder are that does not say it."""
FEWEST_FRAMES = 25
"""Frames with a face, in the training part, without which nothing can be measured."""
STIFFNESS = 1e-4
"""Pull on triangulated points, against 1 across a line of sight; a head that turns by 5 degrees tells depth with .008."""
FRAME_WARNING = "Imported from a folder of AD-NeRF's layout: the footage was not checked."
SILENT_WARNING = "The folder has no aud.wav: videos of the footage are silent."


def import_adnerf(
    folder: Path,
    out: Path,
    progress: Progress = silent,
    *,
    features: FeatureName | None = None,
    tracker: TrackerName = "facemesh",
    tracker_model: str | None = None,
) -> SubjectDataset:
    """Writes the dataset `out` from `folder` (see layout.py): its poses, split, masks, plate, pictures and sound.

    The windows of aud.npy are kept; `features` names some to be computed from aud.wav in their place, with which new speech
    can be rendered. The 68 landmarks say too little about lips and eyes, so the pictures are tracked anew. Where the folder
    is not of our own making, its head frame (of a morphable model) is brought to ours: see align_to_head_frame.

    Stages of progress: "import", "torso". Raises BadFolder, NoFaceFound, MissingBackend, DiskFull.
    """
    folder, out = Path(folder), Path(out)
    found = AdNerfFolder.read(folder)
    windows = found.windows()
    size = _size(found)
    plate = _square(found.picture("bc.jpg"), size, "bc.jpg")
    (out / "dataset.json").unlink(missing_ok=True)
    count = found.entries[-1].number + 1
    held_out_from = next(entry.number for entry in found.entries if entry.held_out)
    named = write_sound(found, windows, count, features, out)
    landmarks = np.full((count, NUM_LANDMARKS, 3), np.nan, np.float32)
    with closing(load_tracker(tracker, tracker_model)) as track:
        for n, entry in enumerate(found.entries):
            progress("import", n, len(found.entries))
            picture = write_frame(found, entry, size, out)
            seen = track(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            if seen is not None:
                landmarks[entry.number] = seen
    progress("import", len(found.entries), len(found.entries))
    write_rgb(out / "background.png", plate[..., ::-1])
    valid = np.isfinite(landmarks[:, 0, 0])
    if valid[:held_out_from].sum() < FEWEST_FRAMES or not valid[held_out_from:].any():
        raise NoFaceFound(f"A face was found in {valid.sum()} of the {len(found.entries)} pictures of {folder}.")
    for entry in found.entries:
        if not valid[entry.number]:
            _frame(out, entry.number).unlink()
            _mask(out, entry.number).unlink()
    head = align_to_head_frame(found, landmarks, valid, size)
    # take_out_pose has the camera's centre in the middle of the picture.
    moved = landmarks + np.array([size / 2 - found.center[0], size / 2 - found.center[1], 0], np.float32)
    write_track(head, landmarks, expression.remove_head_pose(moved, head, size), out, progress)
    warned = [FRAME_WARNING] if (folder / "aud.wav").exists() else [FRAME_WARNING, SILENT_WARNING]
    known = {"duration_s": count / FPS, "fps": FPS, "width": size, "height": size, "frames": count}
    write_json(
        out / "footage.json",
        footage_report.footage(known | {"frames_with_face": int(valid.sum())}) | {"warnings": warned},
    )
    write_json(
        out / "dataset.json",
        {
            "version": VERSION,
            "source": {"name": folder.resolve().name, "layout": "adnerf"},
            "size": size,
            "frames": count,
            "held_out_from": held_out_from,
            "focal": found.focal,
            "center": list(found.center),
            "lag_ms": 0.0,
            "features": named,
        },
    )
    return SubjectDataset(out)


def _size(found: AdNerfFolder) -> int:
    rows, cols, _ = found.picture(found.frame(found.entries[0].image)).shape
    if rows != cols:
        raise BadFolder(f"The pictures of {found.folder} are {cols}x{rows}; square ones are needed.")
    return rows


def _frame(out: Path, k: int) -> Path:
    return out / "frames" / f"{k:06d}.jpg"


def _mask(out: Path, k: int) -> Path:
    return out / "masks" / f"{k:06d}.png"


def _square(picture: ndarray, size: int, name: str) -> ndarray:
    if picture.shape[:2] != (size, size):
        raise BadFolder(f"{name} has {picture.shape[1]}x{picture.shape[0]} px, and the first frame {size}x{size}.")
    return picture


def write_frame(found: AdNerfFolder, entry: adnerf_format.Frame, size: int, out: Path) -> ndarray:
    """Copies one picture and turns its parsing into a mask; returns the picture, in OpenCV's order. Raises BadFolder."""
    source = found.frame(entry.image)
    picture = _square(found.picture(source), size, source)
    name = f"parsing/{entry.image}.png"
    parsing = _square(found.picture(name), size, name)
    head, neck, cloth = (
        (parsing == color).all(-1) for color in (adnerf_format.HEAD, adnerf_format.NECK, adnerf_format.CLOTH)
    )
    if not head.any():
        raise BadFolder(f"{found.folder / name} shows no head: pure blue is its colour.")
    mask = np.dstack([np.zeros_like(head), neck | cloth, head]).astype(np.uint8) * 255
    for folder in ("frames", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.folder / source, _frame(out, entry.number))
    write_rgb(_mask(out, entry.number), mask[..., ::-1])
    return picture


def write_sound(
    found: AdNerfFolder,
    windows: Float[ndarray, "windows steps width"],
    count: int,
    wanted: FeatureName | None,
    out: Path,
) -> dict:
    """Writes audio.wav and features.npy for `count` frames; returns what the manifest says of the features."""
    source = found.folder / "aud.wav"
    samples = np.zeros(count * SAMPLE_RATE // FPS, np.float32)
    if source.exists():
        heard = ffmpeg.extract_audio(source)[: len(samples)]
        samples[: len(heard)] = heard
    elif wanted is not None:
        raise BadFolder(f"{found.folder} has no aud.wav, from which {wanted} features could be computed.")
    out.mkdir(parents=True, exist_ok=True)
    ffmpeg.write_wav(out / "audio.wav", samples)
    if wanted is None:
        features = adnerf_format.features_of(windows)
        named = found.own.features if found.own else DEEPSPEECH
        if features.shape[1] != named["width"]:
            raise BadFolder(
                f"aud.npy has {features.shape[1]} numbers a step; {named['name']} features have {named['width']}."
            )
    else:
        extractor = load_features(wanted)
        features = extractor(samples)
        named = {"name": wanted, "width": extractor.width, "rate": extractor.rate}
    with atomic(out / "features.npy") as temporary:
        np.save(temporary, features)
    return named


def align_to_head_frame(
    found: AdNerfFolder, landmarks: Float[ndarray, "frames 478 3"], valid: Bool[ndarray, " frames"], size: int
) -> HeadTrack:
    """The head's shape, and the folder's poses in our head frame; frames without a pose take that of the last one before.

    The rigid points are triangulated in the folder's world, and the mean face that the tracker sees says how our axes lie in
    them. A folder of our own is in our axes already, but for the unit.
    """
    poses = np.tile(np.eye(4), (len(valid), 1, 1))
    numbers = np.array([entry.number for entry in found.entries])
    poses[numbers] = [entry.pose for entry in found.entries]
    poses = poses[numbers[np.searchsorted(numbers, np.arange(len(valid)), side="right").clip(1) - 1]]
    seen = (landmarks[valid] - (*found.center, 0)) * (1, -1, -1)  # x right, y up, z towards the camera
    rigid = list(RIGID_LANDMARKS)
    world = triangulate(poses[valid], seen[:, rigid, :2], found.focal)
    face = mean_face(seen)
    own = found.own and FrameTransform(np.eye(3), found.own.head_unit_m, np.zeros(3))
    placement = own or FrameTransform.of(world, face[rigid])
    poses = placement.poses(poses)
    points = placement.points(world)
    turn, scale, shift = similarity(face[rigid], points[None])
    face = scale[0] * face @ turn[0].T + shift[0]
    rotation = poses[:, :3, :3].transpose(0, 2, 1)
    motions = Motions(rotation, -np.einsum("fij,fj->fi", rotation, poses[:, :3, 3]))
    error = reproject(points, poses[valid], found.focal) - seen[:, rigid, :2]
    return HeadTrack(points, face, found.focal, motions, valid, float(np.sqrt(np.mean(error**2))) * 512 / size)


@dataclass(frozen=True)
class FrameTransform:
    """Where a head lies in a world: X_world = origin + unit * rotation @ X_head."""

    rotation: Float[ndarray, "3 3"]
    unit: float
    origin: Float[ndarray, " 3"]

    @classmethod
    def of(cls, world: Float[ndarray, "rigid 3"], face: Float[ndarray, "rigid 3"]) -> FrameTransform:
        """Of the head whose rigid points lie at `world`, with the axes of the same points of a mean `face`."""
        right, left = (RIGID_LANDMARKS.index(corner) for corner in EYE_CORNERS)
        rotation, _, _ = similarity(face, world[None])
        return cls(rotation[0], float(np.linalg.norm(world[left] - world[right])), world.mean(0))

    def points(self, world: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Points of the world in the head's frame."""
        return (world - self.origin) @ self.rotation / self.unit

    def poses(self, world: Float[ndarray, "n 4 4"]) -> Float[ndarray, "n 4 4"]:
        """Camera poses of the world in the head's frame."""
        moved = world.copy()
        moved[:, :3, :3] = self.rotation.T @ world[:, :3, :3]
        moved[:, :3, 3] = self.points(world[:, :3, 3])
        return moved


def triangulate(
    poses: Float[ndarray, "n 4 4"], seen: Float[ndarray, "n points 2"], focal: float
) -> Float[ndarray, "points 3"]:
    """The points of the cameras' world that lie closest to their lines of sight, in the least squares sense.

    `seen` in px from the camera's centre, x right, y up. A head that hardly turns leaves depths open: they are drawn, weakly,
    towards the distance of the world's origin.
    """
    sight = np.concatenate([seen / focal, -np.ones((*seen.shape[:2], 1))], -1) @ poses[:, :3, :3].transpose(0, 2, 1)
    distance = np.einsum("fi,fi->f", poses[:, :3, 2], poses[:, :3, 3])
    expected = poses[:, None, :3, 3] + distance[:, None, None] * sight
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    across = np.eye(3) - sight[..., :, None] * sight[..., None, :]
    weights = (across + STIFFNESS * np.eye(3)).sum(0)
    pulls = np.einsum("fpij,fj->pi", across, poses[:, :3, 3]) + STIFFNESS * expected.sum(0)
    return np.linalg.solve(weights, pulls[..., None])[..., 0]


def reproject(
    points: Float[ndarray, "rigid 3"], poses: Float[ndarray, "n 4 4"], focal: float
) -> Float[ndarray, "n rigid 2"]:
    """Where `points` are seen from camera `poses`, px from the camera's centre, x right, y up."""
    local = np.einsum("fji,fnj->fni", poses[:, :3, :3], points - poses[:, None, :3, 3])
    return focal * local[..., :2] / -local[..., 2:]


def write_track(
    head: HeadTrack,
    landmarks: Float[ndarray, "frames 478 3"],
    depose: Float[ndarray, "frames 478 3"],
    out: Path,
    progress: Progress,
) -> None:
    """Writes track.npz; the motion of the torso is followed in the frames that were written."""
    at = np.flatnonzero(head.valid).tolist()
    reference = at[len(at) // 2]
    body = cv2.erode((read_rgb(_mask(out, reference))[..., 1] > 200).astype(np.uint8), np.ones((9, 9))) > 0
    torso = track_torso(
        at,
        len(head.valid),
        reference,
        lambda k: read_rgb(_frame(out, k)),
        body,
        lambda k: progress("torso", k, len(head.valid)),
    )
    progress("torso", len(head.valid), len(head.valid))
    with atomic(out / "track.npz") as temporary:
        np.savez(
            temporary,
            valid=head.valid,
            landmarks=landmarks,
            pose=head.motions.camera_to_world().astype(np.float32),
            points=head.points.astype(np.float32),
            point_ids=np.array(RIGID_LANDMARKS),
            depose=depose,
            opening=mouth_opening(depose),
            eyes=expression.eye_openness(depose, head.valid)[0],
            torso=torso,
        )
