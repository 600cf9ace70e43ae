"""The whole path over HTTP, on one machine: footage -> subject -> speech -> video.

Without --video, the demo makes footage of a synthetic speaker; without --audio, it synthesises speech.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table

from adnerf_client import AdnerfError, Job, Subject, Video
from adnerf_core.errors import AdnerfError as CoreError
from adnerf_core.files.ffmpeg import probe, read_frames, write_wav
from adnerf_core.files.images import write_rgb
from demo.service import PATIENCE_S, service
from demo.speaker import make_speaker
from demo.speech import speak

SAY = (
    "I have never said these words before. They were written after my picture was taken, "
    "and a model that watched me for a moment moves my lips for them."
)
"""What the subject says in the video; nothing of it is in the footage."""

SHEET_FRAME_PX = 320
"""Largest width of a frame in the contact sheet, px, so that the sheet fits on a screen."""


class Timeline:
    """Shows a progress bar for each step and measures how long it takes, as a client sees it."""

    def __init__(self, console: Console):
        eta = TextColumn("{task.fields[eta]}", style="cyan")
        bar = (TextColumn("{task.description:<22}"), BarColumn(30), TaskProgressColumn(), eta)
        self.bars = Progress(*bar, console=console)
        self.seconds: dict[str, dict[str, float]] = {}
        self._tasks: dict[str, TaskID] = {}
        self._last = time.monotonic()

    def local(self, name: str, done: float, total: float) -> None:
        """Shows that the demo itself has done `done` of `total` of the step `name`."""
        self._show(name, name, done / total, None if done < total else 0.0)
        self._count(name, "")

    def job(self, job: Job) -> None:
        """Shows the state of a job of the service."""
        kind, stage = job.kind, job.stage or ""
        if job.state == "queued":
            self._show(job.id, f"{kind} (place {job.queue_position or 1})", 0.0, None)
        elif job.state == "running":
            self._show(job.id, f"{kind}: {stage}" if stage else kind, job.progress, job.eta_s)
            self._count(kind, stage)
        elif job.state == "succeeded":
            self._show(job.id, kind, 1.0, 0.0)
            self.seconds.setdefault(kind, {})["total"] = (job.finished_at - job.started_at).total_seconds()
        self._last = time.monotonic()

    def table(self) -> Table:
        """Returns a table of the time that each step took."""
        table = Table("part", "stage", title="Time", title_justify="left")
        table.add_column("seconds", justify="right")
        for name, stages in self.seconds.items():
            total = stages.get("total", sum(stages.values()))
            table.add_row(name, "", f"{total:.1f}", style="bold")
            for stage, seconds in stages.items():
                if stage not in ("", "total"):
                    table.add_row("", stage, f"{seconds:.1f}")
        return table

    def _show(self, key: str, text: str, part: float, eta_s: float | None) -> None:
        if key not in self._tasks:
            self._tasks[key] = self.bars.add_task(text, total=1.0, eta="")
        minutes, seconds = divmod(round(eta_s or 0), 60)
        eta = "" if eta_s is None or part >= 1 else f"about {minutes}:{seconds:02} left"
        self.bars.update(self._tasks[key], description=text, completed=part, eta=eta)

    def _count(self, name: str, stage: str) -> None:
        stages = self.seconds.setdefault(name, {})
        stages[stage] = stages.get(stage, 0.0) + time.monotonic() - self._last
        self._last = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and runs the demo; returns an exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        run(options.video, options.audio, options.preset, options.out, console)
    except (AdnerfError, CoreError) as error:
        console.print(f"\n[bold red]{error.code}[/]: {error}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped; the service has been stopped too.")
        return 130
    return 0


def run(video: Path | None, audio: Path | None, preset: str, out: Path, console: Console) -> Path:
    """Runs the demo and returns the path of the video. Raises the errors of the client and of the core.

    Args:
        video: footage of a person; made if None.
        audio: speech; made if None.
        preset: of the training.
        out: the folder for the results.
        console: where progress and results are printed.
    """
    for path in (video, audio):
        if path is not None:
            probe(path)  # so that a wrong file is reported before anything is started
    out.mkdir(parents=True, exist_ok=True)
    timeline = Timeline(console)
    result = out / "talking.mp4"
    # A new folder for each run, so that jobs of an earlier, interrupted demo are not in the queue.
    data = out / f"service-{datetime.now():%Y%m%d-%H%M%S}"
    with timeline.bars:
        consent = (
            f"given to whoever ran the demo, for {video.name}"
            if video
            else "an animated photograph in the public domain; nobody was filmed"
        )
        if video is None:
            video = out / "speaker.mp4"
            make_speaker(video, progress=lambda done, total: timeline.local("synthetic speaker", done, total))
        if audio is None:
            audio = out / "speech.wav"
            speech = speak(SAY)
            write_wav(audio, speech.samples, speech.rate)
            timeline.local("speech", 1, 1)
        with service(data, out / "service.log") as client:
            timeline.local("service start", 1, 1)
            subject = client.subjects.create(video, preset=preset, consent=consent)
            subject = client.wait(subject, progress=timeline.job, away=PATIENCE_S)
            talking = client.videos.create(subject, audio)
            talking = client.wait(talking, progress=timeline.job, away=PATIENCE_S)
            client.videos.download(talking, result)
    sheet = contact_sheet(result, out / "talking.png")
    report(console, timeline, subject, talking)
    console.print(
        f"\nThe video:     [bold]{result}[/]\nA few frames:  {sheet}\nThe footage:   {video}",
        highlight=False,
        soft_wrap=True,  # a path that is broken into lines cannot be copied
    )
    command = os.path.relpath(Path(sys.executable).with_name("adnerf"))
    console.print(
        f"To go on with this subject:  {command} serve --data-dir {data}   and open http://127.0.0.1:8000",
        highlight=False,
        soft_wrap=True,
    )
    return result


def report(console: Console, timeline: Timeline, subject: Subject, video: Video) -> None:
    """Prints the times, the quality of the subject, and the properties of the video."""
    console.print()
    console.print(timeline.table())
    figures = Table("quality, on footage that training never saw", title="Subject", title_justify="left")
    figures.add_column("value", justify="right")
    for name, value in subject.quality or ():
        if value is not None:
            figures.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(figures)
    for warning in subject.footage.warnings if subject.footage else ():
        console.print(f"[yellow]footage: {warning}[/]")
    console.print(f"{video.frames} frames of {video.width}x{video.height}, {video.duration_s:.2f} s", highlight=False)


def contact_sheet(video: Path, out: Path, columns: int = 6, rows: int = 2) -> Path:
    """Writes a PNG with `columns` x `rows` frames of `video`, evenly spread in time, and returns `out`."""
    info = probe(video)
    scale = min(1.0, SHEET_FRAME_PX / info.width)
    size = round(info.width * scale), round(info.height * scale)
    frames = list(read_frames(video, fps=columns * rows / info.duration_s, size=size))[: columns * rows]
    frames += [np.zeros_like(frames[0])] * (columns * rows - len(frames))
    sheet = np.vstack([np.hstack(frames[row * columns :][:columns]) for row in range(rows)])
    write_rgb(out, sheet)
    return out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m demo", description=__doc__)
    parser.add_argument("--video", type=Path, help="footage of a person speaking (default: a synthetic speaker)")
    parser.add_argument("--audio", type=Path, help="what the person shall say (default: synthesised speech)")
    parser.add_argument("--preset", choices=["draft", "standard"], default="draft", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder (default: %(default)s)")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the service is stopped on the way out
    sys.exit(main())
