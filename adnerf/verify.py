"""`adnerf verify`: the command that asks a service whether it made a video."""

from __future__ import annotations

from pathlib import Path

from adnerf.common import Service


def verify(service: Service, file: Path) -> None:
    """Ask a service whether it made a video."""
    with service.output.progress() as progress:
        verification = service.client.verify(file, progress=progress.transfer("upload"))
    service.output.show(verification)
