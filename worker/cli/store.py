"""`adnerf store`: copies of the object store, and decisions that its cleanup leaves to an operator (storage/cleanup.py)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument

from storage import store_copy, store_identity, trash
from storage.backup import begin_again
from storage.cleanup import ObjectCleaner
from storage.objects.base import ObjectStore
from storage.objects.open_store import open_store
from worker.cli.options import DataDir, operator_database, operator_settings

app = typer.Typer(help="Copy and clean the object store, and restore removed objects.", no_args_is_help=True)
trash_app = typer.Typer(help="List and restore the objects that the cleanup removed.", no_args_is_help=True)
app.add_typer(trash_app, name="trash")

Prefix = Annotated[str, Argument(metavar="[PREFIX]", help="Only keys that begin with this.", show_default=False)]
Folder = Annotated[Path, Argument(metavar="DIR", show_default=False)]


@app.command("export")
def export_objects(folder: Folder, data_dir: DataDir = None) -> None:
    """Copy all objects that DIR lacks to it, with their digests; the service may run."""
    with operator_settings(data_dir) as settings:
        _report(store_copy.export_objects(open_store(settings), folder), f"copied to {folder}")


@app.command("import")
def import_objects(folder: Folder, data_dir: DataDir = None) -> None:
    """Copy the objects that the store lacks back from DIR, and compare them with their digests."""
    with operator_settings(data_dir) as settings:
        _report(store_copy.import_objects(open_store(settings), folder), f"copied from {folder}")


@app.command()
def adopt(data_dir: DataDir = None) -> None:
    """Record that this database belongs to this object store, as after restoring a backup."""
    with operator_database(data_dir) as (database, settings):
        with database.session() as session:
            begin_again(session, settings)
        store_identity.adopt(database, open_store(settings))
        print("The database and the object store belong together now.")


@app.command()
def clean(data_dir: DataDir = None) -> None:
    """Move all objects that no row needs to the trash, however many there are."""
    with operator_database(data_dir) as (database, settings):
        removed = ObjectCleaner(database, open_store(settings), trash_s=settings.trash_s).run_all()
        days = settings.trash_s / 86_400
        print(f"{len(removed)} objects are in the trash, for {days:g} days.")


@trash_app.command("list")
def list_trash(prefix: Prefix = "", data_dir: DataDir = None) -> None:
    """List the trash: the day of removal (UTC), the size in bytes, the key."""
    with _opened_store(data_dir) as store:
        for entry in trash.entries(store):
            if entry.key.startswith(prefix):
                print(f"{entry.date}  {store.size(entry.trash_key):>13,}  {entry.key}")


@trash_app.command()
def restore(prefix: Prefix = "", data_dir: DataDir = None) -> None:
    """Move objects from the trash back to their keys; an object that exists again is not replaced."""
    with _opened_store(data_dir) as store:
        restored = trash.restore(store, prefix)
        print("\n".join([*restored, f"{len(restored)} objects are restored."]))


def _report(copied: store_copy.Copied, where: str) -> None:
    """Prints what was copied; ends the command with status 1 if objects are damaged."""
    print(f"{copied.number} objects are {where}.")
    for key in copied.damaged:
        print(f"adnerf: {key} is damaged, missing or without a digest, and was not copied", file=sys.stderr)
    if copied.damaged:
        raise typer.Exit(1)


@contextmanager
def _opened_store(data_dir: Path | None) -> Iterator[ObjectStore]:
    with operator_database(data_dir) as (_, settings):
        yield open_store(settings)
