"""PreprocessContext: what the stages of preprocessing share, and where their files are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adnerf_core.config import PreprocessConfig
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import atomic, read_json, write_json
from adnerf_core.preprocess.footage_report import LeftOut
from adnerf_core.preprocess.takes import Span

SCRATCH_LAYOUT = 5
"""Version of the intermediate files. Those of another version are discarded, and preprocessing starts afresh."""

RECORDS = ("media", "survey", "track", "pose", "parse", "align", "torso", "plate")
"""The records of the stages, in order; the first is that of the probe."""

FRAMES_AHEAD = 4
"""Frames that a thread of a stage computes ahead of the next one: enough that an uneven frame stops neither."""

StageProgress = Callable[[float, float], None]
"""Called by a stage with what is done and the total."""


@dataclass(frozen=True)
class PreprocessContext:
    """What the stages share: the input, and the places of intermediate and final files.

    Attributes:
        video: the reference video.
        out: the folder of the dataset.
        config: the configuration.
    """

    video: Path
    out: Path
    config: PreprocessConfig

    @property
    def scratch(self) -> Path:
        """The folder of the intermediate files."""
        return self.out / "unfinished"

    @property
    def landmarks(self) -> Path:
        """Landmarks and optical flow, as tracked."""
        return self.scratch / "landmarks.npz"

    @property
    def track(self) -> Path:
        """The arrays of the dataset's track.npz, as far as they are known, the jaw polygons (`jaw`) and why
        frames are left out (`left_out`, see LeftOut)."""
        return self.scratch / "track.npz"

    @property
    def sound(self) -> Path:
        """The video's sound, [samples] float32."""
        return self.scratch / "sound.npy"

    @property
    def footage(self) -> Path:
        """The footage for playing."""
        return self.out / "footage.mp4"

    def record(self, stage: str) -> Path:
        """The file with the results of `stage`; it exists if the stage is done."""
        return self.scratch / f"{stage}.json"

    def media(self) -> ffmpeg.MediaInfo:
        """What the video file holds; it is probed at the first call only, even across restarts."""
        if not self.record("media").exists():
            info = ffmpeg.probe(self.video, audio_track=self.config.audio_track, look=True)
            write_json(self.record("media"), asdict(info))
        return ffmpeg.MediaInfo(**read_json(self.record("media")))

    def facts(self) -> dict[str, Any]:
        """The properties of the file and the results of all stages that are done."""
        results: dict[str, Any] = {}
        for stage in RECORDS:
            if self.record(stage).exists():
                results |= read_json(self.record(stage))
        return results

    def frame(self, k: int) -> Path:
        """The stored picture of frame `k`."""
        return self.out / "frames" / f"{k:06d}.jpg"

    def mask(self, k: int) -> Path:
        """The stored mask of frame `k`."""
        return self.out / "masks" / f"{k:06d}.png"

    def arrays(self) -> dict[str, np.ndarray]:
        """Reads `track`."""
        with np.load(self.track) as stored:
            return dict(stored)

    def store(self, arrays: dict[str, np.ndarray]) -> None:
        """Writes `track`."""
        with atomic(self.track) as temporary:
            np.savez(temporary, **arrays)

    def takes(self) -> list[Span]:
        """The takes that serve, as the survey chose them."""
        return [Span(*take) for take in self.facts()["takes"]]

    def leave_out(self, arrays: dict[str, np.ndarray], frames: np.ndarray, reason: LeftOut) -> None:
        """Marks those of `frames` (numbers) that are valid as not valid."""
        frames = np.array([k for k in frames.tolist() if arrays["valid"][k]], int)
        arrays["valid"][frames] = False
        arrays["left_out"][frames] = reason
        for name in ("landmarks", "depose", "opening"):
            arrays[name][frames] = np.nan

    def remove_pictures(self, valid: np.ndarray) -> None:
        """Removes the pictures and masks of frames that are not valid."""
        for k in np.flatnonzero(~valid).tolist():
            self.frame(k).unlink(missing_ok=True)
            self.mask(k).unlink(missing_ok=True)
