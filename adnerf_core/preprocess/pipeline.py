"""A reference video becomes a dataset (see adnerf_core/data/dataset.py for what is written).

The stages stand in a list. Each leaves its figures in a small file when it is done and is skipped where that file stands, so
that a killed preprocessing goes on where it was. All pictures are streamed; none of the stages holds more than a few dozen.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adnerf_core.audio.features import load_features
from adnerf_core.config import FPS, PreprocessConfig
from adnerf_core.data.dataset import VERSION, SubjectDataset
from adnerf_core.errors import AdnerfError, FaceOutOfView, NoAudio, NoSpeech, NotMedia, NoVideo, TooShort
from adnerf_core.face import landmarks as mesh
from adnerf_core.face import tracking
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import atomic, read_json, write_json
from adnerf_core.preprocess import (
    av_sync,
    background,
    bundle_adjustment,
    expression,
    footage_check,
    footage_report,
    segmentation,
)
from adnerf_core.preprocess.torso_tracking import track_torso
from adnerf_core.progress import Progress, silent

MAX_AWAY_S = 2.0
"""The face may be away for so long at a time, s."""
STILL_LIPS = 0.015
"""Range of the mouth's opening, head units, below which nobody speaks."""
MIN_FPS = 5.0
"""Pictures a second, on average, below which a file is damaged: times that leap would be filled with copies of one picture.
What counts is how many there are, for the rate that a header tells may be that of the pictures without the leap."""
LOOK_EVERY = FPS
"""Frames between those in which the face's sharpness and brightness are measured."""
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PNG = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]

DEFAULTS = PreprocessConfig()

Tick = Callable[[float, float], None]


@dataclass(frozen=True)
class PreprocessContext:
    """What the stages share: where things are, and what the stages before found."""

    video: Path
    out: Path
    config: PreprocessConfig

    @property
    def scratch(self) -> Path:
        return self.out / "unfinished"

    @property
    def landmarks(self) -> Path:
        return self.scratch / "landmarks.npz"

    @property
    def track(self) -> Path:
        return self.scratch / "track.npz"

    def record(self, stage: str) -> Path:
        return self.scratch / f"{stage}.json"

    def known(self) -> dict[str, Any]:
        """The figures of the file itself and of all stages that are done."""
        figures: dict[str, Any] = {}
        for stage in ("media", *STAGES):
            if self.record(stage).exists():
                figures |= read_json(self.record(stage))
        return figures

    def frame(self, k: int) -> Path:
        return self.out / "frames" / f"{k:06d}.jpg"

    def mask(self, k: int) -> Path:
        return self.out / "masks" / f"{k:06d}.png"


def preprocess(
    video: Path, out: Path, config: PreprocessConfig = DEFAULTS, progress: Progress = silent
) -> SubjectDataset:
    """Makes the dataset of a reference video in the folder `out`, and returns it.

    Goes on where an earlier call with the same video and configuration was stopped; starts afresh where they differ. The
    footage report is written in any case. Raises the MediaErrors and FootageErrors (see adnerf_core/errors.py) for footage
    that no subject can be made of, MissingBackend, DiskFull, and what `progress` raises.
    """
    work = PreprocessContext(Path(video), Path(out), config)
    source = {"name": work.video.name, "sha256": _digest(work.video)}
    inputs = {"version": VERSION, "source": source, "config": config.model_dump(mode="json")}
    if (work.out / "dataset.json").exists():
        manifest = read_json(work.out / "dataset.json")
        if {name: manifest.get(name) for name in inputs} == inputs:
            return SubjectDataset(work.out)
    if not work.record("inputs").exists() or read_json(work.record("inputs")) != inputs:
        _clear(work.out)
        write_json(work.record("inputs"), inputs)
    try:
        for name, stage in STAGES.items():
            if not work.record(name).exists():
                start = time.perf_counter()
                figures = stage(work, partial(progress, name))
                write_json(work.record(name), figures | {f"{name}_s": round(time.perf_counter() - start, 2)})
    except AdnerfError:
        write_json(work.out / "footage.json", footage_report.footage(work.known()))
        raise
    _publish(work, inputs)
    return SubjectDataset(work.out)


def _survey(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Looks at the whole footage once and refuses what cannot work."""
    info = ffmpeg.probe(work.video)
    shape = {"duration_s": info.duration_s, "fps": info.fps, "width": info.width, "height": info.height}
    write_json(work.record("media"), shape)
    if not info.has_video:
        raise NoVideo(f"{work.video.name} has no pictures.")
    if not info.has_audio:
        raise NoAudio(f"{work.video.name} has no sound.")
    if info.duration_s < work.config.min_seconds:
        raise TooShort(f"The footage lasts {info.duration_s:.1f} s.")
    if info.pictures < MIN_FPS * info.duration_s:
        raise NotMedia(f"{work.video.name} has {info.pictures} pictures for its {info.duration_s:.0f} s.")
    footage_check.require_sound(ffmpeg.extract_audio(work.video, duration_s=work.config.max_seconds))
    seconds = min(info.duration_s, work.config.max_seconds)
    small = footage_check.survey_size(info.width, info.height)
    frames = ffmpeg.read_frames(work.video, size=small, duration_s=seconds)
    found = footage_check.check_footage(frames, info.width, info.height, lambda done: tick(done, seconds * FPS))
    size = min(work.config.max_size, found.crop[2]) // 2 * 2
    return asdict(found) | {"size": size}


def _track(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Crops and stores the frames that show the face, with its landmarks."""
    known = work.known()
    size, total = known["size"], known["frames"]
    shutil.rmtree(work.out / "frames", ignore_errors=True)  # a killed run leaves half-written files
    tracker = tracking.load_tracker(work.config.tracker, work.config.tracker_model)
    frames = ffmpeg.read_frames(work.video, crop=tuple(known["crop"]), size=(size, size), duration_s=total / FPS)
    landmarks, flow, looks = [], [], []
    for k, (frame, points, moved) in enumerate(tracking.track(frames, tracker)):
        landmarks.append(points)
        flow.append(moved)
        if np.isfinite(points[0, 0]):
            _write_image(work.frame(k), frame, JPEG)
            if k % LOOK_EVERY == 0:
                looks.append(footage_report.face_sharpness_brightness(frame, points))
        tick(k + 1, total)
    landmarks, flow = np.array(landmarks), np.array(flow)
    _require_face(np.isfinite(landmarks[:, 0, 0]), work.config.min_seconds)
    height = np.linalg.norm(landmarks[:, mesh.CHIN, :2] - landmarks[:, mesh.FOREHEAD_TOP, :2], axis=1)
    with atomic(work.landmarks) as temporary:
        np.savez(temporary, landmarks=landmarks, flow=flow)
    sharpness, brightness = np.median(looks, axis=0) if looks else (None, None)
    face_px = float(np.nanmedian(height)) * known["crop"][2] / size
    return {"frames": len(landmarks), "face_px": round(face_px, 1), "sharpness": sharpness, "brightness": brightness}


def _require_face(found: np.ndarray, min_seconds: float) -> None:
    """Raises FaceOutOfView or TooShort where too few frames show the face."""
    edges = np.flatnonzero(np.concatenate([[True], found, [True]]))
    longest = int(np.argmax(np.diff(edges)))
    away = (np.diff(edges)[longest] - 1) / FPS
    if away > MAX_AWAY_S:
        raise FaceOutOfView(f"The face is away for {away:.1f} s from {edges[longest] / FPS:.1f} s on.")
    if found.sum() < min_seconds * FPS:
        raise TooShort(f"The face can be followed in {found.sum() / FPS:.1f} s of the footage only.")


def _pose(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Finds the head's shape and its motion, and takes the motion out of the landmarks."""
    size = work.known()["size"]
    tick(0, 1)
    with np.load(work.landmarks) as arrays:
        landmarks, flow = arrays["landmarks"], arrays["flow"]
    head = bundle_adjustment.estimate_head_poses(landmarks, flow, size)
    landmarks[~head.valid] = np.nan
    depose = expression.remove_head_pose(landmarks, head, size)
    eyes, eye_range = expression.eye_openness(depose, head.valid)
    with atomic(work.track) as temporary:
        np.savez(
            temporary,
            valid=head.valid,
            landmarks=landmarks,
            pose=head.motions.camera_to_world().astype(np.float32),
            points=head.points.astype(np.float32),
            point_ids=np.array(mesh.RIGID_LANDMARKS),
            depose=depose,
            opening=mouth_opening(depose),
            eyes=eyes,
            cuts=segmentation.jaw_polygons(depose, head, size).astype(np.float32),
        )
    _require_face(head.valid, work.config.min_seconds)
    for k in np.flatnonzero(~head.valid).tolist():
        work.frame(k).unlink(missing_ok=True)
    yaw = head.motions.yaw_deg()[head.valid]
    tick(1, 1)
    return {
        "focal": head.focal,
        "reprojection_px": round(head.error_px, 4),
        "eye_range": eye_range,
        "frames_with_face": int(head.valid.sum()),
        "usable_s": float(head.valid.sum() / FPS),
        "face_share": float(head.valid.mean()),
        "head_yaw_deg": [round(float(q), 1) for q in np.quantile(yaw, (0.01, 0.99))],
    }


def _align(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Measures the offset between sound and lips, and stores the sound without it, and its features."""
    tick(0, 1)
    with np.load(work.track) as arrays:
        opening = arrays["opening"]
    seconds = len(opening) / FPS + av_sync.LAGS_S[-1]
    samples = ffmpeg.extract_audio(work.video, duration_s=seconds)
    low, high = np.nanquantile(opening, (0.05, 0.95))
    if high - low < STILL_LIPS:
        raise NoSpeech("The lips do not move.")
    offset = av_sync.estimate_av_offset(samples, opening)
    if offset.unrelated:
        raise NoSpeech(f"The lips do not go with the sound (correlation {offset.correlation:.2f} at the best offset).")
    lag_s = offset.lag_s if offset.sure else 0.0
    aligned = av_sync.shift_audio(samples, lag_s, len(opening))
    ffmpeg.write_wav(work.out / "audio.wav", aligned)
    features = load_features(work.config.features)
    with atomic(work.out / "features.npy") as temporary:
        np.save(temporary, features(aligned))
    tick(1, 1)
    return {
        "lag_ms": round(1000 * lag_s, 1),
        "lag_sure": offset.sure,
        "lag_correlation": round(offset.correlation, 3),
        "speech_share": footage_report.speech_share(aligned),
        "features": {"name": work.config.features, "width": features.width, "rate": features.rate},
    }


def _parse(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Writes the masks."""
    with np.load(work.track) as arrays:
        at, cuts = np.flatnonzero(arrays["valid"]).tolist(), arrays["cuts"]
    shutil.rmtree(work.out / "masks", ignore_errors=True)
    frames = (_read_image(work.frame(k)) for k in at)
    shares = []
    for n, mask in enumerate(segmentation.segment_frames(frames, cuts[at])):
        _write_image(work.mask(at[n]), mask, PNG)
        shares.append(cv2.mean(mask)[:2])
        tick(n + 1, len(at))
    head_share, torso_share = np.mean(shares, axis=0) / 255
    return {"head_share": round(float(head_share), 4), "torso_share": round(float(torso_share), 4)}


def _torso(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Follows the upper body, against the frame in the middle of the footage."""
    with np.load(work.track) as arrays:
        track = dict(arrays)
    at = np.flatnonzero(track["valid"]).tolist()
    reference = at[len(at) // 2]
    body = cv2.erode((_read_image(work.mask(reference))[..., 1] > 200).astype(np.uint8), np.ones((9, 9))) > 0
    track["torso"] = track_torso(
        at,
        len(track["valid"]),
        reference,
        lambda k: _read_image(work.frame(k)),
        body,
        lambda k: tick(k, len(track["valid"])),
    )
    with atomic(work.track) as temporary:
        np.savez(temporary, **track)
    return {"torso_tracked": bool(track["torso"].any())}


def _plate(work: PreprocessContext, tick: Tick) -> dict[str, Any]:
    """Writes the clean plate."""
    with np.load(work.track) as arrays:
        at = np.flatnonzero(arrays["valid"])
    at = at[np.unique(np.linspace(0, len(at) - 1, background.PLATE_FRAMES).astype(int))].tolist()

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for n, k in enumerate(at):
            tick(n, len(at))
            yield _read_image(work.frame(k)), _read_image(work.mask(k))[..., :2].max(-1) / 255

    plate, hole = background.clean_plate(pairs())
    _write_image(work.out / "background.png", plate, PNG)
    tick(len(at), len(at))
    return {"hole_share": round(hole, 4)}


STAGES: dict[str, Callable[[PreprocessContext, Tick], dict[str, Any]]] = {
    "survey": _survey,
    "track": _track,
    "pose": _pose,
    "align": _align,
    "parse": _parse,
    "torso": _torso,
    "plate": _plate,
}


def _publish(work: PreprocessContext, inputs: dict[str, Any]) -> None:
    """Writes the track, the report and, last, the manifest; removes what only the stages needed."""
    known = work.known()
    with np.load(work.track) as arrays, atomic(work.out / "track.npz") as temporary:
        np.savez(temporary, **{name: arrays[name] for name in arrays.files if name != "cuts"})
    write_json(work.out / "footage.json", footage_report.footage(known))
    named = ("size", "frames", "focal", "lag_ms", "crop", "reprojection_px", "features", "eye_range", "hole_share")
    manifest = inputs | {name: known[name] for name in named}
    manifest["center"] = [known["size"] / 2] * 2
    manifest["held_out_from"] = known["frames"] - round(known["frames"] * work.config.held_out)
    manifest["seconds"] = {stage: known[f"{stage}_s"] for stage in STAGES}
    write_json(work.out / "dataset.json", manifest)
    shutil.rmtree(work.scratch)


def _clear(out: Path) -> None:
    """Removes what an earlier preprocessing left in `out`, the manifest first."""
    for name in ("dataset.json", "footage.json", "track.npz", "background.png", "audio.wav", "features.npy"):
        (out / name).unlink(missing_ok=True)
    for name in ("unfinished", "frames", "masks"):
        shutil.rmtree(out / name, ignore_errors=True)


def _digest(path: Path) -> str:
    """SHA-256 of a file. A missing file is left to the first stage to complain about."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


def _write_image(path: Path, image: np.ndarray, options: list[int]) -> None:
    _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _read_image(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
