"""Content credentials: a signed statement, after the C2PA standard, of what made a video; written last and read again.

An MP4 carries it in a box of its own. C2PA has no place for it in a WebM, so there it is a manifest beside the file, which
is found again by the file's SHA-256. Both say: made by this software, by a trained algorithm, when, of which subject,
under which record of consent (its digest: no name stands in a video's credentials).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from storage.errors import BadCertificate
from worker.provenance.signing_identity import PURPOSES, SigningIdentity

MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
BESIDE = frozenset({".webm"})
"""Formats whose manifest lies beside the file."""
LABEL = "adnerf.video"
"""Of the assertion that says what of this service the file is."""
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
OFFLINE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "trust": {"trust_config": "\n".join(PURPOSES)},
}


@dataclass(frozen=True)
class Claim:
    """What a video's credentials say of it."""

    video_id: str
    subject_id: str
    consent_sha256: str
    created_at: datetime


class Signer:
    """Signs with `identity`; `timestamp_url` is a time stamping authority (RFC 3161), asked at each signature, or empty."""

    def __init__(self, identity: SigningIdentity, timestamp_url: str = ""):
        self.identity = identity
        self._url = timestamp_url

    def try_out(self) -> None:
        """Signs nothing in particular. Raises BadCertificate where the certificate is not one that C2PA accepts."""
        claim = Claim("vid_0", "sub_0", "0" * 64, datetime.now(timezone.utc))
        self._sign(io.BytesIO(b"nothing"), io.BytesIO(), "application/octet-stream", claim, beside=True)

    def sign(self, source: Path, out: Path, claim: Claim) -> bytes | None:
        """Writes the video `source` (.mp4 or .webm) with its credentials to `out`.

        Returns the manifest where it has to be kept beside the file, whose bytes are then those of `source`; else None.
        Raises BadCertificate.
        """
        self.identity.check_time()
        beside = source.suffix in BESIDE
        with source.open("rb") as file, out.open("w+b") as signed:
            manifest = self._sign(file, signed, MEDIA_TYPES[source.suffix], claim, beside=beside)
        if beside:
            source.replace(out)
        return manifest if beside else None

    def _sign(self, source: BinaryIO, out: BinaryIO, media_type: str, claim: Claim, *, beside: bool) -> bytes:
        info = c2pa.C2paSignerInfo(
            alg=self.identity.algorithm.encode(),
            sign_cert=self.identity.chain.encode(),
            private_key=self.identity.key.encode(),
            ta_url=self._url.encode() or None,
        )
        context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE))
        try:
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest_of(claim), context=context) as builder:
                if beside:
                    builder.set_no_embed()
                return builder.sign(signer, media_type, source, out)
        except (c2pa.C2paError.Signature, c2pa.C2paError.Verify) as error:
            remedy = f"See that {self._url} answers and that the certificate does, then retry." if self._url else None
            raise BadCertificate(f"The video cannot be signed: {error}.", remedy) from error


def manifest_of(claim: Claim) -> dict[str, Any]:
    """The manifest's definition, as c2pa takes it."""
    software = {"name": "adnerf", "version": version("adnerf")}
    when = claim.created_at.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    made = {"action": "c2pa.created", "digitalSourceType": TRAINED, "when": when, "softwareAgent": software}
    about = {
        "video_id": claim.video_id,
        "subject_id": claim.subject_id,
        "consent_sha256": claim.consent_sha256,
        "created_at": when,
    }
    return {
        "claim_generator_info": [software],
        "title": claim.video_id,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [made]}},
            {"label": LABEL, "data": about},
        ],
    }


def read(path: Path, chains: Mapping[str, str], manifest: bytes | None = None) -> dict[str, Any]:
    """What the credentials of a file say, and whether they hold; nothing is fetched from the network.

    `chains` are the certificates that this service has signed with, by serial number; `manifest` is one that lies beside the
    file. Returns `present`, `valid` (the signature fits, and the file is as it was signed), `ours` (valid, by one of
    these certificates), `issuer`, `signed_at`, `generator`, `video_id`, `created_at`, and `problems`: C2PA's codes, each
    with a `detail`.
    """
    if manifest is None and not _is_mp4(path):
        return _nothing()
    media_type = MEDIA_TYPES[".mp4"] if manifest is None else MEDIA_TYPES[".webm"]
    anchors = "".join(_issuer(chain) for chain in chains.values())
    trust = OFFLINE["trust"] | ({"user_anchors": anchors} if anchors else {})
    context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE | {"trust": trust}))
    try:
        with path.open("rb") as file, c2pa.Reader(media_type, file, manifest_data=manifest, context=context) as reader:
            return _told(json.loads(reader.json()), chains)
    except c2pa.C2paError.ManifestNotFound:
        return _nothing()
    except c2pa.C2paError as error:
        return _nothing() | {"problems": [{"code": "unreadable", "detail": str(error)[:300]}]}


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _nothing() -> dict[str, Any]:
    words = ("issuer", "signed_at", "generator", "video_id", "created_at")
    return {"present": False, "valid": False, "ours": False, **dict.fromkeys(words), "problems": []}


def _told(store: Mapping[str, Any], chains: Mapping[str, str]) -> dict[str, Any]:
    """The findings of `read` out of c2pa's report on a manifest store."""
    active = store["manifests"][store["active_manifest"]]
    signature = active.get("signature_info", {})
    assertions = {each["label"]: each.get("data") or {} for each in active.get("assertions", [])}
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    trusted = store.get("validation_state") == "Trusted" and signature.get("cert_serial_number") in chains
    about = assertions.get(LABEL, {}) if trusted else {}  # what others put there has any form
    generators = active.get("claim_generator_info") or [{}]
    return {
        "present": True,
        "valid": store.get("validation_state") in ("Valid", "Trusted"),
        "ours": trusted,
        "issuer": ", ".join(filter(None, (signature.get("common_name"), signature.get("issuer")))) or None,
        "signed_at": signature.get("time") or about.get("created_at"),
        "generator": " ".join(filter(None, (generators[0].get("name"), generators[0].get("version")))) or None,
        "video_id": about.get("video_id"),
        "created_at": about.get("created_at"),
        "problems": [{"code": each["code"], "detail": each.get("explanation", "")[:300]} for each in failures],
    }


def _issuer(chain: str) -> str:
    """The last certificate of a chain, in PEM."""
    return x509.load_pem_x509_certificates(chain.encode())[-1].public_bytes(Encoding.PEM).decode()
