"""What this service signs and marks its videos with: a certificate with its private key, and the key of the mark.

The operator's own certificate, where the settings name one; else one for development, made at first start in the signing
folder with a root of its own, whose key is thrown away. Nobody outside trusts that root, and nobody should: it shows that
a file is unchanged since this service made it, not who runs the service.

Only workers read these files, which are theirs alone (0600). Whoever has them can sign and mark in this service's name.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from storage.errors import BadCertificate
from storage.settings import Settings

log = logging.getLogger(__name__)

DEVELOPMENT = "development.pem"
MARK_KEY = "mark.key"
MARK_KEY_BYTES = 32
DEVELOPMENT_DAYS = 3650

PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages of a certificate that may sign: e-mail protection, document signing, C2PA claim signing."""

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class SigningIdentity:
    """A certificate fit to sign with. `chain` is PEM, the certificate first; `key` PKCS#8; `algorithm` C2PA's name for it."""

    chain: str
    key: str = field(repr=False)
    algorithm: str
    serial: str
    not_before: datetime
    not_after: datetime

    def check_time(self) -> None:
        """Raises BadCertificate where the certificate is not valid now."""
        moment = datetime.now(timezone.utc)
        if not self.not_before <= moment <= self.not_after:
            raise BadCertificate(
                f"The certificate is valid from {self.not_before:%d %b %Y} to {self.not_after:%d %b %Y} only.",
                "Renew it (ADNERF_SIGN_CERTIFICATE), then retry; a development certificate is made anew once "
                f"{DEVELOPMENT} is removed from the signing folder.",
            )


def load_identity(settings: Settings) -> SigningIdentity:
    """The identity of these settings; the development one is made where there is none. Raises BadCertificate."""
    if bool(settings.sign_certificate) != bool(settings.sign_key):
        raise BadCertificate("Only one of ADNERF_SIGN_CERTIFICATE and ADNERF_SIGN_KEY is set.", "Set both, or neither.")
    if settings.sign_certificate:
        chain, key = _read(Path(settings.sign_certificate)), _read(Path(settings.sign_key))
        if os.stat(settings.sign_key).st_mode & 0o077:
            log.warning("%s can be read by others than its owner: chmod 600", settings.sign_key)
    else:
        chain = key = _kept(settings.signing / DEVELOPMENT, make_development)
    return _checked(chain, key)


def load_mark_key(settings: Settings) -> bytes:
    """The key of the mark, made where there is none. All workers of a service need the same. Raises BadCertificate."""
    path = settings.signing / MARK_KEY
    text = _kept(path, lambda: secrets.token_hex(MARK_KEY_BYTES) + "\n").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != MARK_KEY_BYTES:
        remedy = "Restore it from a backup. Without it, marks of earlier videos cannot be read."
        raise BadCertificate(f"{path} does not hold {2 * MARK_KEY_BYTES} hexadecimal digits.", remedy)
    return key


def make_development() -> str:
    """A new private key with its certificate, and its issuer's: PEM, one after the other."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("adnerf development root", root_key, "adnerf development root", root_key, authority=True)
    leaf = _certificate("adnerf development", key, "adnerf development root", root_key, authority=False)
    pem = (_pkcs8(key), *(each.public_bytes(Encoding.PEM).decode() for each in (leaf, root)))
    return "".join(pem)


def _certificate(name: str, key, issuer: str, issuer_key, *, authority: bool) -> x509.Certificate:
    """A certificate as C2PA asks for it: of an authority, or of one who signs claims."""
    begin = datetime.now(timezone.utc) - timedelta(hours=1)  # clocks differ
    usage = {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
    never = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    usage |= dict.fromkeys((*never, "decipher_only"), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=DEVELOPMENT_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    words = {NameOID.ORGANIZATION_NAME: "adnerf (development, not trusted)", NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(oid, word) for oid, word in words.items()])


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The text of `path`, which is made where there is none: whole or not at all, and once, however many workers start."""
    if not path.exists():
        try:
            _make(path, make)
        except OSError as error:
            remedy = "Let the worker's user write in that folder, or name another one (ADNERF_SIGNING_DIR)."
            raise BadCertificate(f"{path} cannot be made ({error.strerror}).", remedy) from error
    return _read(path)


def _make(path: Path, make: Callable[[], str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # another worker was faster: its file counts
            os.link(temporary, path)
            log.info("made %s", path)
    finally:
        temporary.unlink()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise BadCertificate(f"{path} cannot be read ({reason}).") from error


def _checked(chain: str, key_text: str) -> SigningIdentity:
    """The identity of a chain and a key in PEM. Raises BadCertificate where they do not do."""
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except ValueError as error:
        raise BadCertificate("The certificate is not in PEM.") from error
    if len(certificates) < 2:
        raise BadCertificate(
            "The certificate stands alone.", "Put its issuer's certificate behind it, in the same file."
        )
    try:
        key = load_pem_private_key(key_text.encode(), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise BadCertificate("The private key is not in PEM, or protected by a password.") from error
    leaf = certificates[0]
    if key.public_key() != leaf.public_key():
        raise BadCertificate("The private key does not belong to the certificate.")
    _check_purpose(leaf)
    identity = SigningIdentity(
        chain="".join(each.public_bytes(Encoding.PEM).decode() for each in certificates),
        key=_pkcs8(key),
        algorithm=_algorithm(key),
        serial=str(leaf.serial_number),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
    )
    identity.check_time()
    return identity


def _check_purpose(leaf: x509.Certificate) -> None:
    try:
        usages = {usage.dotted_string for usage in leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value}
    except x509.ExtensionNotFound:
        usages = set()
    if not usages & set(PURPOSES):
        raise BadCertificate(f"The certificate is for other purposes: its extended key usage has none of {PURPOSES}.")


def _algorithm(key) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise BadCertificate("C2PA knows no signatures of this kind of key.", "Use an ECDSA key on P-256, such as ES256.")


def _pkcs8(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
