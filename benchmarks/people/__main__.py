"""Tries a folder of people's clips: `python -m benchmarks.people DIR [--preset draft] [--only NAME] [--json FILE]`.

Each clip goes through preprocessing, training and evaluation, and says a sentence in a foreign voice. Prints whether each was
accepted, the warnings, the figures of its evaluation and the time of each stage, and writes them as JSON, with a contact sheet
for each clip. A clip that fails does not stop the others. The results of each clip are kept in RESULTS, so that a rerun continues.

`--draw` draws clips of synthetic speakers into DIR instead, each with its truth (poses, lips, takes, who speaks) as JSON beside it.
`--draw --crowd N` draws N random people whose footage is usable: what is refused of them (`--until preprocess`) is refused falsely.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adnerf_core import threads
from adnerf_core.config import PRESETS
from adnerf_core.files.ffmpeg import write_wav
from adnerf_core.files.run_dir import write_json
from benchmarks.core import machine
from benchmarks.people.trial import STAGES, Trial, run_apart

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
"""What a clip's name ends in."""

CLIPS_IN_TABLE = 6
"""Clips that a table of figures shows side by side: what fits on a screen."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and draws or tries the clips; returns an exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.draw:
        return draw_clips(args)
    clips = find_clips(args.dir, args.only)
    if not clips:
        parser.error(f"there are no clips in {args.dir}; --draw makes some")
    results = args.results or args.dir / "results"
    threads.sleep_while_waiting()  # the trials' processes inherit it
    voice = args.voice or make_voice(results / "voice.wav")
    records: dict[str, Any] = {}
    console = Console()
    for clip in clips:
        console.print(f"{clip.name} ...", highlight=False)
        trial = Trial(clip, results / clip.stem, voice, args.preset, args.steps, args.until)
        records[clip.stem] = run_apart(trial)
        figures = {"machine": machine(), "preset": args.preset, "steps": args.steps, "clips": records}
        write_json(args.json or results / "people.json", figures)
    show(records, console)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.people", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", type=Path, help="folder of the clips")
    parser.add_argument("--draw", action="store_true", help="draw clips of synthetic speakers into DIR, and stop")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="draft", help="default: %(default)s")
    parser.add_argument("--steps", type=int, help="training steps of each phase, instead of the preset's")
    parser.add_argument(
        "--crowd", type=int, metavar="N", help="with --draw: draw N random people instead of the family"
    )
    parser.add_argument("--seconds", type=float, help="with --draw: cut each take to this length")
    parser.add_argument("--only", action="append", metavar="NAME", help="this clip alone; may be repeated")
    parser.add_argument("--until", choices=list(STAGES), default="render", help="last stage (default: all)")
    parser.add_argument("--voice", type=Path, help="what the foreign voice says (default: synthesised speech)")
    parser.add_argument("--results", type=Path, help="folder of the results (default: DIR/results)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="figures of all clips (default: RESULTS/people.json)")
    return parser


def find_clips(folder: Path, names: Sequence[str] | None) -> list[Path]:
    """Returns the videos in a folder, by name; only those of `names` (without suffix) if given."""
    clips = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return [clip for clip in clips if clip.name[0] != "." and (names is None or clip.stem in names)]


def draw_clips(args: argparse.Namespace) -> int:
    """Draws the clips of the family, or a crowd, into the folder; returns an exit status."""
    from demo import crowd, family  # imported here: it loads LiteRT and espeak-ng, which other clips do not need

    for clip in crowd.crowd(args.crowd) if args.crowd else family.choose(args.only):
        print(family.draw(clip, args.dir, seconds=args.seconds), flush=True)
    return 0


def make_voice(path: Path) -> Path:
    """Writes what the foreign voice says, if it is not there yet; returns `path`."""
    if not path.exists():
        from demo import family
        from demo.speech import speak

        speech = speak(family.FOREIGN_TEXT, voice="en-us+m2", pitch=40)
        write_wav(path, speech.samples, speech.rate)
    return path


def show(records: Mapping[str, Any], console: Console) -> None:
    """Prints the outcome and the cost of each clip, and the figures."""
    table = Table("clip", "outcome", "warnings", title="CPU / wall, s", title_justify="left")
    for stage in STAGES:
        table.add_column(stage, justify="right")
    for name, record in records.items():
        spent = [record["stages"].get(stage) for stage in STAGES]
        times = ["" if s is None else f"{s['cpu_s']:.0f} / {s['wall_s']:.0f}" for s in spent]
        table.add_row(name, record["code"] or "accepted", str(len(record["footage"]["warnings"]) or ""), *times)
    console.print(table)
    for name, record in records.items():
        for text in (record["message"], *record["footage"]["warnings"]):
            if text:
                console.print(f"{name}: {text}", highlight=False, soft_wrap=True)
    evaluated = {name: flat(record["figures"]) for name, record in records.items() if "figures" in record}
    for first in range(0, len(evaluated), CLIPS_IN_TABLE):
        chosen = dict(list(evaluated.items())[first : first + CLIPS_IN_TABLE])
        figures = Table("figure", *chosen)
        for key in dict.fromkeys(key for values in chosen.values() for key in values):
            cells = [values.get(key) for values in chosen.values()]
            figures.add_row(key, *("" if cell is None else f"{cell:g}" for cell in cells))
        console.print(figures)


def flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Returns the numbers of nested figures by dotted names."""
    numbers: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            numbers |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            numbers[f"{prefix}{name}"] = value
    return numbers


if __name__ == "__main__":
    sys.exit(main())
