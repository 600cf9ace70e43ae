"""The voices of a service."""

from __future__ import annotations

import builtins
from pathlib import Path

from adnerf_client import models
from adnerf_client.collection import Collection
from adnerf_client.connection import parse
from adnerf_client.downloads import download
from adnerf_client.models import Voice


class Voices(Collection[Voice]):
    """The voices that read scripts. They are listed as a whole, and belong to nobody."""

    path, model = "/v1/voices", Voice

    def list(self) -> builtins.list[Voice]:
        """Lists all voices, the default first."""
        return parse(models.Voices, self._connection.send("GET", self.path)).items

    def sample(self, which: str | Voice, to: str | Path) -> Path:
        """Saves a sentence in this voice (WAV) as `to` and returns its path."""
        return download(self._connection, self._path(which, "/sample"), to)
