"""`adnerf verify`: whether a video was made here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adnerf.common import add_action, add_waiting

if TYPE_CHECKING:
    from adnerf.output import Screen
    from adnerf_client import Client


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `verify`."""
    verify = add_action(commands, "verify", _verify, "ask a service whether it made a video")
    verify.add_argument("file", type=Path)
    add_waiting(verify)


def _verify(client: Client, screen: Screen, options: argparse.Namespace) -> None:
    with screen.progress() as progress:
        answer = client.verify(options.file, progress=progress.transfer("upload"), timeout=options.timeout)
    screen.show(answer)
