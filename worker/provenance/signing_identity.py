"""The certificate and private key that videos are signed with.

The settings may name the operator's certificate. Otherwise a development certificate is created at first start in the signing
folder, under a root of its own, whose private key is discarded. Nobody else trusts that root: such a signature proves that a
file is unchanged since this service made it; it does not prove who runs the service.

Only workers read these files (mode 0600). Anybody who has them can sign and mark videos in this service's name.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from storage.errors import BadCertificate
from storage.settings import Settings
from worker.provenance.key_files import read, read_or_create

log = logging.getLogger(__name__)

DEVELOPMENT = "development.pem"
DEVELOPMENT_DAYS = 3650
"""Ten years: nobody renews a development certificate, and an expired one stops every video."""

PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages that allow signing under C2PA: e-mail protection, document signing, C2PA claim signing."""

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class SigningIdentity:
    """A certificate and its private key, checked to be usable for signing.

    chain: PEM, the certificate first, then its issuers; key: PKCS#8 in PEM; algorithm: C2PA's name of the signature algorithm;
    serial: serial number of the certificate, decimal.
    """

    chain: str
    key: str = field(repr=False)
    algorithm: str
    serial: str
    not_before: datetime
    not_after: datetime

    def check_time(self) -> None:
        """Raises BadCertificate if the certificate is not valid now."""
        now = datetime.now(UTC)
        if not self.not_before <= now <= self.not_after:
            raise BadCertificate(
                f"The certificate is valid from {self.not_before:%d %b %Y} to {self.not_after:%d %b %Y} only.",
                "Renew it (ADNERF_SIGN_CERTIFICATE), then retry. For a new development certificate, remove "
                f"{DEVELOPMENT} from the signing folder.",
            )


def load_identity(settings: Settings) -> SigningIdentity:
    """Reads the certificate that the settings name, or the development certificate, which is created if it is missing.

    Raises:
        BadCertificate: the certificate or the key is missing, unreadable, or not usable for signing.
    """
    if bool(settings.sign_certificate) != bool(settings.sign_key):
        raise BadCertificate("Only one of ADNERF_SIGN_CERTIFICATE and ADNERF_SIGN_KEY is set.", "Set both, or neither.")
    if settings.sign_certificate:
        chain, key = read(Path(settings.sign_certificate)), read(Path(settings.sign_key))
        if os.stat(settings.sign_key).st_mode & 0o077:
            log.warning("%s can be read by others than its owner: chmod 600", settings.sign_key)
    else:
        chain = key = read_or_create(settings.signing / DEVELOPMENT, make_development)
    return _checked(chain, key)


def make_development() -> str:
    """Creates a private key, its certificate and the issuer's certificate, concatenated in PEM."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("adnerf development root", root_key, "adnerf development root", root_key, authority=True)
    leaf = _certificate("adnerf development", key, "adnerf development root", root_key, authority=False)
    pem = (_pkcs8(key), *(each.public_bytes(Encoding.PEM).decode() for each in (leaf, root)))
    return "".join(pem)


def _certificate(name: str, key, issuer: str, issuer_key, *, authority: bool) -> x509.Certificate:
    """Creates a certificate with the extensions that C2PA requires of an authority or of a signer."""
    begin = datetime.now(UTC) - timedelta(hours=1)  # clocks of other machines may be behind
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
    attributes = {NameOID.ORGANIZATION_NAME: "adnerf (development, not trusted)", NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(oid, word) for oid, word in attributes.items()])


def _checked(chain: str, key_text: str) -> SigningIdentity:
    """Parses and checks a certificate chain and a key in PEM. Raises BadCertificate."""
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except ValueError as error:
        raise BadCertificate("The certificate is not in PEM.") from error
    if len(certificates) < 2:
        raise BadCertificate(
            "The certificate comes without its issuer's.", "Append the issuer's certificate to the same file."
        )
    try:
        key = load_pem_private_key(key_text.encode(), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise BadCertificate("The private key is not in PEM, or is protected by a password.") from error
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
        raise BadCertificate(f"The certificate does not allow signing: its extended key usage has none of {PURPOSES}.")


def _algorithm(key) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise BadCertificate("C2PA does not support this type of key.", "Use an ECDSA key on the curve P-256 (ES256).")


def _pkcs8(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
