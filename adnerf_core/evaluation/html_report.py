"""The report: one self-contained HTML page about a finished run, for the person who made a subject of himself or herself.

Nothing is loaded from elsewhere and nothing runs in it: pictures are data URIs, charts are SVG, there is no script. Texts that
come from outside (names, warnings) are escaped by the template.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy import ndarray
from scipy.ndimage import uniform_filter1d

from adnerf_core.config import FPS
from adnerf_core.evaluation import scorecard
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.evaluation.scorecard import Figures
from adnerf_core.evaluation.svg_charts import Chart, Series, chart
from adnerf_core.files.images import encode_jpeg
from adnerf_core.files.run_dir import RunDir, atomic, read_json

SHOTS, APART = 2, FPS // 2
"""Moments of each kind (best, median, worst), and how many frames they are apart at least: neighbours look alike."""
JPEG_QUALITY = 88
TABLE_ROWS = 40
"""Rows of the table of numbers under a chart, at most."""
SMOOTH = 9
"""Reports of a training whose mean is drawn."""
PHASES = {"head": "Head", "torso": "Shoulders"}


@dataclass(frozen=True)
class ReportInputs:
    """What an evaluation has seen: figures; frame numbers with the head's PSNR; openings of the mouth over time, px at 512,
    and where there was silence; look: truth, rendering and difference of a frame."""

    figures: Figures
    frames: Sequence[int]
    head_psnr: Sequence[float]
    opening_true: Float[ndarray, " moments"]
    opening_rendered: Float[ndarray, " moments"]
    quiet: Bool[ndarray, " moments"]
    look: Callable[[int], tuple[Picture, Picture, Picture]]


@dataclass(frozen=True)
class Example:
    """One moment of the contact sheet; pictures as data URIs."""

    kind: str
    seconds: float
    psnr: float
    truth: str
    render: str
    difference: str


def write_report(run: RunDir, evidence: ReportInputs, footage: dict[str, Any], name: str) -> None:
    """Writes report.html of a finished run: `footage` is the footage report of its dataset, `name` what to call the subject.

    Raises NotReady where a file of the run is missing, DiskFull.
    """
    manifest = read_json(run.manifest)
    judged = scorecard.score(evidence.figures)
    page = _template().render(
        name=name,
        made=datetime.now(timezone.utc),
        figures=evidence.figures,
        judged=judged,
        advice=scorecard.advice(judged)[:3],
        counts={verdict: sum(each.verdict == verdict for each in judged) for verdict in ("good", "fair", "poor")},
        footage=footage,
        shots=shots(evidence),
        opening=opening_chart(evidence),
        opening_rows=opening_rows(evidence),
        training=training_charts(run),
        config=flat(manifest["config"]),
        preset=manifest["config"]["preset"],
        versions=manifest["versions"],
        source=manifest["source"],
        seconds=len(evidence.frames) / FPS,
    )
    with atomic(run.report) as temporary:
        temporary.write_text(page)


def _template():
    loader = PackageLoader("adnerf_core.evaluation")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html")


def shots(evidence: ReportInputs) -> list[Example]:
    """The best, the middle and the worst moments, by the PSNR of the head; SHOTS of each, APART."""
    psnr = np.array(evidence.head_psnr)
    by_rank = {
        "Best": np.argsort(-psnr),
        "Median": np.argsort(np.abs(psnr - np.median(psnr))),
        "Worst": np.argsort(psnr),
    }
    found = []
    for kind, order in by_rank.items():
        chosen: list[int] = []
        for i in order.tolist():
            if len(chosen) < SHOTS and all(abs(evidence.frames[i] - evidence.frames[k]) >= APART for k in chosen):
                chosen.append(i)
        for i in chosen:
            pictures = (data_uri(picture) for picture in evidence.look(evidence.frames[i]))
            found.append(Example(kind, evidence.frames[i] / FPS, float(psnr[i]), *pictures))
    return found


def data_uri(picture: Picture) -> str:
    """A picture as a JPEG inside a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, JPEG_QUALITY)).decode()


def _moments(evidence: ReportInputs) -> Float[ndarray, " moments"]:
    """Times of the opening's values, s of the footage."""
    return (evidence.frames[0] + np.arange(len(evidence.opening_true))) / FPS


def opening_chart(evidence: ReportInputs) -> Chart:
    """The opening of the mouth, rendered against true, over time; silence is shaded."""
    sync, far = evidence.figures["lip_sync"], evidence.figures["lip_amplitude"]
    alt = f"Two lines over {len(evidence.frames) / FPS:.1f} seconds: the mouth's opening in the footage and in the rendering."
    if sync is not None and far is not None:
        alt += f" Their correlation is {sync:.2f}; the rendered mouth moves {far:.2f} times as far as the true one."
    lines = (
        Series("footage", "true", evidence.opening_true),
        Series("rendered from the sound alone", "rendered", evidence.opening_rendered),
    )
    return chart(
        "Opening of the mouth", alt, _moments(evidence), lines,
        x_label="second of the footage", y_label="px of 512", band=evidence.quiet,
    )  # fmt: skip


def opening_rows(evidence: ReportInputs) -> list[tuple[float, float, float]]:
    """(second, true, rendered) for a table, thinned to TABLE_ROWS; moments without a face are left out."""
    rows = np.stack([_moments(evidence), evidence.opening_true, evidence.opening_rendered], -1)
    rows = rows[np.isfinite(rows).all(1)]
    return [tuple(row) for row in rows[:: max(1, -(-len(rows) // TABLE_ROWS))].tolist()]


def training_charts(run: RunDir) -> list[Chart]:
    """A curve of the PSNR over the steps for each phase in metrics.jsonl that has one, and its running mean.

    The first tenth of a phase is left out where there is enough after it: its steep rise would flatten all the rest.
    """
    lines = run.metrics.read_text().splitlines() if run.metrics.exists() else []
    reports = [report for report in map(json.loads, lines) if "psnr" in report]
    made = []
    for phase in dict.fromkeys(report["phase"] for report in reports):
        rows = np.array([(r["step"], r["psnr"]) for r in reports if r["phase"] == phase], float)
        title = PHASES.get(phase, phase.capitalize())
        alt = f"Training of the {title.lower()}: from {rows[0, 1]:.1f} dB to {rows[-1, 1]:.1f} dB in {rows[-1, 0] + 1:.0f} steps."
        steps, psnr = rows[len(rows) // 10 :].T
        line = (
            Series("single steps", "faint", psnr),
            Series(f"mean of {SMOOTH}", "rendered", uniform_filter1d(psnr, SMOOTH)),
        )
        made.append(chart(title, alt, steps, line, x_label="step", y_label="PSNR of the step's rays, dB"))
    return made


def flat(config: dict[str, Any], above: str = "") -> list[tuple[str, str]]:
    """A nested configuration as (name, value) rows: `field.planes`, `64, 256`."""
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            rows += flat(value, f"{above}{key}.")
        else:
            rows.append((above + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
