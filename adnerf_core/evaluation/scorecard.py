"""Scores the figures of an evaluation for the person who made the subject: good, fair or poor, with meaning and advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

Figures = Mapping[str, float | int | None]
Verdict = Literal["good", "fair", "poor", "unknown"]

MORE_SPEECH = (
    "Record more speech (one to three minutes, lively, in one take), "
    "and make sure that the sound of the video is the speaker's own voice."
)
SURE_OFFSET = 0.35
"""Confidence from which the lips' offset is shown: one of ten pairs of lips and other people's sound reaches it (docs/fidelity.md)."""
SURE_SYNC = 1.2
"""Confidence from which the judge's offset is shown, nats: one of ten pairs of lips and other sound of the same person reaches it in 4.4 s
(docs/fidelity.md)."""
SHARPER = "Record with the face at least 250 pixels high, in focus and in good light, or train a larger preset."


@dataclass(frozen=True)
class Metric:
    """One line of the report: which value it shows, and how to read that value.

    Attributes:
        title: Name of the metric in the report.
        value: Takes the value from the figures; None if it was not measured.
        unit: Unit of the value, if any.
        good: Range of values that are good, ends included.
        fair: Range of values that are at least fair; values outside are poor.
        meaning: Explanation for the reader.
        advice: What improves the value.
        note: Returns a further sentence about the value, such as the accuracy of the measurement.
        optional: Whether the line is left out if the value was not measured.
    """

    title: str
    value: Callable[[Figures], float | None]
    unit: str
    good: tuple[float, float]
    fair: tuple[float, float]
    meaning: str
    advice: str
    note: Callable[[Figures], str] = lambda figures: ""
    optional: bool = False

    def score(self, figures: Figures) -> Score:
        """Returns the line of the report for these figures."""
        value = self.value(figures)
        if value is None:
            return Score(self, None, "unknown", "")
        verdict = "good" if _within(value, self.good) else "fair" if _within(value, self.fair) else "poor"
        return Score(self, value, verdict, self.note(figures))

    def format(self, value: float | None) -> str:
        """Returns the value as text, with its unit."""
        if value is None:
            return "not measured"
        return f"{value:.1f} {self.unit}" if self.unit in ("dB", "ms") else f"{value:.2f} {self.unit}".strip()

    @property
    def ranges(self) -> str:
        """The good and the poor range as a sentence."""
        (low, high), (least, most) = self.good, self.fair
        unit = f" {self.unit}" if self.unit else ""
        if high == inf:
            return f"Good from {low:g}{unit}, poor below {least:g}{unit}."
        if low == -inf:
            return f"Good up to {high:g}{unit}, poor above {most:g}{unit}."
        return f"Good from {low:g} to {high:g}{unit}, poor below {least:g} or above {most:g}{unit}."


@dataclass(frozen=True)
class Score:
    """A metric with its value (None if it was not measured), its verdict, and a note (may be empty)."""

    metric: Metric
    value: float | None
    verdict: Verdict
    note: str


def _within(value: float, span: tuple[float, float]) -> bool:
    return span[0] <= value <= span[1]


def _figure(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get(name)


def _combined(first: str, second: str, combine: Callable[[float, float], float]) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        a, b = figures.get(first), figures.get(second)
        return None if a is None or b is None else combine(a, b)

    return value


def _sentence(template: str, *names: str) -> Callable[[Figures], str]:
    """Fills the figures `names` into `template`; the sentence is empty if one of them was not measured."""

    def note(figures: Figures) -> str:
        values = [figures.get(name) for name in names]
        return "" if None in values else template.format(*values)

    return note


def _certain_offset(figures: Figures) -> float | None:
    confidence = figures.get("lip_offset_confidence")
    return None if confidence is None or confidence < SURE_OFFSET else figures.get("lip_offset_ms")


def _certain_sync(figures: Figures) -> float | None:
    confidence = figures.get("sync_confidence")
    return None if confidence is None or confidence < SURE_SYNC else figures.get("sync_offset_ms")


METRICS = (
    # R 0.85, L 0.73; 0.08 is noise on a minute of footage.
    Metric(
        "Lips follow the sound", _figure("lip_sync"), "", (0.75, inf), (0.5, inf),
        "How closely the rendered mouth opens and closes like the real one when only the sound drives it: "
        "1 is a perfect match, 0 is chance.",
        MORE_SPEECH,
        _sentence("The footage itself, measured twice, reaches {:.2f}.", "lip_sync_ceiling"),
    ),
    # No value is recorded for these clips. Stricter than the line above: with the true lips, only the picture's own error is left.
    Metric(
        "The picture follows the lips", _figure("lip_sync_true_lips"), "", (0.9, inf), (0.7, inf),
        "The same with the real lip movements instead of the sound. If this value is high and the one above is low, the sound is "
        "the problem; if both are low, the picture is.",
        "Record more footage, with the mouth in good light, or train a larger preset.",
    ),
    # R 1.02, L 0.94; 0.7 to 0.9 in most earlier trials. The range is wider below 1, because that is the usual flaw.
    Metric(
        "How far the mouth opens", _figure("lip_amplitude"), "", (0.7, 1.2), (0.5, 1.5),
        "Movement of the rendered mouth relative to the real one: 1 is as lively as in the footage, less looks like mumbling.",
        MORE_SPEECH,
    ),
    # ITU-R BT.1359: viewers notice sound that is 45 ms early or 125 ms late. Within a frame, 40 ms, nobody does.
    Metric(
        "Lips in time with the sound", _certain_offset, "ms", (-40, 40), (-80, 80),
        "How much later the rendered mouth moves than the real one; less than 0 is earlier.",
        "Make sure that sound and picture of the footage are in time from its start to its end.",
        optional=True,
    ),
    # ITU-R BT.1359, as above.
    Metric(
        "Lips and sound, as a judge finds them", _certain_sync, "ms", (-40, 40), (-80, 80),
        "How much later the rendered lips are than the sound. A judge that has learnt from the footage which lips belong to which sound "
        "tells it from these two alone.",
        "Make sure that sound and picture of the footage are in time from its start to its end.",
        _sentence(
            "Confidence {:.1f}; of the footage itself {:.1f}, at {:.0f} ms.",
            "sync_confidence", "sync_true_confidence", "sync_true_offset_ms",
        ),
        optional=True,
    ),
    # R 1.13, L 2.0; 0.1 is noise.
    Metric(
        "Shape of the lips", _figure("lmd_px"), "px", (-inf, 1.2), (-inf, 2.0),
        "Mean distance of points on the lips from their true places, in pixels of a 512-pixel picture: 0 is a perfect match. "
        "A mouth that never moves is off by as much as the real lips move.",
        MORE_SPEECH,
        _sentence("The measurement itself is off by {:.2f} px.", "lmd_floor_px"),
    ),
    # No value is recorded for these clips.
    Metric(
        "Lips at rest in silence",
        _combined("quiet_opening", "quiet_opening_true", lambda rendered, true: rendered - true),
        "", (-0.1, 0.1), (-0.25, 0.25),
        "How much wider the mouth is open in pauses than in the footage, as a share of wide open: 0 is the same.",
        "Record in a quiet room: noise in the pauses is mistaken for speech.",
    ),
    # R 4.5 dB, L 1.3 dB; 0.3 dB is noise, so below 0.5 dB the sound has hardly any effect.
    Metric(
        "Right sound against wrong sound", _combined("mouth_psnr", "mouth_psnr_wrong_sound", lambda a, b: a - b),
        "dB", (1.5, inf), (0.5, inf),
        "How much closer the mouth comes to the footage with the right words than with other words of the same person. "
        "Near 0, the mouth ignores what is said.",
        MORE_SPEECH,
        _sentence("Mouth: {:.1f} dB right, {:.1f} dB wrong.", "mouth_psnr", "mouth_psnr_wrong_sound"),
    ),
    # R 0.90, L 0.99; with 0.78 to 0.82, R's lids stayed half open.
    Metric(
        "Blinks", _figure("blink"), "", (0.85, inf), (0.5, inf),
        "How closely the eyes open and close like the real ones: 1 is a perfect match.",
        "Record without glasses that reflect the light, and long enough for twenty blinks (about a minute).",
    ),
    # R 30.4, L 30.6; 0.3 dB is noise.
    Metric(
        "Picture of the head", _figure("head_psnr"), "dB", (30, inf), (26, inf),
        "How close the colours of face and hair are to the footage, pixel by pixel. Every 6 dB halve the error.",
        "Use even light, turn the head a little while speaking, and keep hair behind the shoulders.",
    ),
    # R 32.1, L 32.3.
    Metric(
        "Whole picture", _figure("psnr"), "dB", (29, inf), (26, inf),
        "The same for everything: head, shoulders and background.",
        "Keep the shoulders still, wear plain clothes, and make sure that the background does not move.",
    ),
    # R 34.5, L 34.7.
    Metric(
        "Without the shoulders' share", _figure("true_torso_psnr"), "dB", (32, inf), (28, inf),
        "The whole picture with the real shoulders pasted in: the difference from the line above is the shoulders' part of the error.",
        "Use even light and a background that does not move.",
    ),
    # R 0.946, L 0.935.
    Metric(
        "Structure", _figure("ssim"), "", (0.93, inf), (0.88, inf),
        "Similarity of edges and texture: 1 is the same picture.",
        SHARPER,
    ),
    # Head R 0.85, L 0.94; mouth R 0.82, L 0.88; 0.02 is noise.
    Metric(
        "Fine detail in the head", _figure("head_sharpness"), "", (0.8, 1.15), (0.6, 1.4),
        "Fine detail relative to the footage: below 1 is softer (skin, hair), above 1 is noisier.",
        SHARPER,
    ),
    Metric(
        "Fine detail in the mouth", _figure("mouth_sharpness"), "", (0.8, 1.15), (0.6, 1.4),
        "The same around the lips, where the teeth are.",
        SHARPER,
    ),
    # R 0.85, L 0.76. The footage's own jitter is a natural bound: a rendering can be as steady.
    Metric(
        "Steadiness of the head", _combined("head_jitter_px", "head_jitter_true_px", lambda a, b: a / max(b, 1e-6)),
        "", (-inf, 1.0), (-inf, 1.5),
        "Trembling of the rendered head relative to the footage: up to 1 is as steady as the footage.",
        "Put the camera on a stand and use good light: a blurred face cannot be tracked steadily.",
        _sentence("Rendered {:.2f} px, footage {:.2f} px (of 512).", "head_jitter_px", "head_jitter_true_px"),
    ),
    # R 41.6 dB, structure .991.
    Metric(
        "Full frame", _figure("full_psnr"), "dB", (38, inf), (34, inf),
        "The footage's own frame with the rendered mouth put back into it: how close it is to the footage. Most of its pixels are the "
        "footage's own.",
        SHARPER,
        _sentence("Structure {:.3f} (1 is the same picture).", "full_ssim"),
        optional=True,
    ),
    # R 30.5 dB.
    Metric(
        "Full frame, the rendered part alone", _figure("region_psnr"), "dB", (29, inf), (25, inf),
        "The same for the rendered part, so that the footage's own pixels flatter nobody.",
        SHARPER,
        optional=True,
    ),
    # R 0.92.
    Metric(
        "Seam", _figure("seam"), "", (0.85, 1.1), (0.7, 1.25),
        "Contrast along the edge of the rendered part relative to the footage: 1 is the same, more shows a seam, less is softer.",
        "Use even light that does not change, and keep hair and hands away from mouth and chin.",
        optional=True,
    ),
    # R 0.008.
    Metric(
        "Visible difference of full frames (LPIPS)", _figure("full_lpips"), "", (-inf, 0.015), (-inf, 0.04),
        "Difference as people see it, estimated by a neural network: 0 is the same picture.",
        SHARPER,
        optional=True,
    ),
    # No value is recorded: the weights are not part of the project.
    Metric(
        "Visible difference (LPIPS)", _figure("lpips"), "", (-inf, 0.1), (-inf, 0.2),
        "Difference as people see it, estimated by a neural network: 0 is the same picture.",
        SHARPER,
        optional=True,
    ),
)  # fmt: skip
"""All metrics in the order of the report: the most noticeable flaws come first.

The ranges are editorial judgements, not taken from a paper or from a test with viewers (docs/decisions/0011-report.md): `good`
starts at or somewhat below what the preset `standard` reaches on the better of two clips, the end of `fair` is an estimate. The
comments give the values of these clips from docs/fidelity.md (R has 46 s of training footage, L 18 s), and what counts as noise from
docs/evaluation.md.
"""


def score(figures: Figures) -> list[Score]:
    """Scores all metrics, in the order of the report; optional ones only if they were measured."""
    scores = [metric.score(figures) for metric in METRICS]
    return [each for each in scores if each.value is not None or not each.metric.optional]


def advice(scores: list[Score]) -> list[str]:
    """Returns the advice for poor, then for fair scores, each only once."""
    flawed = [each for verdict in ("poor", "fair") for each in scores if each.verdict == verdict]
    return list(dict.fromkeys(each.metric.advice for each in flawed))
