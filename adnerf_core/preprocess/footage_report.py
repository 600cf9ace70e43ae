"""The footage report: measurements of the footage, and short warnings with advice."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.audio.speech_level import speech_frames
from adnerf_core.config import SAMPLE_RATE

GOOD_SECONDS = 30.0
"""Usable footage, s, below which a warning says that more would help: the lips of a new voice improve up to a minute or more."""

GOOD_FACE_PX = 200.0
"""Height of the face in the source, px, below which the portrait, stored at up to 512 px, would show that pixels are missing."""

GOOD_SHARPNESS = 4.0
"""Sharpness (see face_sharpness_brightness) below which a face looks blurred."""

SHARPNESS_EDGE = 256
"""Edge, px, to which the face is scaled before its sharpness is measured: about the size at which it is rendered."""

MIN_BRIGHTNESS, MAX_BRIGHTNESS = 50.0, 225.0
"""Mean grey levels (of 255) of the face that are too dark and too bright: beyond them, detail is lost in shadows or highlights."""

MIN_YAW_RANGE_DEG, MAX_YAW_RANGE_DEG = 4.0, 40.0
"""Range of the head's yaw, degrees. Below the first, views from the side are extrapolated from nothing. Above the second, the head
hides other parts of the shoulders in every frame, so that head and body cannot be separated well."""

MIN_SPEECH_SHARE = 0.4
"""Share of speech in the sound below which much of the footage teaches nothing about lips."""

MIN_FACE_SHARE = 0.95
"""Share of the frames with a trusted pose below which a warning is given."""

MAX_CAMERA_SHIFT = 0.008
"""Motion of the background, in widths of the picture, above which a warning is given: 4 px at 512 px. footage_check.py refuses the
footage above 0.02."""

MAX_LAG_MS = 60
"""Offset of the sound, ms, from which the user is told that it was corrected: more than recorders usually
have, and about what viewers begin to notice."""

MAX_HOLE_SHARE = 0.55
"""Share of the background that no frame shows, above which the clean plate is mostly a guess."""

LEVELS_PER_SECOND = 50
"""Levels of the sound measured per second, for the share of speech."""


def face_sharpness_brightness(
    frame: UInt8[np.ndarray, "size size 3"], landmarks: Float[np.ndarray, "landmarks 3"]
) -> tuple[float, float]:
    """Measures the face in a frame.

    Args:
        frame: RGB.
        landmarks: x, y in px of the frame.

    Returns:
        The sharpness, which is the root mean square of the Laplacian, in grey levels, over the face scaled to SHARPNESS_EDGE
        (so that it does not depend on the size of the frame); and the brightness, which is the mean grey level.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    gray = cv2.cvtColor(frame[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    method = cv2.INTER_AREA if len(gray) > SHARPNESS_EDGE else cv2.INTER_LINEAR
    scaled = cv2.resize(gray, (SHARPNESS_EDGE, SHARPNESS_EDGE), interpolation=method)
    return float(np.sqrt(np.mean(cv2.Laplacian(scaled, cv2.CV_32F) ** 2))), float(gray.mean())


def speech_share(samples: Float[np.ndarray, " samples"]) -> float:
    """Returns the share of speech in a clean recording, 0..1; samples at SAMPLE_RATE."""
    hop = SAMPLE_RATE // LEVELS_PER_SECOND
    return float(np.mean(speech_frames(samples[: len(samples) // hop * hop].reshape(-1, hop))))


def warnings(facts: dict[str, Any]) -> list[str]:
    """Returns short sentences about what will limit the quality, each with advice, from the `facts` known so far."""
    return (
        facts.get("notes", [])  # of the file: files/media_info.py
        + _picture_warnings(facts)
        + _head_warnings(facts)
        + _tracking_warnings(facts)
        + _sound_warnings(facts)
        + _plate_warnings(facts)
    )


def _value(facts: dict[str, Any], name: str, default: float) -> float:
    return facts[name] if facts.get(name) is not None else default


def _picture_warnings(facts: dict[str, Any]) -> list[str]:
    texts = []
    if (seconds := _value(facts, "usable_s", GOOD_SECONDS)) < GOOD_SECONDS:
        texts.append(f"Only {seconds:.0f} s of footage: record one to three minutes for better lips.")
    if (face := _value(facts, "face_px", GOOD_FACE_PX)) < GOOD_FACE_PX:
        texts.append(f"The face is {face:.0f} px high: move the camera closer or record in a higher resolution.")
    if (sharpness := _value(facts, "sharpness", GOOD_SHARPNESS)) < GOOD_SHARPNESS:
        texts.append(f"The face is blurred (sharpness {sharpness:.1f}): focus, clean the lens, add light.")
    if (brightness := _value(facts, "brightness", MIN_BRIGHTNESS)) < MIN_BRIGHTNESS:
        texts.append("The face is dark: add light from the front.")
    elif brightness > MAX_BRIGHTNESS:
        texts.append("The face is too bright: lower the exposure.")
    return texts


def _head_warnings(facts: dict[str, Any]) -> list[str]:
    texts = []
    low, high = facts.get("head_yaw_deg") or (-MIN_YAW_RANGE_DEG, MIN_YAW_RANGE_DEG)
    if high - low < MIN_YAW_RANGE_DEG:
        texts.append("The head hardly turns: views from the side will be poor; turn the head a little while speaking.")
    elif high - low > MAX_YAW_RANGE_DEG:
        texts.append(
            f"The head turns by {high - low:.0f} degrees: face the camera more, or jaw and shoulders will look ragged "
            "where it turns most."
        )
    return texts


def _tracking_warnings(facts: dict[str, Any]) -> list[str]:
    texts = []
    if (share := _value(facts, "face_share", 1.0)) < MIN_FACE_SHARE:
        texts.append(
            f"The face could be tracked in only {100 * share:.0f} % of the frames: keep it in view and uncovered."
        )
    if (shift := _value(facts, "camera_shift", 0.0)) > MAX_CAMERA_SHIFT:
        texts.append(
            f"The camera or the background moves a little ({100 * shift:.1f} %): use a stand and a still background."
        )
    return texts


def _sound_warnings(facts: dict[str, Any]) -> list[str]:
    texts = []
    if (share := _value(facts, "speech_share", 1.0)) < MIN_SPEECH_SHARE:
        texts.append(f"Only {100 * share:.0f} % of the sound is speech: cut out the pauses or speak more.")
    if facts.get("lag_sure") is False:
        texts.append("The offset between sound and lips could not be measured, and was not corrected: check the sync.")
    elif abs(lag := _value(facts, "lag_ms", 0.0)) >= MAX_LAG_MS:
        direction = "late" if lag > 0 else "early"
        texts.append(f"The sound was {abs(lag):.0f} ms {direction}, which was corrected: check the recorder's sync.")
    return texts


def _plate_warnings(facts: dict[str, Any]) -> list[str]:
    if (hole := _value(facts, "hole_share", 0.0)) <= MAX_HOLE_SHARE:
        return []
    return [
        f"{100 * hole:.0f} % of the background is never visible and was guessed: choose another background when rendering."
    ]


def footage(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns the report as clients see it (footage.json); values that are unknown, because the footage was refused, are null."""
    names = (
        "duration_s",
        "fps",
        "width",
        "height",
        "frames",
        "frames_with_face",
        "face_px",
        "head_yaw_deg",
        "sharpness",
    )
    return {name: facts.get(name) for name in names} | {"warnings": warnings(facts)}
