"""`adnerf backup` and `adnerf restore`: the data of a service on one machine, to a folder and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument

from storage import backup
from worker.cli.options import DataDir, operator_settings

Folder = Annotated[Path, Argument(metavar="DIR", show_default=False)]


def back_up(folder: Folder, data_dir: DataDir = None) -> None:
    """Copy the service's data to DIR, which must be empty or absent; the service may run."""
    with operator_settings(data_dir) as settings:
        keys, missing = backup.back_up(settings, folder)
        for key in missing:
            print(f"adnerf: a row names {key}, but the object store lacks it", file=sys.stderr)
        print(f"{folder} holds the database, {len(keys)} objects and the secret keys: let nobody else read it.")


def restore(folder: Folder, data_dir: DataDir = None) -> None:
    """Copy a backup from DIR to the data folder, which must be empty or absent."""
    with operator_settings(data_dir) as settings:
        for key in backup.restore(settings, folder):
            print(f"adnerf: a row names {key}, but the backup lacks it", file=sys.stderr)
        print(f"{folder} is restored to {settings.data_dir}.")
