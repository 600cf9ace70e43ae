"""Settings: the only reader of the environment. Every variable is named ADNERF_ and the field's name in capitals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from storage.errors import BadSetting

PREFIX = "ADNERF_"


@dataclass(frozen=True)
class Settings:
    """One process's settings; the defaults are one machine with SQLite and a folder."""

    data_dir: Path = Path("data")
    """Everything that is kept on this machine: database, objects, work folders."""
    database_url: str = ""
    """SQLAlchemy URL; empty: SQLite in the data folder."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: CUDA where it is there."""
    max_video_bytes: int = 2 << 30
    """Largest reference video that is taken in."""
    max_audio_bytes: int = 200 << 20
    """Largest audio that is taken in."""
    max_image_bytes: int = 20 << 20
    """Largest background image that is taken in."""
    lease_s: float = 75.0
    """A running job that was not heard of for so long is given to another worker."""
    beat_s: float = 1.0
    """Time between heartbeats; also how soon a cancel is seen."""
    stall_s: float = 900.0
    """A job without any progress for so long is stuck: its worker process ends itself."""
    grace_s: float = 20.0
    """How long work may take to stop when told to, before its worker process ends itself."""
    poll_s: float = 0.5
    """Time between looks at the queue when it is empty."""

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'adnerf.db').absolute()}"

    @property
    def objects(self) -> Path:
        """The folder of the local object store."""
        return self.data_dir / "objects"

    @property
    def work(self) -> Path:
        """The folder of the workers' scratch files, all of which can be made again from the store."""
        return self.data_dir / "work"

    @property
    def locks(self) -> Path:
        """The folder of the lock files by which processes of this machine see each other alive."""
        return self.data_dir / "locks"


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment asks for. Raises BadSetting for a value that does not parse."""
    given = {}
    for field in fields(Settings):
        name = PREFIX + field.name.upper()
        text = environment.get(name, "")
        if text:
            given[field.name] = _parse(name, text, type(field.default))
    return Settings(**given)


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment for a child process that must see the same settings."""
    ours = {PREFIX + field.name.upper(): str(getattr(settings, field.name)) for field in fields(Settings)}
    return {**os.environ, **ours}


def _parse(name: str, text: str, kind: type):
    wanted = Path if issubclass(kind, Path) else kind
    try:
        value = wanted(text)
    except ValueError as error:
        raise BadSetting(f"{name}={text!r} is not a number.") from error
    if wanted in (int, float) and value <= 0:
        raise BadSetting(f"{name}={text!r} must be more than zero.")
    return value
