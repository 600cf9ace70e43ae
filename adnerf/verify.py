"""`adnerf verify`: the command that asks a service whether it made a video."""

from __future__ import annotations

from pathlib import Path

from adnerf.common import Service, Timeout


def verify(service: Service, file: Path, timeout: Timeout = None) -> None:
    """Ask a service whether it made a video."""
    with service.output.progress() as progress:
        verification = service.client.verify(file, progress=progress.transfer("upload"), timeout=timeout)
    service.output.show(verification)
