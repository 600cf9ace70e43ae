"""Bundles: files that carry a subject from one service to another.

A bundle is a ZIP without compression:

    source, run, preview, ...    the objects of the subject, as they are in the store
    manifest.json                its row, its consent record, and the size and SHA-256 of each object
    signature.json               the public key of the service (Ed25519, RFC 8032) and its signature of the manifest's bytes

Both are in Base64. A bundle is read only if its signature is that of a trusted key, and every object has the signed size and digest. So
nobody can make one, or change one, without the key of a service that the operator trusts; what is in it is as safe as that service.
The service's key pair is derived from the key that signs webhooks and links, which all its processes share.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from storage.errors import BundleRefused
from storage.objects.base import CHUNK_BYTES, ObjectStore, Stored

FORMAT = 1
"""Version of the manifest; a bundle of another one is refused."""
MANIFEST, SIGNATURE = "manifest.json", "signature.json"
MAX_MANIFEST_BYTES = 1 << 20
"""Largest manifest: one has some ten kilobytes, most of them the consent's text and the measurements of the footage."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Date of all members, the earliest of the format: bundles of the same subject differ in nothing but the time in the manifest."""

MAX_DIRECTORY_BYTES = 128 << 10
"""Most bytes that are read at once while a bundle is opened: its directory has some 100 bytes for each of its ten members. The library takes a
directory of any size into memory, and makes an object of every 46 bytes."""
ENCRYPTED = 0x1
"""Flag of an encrypted member (general purpose bit 0 of the format)."""


def derive_key(service_key: str) -> Ed25519PrivateKey:
    """Returns the key that signs bundles: its seed is HMAC-SHA-256 of a fixed text under the service's key."""
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(service_key.encode(), b"bundles", hashlib.sha256))


def key_name(key: Ed25519PublicKey) -> str:
    """Returns a public key as it stands in a bundle and in ADNERF_BUNDLE_KEYS: its 32 bytes in Base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def write(
    store: ObjectStore, keys: Mapping[str, str], manifest: Mapping[str, Any], key: Ed25519PrivateKey
) -> Iterator[bytes]:
    """Yields the bytes of a bundle, piece by piece.

    Args:
        store: The store of the objects.
        keys: The keys of the objects, by their names in the bundle.
        manifest: What the manifest says of the subject (JSON).
        key: Signs it.

    Raises ObjectMissing, ObjectDamaged, StoreAway.
    """
    sink = _Sink()
    files = {}
    with zipfile.ZipFile(sink, "w") as archive:
        for name, object_key in keys.items():
            digest, size = hashlib.sha256(), 0
            with store.open(object_key) as source, archive.open(_member(name), "w", force_zip64=True) as member:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    member.write(chunk)
                    yield sink.take()
            files[name] = {"size": size, "sha256": digest.hexdigest()}
        signed = json.dumps({"format": FORMAT, **manifest, "files": files}, indent=1).encode()
        signature = {"key": key_name(key.public_key()), "signature": base64.b64encode(key.sign(signed)).decode()}
        archive.writestr(_member(MANIFEST), signed)
        archive.writestr(_member(SIGNATURE), json.dumps(signature))
    yield sink.take()


class Bundle:
    """A bundle whose signature is valid.

    Args:
        file: The bundle, seekable.
        trusted: Public keys (key_name) of the services whose bundles are read.

    Attributes:
        manifest: What `write` was given, with `files`.
        signer: The public key of the service that signed it.

    Raises:
        BundleRefused: It is no bundle, of another version, was changed, or is signed by another key.
        ObjectDamaged: `file` cannot be read.
    """

    def __init__(self, file: BinaryIO, trusted: Collection[str]):
        try:
            bounded = _BoundedFile(file)
            self._archive = zipfile.ZipFile(bounded)
            bounded.most = None
            signed, signature = (self._read(name) for name in (MANIFEST, SIGNATURE))
            self.signer = str(json.loads(signature)["key"])
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.signer, validate=True))
            key.verify(base64.b64decode(json.loads(signature)["signature"], validate=True), signed)
            self.manifest = json.loads(signed)
        except InvalidSignature as error:
            raise BundleRefused("The bundle was changed after it was signed.") from error
        except (
            zipfile.BadZipFile,
            KeyError,
            TypeError,
            ValueError,
            NotImplementedError,
            RecursionError,
            EOFError,
        ) as error:
            raise BundleRefused("The file is no bundle of a subject, or is not complete.") from error
        if self.signer not in trusted:
            remedy = "If that service is trusted, the operator adds the key to ADNERF_BUNDLE_KEYS."
            raise BundleRefused(f"The bundle is signed by a service with the key {self.signer}.", remedy)
        if self.manifest.get("format") != FORMAT:
            remedy = "Export the subject with the version of the program that this service runs."
            raise BundleRefused("The bundle was made by another version of the program.", remedy)

    def store(self, name: str, store: ObjectStore, key: str) -> Stored:
        """Stores an object of the bundle under `key`. Raises BundleRefused (it is not what was signed), StoreFull, StoreAway."""
        signed = self.manifest["files"][name]
        try:
            with store.create_incoming() as incoming, self._open(name) as source:
                incoming.copy_from(source)
                if (incoming.size, incoming.sha256) != (signed["size"], signed["sha256"]):
                    raise zipfile.BadZipFile
                return store.put_incoming(key, incoming)
        except (zipfile.BadZipFile, KeyError, NotImplementedError, EOFError) as error:
            raise BundleRefused("The bundle was changed after it was signed.") from error

    def _read(self, name: str) -> bytes:
        with self._open(name) as member:
            content = member.read(MAX_MANIFEST_BYTES + 1)
        if len(content) > MAX_MANIFEST_BYTES:
            raise ValueError(name)
        return content

    def _open(self, name: str) -> BinaryIO:
        """Opens a member. A compressed one is refused: nothing takes more space here than it took on the way; an encrypted one, too."""
        member = self._archive.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & ENCRYPTED:
            raise zipfile.BadZipFile(name)
        return self._archive.open(name)


class _BoundedFile:
    """A file of which no more than `most` bytes are read at once; None: any number. Reading raises BadZipFile."""

    def __init__(self, file: BinaryIO):
        self._file, self.most = file, MAX_DIRECTORY_BYTES
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Reads bytes."""
        if self.most is not None and size > self.most:
            raise zipfile.BadZipFile("the directory is too large")
        return self._file.read(size)


class _Sink:
    """A file that only grows; what was written is taken away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Takes bytes."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: nothing is held back."""

    def take(self) -> bytes:
        """Returns what was written since the last call."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, DATE)
