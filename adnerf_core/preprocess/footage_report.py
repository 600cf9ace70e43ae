"""The footage report: figures of the footage, and short warnings with what to do about them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import SAMPLE_RATE

GOOD_SECONDS = 30.0
GOOD_FACE_PX = 200.0
GOOD_SHARPNESS = 4.0
DARK, BRIGHT = 50.0, 225.0
"""Mean grey level of the face that is too dark, too bright."""
STILL_DEG, TURNED_DEG = 4.0, 40.0
"""Range of the head's yaw below which turned views are guesswork, and above which the body cannot be told apart from the head:
what of the shoulders lies beside the cheek then differs from frame to frame."""
SPEECH_SHARE = 0.4


def face_sharpness_brightness(
    frame: UInt8[np.ndarray, "size size 3"], landmarks: Float[np.ndarray, "landmarks 3"]
) -> tuple[float, float]:
    """Sharpness and brightness of the face in a frame.

    Sharpness: root mean square of the Laplacian in grey levels over the face scaled to 256 px, so that it says how much detail
    there is at the size that matters, whatever the frame's. Brightness: mean grey level.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    gray = cv2.cvtColor(frame[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    scaled = cv2.resize(gray, (256, 256), interpolation=cv2.INTER_AREA if len(gray) > 256 else cv2.INTER_LINEAR)
    return float(np.sqrt(np.mean(cv2.Laplacian(scaled, cv2.CV_32F) ** 2))), float(gray.mean())


def speech_share(samples: Float[np.ndarray, " samples"]) -> float:
    """Share of the sound, 0..1, that is within 30 dB of its loud parts: speech, where the recording is clean."""
    hop = SAMPLE_RATE // 50
    frames = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level = 20 * np.log10(np.sqrt(np.mean(frames**2, axis=1)) + 1e-6)
    return float(np.mean(level > np.quantile(level, 0.95) - 30))


def warnings(known: dict[str, Any]) -> list[str]:
    """Short sentences about what will limit the quality, each with a remedy; of what is `known` so far."""

    def value(name: str, otherwise: float) -> float:
        return known[name] if known.get(name) is not None else otherwise

    said = []
    if (seconds := value("usable_s", GOOD_SECONDS)) < GOOD_SECONDS:
        said.append(f"Only {seconds:.0f} s of footage: record one to three minutes for better lips.")
    if (face := value("face_px", GOOD_FACE_PX)) < GOOD_FACE_PX:
        said.append(f"The face is {face:.0f} px high: move the camera closer or record in a higher resolution.")
    if (sharpness := value("sharpness", GOOD_SHARPNESS)) < GOOD_SHARPNESS:
        said.append(f"The face is blurred (sharpness {sharpness:.1f}): focus, clean the lens, add light.")
    if (brightness := value("brightness", DARK)) < DARK:
        said.append("The face is dark: add light from the front.")
    elif brightness > BRIGHT:
        said.append("The face is too bright: lower the exposure.")
    low, high = known.get("head_yaw_deg") or (-STILL_DEG, STILL_DEG)
    if high - low < STILL_DEG:
        said.append("The head hardly turns: views from the side will be poor; turn the head a little while speaking.")
    elif high - low > TURNED_DEG:
        said.append(
            f"The head turns by {high - low:.0f} degrees: look at the camera, or jaw and shoulders will be ragged where it turns most."
        )
    if (share := value("speech_share", 1.0)) < SPEECH_SHARE:
        said.append(f"Speech fills only {100 * share:.0f} % of the sound: cut out the pauses or speak more.")
    if (share := value("face_share", 1.0)) < 0.95:
        said.append(
            f"The face could be followed in {100 * share:.0f} % of the frames only: keep it in view and unhidden."
        )
    if (shift := value("camera_shift", 0.0)) > 0.008:
        said.append(
            f"The camera or the background moves a little ({100 * shift:.1f} %): use a stand and a still background."
        )
    if known.get("lag_sure") is False:
        said.append("The offset between sound and lips could not be measured and was left as it is: check their sync.")
    elif abs(lag := value("lag_ms", 0.0)) >= 60:
        said.append(
            f"The sound was {abs(lag):.0f} ms {'late' if lag > 0 else 'early'} and was moved: check the recorder's sync."
        )
    if (hole := value("hole_share", 0.0)) > 0.55:
        said.append(
            f"{100 * hole:.0f} % of the background is never seen and was guessed: choose another background at rendering."
        )
    return said


def footage(known: dict[str, Any]) -> dict[str, Any]:
    """The report as a client sees it; figures that are not known (footage refused early) are null."""
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
    return {name: known.get(name) for name in names} | {"warnings": warnings(known)}
