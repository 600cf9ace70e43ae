"""Verdicts: what the figures of an evaluation mean to the person who made a subject of himself or herself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

Figures = Mapping[str, float | int | None]
Verdict = Literal["good", "fair", "poor", "unknown"]

MORE_SPEECH = (
    "Record more speech (one to three minutes, lively, in one take), and check that the voice belongs to the lips."
)
SHARPER = "Record with the face at least 250 pixels high, in focus and in good light, or train a larger preset."


@dataclass(frozen=True)
class Metric:
    """One line of the report: a value taken from the figures, and how to read it.

    good, fair: ranges, ends included; outside of `fair` is poor. beside: what else should be known about the value.
    """

    title: str
    value: Callable[[Figures], float | None]
    unit: str
    good: tuple[float, float]
    fair: tuple[float, float]
    meaning: str
    advice: str
    beside: Callable[[Figures], str] = lambda figures: ""
    optional: bool = False
    """Whether to say nothing at all where it was not measured."""

    def judge(self, figures: Figures) -> Score:
        """The line for these figures."""
        value = self.value(figures)
        if value is None:
            return Score(self, None, "unknown", "")
        verdict = "good" if _within(value, self.good) else "fair" if _within(value, self.fair) else "poor"
        return Score(self, value, verdict, self.beside(figures))

    def show(self, value: float | None) -> str:
        """The value in words."""
        if value is None:
            return "not measured"
        return f"{value:.1f} {self.unit}" if self.unit == "dB" else f"{value:.2f} {self.unit}".strip()

    @property
    def ranges(self) -> str:
        """The ranges in words."""
        (low, high), (least, most) = self.good, self.fair
        unit = f" {self.unit}" if self.unit else ""
        if high == inf:
            return f"Good from {low:g}{unit}, poor below {least:g}{unit}."
        if low == -inf:
            return f"Good up to {high:g}{unit}, poor above {most:g}{unit}."
        return f"Good from {low:g} to {high:g}{unit}, poor below {least:g} or above {most:g}{unit}."


@dataclass(frozen=True)
class Score:
    """A measure with its value (None: not measured), its verdict, and what else should be known."""

    measure: Metric
    value: float | None
    verdict: Verdict
    beside: str


def _within(value: float, span: tuple[float, float]) -> bool:
    return span[0] <= value <= span[1]


def _plain(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get(name)


def _combined(first: str, second: str, combine: Callable[[float, float], float]) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        a, b = figures.get(first), figures.get(second)
        return None if a is None or b is None else combine(a, b)

    return value


def _words(text: str, *names: str) -> Callable[[Figures], str]:
    """`text` filled with the figures `names`; nothing where one of them was not measured."""

    def beside(figures: Figures) -> str:
        values = [figures.get(name) for name in names]
        return "" if None in values else text.format(*values)

    return beside


MEASURES = (
    Metric(
        "Lips follow the sound", _plain("lip_sync"), "", (0.75, inf), (0.5, inf),
        "How closely the rendered mouth opens and shuts with the true one, when it hears nothing but the sound: "
        "1 is always together, 0 is by chance.",
        MORE_SPEECH,
        _words("The footage itself, measured twice, reaches {:.2f}.", "lip_sync_ceiling"),
    ),
    Metric(
        "The picture follows the lips", _plain("lip_sync_true_lips"), "", (0.9, inf), (0.7, inf),
        "The same with the true lips instead of the sound. Where this is high and the line above is low, it is the sound that is "
        "understood badly; where both are low, it is the picture.",
        "Record more footage, with the mouth in good light, or train a larger preset.",
    ),
    Metric(
        "How far the mouth opens", _plain("lip_amplitude"), "", (0.7, 1.2), (0.5, 1.5),
        "Movement of the rendered mouth over that of the true one: 1 is as lively as in the footage, less is mumbling.",
        MORE_SPEECH,
    ),
    Metric(
        "Shape of the lips", _plain("lmd_px"), "px", (-inf, 1.2), (-inf, 2.0),
        "How far points on the lips lie from where they should, in pixels of a 512-pixel picture. "
        "Lips that never move have about 2.3.",
        MORE_SPEECH,
        _words("The measurement itself is off by {:.2f} px.", "lmd_floor_px"),
    ),
    Metric(
        "Lips at rest in silence",
        _combined("quiet_opening", "quiet_opening_true", lambda rendered, true: rendered - true),
        "", (-0.1, 0.1), (-0.25, 0.25),
        "How much wider than in the footage the mouth stands in pauses, as a share of wide open: 0 is just the same.",
        "Record in a quiet room: noise in the pauses is taken for speech.",
    ),
    Metric(
        "Right sound against wrong sound", _combined("mouth_psnr", "mouth_psnr_wrong_sound", lambda a, b: a - b),
        "dB", (1.5, inf), (0.5, inf),
        "How much closer to the truth the mouth comes with the right words than with other words of the same person. "
        "Near 0 the mouth would ignore what is said.",
        MORE_SPEECH,
        _words("Mouth: {:.1f} dB right, {:.1f} dB wrong.", "mouth_psnr", "mouth_psnr_wrong_sound"),
    ),
    Metric(
        "Blinks", _plain("blink"), "", (0.85, inf), (0.5, inf),
        "How closely the eyes open and shut with the true ones: 1 is always together.",
        "Record without glasses that mirror the light, and in footage long enough for twenty blinks (a minute).",
    ),
    Metric(
        "Picture of the head", _plain("head_psnr"), "dB", (30, inf), (26, inf),
        "How close the colours of face and hair come to the footage, pixel by pixel. Each 6 dB halve the error.",
        "Even light and a head that turns a little while speaking help; hair in front of the shoulders does not.",
    ),
    Metric(
        "Whole picture", _plain("psnr"), "dB", (29, inf), (26, inf),
        "The same for everything: head, shoulders and background.",
        "Sit still from the shoulders down, with plain clothes; the background must not move.",
    ),
    Metric(
        "Without the shoulders' share", _plain("true_torso_psnr"), "dB", (32, inf), (28, inf),
        "The whole picture with the true shoulders pasted in: what is missing from the line above is their part of the error.",
        "Even light and a background that does not move help.",
    ),
    Metric(
        "Structure", _plain("ssim"), "", (0.93, inf), (0.88, inf),
        "Likeness of edges and texture, from 0 to 1, where 1 is the same picture.",
        SHARPER,
    ),
    Metric(
        "Fine detail in the head", _plain("head_sharpness"), "", (0.8, 1.15), (0.6, 1.4),
        "Fine detail over that of the footage: below 1 is softer (skin, hair), above 1 is noise.",
        SHARPER,
    ),
    Metric(
        "Fine detail in the mouth", _plain("mouth_sharpness"), "", (0.8, 1.15), (0.6, 1.4),
        "The same around the lips, where teeth are.",
        SHARPER,
    ),
    Metric(
        "Steadiness of the head", _combined("head_jitter_px", "head_jitter_true_px", lambda a, b: a / max(b, 1e-6)),
        "", (-inf, 1.0), (-inf, 1.5),
        "Trembling of the rendered head over that in the footage: up to 1 is as calm as the camera saw it.",
        "Record with the camera on a stand and in good light: a blurred face cannot be followed steadily.",
        _words("Rendered {:.2f} px, footage {:.2f} px (of 512).", "head_jitter_px", "head_jitter_true_px"),
    ),
    Metric(
        "Likeness to the eye (LPIPS)", _plain("lpips"), "", (-inf, 0.1), (-inf, 0.2),
        "Distance as a neural network sees it, close to what people call different: 0 is the same picture.",
        SHARPER,
        optional=True,
    ),
)  # fmt: skip
"""In the order of the report: what is noticed first comes first."""


def score(figures: Figures) -> list[Score]:
    """All measures, in the order of the report."""
    judged = [measure.judge(figures) for measure in MEASURES]
    return [each for each in judged if each.value is not None or not each.measure.optional]


def advice(judged: list[Score]) -> list[str]:
    """What would help, most urgent first, each once."""
    wanting = [each for verdict in ("poor", "fair") for each in judged if each.verdict == verdict]
    return list(dict.fromkeys(each.measure.advice for each in wanting))
