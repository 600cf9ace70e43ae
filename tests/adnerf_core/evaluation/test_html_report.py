"""The report is self-contained and escaped, and shows what was measured."""

import base64
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from adnerf_core.errors import NotReady
from adnerf_core.evaluation.html_report import (
    EXAMPLES,
    MIN_DISTANCE,
    ReportInputs,
    examples,
    flatten,
    training_charts,
    write_report,
)
from adnerf_core.files.run_dir import RunDir, write_json
from tests.adnerf_core.evaluation.test_scorecard import GOOD

FRAMES = list(range(100, 180))
VOID = {"meta", "img", "br", "hr", "link", "input"}


def report_inputs(**changes) -> ReportInputs:
    psnr = 30 + np.sin(np.arange(len(FRAMES)) / 9)
    opening = 10 + 5 * np.sin(np.arange(len(FRAMES)) / 3)
    quiet = np.zeros(len(FRAMES), bool)
    quiet[20:35] = True

    def render_example(frame):
        return tuple(np.full((16, 16, 3), value, np.uint8) for value in (frame, frame + 10, 10))

    figures = GOOD | {"frame_cpu_seconds": 0.4, "held_out_frames": 80, "size": 16}
    values = {
        "figures": figures, "frames": FRAMES, "head_psnr": psnr.tolist(), "opening_true": opening, "opening_rendered": 0.8 * opening,
        "quiet": quiet, "render_example": render_example,
    }  # fmt: skip
    return ReportInputs(**(values | changes))


@pytest.fixture
def run(tmp_path) -> RunDir:
    run = RunDir(tmp_path)
    write_json(run.manifest, {
        "config": {"preset": "draft", "field": {"planes": [48, 160]}}, "versions": {"torch": "2.13"},
        "source": {"name": "<i>me</i>.mp4"},
    })  # fmt: skip
    run.append_metrics(phase="audio", correlation=0.5)
    for phase in ("head", "torso"):
        for step in range(0, 500, 50):
            run.append_metrics(phase=phase, step=step, loss=0.1, psnr=20 + step / 100)
    return run


FOOTAGE = {"duration_s": 40.0, "frames": 1000, "head_yaw_deg": [-4.0, 5.0], "warnings": ["It is <b>dark</b>."]}


class Page(HTMLParser):
    """Elements in order, with their attributes and the text inside; refuses tags that do not close in order."""

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def page(run) -> Page:
    write_report(run, report_inputs(), FOOTAGE, 'Ann <script>alert("x")</script>')
    return Page(run.report.read_text())


def test_names_and_warnings_are_escaped(page):
    assert not page.all("script") and not page.all("b") and not page.all("i")
    assert 'Ann <script>alert("x")</script>: how good it is' in page.words()
    assert "It is <b>dark</b>." in page.words() and "<i>me</i>.mp4" in page.words()


def test_the_page_loads_nothing(page, run):
    html = run.report.read_text()
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "form", "a", "base"})
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for image in page.all("img"):
        kind, data = image["src"].split(",")
        assert kind == "data:image/jpeg;base64" and len(image["alt"]) > 10
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).shape == (16, 16, 3)


def test_the_page_is_accessible(page):
    assert page.all("html")[0]["lang"] == "en" and len(page.all("h1")) == 1
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 30 for svg in page.all("svg"))
    assert "correlation is 0.80" in page.all("svg")[0]["aria-label"]
    assert all(th.get("scope") in ("row", "col") for th in page.all("th"))
    assert "width=device-width" in page.all("meta")[1]["content"]


def test_figures_are_shown_with_their_verdicts(page):
    words = page.words()
    assert "14 good 0 fair 0 poor" in words
    assert "Lips follow the sound 0.80 good" in words
    assert "The footage itself, measured twice, reaches 0.99." in words
    assert "What would help most" not in words
    assert "field.planes 48, 160" in words and "turn of the head, degrees -4.0 to 5.0" in words


def test_values_that_could_not_be_measured_are_marked(run):
    unmeasured = {name: None for name in GOOD if name.startswith(("lip", "lmd", "blink", "quiet", "head_jitter"))}
    nothing = np.full(len(FRAMES), np.nan)
    inputs = report_inputs()
    write_report(
        run, report_inputs(figures={**inputs.figures, **unmeasured}, opening_rendered=nothing), {"warnings": []}, "Ann"
    )
    words = Page(run.report.read_text()).words()
    assert "Lips follow the sound not measured –" in words and "length, s not known" in words


def test_examples_are_the_best_the_median_and_the_worst_frames():
    shown, psnr = examples(report_inputs()), np.array(report_inputs().head_psnr)
    assert [example.kind for example in shown] == ["Best"] * EXAMPLES + ["Median"] * EXAMPLES + ["Worst"] * EXAMPLES
    assert shown[0].psnr == psnr.max() and shown[-EXAMPLES].psnr == psnr.min()
    assert abs(shown[EXAMPLES].psnr - np.median(psnr)) < 0.1
    for k in range(0, len(shown), EXAMPLES):
        seconds = [example.seconds for example in shown[k : k + EXAMPLES]]
        assert min(abs(a - b) for a in seconds for b in seconds if a is not b) * 25 >= MIN_DISTANCE


def test_a_short_held_out_part_has_fewer_examples():
    short = report_inputs(
        frames=[7], head_psnr=[30.0], opening_true=np.ones(1), opening_rendered=np.ones(1), quiet=np.zeros(1, bool)
    )
    assert [example.kind for example in examples(short)] == ["Best", "Median", "Worst"]


def test_each_phase_has_a_curve(run):
    head, torso = training_charts(run)
    assert (head.title, torso.title) == ("Head", "Shoulders")
    assert head.alt == "Training of the head: from 20.0 dB to 24.5 dB in 451 steps."
    assert [path.count("L") for _, path in head.lines] == [8, 8]  # nine of ten reports
    run.metrics.unlink()
    assert training_charts(run) == []


def test_a_resumed_training_draws_no_line_backwards(run):
    run.append_metrics(phase="torso", step=300, loss=0.1, psnr=23)
    assert training_charts(run)[1].lines[0][1].count("M") == 2


def test_a_configuration_becomes_rows():
    assert flatten({"a": 1, "b": {"c": [1, 2], "d": None}}) == [("a", "1"), ("b.c", "1, 2"), ("b.d", "None")]


def test_a_run_without_its_manifest_is_refused(tmp_path):
    with pytest.raises(NotReady):
        write_report(RunDir(tmp_path), report_inputs(), FOOTAGE, "Ann")
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == "[]"
