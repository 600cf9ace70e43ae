"""Content credentials: a signed C2PA manifest that states how a video was made. It is written last, and can be read back.

An MP4 carries the manifest in a box of its own. C2PA defines no place for it in a WebM; there the manifest is a separate object,
which is found by the SHA-256 of the file. It states the software, the kind of source, the time, the subject and the digest of the
record of consent; it contains no person's name. The source of a portrait is a trained algorithm; that of a full frame is a composite
of such pictures and footage, which is an ingredient: it is named by its digest, and nothing of it is embedded.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from storage.errors import BadCertificate
from worker.provenance.signing_identity import PURPOSES, SigningIdentity

MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav", ".jpg": "image/jpeg"}
"""What can be signed: videos, the speech of scripts, and pictures of videos."""
DETACHED = frozenset({".webm"})
"""Formats whose manifest is a separate object."""
LABEL = "adnerf.video"
"""Label of the assertion with this service's own ids."""
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Beginning of the IPTC's terms for kinds of sources."""
GENERATED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
"""The kinds of sources: of a portrait, and of a full frame."""
FOOTAGE = "footage"
"""The name by which the actions of a manifest definition refer to the ingredient."""
MAX_CHARS, MAX_PROBLEMS = 300, 20
"""Characters of a text, and failed checks, that the findings repeat of a stranger's manifest: it may have texts and parts of any number and
length, and the findings are stored and answered."""
OFFLINE_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "trust": {"trust_config": "\n".join(PURPOSES)},
}


@dataclass(frozen=True)
class VideoClaim:
    """The facts that the credentials of one video state.

    `full_frame`: the video shows footage, in which only a part is generated. `footage_sha256` is the digest of the reference video;
    None if it is unknown, because an earlier version created the subject.
    """

    video_id: str
    subject_id: str
    consent_sha256: str
    created_at: datetime
    full_frame: bool = False
    footage_sha256: str | None = None


class Signer:
    """Signs videos.

    Args:
        identity: certificate and private key.
        timestamp_url: address of an RFC 3161 time stamping authority, called at each signature; empty for none.
    """

    def __init__(self, identity: SigningIdentity, timestamp_url: str = ""):
        self.identity = identity
        self._timestamp_url = timestamp_url

    def self_test(self) -> None:
        """Signs a few bytes, to find out whether C2PA accepts the certificate. Raises BadCertificate if not."""
        claim = VideoClaim("vid_0", "sub_0", "0" * 64, datetime.now(UTC))
        self._sign(io.BytesIO(b"self test"), io.BytesIO(), "application/octet-stream", claim, detached=True)

    def sign(self, source: Path, out: Path, claim: VideoClaim) -> bytes | None:
        """Writes the file `source` (its suffix is one of MEDIA_TYPES) with its credentials to `out`.

        Returns:
            The manifest if it must be stored separately (the bytes of `out` are then those of `source`), else None.

        Raises:
            BadCertificate: the certificate is not valid now, or C2PA does not accept it.
        """
        self.identity.check_time()
        detached = source.suffix in DETACHED
        with source.open("rb") as file, out.open("w+b") as signed:
            manifest = self._sign(file, signed, MEDIA_TYPES[source.suffix], claim, detached=detached)
        if detached:
            source.replace(out)
        return manifest if detached else None

    def _sign(self, source: BinaryIO, out: BinaryIO, media_type: str, claim: VideoClaim, *, detached: bool) -> bytes:
        info = c2pa.C2paSignerInfo(
            alg=self.identity.algorithm.encode(),
            sign_cert=self.identity.chain.encode(),
            private_key=self.identity.key.encode(),
            ta_url=self._timestamp_url.encode() or None,
        )
        context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE_SETTINGS))
        try:
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest_of(claim), context=context) as builder:
                if detached:
                    builder.set_no_embed()
                return builder.sign(signer, media_type, source, out)
        except (c2pa.C2paError.Signature, c2pa.C2paError.Verify) as error:
            if not self._timestamp_url:
                raise BadCertificate("The video cannot be signed.", details=error) from error
            remedy = (
                "Check that the time stamping authority (ADNERF_TIMESTAMP_URL) answers and that the certificate is valid for "
                "signing, then retry."
            )
            raise BadCertificate(
                "The video cannot be signed.", remedy, details=f"{self._timestamp_url}: {error}"
            ) from error


def manifest_of(claim: VideoClaim) -> dict[str, Any]:
    """Returns the manifest definition in the form that the c2pa library reads."""
    software = {"name": "adnerf", "version": version("adnerf")}
    when = claim.created_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPES + (COMPOSITE if claim.full_frame else GENERATED),
        "when": when,
        "softwareAgent": software,
    }
    ids = {
        "video_id": claim.video_id,
        "subject_id": claim.subject_id,
        "consent_sha256": claim.consent_sha256,
        "created_at": when,
    }
    actions, ingredients = [created], []
    if claim.full_frame:
        ids["footage_sha256"] = claim.footage_sha256
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": [FOOTAGE]}})
        ingredients.append(_footage_ingredient(claim.footage_sha256))
    return {
        "claim_generator_info": [software],
        "title": claim.video_id,
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": LABEL, "data": ids},
        ],
    }


def _footage_ingredient(sha256: str | None) -> dict[str, Any]:
    """Returns the definition of the footage as an ingredient: its digest as a URI (RFC 6920), and no byte of it."""
    ingredient = {"label": FOOTAGE, "title": "the footage of the subject", "relationship": "componentOf"}
    if sha256 is not None:
        digest = base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")
        ingredient |= {"instance_id": f"ni:///sha-256;{digest}", "description": f"SHA-256 {sha256}"}
    return ingredient


def read(path: Path, chains: Mapping[str, str], manifest: bytes | None = None) -> dict[str, Any]:
    """Reads and validates the credentials of a file; nothing is fetched from the network.

    Args:
        path: the file.
        chains: the certificate chains (PEM) that this service has signed with, by serial number.
        manifest: the separate manifest of a file that does not carry one.

    Returns:
        `present`; `valid` (the signature is right, and the file is unchanged since); `ours` (valid, and signed with one of
        `chains`); `issuer`, `signed_at`, `generator`, `source_type` (the IPTC's term), `video_id`, `created_at`,
        `footage_sha256`; and `problems`: C2PA's codes, each with a `detail`.
    """
    if manifest is None and not _is_mp4(path):
        return _absent()
    media_type = MEDIA_TYPES[".mp4"] if manifest is None else MEDIA_TYPES[".webm"]
    anchors = "".join(_issuer(chain) for chain in chains.values())
    trust = OFFLINE_SETTINGS["trust"] | ({"user_anchors": anchors} if anchors else {})
    context = c2pa.Context(c2pa.Settings.from_dict(OFFLINE_SETTINGS | {"trust": trust}))
    try:
        with path.open("rb") as file, c2pa.Reader(media_type, file, manifest_data=manifest, context=context) as reader:
            return _findings(json.loads(reader.json()), chains)
    except c2pa.C2paError.ManifestNotFound:
        return _absent()
    except c2pa.C2paError as error:
        return _absent() | {"problems": [{"code": "unreadable", "detail": _text("", str(error)) or ""}]}


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _absent() -> dict[str, Any]:
    unknown = ("issuer", "signed_at", "generator", "source_type", "video_id", "created_at", "footage_sha256")
    return {"present": False, "valid": False, "ours": False, **dict.fromkeys(unknown), "problems": []}


def _findings(store: Mapping[str, Any], chains: Mapping[str, str]) -> dict[str, Any]:
    """Builds the result of `read` from the c2pa library's report on a manifest store."""
    active = store["manifests"][store["active_manifest"]]
    signature = active.get("signature_info", {})
    assertions = {each["label"]: each.get("data") or {} for each in active.get("assertions", [])}
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    trusted = store.get("validation_state") == "Trusted" and signature.get("cert_serial_number") in chains
    ids = assertions.get(LABEL, {}) if trusted else {}  # anybody else may have put anything there
    generators = active.get("claim_generator_info") or [{}]
    return {
        "present": True,
        "valid": store.get("validation_state") in ("Valid", "Trusted"),
        "ours": trusted,
        "issuer": _text(", ", signature.get("common_name"), signature.get("issuer")),
        "signed_at": signature.get("time") or ids.get("created_at"),
        "generator": _text(" ", generators[0].get("name"), generators[0].get("version")),
        "source_type": _source_type(assertions),
        "video_id": ids.get("video_id"),
        "created_at": ids.get("created_at"),
        "footage_sha256": ids.get("footage_sha256"),
        "problems": [
            {"code": each["code"], "detail": _text("", each.get("explanation")) or ""}
            for each in failures[:MAX_PROBLEMS]
        ],
    }


def _text(between: str, *parts: str | None) -> str | None:
    """Joins what a manifest says, without characters that cannot be seen; None if it says nothing."""
    return "".join(filter(str.isprintable, between.join(filter(None, parts))))[:MAX_CHARS] or None


def _source_type(assertions: Mapping[str, Any]) -> str | None:
    """Returns the IPTC's term for the kind of source that the first action states; None if it states no such term."""
    data = next((each for label, each in assertions.items() if label.startswith("c2pa.actions")), {})
    actions = data.get("actions") if isinstance(data, dict) else None
    first = actions[0] if isinstance(actions, list) and actions else None
    source = first.get("digitalSourceType") if isinstance(first, dict) else None
    term = re.fullmatch(rf"{re.escape(SOURCE_TYPES)}(\w{{1,64}})", source) if isinstance(source, str) else None
    return term and term[1]


def _issuer(chain: str) -> str:
    """Returns the last certificate of a chain, in PEM."""
    return x509.load_pem_x509_certificates(chain.encode())[-1].public_bytes(Encoding.PEM).decode()
