"""Digests of the outputs that a refactoring must not change: `OMP_NUM_THREADS=1 python -m benchmarks.golden`.

Prints one JSON object. Run it before and after a refactoring, on the same machine with the same environment, and compare the
outputs: equal digests mean equal weights, pixels, files and HTTP schema. The digests differ between machines.

OMP_NUM_THREADS=1 is needed: without it, the focal length of the dataset differs between runs of the same code. It must be set before
Python starts, because numerical libraries read it when they are loaded.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from adnerf_core.audio.features import load_features
from adnerf_core.config import Background, PreprocessConfig, RenderOptions, ViewChange
from adnerf_core.evaluation.evaluate import evaluate
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.preprocess.pipeline import preprocess
from adnerf_core.synthesis.render import render
from adnerf_core.training.train import train
from adnerf_core.watermark.embed import WatermarkEmbedder
from api.app import create_app
from tests.adnerf_core import clips, toy
from tests.adnerf_core.training.test_adnerf_task import SHORT as SHORT_PAPER

OPTIONS = {
    "plain": RenderOptions(),
    "turned": RenderOptions(view=ViewChange(yaw_deg=8, pitch_deg=-4, zoom=1.2, x=0.1)),
    "still, on a colour": RenderOptions(pose="still", background=Background(kind="color", color="#20a040")),
    "labelled": RenderOptions(label=True, size=96),
}
"""Rendering options by name; a video of ten frames is digested for each."""

VOLATILE = ("dataset", "versions", "seconds", "frames_per_second", "frame_cpu_seconds")
"""Keys of JSON files whose values differ between runs of the same code: paths, package versions, durations. They are left out."""


def main() -> None:
    """Produces all outputs in a temporary folder and prints their digests."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(digests(Path(folder)), indent=2))


def digests(root: Path) -> dict[str, Any]:
    """Runs preprocessing, training, evaluation and rendering on synthetic data; returns the digests of their outputs by name.

    Args:
        root: an empty folder for the intermediate files.
    """
    opening = clips.syllables(150)
    clip = clips.write(root / "speaker.mp4", clips.speaker(opening), clips.voice(opening, late_s=0.15))
    sound = root / "sound.wav"
    ffmpeg.write_wav(sound, clips.voice(clips.syllables(10)))
    dataset = preprocess(clip, root / "dataset", PreprocessConfig(min_seconds=5))
    toy_dataset = toy.make_toy_dataset(root / "toy")
    fast, paper = RunDir(root / "fast"), RunDir(root / "paper")
    train(toy_dataset, fast, toy.TOY)
    train(toy_dataset, paper, SHORT_PAPER)
    evaluate(fast)
    features = {name: load_features(name)(clips.voice(opening)) for name in ("mel", "mel+phones")}
    marked = list(WatermarkEmbedder(77, b"k" * 32, 64, 64).over(iter(np.full((10, 64, 64, 3), 120, np.uint8))))
    return {
        "dataset": folder_digests(dataset.root),
        "toy": folder_digests(toy_dataset.root),
        "fast run": folder_digests(fast.root),
        "paper run": folder_digests(paper.root),
        "features": {name: digest(np.asarray(value).tobytes()) for name, value in features.items()},
        "marked frames": digest(np.stack(marked).tobytes()),
        "fast frames": {name: frames_of(fast, sound, options, root) for name, options in OPTIONS.items()},
        "paper frames": {name: frames_of(paper, sound, options, root) for name, options in OPTIONS.items()},
        "openapi": digest(json.dumps(create_app().openapi(), sort_keys=True).encode()),
    }


def frames_of(run: RunDir, sound: Path, options: RenderOptions, root: Path) -> str:
    """Renders a video of `sound` and returns the digest of its pixels."""
    out = root / "video.mp4"
    render(run, sound, out, options)
    return digest(b"".join(frame.tobytes() for frame in ffmpeg.read_frames(out)))


def folder_digests(folder: Path) -> dict[str, Any]:
    """Returns the digests of the files of a dataset or run by name; JSON files and array archives have a digest for each key."""
    digests_by_file: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            value = json.loads(path.read_text())
            digests_by_file[name] = {
                key: digest(json.dumps(entry, sort_keys=True).encode()) for key, entry in value.items()
            }
            for volatile in VOLATILE:
                digests_by_file[name].pop(volatile, None)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                digests_by_file[name] = {key: digest(arrays[key].tobytes()) for key in arrays}
        elif path.suffix == ".safetensors":
            digests_by_file[name] = {key: digest(value.tobytes()) for key, value in load_file(path).items()}
        elif path.is_file() and path.suffix in (".npy", ".wav", ".jsonl"):
            digests_by_file[name] = digest(path.read_bytes())
        elif path.is_file() and path.parent == folder:
            digests_by_file[name] = "a file"
    return digests_by_file


def digest(data: bytes) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
