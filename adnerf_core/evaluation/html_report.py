"""The report: one self-contained HTML page about a finished run, for the person who made the subject.

The page loads nothing and has no script: pictures are data URIs, charts are SVG. The template escapes texts that come from outside
(names, warnings).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy import ndarray
from scipy.ndimage import uniform_filter1d

from adnerf_core.config import FPS
from adnerf_core.evaluation import scorecard
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.evaluation.scorecard import Figures
from adnerf_core.evaluation.svg_charts import Chart, Series, chart
from adnerf_core.files.images import encode_jpeg
from adnerf_core.files.run_dir import RunDir, atomic, read_json

EXAMPLES = 2
"""Examples of each kind (best, median, worst)."""
MIN_DISTANCE = FPS // 2
"""Least distance between two examples of a kind, in frames: closer ones look alike."""
JPEG_QUALITY = 88
"""Quality of the pictures: artefacts are not visible, and the page stays small enough to be sent by mail."""
MAX_TABLE_ROWS = 40
"""Most rows in the table of numbers under a chart; more would not be read."""
SMOOTHING = 9
"""Reports of a training over which the drawn mean is taken; wide enough to show the trend through the noise of single steps."""
PHASE_TITLES = {"head": "Head", "torso": "Shoulders"}


@dataclass(frozen=True)
class ReportInputs:
    """Results of an evaluation that the report shows.

    Attributes:
        figures: The figures, see `Evaluator.summary`.
        frames: Numbers of the evaluated frames.
        head_psnr: PSNR of the head in these frames, dB.
        opening_true: Mouth opening in the footage, px of a 512 px picture, from the first to the last of `frames`.
        opening_rendered: The same in the rendering.
        quiet: Whether there is silence, likewise.
        render_example: Returns footage, rendering and difference of a frame.
    """

    figures: Figures
    frames: Sequence[int]
    head_psnr: Sequence[float]
    opening_true: Float[ndarray, " span"]
    opening_rendered: Float[ndarray, " span"]
    quiet: Bool[ndarray, " span"]
    render_example: Callable[[int], tuple[Picture, Picture, Picture]]


@dataclass(frozen=True)
class Example:
    """Footage, rendering and difference of one frame, as data URIs."""

    kind: str
    seconds: float
    psnr: float
    truth: str
    render: str
    difference: str


def write_report(run: RunDir, inputs: ReportInputs, footage: dict[str, Any], name: str) -> None:
    """Writes report.html into a finished run.

    Args:
        run: The run.
        inputs: Results of its evaluation.
        footage: The footage report of its dataset.
        name: Name of the subject.

    Raises:
        NotReady: If a file of the run is missing.
        DiskFull: If there is no space for the page.
    """
    manifest, prior = read_json(run.manifest), run.lip_prior()
    scores = scorecard.score(inputs.figures)
    page = _template().render(
        name=name,
        made=datetime.now(UTC),
        figures=inputs.figures,
        scores=scores,
        advice=scorecard.advice(scores)[:3],
        counts={verdict: sum(each.verdict == verdict for each in scores) for verdict in ("good", "fair", "poor")},
        footage=footage,
        examples=examples(inputs),
        opening=opening_chart(inputs),
        opening_rows=opening_rows(inputs),
        training=training_charts(run),
        config=flatten(manifest["config"] | ({"lip_prior": prior} if prior else {})),
        preset=manifest["config"]["preset"],
        versions=manifest["versions"],
        source=manifest["source"],
        seconds=len(inputs.frames) / FPS,
    )
    with atomic(run.report) as temporary:
        temporary.write_text(page)


def _template() -> Template:
    loader = PackageLoader("adnerf_core.evaluation")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html")


def examples(inputs: ReportInputs) -> list[Example]:
    """Renders the best, the median and the worst frames by the PSNR of the head: EXAMPLES of each, MIN_DISTANCE apart."""
    psnr = np.array(inputs.head_psnr)
    by_rank = {
        "Best": np.argsort(-psnr),
        "Median": np.argsort(np.abs(psnr - np.median(psnr))),
        "Worst": np.argsort(psnr),
    }
    result = []
    for kind, order in by_rank.items():
        picks: list[int] = []
        for i in order.tolist():
            distances = (abs(inputs.frames[i] - inputs.frames[k]) for k in picks)
            if len(picks) < EXAMPLES and all(distance >= MIN_DISTANCE for distance in distances):
                picks.append(i)
        for i in picks:
            pictures = (data_uri(picture) for picture in inputs.render_example(inputs.frames[i]))
            result.append(Example(kind, inputs.frames[i] / FPS, float(psnr[i]), *pictures))
    return result


def data_uri(picture: Picture) -> str:
    """Returns a picture as a JPEG in a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, JPEG_QUALITY)).decode()


def _times(inputs: ReportInputs) -> Float[ndarray, " span"]:
    """Returns the times of the mouth openings, seconds of the footage."""
    return (inputs.frames[0] + np.arange(len(inputs.opening_true))) / FPS


def opening_chart(inputs: ReportInputs) -> Chart:
    """Draws the true and the rendered mouth opening over time; silence is shaded."""
    sync, amplitude = inputs.figures["lip_sync"], inputs.figures["lip_amplitude"]
    alt = (
        f"Two lines over {len(inputs.frames) / FPS:.1f} seconds: the mouth opening in the footage and in the rendering."
    )
    if sync is not None and amplitude is not None:
        alt += (
            f" Their correlation is {sync:.2f}; the rendered mouth moves {amplitude:.2f} times as far as the true one."
        )
    lines = (
        Series("footage", "true", inputs.opening_true),
        Series("rendered from the sound alone", "rendered", inputs.opening_rendered),
    )
    return chart(
        "Mouth opening", alt, _times(inputs), lines,
        x_label="second of the footage", y_label="mouth opening, px of a 512-px picture", band=inputs.quiet,
    )  # fmt: skip


def opening_rows(inputs: ReportInputs) -> list[tuple[float, float, float]]:
    """Returns rows (second, true, rendered) for a table, at most MAX_TABLE_ROWS; frames without a face are left out."""
    rows = np.stack([_times(inputs), inputs.opening_true, inputs.opening_rendered], -1)
    rows = rows[np.isfinite(rows).all(1)]
    return [tuple(row) for row in rows[:: max(1, -(-len(rows) // MAX_TABLE_ROWS))].tolist()]


def training_charts(run: RunDir) -> list[Chart]:
    """Draws the PSNR over the steps, with its running mean, for each phase in metrics.jsonl that reports one.

    The first tenth of a phase is left out: its steep rise would flatten the rest of the curve.
    """
    reports = [report for report in run.read_metrics() if "psnr" in report]
    charts = []
    for phase in dict.fromkeys(report["phase"] for report in reports):
        rows = np.array([(r["step"], r["psnr"]) for r in reports if r["phase"] == phase], float)
        title = PHASE_TITLES.get(phase, phase.capitalize())
        alt = f"Training of the {title.lower()}: from {rows[0, 1]:.1f} dB to {rows[-1, 1]:.1f} dB in {rows[-1, 0] + 1:.0f} steps."
        steps, psnr = rows[len(rows) // 10 :].T
        line = (
            Series("single steps", "faint", psnr),
            Series(f"mean of {SMOOTHING}", "rendered", uniform_filter1d(psnr, SMOOTHING)),
        )
        charts.append(chart(title, alt, steps, line, x_label="step", y_label="PSNR of the step's rays, dB"))
    return charts


def flatten(config: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flattens a nested configuration into rows (name, value), for example (`field.planes`, `64, 256`)."""
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
