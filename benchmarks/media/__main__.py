"""Reads many kinds of media files and compares them with the clip that they were made from: `python -m benchmarks.media [--json FILE]`.

The clip is the demo's speaker. It is read as preprocessing and rendering read files: pictures at 25 a second and the footage that is
kept, speech and the sound track that a video gets. The packaged ffmpeg makes the files; ADNERF_FFMPEG names another one to read them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adnerf_core.files import ffmpeg
from benchmarks.media.base import draw_clip
from benchmarks.media.catalogue import FOOTAGE, SPEECH
from benchmarks.media.compare import measure
from benchmarks.media.kinds import written

SECONDS = 8
"""Length of the clip, s."""
COLUMNS = ("kind", "verdict", "color", "psnr", "comb", "lag_ms", "level_db", "length_s", "channels")


def main() -> int:
    """Makes, reads and compares all kinds; returns 1 if one is read wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="kinds whose name contains this text")
    parser.add_argument("--folder", type=Path, help="keep the files there")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = _measured(options.folder or Path(temporary), options.only)
    _show(results)
    if options.json:
        options.json.write_text(json.dumps({"ffmpeg": ffmpeg.ffmpeg_version(), "kinds": results}, indent=1) + "\n")
    return int(any(result["verdict"] not in ("ok", "refused", "not made") for result in results))


def _measured(folder: Path, only: str) -> list[dict[str, Any]]:
    clip = draw_clip(folder, SECONDS)
    results = []
    for kind in [*FOOTAGE, *SPEECH]:
        if only in kind.name:
            path = written(clip, kind)
            results.append({"kind": kind.name, "verdict": "not made"} if path is None else measure(clip, kind, path))
    return results


def _show(results: list[dict[str, Any]]) -> None:
    table = Table(*COLUMNS)
    for result in results:
        table.add_row(*(str(result.get(name, "")) for name in COLUMNS))
    console = Console(width=160)
    console.print(table)
    console.print(f"ffmpeg {ffmpeg.ffmpeg_version()}", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
