"""Imports a folder of AD-NeRF's preprocessing as a dataset, which any preset can be trained on."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from adnerf_core.audio.features import latest_name, load_features
from adnerf_core.config import FPS, SAMPLE_RATE, FeatureName, TrackerName
from adnerf_core.data.dataset import VERSION, SubjectDataset
from adnerf_core.errors import BadFolder, NoFaceFound
from adnerf_core.face.landmarks import EYE_CORNERS, NUM_LANDMARKS, RIGID_LANDMARKS
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import FaceTracker, load_tracker
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import read_gray, read_rgb, write_rgb
from adnerf_core.files.run_dir import atomic, write_json
from adnerf_core.interop import adnerf_format
from adnerf_core.interop.adnerf_format import AdNerfFolder
from adnerf_core.preprocess import expression, footage_report
from adnerf_core.preprocess.head_pose import HeadTrack, mean_face
from adnerf_core.preprocess.rigid_motions import Motions, similarity
from adnerf_core.preprocess.torso_tracking import track_torso
from adnerf_core.progress import Progress, silent

DEEPSPEECH = {"name": "deepspeech", "width": 29, "rate": 50}
"""The features of folders that have no note of export_adnerf."""
MIN_FRAMES = 25
"""Least number of training frames with a face, one second: with fewer, shape and motion cannot be estimated."""
DEPTH_WEIGHT = 1e-4
"""Weight of the expected distance in triangulation, against 1 for a deviation across a line of sight. A head that turns by 5 degrees
determines depth with sin^2 5 degrees = .008, so the expectation decides only if the head turns by less than about half a degree."""
REFERENCE_SIZE = 512
"""Side of the image, px, in which reprojection errors are given, whatever the size of the frames."""
TORSO_LEVEL, TORSO_MARGIN_PX = 200, 9
"""Torso features are tracked where the mask is above this level (of 255) in a square of this side: away from the outline, where the
background would be tracked."""
FRAME_WARNING = "Imported from a folder in AD-NeRF's format: the footage was not checked."
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
    """Writes a dataset with the poses, split, masks, plate, frames and audio of a folder (see adnerf_format).

    The folder's 68 landmarks describe lips and eyes too coarsely, so faces are tracked anew. Its head frame is converted to that of
    datasets: see align_to_head_frame.

    Args:
        folder: the folder to import.
        out: the dataset; dataset.json is written last.
        progress: called with the stages "import" and "torso".
        features: audio features to compute from aud.wav, with which new speech can be rendered; by default, those of aud.npy are kept.
        tracker, tracker_model: name of the face tracker, and its model file.

    Raises:
        BadFolder: a file is missing, damaged, or contradicts another.
        NoFaceFound: too few frames have a face.
        MissingBackend: the tracker or the features need something that is not installed.
        DiskFull: no space is left.
    """
    source, out = AdNerfFolder.read(Path(folder)), Path(out)
    windows = source.read_windows()
    size = _frame_size(source)
    plate = _read_square(source, "bc.jpg", size)
    (out / "dataset.json").unlink(missing_ok=True)
    count = source.frames[-1].number + 1
    held_out_from = next(frame.number for frame in source.frames if frame.held_out)
    features_entry = write_audio(source, windows, count, features, out)
    with closing(load_tracker(tracker, tracker_model)) as track:
        landmarks = _import_frames(source, count, size, track, out, progress)
    write_rgb(out / "background.png", plate)
    valid = np.isfinite(landmarks[:, 0, 0])
    if valid[:held_out_from].sum() < MIN_FRAMES or not valid[held_out_from:].any():
        raise NoFaceFound(f"A face was found in {valid.sum()} of the {len(source.frames)} frames of {source.path}.")
    _remove_frames_without_face(source, valid, out)
    head = align_to_head_frame(source, landmarks, valid, size)
    # remove_head_pose expects the principal point in the middle of the picture.
    offset = np.array([size / 2 - source.center[0], size / 2 - source.center[1], 0], np.float32)
    write_track(head, landmarks, expression.remove_head_pose(landmarks + offset, head, size), out, progress)
    _write_footage_report(source, count, size, int(valid.sum()), out)
    manifest = {
        "version": VERSION,
        "source": {"name": source.path.resolve().name, "layout": "adnerf"},
        "size": size,
        "frames": count,
        "held_out_from": held_out_from,
        "focal": source.focal,
        "center": list(source.center),
        "lag_ms": 0.0,
        "features": features_entry,
    }
    write_json(out / "dataset.json", manifest)
    return SubjectDataset(out)


def _frame_path(out: Path, k: int) -> Path:
    return out / "frames" / f"{k:06d}.jpg"


def _mask_path(out: Path, k: int) -> Path:
    return out / "masks" / f"{k:06d}.png"


def _frame_size(source: AdNerfFolder) -> int:
    rows, cols, _ = source.read_image(source.image_file(source.frames[0].image)).shape
    if rows != cols:
        raise BadFolder(
            f"The frames of {source.path} are {cols}x{rows}; they must be square.",
            "Crop ori_imgs, parsing and bc.jpg to the same square, and adapt cx and cy in the transforms.",
        )
    return rows


def _read_square(source: AdNerfFolder, file: str, size: int) -> UInt8[ndarray, "size size 3"]:
    image = source.read_image(file)
    if image.shape[:2] != (size, size):
        raise BadFolder(
            f"{file} has {image.shape[1]}x{image.shape[0]} px, and the first frame {size}x{size}.",
            "Give ori_imgs, parsing and bc.jpg the same size.",
        )
    return image


def _import_frames(
    source: AdNerfFolder, count: int, size: int, track: FaceTracker, out: Path, progress: Progress
) -> Float[ndarray, "frames 478 3"]:
    """Writes all frames with their masks; returns the landmarks, NaN in frames without a face."""
    landmarks = np.full((count, NUM_LANDMARKS, 3), np.nan, np.float32)
    for done, frame in enumerate(source.frames):
        progress("import", done, len(source.frames))
        tracked = track(write_frame(source, frame, size, out))
        if tracked is not None:
            landmarks[frame.number] = tracked
    progress("import", len(source.frames), len(source.frames))
    return landmarks


def write_frame(
    source: AdNerfFolder, frame: adnerf_format.Frame, size: int, out: Path
) -> UInt8[ndarray, "size size 3"]:
    """Copies the image of a frame, and converts its segmentation to a mask.

    Returns:
        The image, RGB.

    Raises:
        BadFolder: the files are missing, damaged, not `size` x `size`, or show no head.
    """
    file = source.image_file(frame.image)
    image = _read_square(source, file, size)
    parsing_file = f"parsing/{frame.image}.png"
    parsing = _read_square(source, parsing_file, size)
    head, neck, cloth = (
        (parsing == color).all(-1) for color in (adnerf_format.HEAD, adnerf_format.NECK, adnerf_format.CLOTH)
    )
    if not head.any():
        raise BadFolder(
            f"{source.path / parsing_file} shows no head.",
            "Segment this frame again, with the head in pure blue, or remove it from the transforms.",
        )
    mask = np.dstack([head, neck | cloth, np.zeros_like(head)]).astype(np.uint8) * 255
    for folder in ("frames", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.path / file, _frame_path(out, frame.number))
    write_rgb(_mask_path(out, frame.number), mask)
    return image


def _remove_frames_without_face(source: AdNerfFolder, valid: Bool[ndarray, " frames"], out: Path) -> None:
    for frame in source.frames:
        if not valid[frame.number]:
            _frame_path(out, frame.number).unlink()
            _mask_path(out, frame.number).unlink()


def write_audio(
    source: AdNerfFolder,
    windows: Float[ndarray, "windows steps width"],
    count: int,
    features_name: FeatureName | None,
    out: Path,
) -> dict[str, Any]:
    """Writes audio.wav and features.npy.

    Args:
        source: the folder. Without an aud.wav, the audio is silence.
        windows: its feature windows.
        count: number of frames.
        features_name: features to compute from the audio; None for those of `windows`.
        out: the dataset.

    Returns:
        The entry `features` of the dataset's manifest.

    Raises:
        BadFolder: there is no aud.wav to compute features from, or the windows contradict each other or the note of the export.
    """
    wav = source.path / "aud.wav"
    samples = np.zeros(count * SAMPLE_RATE // FPS, np.float32)
    if wav.exists():
        recorded = ffmpeg.extract_audio(wav)[: len(samples)]
        samples[: len(recorded)] = recorded
    elif features_name is not None:
        raise BadFolder(
            f"{source.path} has no aud.wav to compute {features_name} features from.",
            "Add aud.wav, or import without --features.",
        )
    out.mkdir(parents=True, exist_ok=True)
    ffmpeg.write_wav(out / "audio.wav", samples)
    if features_name is None:
        features = adnerf_format.features_from_windows(windows)
        entry = source.export_info.features if source.export_info else DEEPSPEECH
        if features.shape[1] != entry["width"]:
            raise BadFolder(
                f"aud.npy has {features.shape[1]} numbers a step; {entry['name']} features have {entry['width']}.",
                adnerf_format.AUDIO_REMEDY,
            )
    else:
        name = latest_name(features_name)
        extractor = load_features(name)
        features = extractor(samples)
        entry = {"name": name, "width": extractor.width, "rate": extractor.rate}
    with atomic(out / "features.npy") as temporary:
        np.save(temporary, features)
    return entry


def _write_footage_report(source: AdNerfFolder, count: int, size: int, frames_with_face: int, out: Path) -> None:
    facts = {"duration_s": count / FPS, "fps": FPS, "width": size, "height": size, "frames": count}
    report = footage_report.footage(facts | {"frames_with_face": frames_with_face})
    has_audio = (source.path / "aud.wav").exists()
    warnings = [FRAME_WARNING] if has_audio else [FRAME_WARNING, SILENT_WARNING]
    write_json(out / "footage.json", report | {"warnings": warnings})


def align_to_head_frame(
    source: AdNerfFolder, landmarks: Float[ndarray, "frames 478 3"], valid: Bool[ndarray, " frames"], size: int
) -> HeadTrack:
    """Estimates the shape of the head, and converts the folder's poses to the head frame of datasets.

    The rigid landmarks are triangulated in the folder's world. Their centre is the origin of the head frame, the distance between the
    outer corners of the eyes is its unit, and the mean face of the tracker gives its axes. A folder of export_adnerf is in this
    frame already, but for the unit.

    Args:
        source: the folder.
        landmarks: tracked landmarks, px.
        valid: frames with landmarks.
        size: side of the frames, px.

    Returns:
        Shape and motion; frames without a pose of their own have that of the frame before.
    """
    poses = np.tile(np.eye(4), (len(valid), 1, 1))
    numbers = np.array([frame.number for frame in source.frames])
    poses[numbers] = [frame.pose for frame in source.frames]
    poses = poses[numbers[np.searchsorted(numbers, np.arange(len(valid)), side="right").clip(1) - 1]]
    observed = (landmarks[valid] - (*source.center, 0)) * (1, -1, -1)  # x right, y up, z towards the camera
    rigid = list(RIGID_LANDMARKS)
    world = triangulate(poses[valid], observed[:, rigid, :2], source.focal)
    face = mean_face(observed)
    if source.export_info:
        transform = FrameTransform(np.eye(3), source.export_info.head_unit_m, np.zeros(3))
    else:
        transform = FrameTransform.estimate(world, face[rigid])
    poses = transform.to_head_poses(poses)
    points = transform.to_head(world)
    axes, scale, shift = similarity(face[rigid], points[None])
    face = scale[0] * face @ axes[0].T + shift[0]
    rotation = poses[:, :3, :3].transpose(0, 2, 1)
    motions = Motions(rotation, -np.einsum("fij,fj->fi", rotation, poses[:, :3, 3]))
    error = reproject(points, poses[valid], source.focal) - observed[:, rigid, :2]
    error_px = float(np.sqrt(np.mean(error**2))) * REFERENCE_SIZE / size
    return HeadTrack(points, face, source.focal, motions, valid, error_px, error_px)


@dataclass(frozen=True)
class FrameTransform:
    """The head frame in another world: X_world = origin + unit * rotation @ X_head."""

    rotation: Float[ndarray, "3 3"]
    unit: float
    origin: Float[ndarray, " 3"]

    @classmethod
    def estimate(cls, world: Float[ndarray, "rigid 3"], face: Float[ndarray, "rigid 3"]) -> FrameTransform:
        """Estimates the transform from the rigid points in the world, and the same points of a mean face in the head's axes."""
        right, left = (RIGID_LANDMARKS.index(corner) for corner in EYE_CORNERS)
        rotation, _, _ = similarity(face, world[None])
        return cls(rotation[0], float(np.linalg.norm(world[left] - world[right])), world.mean(0))

    def to_head(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Converts points of the world to the head frame."""
        return (points - self.origin) @ self.rotation / self.unit

    def to_head_poses(self, poses: Float[ndarray, "n 4 4"]) -> Float[ndarray, "n 4 4"]:
        """Converts camera-to-world poses to camera-to-head poses."""
        converted = poses.copy()
        converted[:, :3, :3] = self.rotation.T @ poses[:, :3, :3]
        converted[:, :3, 3] = self.to_head(poses[:, :3, 3])
        return converted


def triangulate(
    poses: Float[ndarray, "n 4 4"], observed: Float[ndarray, "n points 2"], focal: float
) -> Float[ndarray, "points 3"]:
    """Finds the points that are closest to their lines of sight.

    For a point with unit directions s_f from the camera centres c_f it minimises

        sum_f |(I - s_f s_f') (X - c_f)|^2 + DEPTH_WEIGHT |X - e_f|^2,

    where e_f is the point on the line of sight at the distance of the world's origin. The second term decides where depth is
    undetermined, because the head hardly turns.

    Args:
        poses: camera-to-world.
        observed: the points in each frame, px from the principal point, x right, y up.
        focal: focal length, px.
    """
    sight = np.concatenate([observed / focal, -np.ones((*observed.shape[:2], 1))], -1) @ poses[:, :3, :3].transpose(
        0, 2, 1
    )
    distance = np.einsum("fi,fi->f", poses[:, :3, 2], poses[:, :3, 3])
    expected = poses[:, None, :3, 3] + distance[:, None, None] * sight
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    across = np.eye(3) - sight[..., :, None] * sight[..., None, :]
    normal = (across + DEPTH_WEIGHT * np.eye(3)).sum(0)
    right = np.einsum("fpij,fj->pi", across, poses[:, :3, 3]) + DEPTH_WEIGHT * expected.sum(0)
    return np.linalg.solve(normal, right[..., None])[..., 0]


def reproject(
    points: Float[ndarray, "rigid 3"], poses: Float[ndarray, "n 4 4"], focal: float
) -> Float[ndarray, "n rigid 2"]:
    """Projects points to each camera; returns px from the principal point, x right, y up."""
    local = np.einsum("fji,fnj->fni", poses[:, :3, :3], points - poses[:, None, :3, 3])
    return focal * local[..., :2] / -local[..., 2:]


def write_track(
    head: HeadTrack,
    landmarks: Float[ndarray, "frames 478 3"],
    canonical_landmarks: Float[ndarray, "frames 478 3"],
    out: Path,
    progress: Progress,
) -> None:
    """Tracks the torso in the frames that were written, and writes track.npz.

    Args:
        head: shape and motion of the head.
        landmarks: tracked landmarks, px; NaN in frames without a face.
        canonical_landmarks: the same without the head's pose, in the head frame.
        out: the dataset.
        progress: called with the stage "torso".
    """
    valid = np.flatnonzero(head.valid).tolist()
    reference = valid[len(valid) // 2]
    torso_mask = (read_rgb(_mask_path(out, reference))[..., 1] > TORSO_LEVEL).astype(np.uint8)
    torso = track_torso(
        valid,
        len(head.valid),
        reference,
        lambda k: read_gray(_frame_path(out, k)),
        cv2.erode(torso_mask, np.ones((TORSO_MARGIN_PX, TORSO_MARGIN_PX))) > 0,
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
            depose=canonical_landmarks,
            opening=mouth_opening(canonical_landmarks),
            eyes=expression.eye_openness(canonical_landmarks, head.valid)[0],
            torso=torso,
        )
