"""The stages that find out who is filmed and how the face moves: survey, track, pose and align."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from adnerf_core.audio.features import latest_name, load_features
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import (
    FaceOutOfView,
    FaceTurned,
    NoAudio,
    NoFaceFound,
    NoSpeech,
    NotMedia,
    NoVideo,
    TooShort,
)
from adnerf_core.face.landmarks import CHIN, FOREHEAD_TOP, NUM_LANDMARKS, RIGID_LANDMARKS
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import load_tracker, track
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import TRAINING_QUALITY, write_rgb
from adnerf_core.files.run_dir import atomic
from adnerf_core.files.video_formats import footage_size
from adnerf_core.preprocess import av_sync, expression, footage_check, footage_report, segmentation
from adnerf_core.preprocess.context import FRAMES_AHEAD, PreprocessContext, StageProgress
from adnerf_core.preprocess.face_path import FacePath
from adnerf_core.preprocess.footage_report import LeftOut
from adnerf_core.preprocess.head_pose import estimate_head_poses
from adnerf_core.preprocess.offscreen_sound import offscreen, silenced, still_lips
from adnerf_core.preprocess.orientation import quarter_turns
from adnerf_core.preprocess.people import crop_in_footage
from adnerf_core.preprocess.speaking import speaking_face
from adnerf_core.threads import ahead

MAX_AWAY_S = 2.0
"""Longest time that the face is missing, s, that a message does not name if too little is left."""

STILL_LIPS = 0.015
"""Smallest range (5th to 95th percentile) of the mouth's opening, head units, of somebody who speaks: about 1.4 mm. The
tracker's noise on a still picture stays below it; speech opens the mouth many times as far."""

MIN_FPS = 5.0
"""Smallest number of pictures per second of the file, on average. Below it, timestamps have large gaps, which would be filled
with copies of one picture. The pictures are counted, because the header may state the rate without the gaps."""

SHARPNESS_INTERVAL = FPS
"""Frames between those whose sharpness and brightness are measured: one per second is enough for a median."""

MAX_OUTSIDE = 0.12
"""Share of the landmarks that may lie outside the picture: beyond it, the mesh of the part that is not seen is invented. The whole
forehead is 5 %, half a face is 40 % and more."""

MAX_YAW_DEG = 60.0
"""Largest turn of the head that is learnt from, degrees: beyond it, the tracker invents the far half of the face."""

MAX_FIXED = 0.15
"""Share of the lower face before which something stands, from which it hides the mouth if the lips do not go with the sound either. A
microphone before the chin hides 0.06 of it, one before the mouth 0.35 (docs/footage.md)."""

MAX_REPROJECTION_PX = 1.7
"""Largest reprojection error of the median frame, px at 512 px, of a mesh that fits the face: it is at most 0.9 in good footage, and 2.1 or
more if half of the face is not seen or the picture stands on its head (docs/footage.md)."""


def survey(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Looks through the whole footage, chooses person, takes and crop, and keeps the sound. The cheap checks come first."""
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
        frames = ffmpeg.read_frames(
            work.video, info=info, size=small, duration_s=seconds, footage=temporary, exact=False
        )
        check = footage_check.check_footage(frames, info.width, info.height, lambda done: progress(done, seconds * FPS))
    size = footage_size(info.width, info.height)
    scale, tracker = size[0] / info.width, partial(load_tracker, work.config.tracker, work.config.tracker_model)
    speaking = partial(speaking_face, footage=work.footage, scale=scale, size=size, samples=samples, tracker=tracker)
    try:
        person = footage_check.choose_person(check, work.config.min_seconds, work.config.face, speaking)
    except NoFaceFound:
        _refuse_turned(work, (0, 0, *size), 0)
        raise
    crop = crop_in_footage(person.crop, scale, *size)
    return {
        "frames": check.frames,
        "face_px": person.face_px,
        "crop": person.crop,
        "camera_shift": check.camera_shift,
        "takes": [list(face.take) for face in person.members],
        "shots": [list(take) for take in check.takes],
        "cuts": check.cuts,
        "faces": 1 + max(sum(other.take == face.take for other in person.others) for face in person.members),
        "crowded": [list(face.take) for face in person.others],
        "face_path": FacePath.of(person.members, scale, crop).as_list(),
        "size": min(work.config.max_size, crop[2]) // 2 * 2,
        "footage": {"width": size[0], "height": size[1], "crop": crop},
    }


def _refuse_turned(work: PreprocessContext, crop: tuple[int, int, int, int], first: int) -> None:
    """Raises FaceTurned if a face fits better in a picture that is turned by quarter turns."""
    tracker = partial(load_tracker, work.config.tracker, work.config.tracker_model)
    if turns := quarter_turns(work.footage, crop, first / FPS, tracker):
        how = {1: "90 degrees clockwise", 2: "180 degrees", 3: "90 degrees counter-clockwise"}[turns]
        raise FaceTurned(f"The picture is turned by {how}.")


def track_face(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Crops the takes, tracks the face, and stores the frames in which it is found."""
    facts, takes = work.facts(), work.takes()
    size, total, crop = facts["size"], facts["frames"], facts["footage"]["crop"]
    shutil.rmtree(work.out / "frames", ignore_errors=True)  # a killed run leaves incomplete files
    path = FacePath(facts["face_path"], crop[2] / size)
    landmarks = np.full((total, NUM_LANDMARKS, 3), np.nan, np.float32)
    flow, appearance = np.full((total, len(RIGID_LANDMARKS), 2), np.nan, np.float32), []
    left_out = _left_out_by_survey(total, facts)
    area = (crop[0], crop[1], crop[2], crop[2])
    with closing(ffmpeg.read_frames(work.footage, crop=area, size=(size, size), duration_s=total / FPS)) as frames:
        at = 0
        for take in takes:
            pictures = islice(frames, take.first - at, take.end - at)
            tracker = load_tracker(work.config.tracker, work.config.tracker_model)
            tracker = path.only(tracker, take.first, list(take) in facts["crowded"])
            with closing(ahead(track(pictures, tracker), FRAMES_AHEAD)) as tracked:  # while pictures are stored
                for k, (frame, points, frame_flow) in enumerate(tracked, take.first):
                    progress(k + 1, total)
                    if not np.isfinite(points[0, 0]):
                        left_out[k] = LeftOut.NO_FACE
                    elif np.mean((points[:, :2] < 0) | (points[:, :2] > size)) > MAX_OUTSIDE / 2:
                        left_out[k] = LeftOut.EDGE
                    else:
                        landmarks[k], flow[k] = points, frame_flow
                        write_rgb(work.frame(k), frame, quality=TRAINING_QUALITY, full_chroma=True)
                        if (k - take.first) % SHARPNESS_INTERVAL == 0:
                            appearance.append(footage_report.face_appearance(frame, points))
            at = take.end
    require_time(work, np.isfinite(landmarks[:, 0, 0]), left_out)
    height = np.linalg.norm(landmarks[:, CHIN, :2] - landmarks[:, FOREHEAD_TOP, :2], axis=1)
    with atomic(work.landmarks) as temporary:
        np.savez(temporary, landmarks=landmarks, flow=flow, left_out=left_out)
    look = (
        dict(zip(footage_report.APPEARANCE, np.median(appearance, axis=0).tolist(), strict=True)) if appearance else {}
    )
    face_px = float(np.nanmedian(height)) * facts["crop"][2] / size
    return {"face_px": round(face_px, 1), "cut_off": footage_report.cut_off(landmarks, size)} | look


def _left_out_by_survey(total: int, facts: dict[str, Any]) -> np.ndarray:
    """Returns why each frame is left out, as far as the survey knows."""
    left_out = np.full(total, LeftOut.TRANSITION, np.uint8)
    for first, end in facts["shots"]:
        left_out[first:end] = LeftOut.OTHER
    for first, end in facts["takes"]:
        left_out[first:end] = LeftOut.USED
    return left_out


def require_time(work: PreprocessContext, visible: np.ndarray, left_out: np.ndarray) -> None:
    """Raises FaceOutOfView or TooShort if too few frames show the face; `visible` is a boolean per frame."""
    if visible.sum() >= work.config.min_seconds * FPS:
        return
    cut_off = (left_out == LeftOut.EDGE).sum()
    if cut_off > max(visible.sum(), (left_out == LeftOut.NO_FACE).sum()):
        raise FaceOutOfView(
            f"The face is not whole in the picture for {cut_off / FPS:.1f} s.", "Keep the whole face in the picture."
        )
    gaps = [span for span in footage_report.runs(left_out == LeftOut.NO_FACE) if span.seconds > MAX_AWAY_S]
    if gaps:
        longest = max(gaps, key=lambda span: span.seconds)
        raise FaceOutOfView(
            f"The face is not visible for {longest.seconds:.1f} s, from {longest.first / FPS:.1f} s on, "
            f"and only {visible.sum() / FPS:.1f} s are left."
        )
    raise TooShort(f"The face can be tracked in only {visible.sum() / FPS:.1f} s of the footage.")


def pose(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Estimates the head's shape and motion, and removes the motion from the landmarks."""
    facts = work.facts()
    size = facts["size"]
    progress(0, 1)
    with np.load(work.landmarks) as stored:
        landmarks, flow, left_out = stored["landmarks"], stored["flow"], stored["left_out"]
    head = estimate_head_poses(landmarks, flow, size, work.takes())
    if head.usual_error_px > MAX_REPROJECTION_PX:
        x, y, side = facts["footage"]["crop"]
        _refuse_turned(work, (x, y, side, side), int(np.flatnonzero(head.valid)[0]))
        raise FaceOutOfView(
            f"No face fits what is seen (reprojection error {head.usual_error_px:.1f} px).",
            "Show the whole face, from the front, without anything before it.",
        )
    landmarks[~head.valid] = np.nan
    canonical = expression.remove_head_pose(landmarks, head, size)
    eyes, eye_range = expression.eye_openness(canonical, head.valid)
    left_out[~head.valid & (left_out == LeftOut.USED)] = LeftOut.HIDDEN
    arrays = {
        "valid": head.valid,
        "landmarks": landmarks,
        "pose": head.motions.camera_to_world().astype(np.float32),
        "points": head.points.astype(np.float32),
        "point_ids": np.array(RIGID_LANDMARKS),
        "depose": canonical,
        "opening": mouth_opening(canonical),
        "eyes": eyes,
        "jaw": segmentation.jaw_polygons(canonical, head, size).astype(np.float32),
        "left_out": left_out,
    }
    yaw = head.motions.yaw_deg()
    work.leave_out(arrays, np.flatnonzero(np.abs(yaw) > MAX_YAW_DEG), LeftOut.TURNED)
    require_time(work, arrays["valid"], left_out)
    work.store(arrays)
    work.remove_pictures(arrays["valid"])
    progress(1, 1)
    return {
        "focal": head.focal,
        "reprojection_px": round(head.error_px, 4),
        "eye_range": eye_range,
        "head_yaw_deg": [round(float(q), 1) for q in np.quantile(yaw[arrays["valid"]], (0.01, 0.99))],
    }


def align(work: PreprocessContext, progress: StageProgress) -> dict[str, Any]:
    """Measures the offset between sound and lips, and stores the corrected sound of the person and its features.

    The sound's spectrum is computed twice, because the features are those of the moved sound: the offset is not a whole
    number of the spectrum's steps.
    """
    progress(0, 1)
    arrays = work.arrays()
    opening, valid, face_px = arrays["opening"], arrays["valid"], work.facts()["face_px"]
    seconds = len(opening) / FPS + av_sync.LAGS_S[-1]
    samples = np.load(work.sound)[: round(seconds * SAMPLE_RATE)]
    low, high = np.nanquantile(opening, (0.05, 0.95))
    if high - low < STILL_LIPS:
        raise NoSpeech(
            "The lips do not move.",
            "Send footage of the person speaking, with nothing (a mask, a veil) before the mouth.",
        )
    offset = av_sync.estimate_av_offset(samples, opening)
    if not offset.reliable and (still := still_lips(opening, face_px)).any():  # somebody else may be heard there
        offset = av_sync.estimate_av_offset(samples, np.where(still, np.nan, opening))
    if work.facts()["fixed_share"] > MAX_FIXED and not offset.reliable:
        raise FaceOutOfView(
            "Something stands before the mouth all the time, such as a microphone or captions.",
            "Move it below the chin or to the side, so that the lips are seen; send the video without captions.",
        )
    if offset.unrelated:
        raise NoSpeech(
            f"The lip movements do not match the sound (correlation {offset.correlation:.2f} at the best offset)."
        )
    lag_s = offset.lag_s if offset.reliable else 0.0
    aligned = av_sync.shift_audio(samples, lag_s, len(opening))
    others = offscreen(aligned, opening, face_px)
    aligned = silenced(aligned, others)
    ffmpeg.write_wav(work.out / "audio.wav", aligned)
    name = latest_name(work.config.features)
    features = load_features(name)
    with atomic(work.out / "features.npy") as temporary:
        np.save(temporary, features(aligned))
    progress(1, 1)
    return {
        "lag_ms": round(1000 * lag_s, 1),
        "lag_sure": offset.reliable,
        "lag_correlation": round(offset.correlation, 3),
        "offscreen": [[round(span.first / FPS, 2), round(span.end / FPS, 2)] for span in footage_report.runs(others)],
        "speech_share": footage_report.speech_share(np.concatenate(list(_heard(aligned, valid)))),
        "features": {"name": name, "width": features.width, "rate": features.rate},
    }


def _heard(samples: np.ndarray, valid: np.ndarray) -> Iterator[np.ndarray]:
    """The sound of the valid frames."""
    length = SAMPLE_RATE // FPS
    for span in footage_report.runs(valid):
        yield samples[span.first * length : span.end * length]
