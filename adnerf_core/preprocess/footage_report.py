"""The footage report: measurements of the footage, and short warnings with advice."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.audio.speech_level import speech_frames
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.face.landmarks import CHIN, FOREHEAD_TOP
from adnerf_core.preprocess.takes import runs

GOOD_SECONDS = 30.0
"""Usable footage, s, below which a warning says that more would help: the lips of a new voice improve up to a minute or more."""

GOOD_FACE_PX = 200.0
"""Height of the face in the source, px, below which the portrait, stored at up to 512 px, would show that pixels are missing."""

GOOD_SHARPNESS = 4.0
"""Sharpness (see face_appearance) below which a face looks blurred (docs/footage.md)."""

SHARPNESS_EDGE = 256
"""Edge, px, to which the face is scaled before its sharpness is measured: about the size at which it is rendered."""

MIN_SHARPNESS_PX = SHARPNESS_EDGE // 2
"""Height of a face, px, below which its sharpness is not judged: enlarged to SHARPNESS_EDGE more than twice, it looks blurred however
sharp the recording is (docs/footage.md)."""

FINE_PX, COARSE_PX, SHARPNESS_SCALE = 1.2, 4.0, 13.3
"""Standard deviations, px at SHARPNESS_EDGE, of the details whose strength is compared for the sharpness, and its scale, at which faces
are sharp from 4 on, as in earlier versions."""

MIN_HIGHLIGHTS, MAX_BRIGHTNESS = 75.0, 225.0
"""Brightest twentieth of the face (grey level, of 255) below which it is too dark, and median above which it is too bright. Highlights
and the whites of the eyes tell the light; the mean would tell the colour of the skin."""

APPEARANCE = ("sharpness", "highlights", "brightness")
"""What face_appearance() returns."""

MIN_YAW_RANGE_DEG, MAX_YAW_RANGE_DEG = 4.0, 40.0
"""Range of the head's yaw, degrees. Below the first, views from the side are extrapolated from nothing. Above the second, the head
hides other parts of the shoulders in every frame, so that head and body cannot be separated well."""

EDGE_MARGIN = 0.01
"""Distance of the chin from the picture's lower edge, in edges of the picture, at which it lies on it: the mesh is off by so much."""

MAX_CUT_OFF = 0.1
"""Share of the frames in which chin or forehead may lie at the picture's edge: a nod reaches it in a few."""

MAX_FIXED_SHARE = 0.02
"""Share of the lower face before which something stands, above which it is told: 0.000 for everybody else (docs/footage.md)."""

MIN_SPEECH_SHARE = 0.4
"""Share of speech in the sound below which much of the footage teaches nothing about lips."""

MAX_CAMERA_SHIFT = 0.01
"""Motion of the background, in widths of the picture, above which a warning is given: 5 px at 512 px. Still cameras measure 0.006 at
most, also behind a large person who moves much; a pan of 0.02 measures 0.02 (docs/footage.md)."""

MAX_LAG_MS = 60
"""Offset of the sound, ms, from which the user is told that it was corrected: more than recorders usually
have, and about what viewers begin to notice."""

MAX_HOLE_SHARE = 0.55
"""Share of the background that no frame shows, above which the clean plate is mostly a guess."""

MAX_SPANS = 20
"""Stretches that are named for each reason."""

MIN_NAMED_S = 0.5
"""Shortest time that is left out for a reason, s, for a warning."""

MAX_MOVING_SHARE = 0.08
"""Share of the background that moves, from which a warning says that a portrait shows a still of it."""

LEVELS_PER_SECOND = 50
"""Levels of the sound measured per second, for the share of speech."""


class LeftOut(IntEnum):
    """Why a frame is not used."""

    USED = 0
    TRANSITION = 1
    OTHER = 2
    NO_FACE = 3
    EDGE = 4
    TURNED = 5
    HIDDEN = 6


REASONS = {
    LeftOut.TRANSITION: (
        "transition",
        "a cut, a dissolve, a fade, a flash or a frozen picture, or less than a second between two",
    ),
    LeftOut.OTHER: ("other_shot", "no face, another person or another framing"),
    LeftOut.NO_FACE: ("no_face", "the face is not seen"),
    LeftOut.EDGE: ("edge", "the face is not whole in the picture"),
    LeftOut.TURNED: ("turned", "the head is turned away by more than 60 degrees"),
    LeftOut.HIDDEN: ("hidden", "something is before the face"),
}
"""Reasons: as in footage.json, and in words."""


def face_appearance(
    frame: UInt8[np.ndarray, "size size 3"], landmarks: Float[np.ndarray, "landmarks 3"]
) -> tuple[float, float, float]:
    """Measures the face in a frame.

    Args:
        frame: RGB.
        landmarks: x, y in px of the frame.

    Returns:
        The sharpness; the grey level above which the brightest twentieth of the face lies; and its median grey level. The sharpness is
        the strength of fine over that of coarse details in the face scaled to SHARPNESS_EDGE, so that it depends neither on the size of
        the frame nor on the light or the skin.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    gray = cv2.cvtColor(frame[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    method = cv2.INTER_AREA if len(gray) > SHARPNESS_EDGE else cv2.INTER_LINEAR
    scaled = cv2.resize(gray, (SHARPNESS_EDGE, SHARPNESS_EDGE), interpolation=method)
    sharpness = SHARPNESS_SCALE * _structure(scaled, FINE_PX) / max(_structure(scaled, COARSE_PX), 1e-3)
    return sharpness, float(np.quantile(gray, 0.95)), float(np.median(gray))


def _structure(gray: UInt8[np.ndarray, "edge edge"], sigma: float) -> float:
    """The strength of details of a size: the root mean square of the scale-normalised Laplacian of Gaussian, without noise.

    Noise is the same everywhere, so the median tells it; details are strong in few places.
    """
    response = sigma**2 * cv2.Laplacian(cv2.GaussianBlur(gray.astype(np.float32), (0, 0), sigma), cv2.CV_32F)
    noise = 1.4826 * float(np.median(np.abs(response)))  # the standard deviation of Gaussian noise with this median
    return float(np.sqrt(max(0.0, float(np.mean(response**2)) - noise**2)))


def cut_off(landmarks: Float[np.ndarray, "frames landmarks 3"], size: int) -> dict[str, float]:
    """Returns in which share of the frames chin and forehead lie at the picture's edge or beyond it.

    Args:
        landmarks: x, y in px of the frame; NaN in frames without a face (some may be, not all).
        size: edge of the frame, px.
    """
    found = landmarks[np.isfinite(landmarks[:, 0, 0])]
    chin, forehead = found[:, CHIN, 1] > (1 - EDGE_MARGIN) * size, found[:, FOREHEAD_TOP, 1] < 0
    return {"chin": round(float(chin.mean()), 3), "forehead": round(float(forehead.mean()), 3)}


def left_out(reasons: UInt8[np.ndarray, " frames"]) -> list[dict[str, Any]]:
    """Returns what is left out, by reason: its name, the seconds together, and the longest stretches as [start, end], s."""
    parts = []
    for reason, (name, _) in REASONS.items():
        if spans := runs(reasons == reason):
            longest = sorted(sorted(spans, key=lambda span: -span.seconds)[:MAX_SPANS])
            seconds = sum(span.seconds for span in spans)
            times = [[round(span.first / FPS, 2), round(span.end / FPS, 2)] for span in longest]
            parts.append({"reason": name, "seconds": round(seconds, 2), "spans": times})
    return parts


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
    sharpness = _value(facts, "sharpness", GOOD_SHARPNESS)
    if sharpness < GOOD_SHARPNESS and face >= MIN_SHARPNESS_PX:
        texts.append(f"The face is blurred (sharpness {sharpness:.1f}): focus, clean the lens, add light.")
    if _value(facts, "highlights", MIN_HIGHLIGHTS) < MIN_HIGHLIGHTS:
        texts.append("The face is dark: add light from the front.")
    elif _value(facts, "brightness", MAX_BRIGHTNESS) > MAX_BRIGHTNESS:
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
    cut_off = facts.get("cut_off") or {}
    if cut_off.get("chin", 0.0) > MAX_CUT_OFF:
        texts.append(
            "The chin lies at the lower edge of the picture, so that neck and shoulders cannot be learnt: leave room below the chin."
        )
    if cut_off.get("forehead", 0.0) > MAX_CUT_OFF:
        texts.append("The forehead is cut off by the upper edge of the picture: leave room above the head.")
    return texts


def _tracking_warnings(facts: dict[str, Any]) -> list[str]:
    texts = [
        f"{part['seconds']:.1f} s are left out ({_times(part['spans'])}): {words}."
        for part in facts.get("left_out") or ()
        for name, words in REASONS.values()
        if part["reason"] == name and part["seconds"] >= MIN_NAMED_S
    ]
    if _value(facts, "faces", 1) > 1:
        texts.append(
            f"{facts['faces']} faces are seen: the one that speaks is used. Choose another one with `face`, or crop the video."
        )
    if _value(facts, "fixed_share", 0.0) > MAX_FIXED_SHARE:
        texts.append(
            "Something stands before the lower face all the time, such as a microphone or captions, and is learnt as a part of it: "
            "move it below the chin or to the side."
        )
    if (shift := _value(facts, "camera_shift", 0.0)) > MAX_CAMERA_SHIFT:
        texts.append(
            f"The camera moves ({100 * shift:.1f} % of the picture's width): the background of a portrait is a still. Use a stand, "
            "or choose another background when rendering."
        )
    elif (share := _value(facts, "moving_share", 0.0)) > MAX_MOVING_SHARE:
        texts.append(
            f"{100 * share:.0f} % of the background move: the background of a portrait is a still. Choose another one when rendering."
        )
    return texts


def _times(spans: list[list[float]]) -> str:
    """Names the longest stretch and the number of the others."""
    start, end = max(spans, key=lambda span: span[1] - span[0])
    others = f" and {len(spans) - 1} more" if len(spans) > 1 else ""
    return f"{start:.1f} to {end:.1f} s{others}"


def _sound_warnings(facts: dict[str, Any]) -> list[str]:
    texts = []
    if (share := _value(facts, "speech_share", 1.0)) < MIN_SPEECH_SHARE:
        texts.append(f"Only {100 * share:.0f} % of the sound is speech: cut out the pauses or speak more.")
    if (seconds := sum(end - start for start, end in facts.get("offscreen") or ())) >= MIN_NAMED_S:
        texts.append(
            f"Something else is heard for {seconds:.1f} s while the lips are still ({_times(facts['offscreen'])}), such as another voice or "
            "music: it is not learnt. Record the person alone, or cut these parts out."
        )
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
        "usable_s",
        "left_out",
        "faces",
        "camera_shift",
        "lag_ms",
        "speech_share",
    )
    return {name: facts.get(name) for name in names} | {
        "takes": _seconds(facts.get("takes")),
        "warnings": warnings(facts),
    }


def _seconds(takes: list[list[int]] | None) -> list[list[float]] | None:
    return takes and [[round(frame / FPS, 2) for frame in take] for take in takes]
