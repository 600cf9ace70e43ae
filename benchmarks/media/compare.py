"""Reads a file as the service does, and compares its pictures and sound with the clip that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import AdnerfError
from adnerf_core.files import ffmpeg
from benchmarks.media.base import RATE, Clip
from benchmarks.media.kinds import Kind

WINDOW_S, REACH_S = 0.6, 0.8
"""Length of the pieces of sound whose lag is measured, and how far off it is searched, s: several syllables, which sound like no others."""
SHIFTS = range(-4, 5)
"""How far off pictures are searched, in pictures."""
CLEAR = 0.5
"""Correlation from which the lag of a piece counts, and which a file must reach in most pieces."""
MAX_STRETCH = 0.01
"""How far the shape of the footage that is stored may be from the clip's: sizes are rounded to even numbers of px."""
TURNS = {"upright": lambda p: p, "upside down": lambda p: p[::-1, ::-1], "mirrored": lambda p: p[:, ::-1]}


def measure(clip: Clip, kind: Kind, path: Path) -> dict[str, Any]:
    """Reads the file of a kind and returns figures: `verdict` is `ok`, or what is out of the kind's limits."""
    figures: dict[str, Any] = {"kind": kind.name}
    try:
        info = ffmpeg.probe(path, look=True)
        late_s = np.zeros(len(clip.frames))
        if kind.limits.color is not None:
            found, late_s = compare_pictures(clip, path, info)
            figures |= found
        figures |= compare_sound(clip, path, info, late_s)
        figures["notes"] = info.notes
    except AdnerfError as error:
        right = kind.refused and kind.refused in error.message
        return figures | {"verdict": "refused" if right else f"{error.code}: {error.message}"}
    return figures | {"verdict": ", ".join(_broken(kind, figures)) or "ok"}


def compare_pictures(clip: Clip, path: Path, info: ffmpeg.MediaInfo) -> tuple[dict[str, Any], np.ndarray]:
    """Compares the pictures, and those of the footage that is stored by the same reading: the worse of the two counts.

    Also returns how late the pictures of the clip are shown, s, one value for each.
    """
    size = clip.frames.shape[2], clip.frames.shape[1]
    stored = path.with_suffix(".footage.mp4")
    read = list(ffmpeg.read_frames(path, info=info, size=size, footage=stored, duration_s=clip.seconds))
    as_kept = ffmpeg.probe(stored)
    kept = list(ffmpeg.read_frames(stored, info=as_kept, size=size))
    stored.unlink()
    aspect = as_kept.width / as_kept.height / (size[0] / size[1])
    results = [_pictures(clip.frames, np.stack(pictures)) for pictures in (read, kept)]
    worse = {"color": max, "psnr": min, "comb": max}
    figures = {name: pick(result[name] for result in results) for name, pick in worse.items()}
    figures |= {"turned": results[0]["turned"], "aspect": round(aspect, 3)}
    return {"pictures": len(read), **figures}, lateness(clip.frames, np.stack(read))


def lateness(truth: np.ndarray, read: np.ndarray) -> np.ndarray:
    """How late each picture of the clip is in the pictures that were read, s, to a fraction of a picture.

    Joined recordings are a picture shorter or longer than the clip; then the sound must be, too.
    """
    small = [
        np.stack([cv2.resize(p, (48, 48), interpolation=cv2.INTER_AREA) for p in f]).astype(np.float32)
        for f in (truth, read)
    ]
    late = np.zeros(len(truth))
    for start in range(0, len(truth), FPS // 2):
        at = np.arange(start, min(start + FPS // 2, len(truth)))
        errors = np.array(
            [np.mean((small[1][np.clip(at + shift, 0, len(read) - 1)] - small[0][at]) ** 2) for shift in SHIFTS]
        )
        best = int(np.clip(errors.argmin(), 1, len(SHIFTS) - 2))
        before, here, after = errors[best - 1 : best + 2]
        curve = before - 2 * here + after
        late[at] = (SHIFTS[best] + (0.5 * (before - after) / curve if curve > 0 else 0.0)) / FPS
    return late


def _pictures(truth: np.ndarray, read: np.ndarray) -> dict[str, Any]:
    count = min(len(truth), len(read))
    truth, read = truth[:count], read[:count]
    error = (truth.astype(np.float32) - read) ** 2
    psnr = 10 * np.log10(255**2 / np.maximum(error.mean((1, 2, 3)), 1e-3))
    color = np.abs(read.mean((0, 1, 2)) - truth.mean((0, 1, 2))).max()
    middle = count // 2
    likeness = {
        name: -float(np.mean((turn(read[middle]).astype(np.float32) - truth[middle]) ** 2))
        for name, turn in TURNS.items()
    }
    return {
        "color": round(float(color), 1),
        "psnr": round(float(np.quantile(psnr, 0.1)), 1),
        "comb": round(comb(read) / comb(truth), 2),
        "turned": max(likeness, key=likeness.__getitem__),
    }


def comb(pictures: np.ndarray) -> float:
    """How much each row differs from both its neighbours, grey levels: the stripes of interlaced pictures."""
    grey = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures[::5]]).astype(np.float32)
    up, down = grey[:, 1:-1] - grey[:, :-2], grey[:, 1:-1] - grey[:, 2:]
    return float(np.sqrt(np.maximum(up * down, 0)).mean()) + 1e-3


def compare_sound(clip: Clip, path: Path, info: ffmpeg.MediaInfo, late_s: np.ndarray) -> dict[str, Any]:
    """Compares the sound, and the soundtrack that is stored by the same reading; its lag is that behind the pictures."""
    soundtrack = path.with_suffix(".soundtrack.flac")
    samples = np.concatenate(list(ffmpeg.stream_audio(path, info=info, soundtrack=soundtrack)))
    heard = ffmpeg.probe(soundtrack)
    kept = ffmpeg.extract_audio(soundtrack, info=heard)
    soundtrack.unlink()
    step = RATE // SAMPLE_RATE
    truth = clip.samples[: len(clip.samples) // step * step].reshape(-1, step).mean(1)
    lags = [lag for sound in (samples, kept) for lag in lags_ms(truth, sound)]
    clear = [lag - 1000 * late_s[int(time * FPS)] for time, lag in lags if lag is not None]
    level = [20 * np.log10(_rms(sound[: len(truth)]) / _rms(truth)) for sound in (samples, kept)]
    return {
        "length_s": round(len(samples) / SAMPLE_RATE, 2),
        "channels": heard.channels,
        "lag_ms": round(max(map(abs, clear), default=np.inf), 1),
        "clear": round(len(clear) / max(1, len(lags)), 2),
        "level_db": round(float(max(level, key=abs)), 1),
        "sound_s": round(len(truth) / SAMPLE_RATE, 2),
    }


def lags_ms(truth: np.ndarray, sound: np.ndarray) -> list[tuple[float, float | None]]:
    """The middle of each piece of the clip in which somebody speaks, s, and how late `sound` is there, ms.

    None where the piece cannot be recognised.
    """
    size, reach = round(WINDOW_S * SAMPLE_RATE), round(REACH_S * SAMPLE_RATE)
    padded = np.pad(sound, (reach, reach + size))
    loud, lags = _rms(truth), []
    for start in range(0, len(truth) - size, size // 2):
        piece = truth[start : start + size]
        if _rms(piece) < loud / 2:
            continue
        around = padded[start : start + size + 2 * reach]
        around = np.pad(around, (0, max(0, size + 2 * reach - len(around))))
        spectrum = np.fft.rfft(around) * np.conj(np.fft.rfft(piece, len(around)))
        product = np.fft.irfft(spectrum, len(around))[: 2 * reach + 1]
        energy = np.cumsum(np.concatenate([[0], around**2]))
        scale = np.sqrt(
            np.maximum(energy[size : size + 2 * reach + 1] - energy[: 2 * reach + 1], 1e-9) * (piece**2).sum()
        )
        best = int(np.argmax(np.abs(product / scale)))
        clear = abs(product[best]) / scale[best] >= CLEAR
        middle = (start + size / 2) / SAMPLE_RATE
        lags.append((middle, 1000 * (best - reach) / SAMPLE_RATE if clear else None))
    return lags


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples**2))) + 1e-9


def _broken(kind: Kind, figures: dict[str, Any]) -> list[str]:
    """What is out of the limits of a kind."""
    limits = kind.limits
    checks = {
        "lag": figures["lag_ms"] > limits.lag_ms,
        "sound": figures["clear"] < CLEAR,
        "level": abs(figures["level_db"]) > limits.level_db,
        "length": abs(figures["length_s"] - figures["sound_s"]) > limits.length_s,
        "note": kind.note not in " ".join(figures["notes"]),
        "accepted": bool(kind.refused),
    }
    if limits.color is not None:
        checks |= {
            "color": figures["color"] > limits.color,
            "psnr": figures["psnr"] < limits.psnr,
            "comb": figures["comb"] > limits.comb,
            "turned": figures["turned"] != "upright",
            "aspect": abs(figures["aspect"] - 1) > MAX_STRETCH,
        }
    return [name for name, broken in checks.items() if broken]
