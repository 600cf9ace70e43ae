"""The seam between scripts and the programs that read them: voices, engines and the sound that they make."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Voice:
    """A voice that can read scripts.

    Attributes:
        id: stable, of letters, digits, dots, dashes and underscores; it begins with the name of the engine.
        name: for people.
        language: as a tag of BCP 47, such as `en-US`; `und` if it is not known.
        engine: name of the engine.
        licence: of the voice and the program that reads it, as an SPDX expression where there is one.
    """

    id: str
    name: str
    language: str
    engine: str
    licence: str


class Sound(NamedTuple):
    """Mono sound: samples of -1..1, and their number per second."""

    samples: Float[np.ndarray, " samples"]
    rate: int


@runtime_checkable
class Speaker(Protocol):
    """A voice that is loaded and can read."""

    def __call__(self, text: str, speed: float) -> Sound:
        """Reads one sentence.

        Args:
            text: one line, with something to read.
            speed: 1 is the voice's own pace, 2 twice as fast.

        Returns:
            The speech; without samples if the voice can read nothing of the text.

        Raises:
            MissingBackend: the program or the server that reads is not there, or fails.
        """
        ...


@runtime_checkable
class SpeechEngine(Protocol):
    """A program that reads text, with its voices."""

    def voices(self) -> list[Voice]:
        """Returns the voices that are ready to be used, the engine's own default first; empty if the engine is not installed."""
        ...

    def load(self, voice: Voice) -> Speaker:
        """Loads one of `voices()`. Raises MissingBackend if its files cannot be used."""
        ...


def voice_id(engine: str, name: str) -> str:
    """Returns the id of a voice: other characters than letters, digits, dots, dashes and underscores become dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{engine}-{name}")[:100]


def latin_only(text: str) -> str:
    """Returns a text without the letters of other alphabets than the Latin one, of which an English voice makes noise."""
    return "".join(char for char in text if not char.isalpha() or "LATIN" in unicodedata.name(char, ""))
