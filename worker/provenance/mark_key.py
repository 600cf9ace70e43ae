"""The secret key of the watermark: a file that all workers of a service share, and whose fingerprint the database records.

With another key a worker would mark videos that the others do not recognise, and deny videos that they have made.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import OperationalError

from storage.database.engine import Database
from storage.errors import BadCertificate
from storage.settings import Settings
from storage.tables import identity
from worker.provenance.key_files import read_or_create

log = logging.getLogger(__name__)

MARK_KEY = "mark.key"
MARK_KEY_BYTES = 32
"""256 bits, the key length of HMAC-SHA-256."""


def load_mark_key(settings: Settings) -> bytes:
    """Reads the key; it is created if it is missing.

    Raises:
        BadCertificate: the file cannot be read or written, or does not hold a key.
    """
    path = settings.signing / MARK_KEY
    text = read_or_create(path, lambda: secrets.token_hex(MARK_KEY_BYTES) + "\n").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != MARK_KEY_BYTES:
        remedy = "Restore it from a backup. Without it, the watermarks of earlier videos cannot be read."
        raise BadCertificate(
            f"The watermark's key does not consist of {2 * MARK_KEY_BYTES} hexadecimal digits.", remedy, details=path
        )
    return key


def require_mark_key(settings: Settings) -> None:
    """Checks that this worker has the service's key. The first worker of a service makes it, and records its fingerprint.

    If the database server is away, nothing is checked: jobs wait until it is back.

    Raises:
        BadCertificate: the key is missing although videos were marked with it, or it is another one, or it cannot be read.
    """
    path = (settings.signing / MARK_KEY).absolute()
    try:
        with closing(Database(settings.database)) as database:
            with database.session(write=False) as session:
                must_exist = identity.has_marks(session)
            if must_exist and not path.exists():
                raise BadCertificate(f"The watermark's key is missing: there is no {path}.", _remedy(path))
            fingerprint = _fingerprint(load_mark_key(settings))
            with database.session() as session:
                recorded = identity.record_mark_key(session, fingerprint)
    except OperationalError as error:
        log.warning("the watermark's key is not compared with the service's: the database does not answer (%s)", error)
        return
    if recorded != fingerprint:
        raise BadCertificate(f"{path} is not the key that this service marks its videos with.", _remedy(path))


def adopt_mark_key(settings: Settings, database: Database) -> None:
    """Records that the key of this machine is the service's from now on. Raises BadCertificate as `load_mark_key` does."""
    fingerprint = _fingerprint(load_mark_key(settings))
    with database.session() as session:
        identity.record_mark_key(session, fingerprint, replace=True)


def _remedy(path: Path) -> str:
    return (
        f"Copy {MARK_KEY} from another worker or from a backup to {path.parent}, or set ADNERF_SIGNING_DIR to the folder that "
        "holds it. If it is lost for ever: adnerf adopt-mark-key; marks of earlier videos are then not found any more."
    )


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()
