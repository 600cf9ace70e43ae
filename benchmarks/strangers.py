"""How a subject's lips follow other people's speech: `python -m benchmarks.strangers RUN [CLIP ...] [--json FILE]`.

A CLIP shows somebody who speaks. The opening of the subject's mouth that the audio encoder predicts from that speech is compared with the
opening of that person's mouth, as `evaluate --reference` does, but without rendering: this costs about as much as tracking the face in
CLIP. Drawn speakers of DRAWN are compared as well: their lips are known.

Prints for each person the correlation, the amplitude (standard deviation of the predicted opening over that of the person's) and the same
over that of the subject's own footage, and the means. The amplitude with drawn speakers counts if the subject is a drawn one as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rich.console import Console
from rich.table import Table
from scipy.signal import resample_poly

from adnerf_core.audio.features import load_features
from adnerf_core.audio.inference import encode_stream
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.cross_driven import Speaker, observe_speaker
from adnerf_core.files.run_dir import RunDir, write_json
from adnerf_core.synthesis.subject import Subject, load_subject
from demo.lips import mouth_track
from demo.speaker import WIDEST
from demo.speech import speak

DRAWN = {
    "en-gb-x-rp+f2": "Before the play began, my brother bought five cups of warm apple punch. We moved up, and the film was over by nine.",
    "de+m3": "Am Bahnhof warten viele Leute auf den Bus, aber er kommt wieder einmal viel zu spät. Papa holt uns morgen früh ab.",
    "fr+f4": "Ma voisine possède un petit bateau bleu, et nous partons souvent en mer avec elle quand il fait beau au mois de mai.",
    "cmn+m1": "我爸爸明天早上坐飞机去北京，妈妈和妹妹都不想去。我们晚上一起吃饭，然后看一部老电影。",
}
"""Voice of espeak-ng and what it says. English, German, French and Mandarin, which is tonal; the pretrained encoder has not heard these
sentences."""


class Following(NamedTuple):
    """How well the predicted opening follows a person's."""

    correlation: float
    amplitude: float
    over_own: float


def main(arguments: Sequence[str] | None = None) -> dict[str, Following]:
    """Parses the command line, measures, prints the table and returns it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument("clips", type=Path, nargs="*", metavar="CLIP", help="videos of people who speak")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(arguments)
    subject = load_subject(RunDir(args.run), "cpu")
    people = {voice: drawn_speaker(voice, text) for voice, text in DRAWN.items()}
    people |= {clip.stem: observe_speaker(clip) for clip in args.clips}
    figures = {name: follow(subject, speaker) for name, speaker in people.items()}
    if args.json:
        write_json(args.json, {name: figure._asdict() for name, figure in figures.items()})
    show(figures)
    return figures


def drawn_speaker(voice: str, text: str) -> Speaker:
    """Returns what the demo's speaker says, and how far its mouth would be drawn open, head units."""
    speech = speak(text, voice=voice)
    samples = resample_poly(speech.samples, SAMPLE_RATE, speech.rate).astype(np.float32)
    times = np.arange(len(samples) * FPS // SAMPLE_RATE) / FPS
    return Speaker(samples, WIDEST * mouth_track(speech.phonemes, times)[0].astype(np.float32), 0.0)


def follow(subject: Subject, speaker: Speaker) -> Following:
    """Compares the opening that `subject` would have with that of `speaker`."""
    predicted = predicted_opening(subject, speaker.speech)[: len(speaker.opening)]
    return Following(
        metrics.correlation(predicted, speaker.opening),
        metrics.amplitude(predicted, speaker.opening),
        float(np.std(predicted)) / subject.lip_pca.opening_spread,
    )


def predicted_opening(subject: Subject, speech: Float[ndarray, " samples"]) -> Float[ndarray, " frames"]:
    """Returns the opening of the subject's mouth in each frame of its speech, head units."""
    codes = encode_stream(subject.model, load_features(subject.features), [speech], subject.poses.device)
    return subject.lip_pca.opening(codes.numpy())


def show(figures: dict[str, Following]) -> None:
    """Prints the figures, and their means over drawn speakers and over people."""
    table = Table("speaker", "correlation", "amplitude", "over own")
    people = [figure for name, figure in figures.items() if name not in DRAWN]
    rows = (
        dict(figures)
        | {"drawn": mean([figures[name] for name in DRAWN])}
        | ({"people": mean(people)} if people else {})
    )
    for name, figure in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in figure))
    Console().print(table)


def mean(figures: list[Following]) -> Following:
    """Returns the mean of each figure."""
    return Following(*(float(np.mean(values)) for values in zip(*figures, strict=True)))


if __name__ == "__main__":
    main()
