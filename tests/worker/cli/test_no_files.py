"""Something else in the place of a file that is read at the start is named at once, instead of being waited for."""

from __future__ import annotations

import pytest

from storage.database.engine import Database
from storage.errors import BadCertificate, BadSetting, DatabaseNotReady, ObjectDamaged, ObjectMissing
from storage.objects.local import LocalStore
from tests.storage.places import MAKE
from worker.locks import HeldLock
from worker.provenance.mark_key import load_mark_key
from worker.provenance.signing_identity import load_identity
from worker.webhooks.signing import check_settings


def is_locked(settings):
    HeldLock(settings.locks / "serve").release()


def load_own(settings):
    certificate = str(settings.signing / "own.pem")
    load_identity(settings.replace(sign_certificate=certificate, sign_key=certificate))


def open_database(settings):
    Database(settings.database)


READERS = {
    "adnerf.db": open_database,
    "adnerf.db-wal": open_database,
    "signing/mark.key": load_mark_key,
    "signing/development.pem": load_identity,
    "signing/own.pem": load_own,
    "webhook.key": check_settings,
    "locks/serve": is_locked,
}


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_no_file_is_named(settings, kind):
    for place, read in READERS.items():
        path = settings.data_dir / place
        path.parent.mkdir(parents=True, exist_ok=True)
        MAKE[kind](path)
        with pytest.raises((BadSetting, BadCertificate, DatabaseNotReady, OSError)) as refused:
            read(settings)
        said = "a symbolic link" if place == "locks/serve" and path.is_symlink() else kind
        if place == "adnerf.db":
            path.rename(f"{path}.away")
        assert f"it is {said}" in str(refused.value) and str(path) in str(refused.value), place


@pytest.mark.parametrize("kind", MAKE)
def test_an_object_that_is_no_file_is_not_waited_for(tmp_path, kind):
    store = LocalStore(tmp_path / "objects")
    store.root.mkdir()
    MAKE[kind](store.root / "a")
    for read in (lambda: store.open("a"), lambda: store.fetch("a", tmp_path / "copy")):
        with pytest.raises((ObjectDamaged, ObjectMissing)):
            read()
