"""A sample person and a sample speech, to try the service with. The demo draws and speaks them; an installation without it has none."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from storage.errors import NotFound
from storage.settings import Settings, bare_environment

SampleName = Literal["person", "speech"]

FILES: dict[SampleName, str] = {"person": "person.mp4", "speech": "speech.wav"}
MAKER = "demo.samples"
"""The module that makes the samples. It is started, not imported: the speech's library has another licence, and it loads OpenCV."""
UNFINISHED = ".samples-"
"""Beginning of the names in the data folder of what is not finished."""
PATIENCE_S = 300.0
"""Seconds after which the maker is ended: it takes half a minute of one core, and cores may be busy."""

_making = threading.Lock()


def available() -> bool:
    """Returns whether the maker and the library that it needs are installed."""
    return all(find_spec(name) is not None for name in ("demo", "espeakng_loader"))


def sample(settings: Settings, name: SampleName) -> Path:
    """Returns the path of a sample, which is made at its first use and kept in the data folder. Raises NotFound."""
    folder = settings.data_dir / "samples"
    with _making:  # a request that arrives meanwhile waits for the same files
        if not folder.exists():
            _make(folder)
    return folder / FILES[name]


def _make(folder: Path) -> None:
    if not available():
        raise NotFound("This installation makes no samples: it lacks the demo.")
    with (folder.parent / f"{UNFINISHED}lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other API processes of this data folder wait, too
        if not folder.exists():
            for left in filter(Path.is_dir, folder.parent.glob(f"{UNFINISHED}*")):  # by processes that were killed
                shutil.rmtree(left)
            _make_alone(folder)


def _make_alone(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent) as work:
        made = Path(work) / folder.name
        command = [sys.executable, "-m", MAKER, str(made)]
        subprocess.run(command, env=bare_environment(), timeout=PATIENCE_S, check=True)
        made.rename(folder)
