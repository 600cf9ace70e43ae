"""Turns a reference video into a dataset (data/dataset.py describes its files).

The stages are a dict, run in order. Each writes its results into a small file when it is done, and is skipped if that file
exists, so that a preprocessing that was killed goes on where it stopped. Pictures are streamed: no stage holds more than a
few dozen of them.

The video is read three times: by the probe, for the sound, and for the pictures. That last reading checks them and writes
footage.mp4, from which the later stages read the pictures: what is learnt from is what is shown later. The video is read once more
for its SHA-256, unless the caller knows that.
"""

from __future__ import annotations

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
from adnerf_core.config import FPS, SAMPLE_RATE, PreprocessConfig
from adnerf_core.data.dataset import VERSION, SubjectDataset
from adnerf_core.errors import AdnerfError, FaceOutOfView, NoAudio, NoSpeech, NotMedia, NoVideo, TooShort
from adnerf_core.face.landmarks import CHIN, FOREHEAD_TOP, RIGID_LANDMARKS
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import load_tracker, track
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import TRAINING_QUALITY, read_rgb, write_rgb
from adnerf_core.files.run_dir import atomic, file_sha256, read_json, write_json
from adnerf_core.files.video_formats import footage_size
from adnerf_core.preprocess import (
    av_sync,
    background,
    expression,
    footage_check,
    footage_report,
    segmentation,
)
from adnerf_core.preprocess.head_pose import estimate_head_poses
from adnerf_core.preprocess.torso_tracking import track_torso
from adnerf_core.progress import Progress, silent

MAX_AWAY_S = 2.0
"""Longest time that the face may be missing, s. Poses are interpolated across a gap, which is only plausible for the time of a
sneeze or a hand in front of the face; after a longer absence it is likely to be another take."""

STILL_LIPS = 0.015
"""Smallest range (5th to 95th percentile) of the mouth's opening, head units, of somebody who speaks: about 1.4 mm. The
tracker's noise on a still picture stays below it; speech opens the mouth many times as far."""

MIN_FPS = 5.0
"""Smallest number of pictures per second of the file, on average. Below it, timestamps have large gaps, which would be filled
with copies of one picture. The pictures are counted, because the header may state the rate without the gaps."""

SHARPNESS_INTERVAL = FPS
"""Frames between those whose sharpness and brightness are measured: one per second is enough for a median."""

TORSO_MASK, TORSO_MARGIN = 200, 9
"""Mask value above which a pixel belongs to the torso for sure, and the size of the erosion, px, that keeps features away from
its outline, where the background would move with them."""

SCRATCH_LAYOUT = 3
"""Version of the intermediate files. Those of another version are discarded, and preprocessing starts afresh."""

DEFAULTS = PreprocessConfig()

StageProgress = Callable[[float, float], None]
"""Called by a stage with what is done and the total."""


@dataclass(frozen=True)
class PreprocessContext:
    """What the stages share: the input, and the places of intermediate and final files.

    Attributes:
        video: the reference video.
        out: the folder of the dataset.
        config: the configuration.
    """

    video: Path
    out: Path
    config: PreprocessConfig

    @property
    def scratch(self) -> Path:
        """The folder of the intermediate files."""
        return self.out / "unfinished"

    @property
    def landmarks(self) -> Path:
        """Landmarks and optical flow, as tracked."""
        return self.scratch / "landmarks.npz"

    @property
    def track(self) -> Path:
        """The arrays of the dataset's track.npz, as far as they are known, and the jaw polygons (`cuts`)."""
        return self.scratch / "track.npz"

    @property
    def sound(self) -> Path:
        """The video's sound, [samples] float32."""
        return self.scratch / "sound.npy"

    @property
    def footage(self) -> Path:
        """The footage for playing."""
        return self.out / "footage.mp4"

    def record(self, stage: str) -> Path:
        """The file with the results of `stage`; it exists if the stage is done."""
        return self.scratch / f"{stage}.json"

    def media(self) -> ffmpeg.MediaInfo:
        """What the video file holds; it is probed at the first call only, even across restarts."""
        if not self.record("media").exists():
            write_json(self.record("media"), asdict(ffmpeg.probe(self.video, audio_track=self.config.audio_track)))
        return ffmpeg.MediaInfo(**read_json(self.record("media")))

    def facts(self) -> dict[str, Any]:
        """The properties of the file and the results of all stages that are done."""
        results: dict[str, Any] = {}
        for stage in ("media", *STAGES):
            if self.record(stage).exists():
                results |= read_json(self.record(stage))
        return results

    def frame(self, k: int) -> Path:
        """The stored picture of frame `k`."""
        return self.out / "frames" / f"{k:06d}.jpg"

    def mask(self, k: int) -> Path:
        """The stored mask of frame `k`."""
        return self.out / "masks" / f"{k:06d}.png"


def preprocess(
    video: Path,
    out: Path,
    config: PreprocessConfig = DEFAULTS,
    progress: Progress = silent,
    *,
    source_sha256: str | None = None,
) -> SubjectDataset:
    """Makes the dataset of a reference video.

    Continues an earlier call with the same video and configuration, and starts afresh if they differ. The footage report
    (footage.json) is written even if the footage is refused.

    Args:
        video: the video file.
        out: the folder of the dataset.
        config: how to preprocess.
        progress: called with the stage, what is done and the total; it may raise to stop the work.
        source_sha256: the SHA-256 of the video, hexadecimal, if the caller knows it; else the file is read for it.

    Returns:
        The dataset.

    Raises:
        MediaError, FootageError: if the footage cannot become a subject; errors.py lists the reasons.
        MissingBackend: if a library or model file is missing.
        DiskFull: if the disk has no space left.
    """
    work = PreprocessContext(Path(video), Path(out), config)
    source = {"name": work.video.name, "sha256": source_sha256 or _digest(work.video)}
    inputs = {"version": VERSION, "source": source, "config": config.model_dump(mode="json")}
    if (work.out / "dataset.json").exists():
        manifest = read_json(work.out / "dataset.json")
        if {name: manifest.get(name) for name in inputs} == inputs:
            return SubjectDataset(work.out)
    begun = inputs | {"layout": SCRATCH_LAYOUT}
    if not work.record("inputs").exists() or read_json(work.record("inputs")) != begun:
        _clear(work.out)
        write_json(work.record("inputs"), begun)
    try:
        for name, stage in STAGES.items():
            if not work.record(name).exists():
                start = time.perf_counter()
                results = stage(work, partial(progress, name))
                write_json(work.record(name), results | {f"{name}_s": round(time.perf_counter() - start, 2)})
    except AdnerfError:
        write_json(work.out / "footage.json", footage_report.footage(work.facts()))
        raise
    _publish(work, inputs)
    return SubjectDataset(work.out)


def _survey(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Checks the whole footage, chooses the crop, and keeps the sound. The cheap checks come first."""
    info, limit = work.media(), work.config.max_seconds
    if not info.has_video:
        raise NoVideo("The video has no pictures.")
    if not info.has_audio:
        raise NoAudio("The video has no sound.")
    if info.duration_s < work.config.min_seconds:
        raise TooShort(f"The footage lasts {info.duration_s:.1f} s.")
    if info.pictures < MIN_FPS * info.pictures_s:
        raise NotMedia(
            f"The video has {info.pictures / info.pictures_s:.2f} frames per second; at least {MIN_FPS:.0f} are needed.",
            "Record at 25 frames per second or more.",
        )
    # Late sound is moved forward later, so a little more is kept than there are pictures for.
    samples = ffmpeg.extract_audio(work.video, info=info, duration_s=limit + av_sync.LAGS_S[-1])
    footage_check.require_sound(samples[: round(limit * SAMPLE_RATE)])
    with atomic(work.sound) as temporary:
        np.save(temporary, samples)
    seconds = min(info.duration_s, limit)
    small = footage_check.survey_size(info.width, info.height)
    with atomic(work.footage) as temporary:
        frames = ffmpeg.read_frames(work.video, info=info, size=small, duration_s=seconds, footage=temporary)
        check = footage_check.check_footage(frames, info.width, info.height, lambda done: progress(done, seconds * FPS))
    width, height = footage_size(info.width, info.height)
    crop = footage_check.crop_in_footage(check.crop, width / info.width, width, height)
    size = min(work.config.max_size, crop[2]) // 2 * 2
    return asdict(check) | {"size": size, "footage": {"width": width, "height": height, "crop": crop}}


def _track(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Crops the footage, tracks the face, and stores the frames in which it is found."""
    facts = work.facts()
    size, total = facts["size"], facts["frames"]
    shutil.rmtree(work.out / "frames", ignore_errors=True)  # a killed run leaves incomplete files
    tracker = load_tracker(work.config.tracker, work.config.tracker_model)
    left, top, side = facts["footage"]["crop"]
    crop, seconds = (left, top, side, side), total / FPS
    frames = ffmpeg.read_frames(work.footage, crop=crop, size=(size, size), duration_s=seconds)
    landmarks, flow, appearance = [], [], []
    for k, (frame, points, frame_flow) in enumerate(track(frames, tracker)):
        landmarks.append(points)
        flow.append(frame_flow)
        if np.isfinite(points[0, 0]):
            write_rgb(work.frame(k), frame, quality=TRAINING_QUALITY, full_chroma=True)
            if k % SHARPNESS_INTERVAL == 0:
                appearance.append(footage_report.face_sharpness_brightness(frame, points))
        progress(k + 1, total)
    landmarks, flow = np.array(landmarks), np.array(flow)
    _require_face(np.isfinite(landmarks[:, 0, 0]), work.config.min_seconds)
    height = np.linalg.norm(landmarks[:, CHIN, :2] - landmarks[:, FOREHEAD_TOP, :2], axis=1)
    with atomic(work.landmarks) as temporary:
        np.savez(temporary, landmarks=landmarks, flow=flow)
    sharpness, brightness = np.median(appearance, axis=0) if appearance else (None, None)
    face_px = float(np.nanmedian(height)) * facts["crop"][2] / size
    return {"frames": len(landmarks), "face_px": round(face_px, 1), "sharpness": sharpness, "brightness": brightness}


def _require_face(visible: np.ndarray, min_seconds: float) -> None:
    """Raises FaceOutOfView or TooShort if too few frames show the face; `visible` is a boolean per frame."""
    edges = np.flatnonzero(np.concatenate([[True], visible, [True]]))
    longest = int(np.argmax(np.diff(edges)))
    away = (np.diff(edges)[longest] - 1) / FPS
    if away > MAX_AWAY_S:
        raise FaceOutOfView(f"The face is not visible for {away:.1f} s, from {edges[longest] / FPS:.1f} s on.")
    if visible.sum() < min_seconds * FPS:
        raise TooShort(f"The face can be tracked in only {visible.sum() / FPS:.1f} s of the footage.")


def _pose(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Estimates the head's shape and motion, and removes the motion from the landmarks."""
    size = work.facts()["size"]
    progress(0, 1)
    with np.load(work.landmarks) as arrays:
        landmarks, flow = arrays["landmarks"], arrays["flow"]
    head = estimate_head_poses(landmarks, flow, size)
    landmarks[~head.valid] = np.nan
    canonical = expression.remove_head_pose(landmarks, head, size)
    eyes, eye_range = expression.eye_openness(canonical, head.valid)
    with atomic(work.track) as temporary:
        np.savez(
            temporary,
            valid=head.valid,
            landmarks=landmarks,
            pose=head.motions.camera_to_world().astype(np.float32),
            points=head.points.astype(np.float32),
            point_ids=np.array(RIGID_LANDMARKS),
            depose=canonical,
            opening=mouth_opening(canonical),
            eyes=eyes,
            cuts=segmentation.jaw_polygons(canonical, head, size).astype(np.float32),
        )
    _require_face(head.valid, work.config.min_seconds)
    for k in np.flatnonzero(~head.valid).tolist():
        work.frame(k).unlink(missing_ok=True)
    yaw = head.motions.yaw_deg()[head.valid]
    progress(1, 1)
    return {
        "focal": head.focal,
        "reprojection_px": round(head.error_px, 4),
        "eye_range": eye_range,
        "frames_with_face": int(head.valid.sum()),
        "usable_s": float(head.valid.sum() / FPS),
        "face_share": float(head.valid.mean()),
        "head_yaw_deg": [round(float(q), 1) for q in np.quantile(yaw, (0.01, 0.99))],
    }


def _align(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Measures the offset between sound and lips, and stores the corrected sound and its features.

    The sound's spectrum is computed twice, because the features are those of the moved sound: the offset is not a whole
    number of the spectrum's steps.
    """
    progress(0, 1)
    with np.load(work.track) as arrays:
        opening = arrays["opening"]
    seconds = len(opening) / FPS + av_sync.LAGS_S[-1]
    samples = np.load(work.sound)[: round(seconds * SAMPLE_RATE)]
    low, high = np.nanquantile(opening, (0.05, 0.95))
    if high - low < STILL_LIPS:
        raise NoSpeech("The lips do not move.")
    offset = av_sync.estimate_av_offset(samples, opening)
    if offset.unrelated:
        raise NoSpeech(
            f"The lip movements do not match the sound (correlation {offset.correlation:.2f} at the best offset)."
        )
    lag_s = offset.lag_s if offset.reliable else 0.0
    aligned = av_sync.shift_audio(samples, lag_s, len(opening))
    ffmpeg.write_wav(work.out / "audio.wav", aligned)
    features = load_features(work.config.features)
    with atomic(work.out / "features.npy") as temporary:
        np.save(temporary, features(aligned))
    progress(1, 1)
    return {
        "lag_ms": round(1000 * lag_s, 1),
        "lag_sure": offset.reliable,
        "lag_correlation": round(offset.correlation, 3),
        "speech_share": footage_report.speech_share(aligned),
        "features": {"name": work.config.features, "width": features.width, "rate": features.rate},
    }


def _parse(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the masks of head and torso."""
    with np.load(work.track) as arrays:
        frames, cuts = np.flatnonzero(arrays["valid"]).tolist(), arrays["cuts"]
    shutil.rmtree(work.out / "masks", ignore_errors=True)  # a killed run leaves incomplete files
    pictures = (read_rgb(work.frame(k)) for k in frames)
    shares = []
    for n, mask in enumerate(segmentation.segment_frames(pictures, cuts[frames])):
        write_rgb(work.mask(frames[n]), mask)
        shares.append(cv2.mean(mask)[:2])
        progress(n + 1, len(frames))
    head_share, torso_share = np.mean(shares, axis=0) / 255
    return {"head_share": round(float(head_share), 4), "torso_share": round(float(torso_share), 4)}


def _torso(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Tracks the upper body against the frame in the middle of the footage."""
    with np.load(work.track) as arrays:
        stored = dict(arrays)
    frames = np.flatnonzero(stored["valid"]).tolist()
    count, reference = len(stored["valid"]), frames[len(frames) // 2]
    torso = (read_rgb(work.mask(reference))[..., 1] > TORSO_MASK).astype(np.uint8)
    body = cv2.erode(torso, np.ones((TORSO_MARGIN, TORSO_MARGIN))) > 0
    stored["torso"] = track_torso(
        frames, count, reference, lambda k: read_rgb(work.frame(k)), body, lambda k: progress(k, count)
    )
    with atomic(work.track) as temporary:
        np.savez(temporary, **stored)
    return {"torso_tracked": bool(stored["torso"].any())}


def _plate(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Writes the clean plate: the background without the person."""
    with np.load(work.track) as arrays:
        frames = np.flatnonzero(arrays["valid"])
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, background.PLATE_FRAMES).astype(int))].tolist()

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for n, k in enumerate(frames):
            progress(n, len(frames))
            yield read_rgb(work.frame(k)), read_rgb(work.mask(k))[..., :2].max(-1) / 255

    plate, hole = background.clean_plate(pairs())
    write_rgb(work.out / "background.png", plate)
    progress(len(frames), len(frames))
    return {"hole_share": round(hole, 4)}


STAGES: dict[str, Callable[[PreprocessContext, StageProgress], dict[str, Any]]] = {
    "survey": _survey,
    "track": _track,
    "pose": _pose,
    "align": _align,
    "parse": _parse,
    "torso": _torso,
    "plate": _plate,
}


def _publish(work: PreprocessContext, inputs: dict[str, Any]) -> None:
    """Writes the track, the report and, last, the manifest; removes the intermediate files."""
    facts = work.facts()
    with np.load(work.track) as arrays, atomic(work.out / "track.npz") as temporary:
        np.savez(temporary, **{name: arrays[name] for name in arrays.files if name != "cuts"})
    write_json(work.out / "footage.json", footage_report.footage(facts))
    names = (
        "size",
        "frames",
        "focal",
        "lag_ms",
        "crop",
        "reprojection_px",
        "features",
        "eye_range",
        "hole_share",
        "footage",
    )
    manifest = inputs | {name: facts[name] for name in names}
    manifest["center"] = [facts["size"] / 2] * 2
    manifest["held_out_from"] = facts["frames"] - round(facts["frames"] * work.config.held_out)
    manifest["seconds"] = {stage: facts[f"{stage}_s"] for stage in STAGES}
    write_json(work.out / "dataset.json", manifest)
    shutil.rmtree(work.scratch)


def _clear(out: Path) -> None:
    """Removes what an earlier preprocessing wrote into `out`, the manifest first."""
    for name in (
        "dataset.json",
        "footage.json",
        "footage.mp4",
        "track.npz",
        "background.png",
        "audio.wav",
        "features.npy",
    ):
        (out / name).unlink(missing_ok=True)
    for name in ("unfinished", "frames", "masks"):
        shutil.rmtree(out / name, ignore_errors=True)


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if there is no file, which the first stage then reports."""
    return file_sha256(path) if path.is_file() else ""
