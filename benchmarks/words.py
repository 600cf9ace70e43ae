"""Measures the words: `python -m benchmarks.words [--voices-dir DIR] [--json FILE]`.

* How far captions and words are from the time at which they are said: sentences of espeak-ng's library, which tells when each word begins, read
  as a script, and recognised as a recording.
* What reading costs: CPU time for each second of speech of every voice engine that is installed (the first voice of each), once it is
  loaded, and that of a first word, with loading; Kokoro's and Piper's voices are in DIR.
* What recognition costs: CPU time for each second of sound, with its loading.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from adnerf_core.speech.captions import make_cues
from adnerf_core.speech.engine import Sound
from adnerf_core.speech.speak import EDGE_S, SILENCE, SpokenPassage, speak
from adnerf_core.speech.timing import Word
from adnerf_core.speech.wav import read_wav
from audio_pretraining.texts import TEXTS
from benchmarks.render import cpu_seconds
from demo import speech as espeak
from storage.settings import Settings
from worker.speech.transcriber import Transcriber
from worker.speech.voices import Voices

RESULTS = Path(__file__).parent / "results" / "words.json"
READERS = {"en-us+f3": "en-us", "en-us+m7": "en-us", "en-gb-x-rp+m3": "en-gb-x-rp"}
"""Voices of espeak-ng, and the language whose texts they read."""
SCRIPT = " ".join(TEXTS["en-us"])
"""What the engines read: half a minute."""

Truth = list[tuple[str, float]]
"""Words in their order, in small letters without punctuation, and when each begins, s."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Parses the command line, measures, prints and writes the figures; returns them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices-dir", default="", help="folder with voices of Kokoro and Piper")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the figures (default: %(default)s)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(data_dir=folder, voices_dir=args.voices_dir)
        figures = {"timing": timing(folder, settings), "reading": reading(folder, settings)}
        figures["load_average"] = round(os.getloadavg()[0], 1)
    Console().print_json(json.dumps(figures))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def timing(folder: Path, settings: Settings) -> dict[str, Any]:
    """Compares captions and words with the truth; returns the errors in ms, and what recognition costs."""
    transcriber, path = Transcriber(settings), folder / "read.wav"
    errors: dict[str, list[float]] = {
        f"{way} {what}": [] for way in ("script", "heard") for what in ("captions", "words")
    }
    heard_s = cpu_s = 0.0
    for voice, language in READERS.items():
        passages, truth = read(TEXTS[language], voice, path)
        sound = read_wav(path.read_bytes())
        seconds = len(sound.samples) / sound.rate
        script = transcriber.words(path, [list(passage) for passage in passages])
        heard: list[Word] = []
        cpu_s += cpu_seconds(lambda path=path, heard=heard: heard.extend(transcriber.words(path, None)))
        heard_s += seconds
        for way, words in (("script", script), ("heard", heard)):
            begins = [cue.start_s for cue in make_cues(words, seconds)]
            for word, true_s in matched(words, truth):
                errors[f"{way} words"].append(abs(word.start_s - true_s))
                if word.start_s in begins:
                    errors[f"{way} captions"].append(abs(word.start_s - true_s))
    told = {
        name: {
            "count": len(values),
            "median_ms": round(1000 * statistics.median(values)),
            "90_percent_ms": round(1000 * float(np.quantile(values, 0.9))),
        }
        for name, values in errors.items()
    }
    return told | {"recognition_cpu_s_a_second": round(cpu_s / heard_s, 3)}


def read(sentences: Iterable[str], voice: str, path: Path) -> tuple[list[SpokenPassage], Truth]:
    """Reads sentences into a WAV as a script is read; returns its passages, and the true times of its words."""
    begun: dict[str, dict[int, float]] = {}

    def speaker(text: str, speed: float) -> Sound:
        said = espeak.speak(text, voice=voice)
        quiet = int(np.argmax(np.abs(said.samples) > SILENCE)) / said.rate
        begun[text] = {place: start - quiet + EDGE_S for place, start in said.words.items()}
        return Sound(said.samples, said.rate)

    passages = speak(speaker, " ".join(sentences), path)
    truth = [
        (plain(match[0]), passage.start_s + begun[passage.text][match.start()])
        for passage in passages
        for match in re.finditer(r"\S+", passage.text)
        if match.start() in begun[passage.text]
    ]
    return passages, truth


def matched(words: Sequence[Word], truth: Truth) -> list[tuple[Word, float]]:
    """Returns the words that are those of the truth, each with its true beginning."""
    blocks = difflib.SequenceMatcher(
        None, [plain(word.text) for word in words], [text for text, _ in truth], autojunk=False
    ).get_matching_blocks()
    return [(words[a + k], truth[b + k][1]) for a, b, size in blocks for k in range(size)]


def plain(text: str) -> str:
    """Returns a word in small letters without punctuation."""
    return re.sub(r"[^\w']", "", text.casefold())


def reading(folder: Path, settings: Settings) -> dict[str, dict[str, float | str]]:
    """Returns for each engine what its first voice costs, s: of a second of speech, and of the first word, for which it is loaded."""
    voices, figures = Voices(settings), {}
    for voice in voices.voices():
        if voice.engine in figures:
            continue
        path = folder / f"{voice.engine}.wav"
        load = cpu_seconds(lambda voice=voice, path=path: voices.speak("Hello.", voice.id, path))
        start = time.perf_counter()
        cpu = cpu_seconds(lambda voice=voice, path=path: voices.speak(SCRIPT, voice.id, path))
        wall = time.perf_counter() - start
        sound = read_wav(path.read_bytes())
        seconds = len(sound.samples) / sound.rate
        figures[voice.engine] = {
            "voice": voice.id,
            "speech_s": round(seconds, 1),
            "cpu_s_a_second": round(cpu / seconds, 3),
            "wall_s_a_second": round(wall / seconds, 3),
            "first_word_cpu_s": round(load, 2),
        }
    return figures


if __name__ == "__main__":
    main()
