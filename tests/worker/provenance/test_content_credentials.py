"""Content credentials: signed with a certificate that does, read again, and broken by one byte."""

from __future__ import annotations

import base64
import dataclasses
import json
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adnerf_core.files import ffmpeg
from storage.errors import BadCertificate
from tests.worker.stub_core import CORE
from worker.processes.polling import PollingWorker
from worker.provenance import content_credentials
from worker.provenance.content_credentials import Signer, VideoClaim, read
from worker.provenance.mark_key import load_mark_key
from worker.provenance.provenance import Provenance
from worker.provenance.signing_identity import PURPOSES, load_identity

CLAIM = VideoClaim("vid_1", "sub_1", "ab" * 32, datetime(2026, 5, 2, 9, 30, tzinfo=UTC))
FULL = dataclasses.replace(CLAIM, full_frame=True)
SIGNING = (ExtendedKeyUsageOID.EMAIL_PROTECTION,)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """One second of a moving picture as MP4 and WebM."""
    folder = tmp_path_factory.mktemp("clips")
    ramp = np.add.outer(np.arange(64), np.arange(64))
    frames = [np.dstack([(ramp + 3 * k) % 256] * 3).astype(np.uint8) for k in range(25)]
    for suffix in (".mp4", ".webm"):
        ffmpeg.write_video(folder / f"clip{suffix}", iter(frames), fps=25)
    return folder


@pytest.fixture
def identity(settings):
    return load_identity(settings)


def signed(identity, clips, tmp_path, suffix=".mp4", claim=CLAIM):
    """A signed copy of a clip, and its manifest where that lies beside it."""
    source, out = tmp_path / f"plain{suffix}", tmp_path / f"signed{suffix}"
    source.write_bytes((clips / f"clip{suffix}").read_bytes())
    return out, Signer(identity).sign(source, out, claim)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_the_development_certificate_is_made_once_and_for_the_owner_only(settings):
    with ThreadPoolExecutor(8) as pool:
        serials = {identity.serial for identity in pool.map(load_identity, [settings] * 8)}
        keys = set(pool.map(load_mark_key, [settings] * 8))
    assert len(serials) == len(keys) == 1
    files = list(settings.signing.iterdir())
    assert sorted(path.name for path in files) == ["development.pem", "mark.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(settings.signing.stat().st_mode) == 0o700
    assert "PRIVATE" not in repr(load_identity(settings))


def test_an_mp4_says_what_made_it(identity, clips, tmp_path):
    video, beside = signed(identity, clips, tmp_path)
    assert beside is None
    found = read(video, {identity.serial: identity.chain})
    assert (found["present"], found["valid"], found["ours"], found["problems"]) == (True, True, True, [])
    assert (found["video_id"], found["created_at"]) == ("vid_1", "2026-05-02T09:30:00Z")
    assert found["generator"].startswith("adnerf ")
    assert "development" in found["issuer"]
    assert ffmpeg.probe(video).duration_s == pytest.approx(1.0, abs=0.05)


def test_any_other_reader_that_trusts_the_root_trusts_the_video(identity, clips, tmp_path):
    video, _ = signed(identity, clips, tmp_path)
    root = x509.load_pem_x509_certificates(identity.chain.encode())[-1].public_bytes(Encoding.PEM).decode()
    context = c2pa.Context(c2pa.Settings.from_dict({"trust": {"user_anchors": root}}))
    with video.open("rb") as file, c2pa.Reader("video/mp4", file, context=context) as reader:
        store = json.loads(reader.json())
    assert store["validation_state"] == "Trusted"
    manifest = store["manifests"][store["active_manifest"]]
    (actions,) = (each["data"] for each in manifest["assertions"] if each["label"].startswith("c2pa.actions"))
    assert [action["action"] for action in actions["actions"]] == ["c2pa.created"]
    assert actions["actions"][0]["digitalSourceType"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert "ingredients" not in manifest
    assert "Ada" not in json.dumps(store)  # no name, only the digest of the record
    assert "ab" * 32 in json.dumps(store)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("digest", ["cd" * 32, None], ids=["known", "unknown"])
def test_a_full_frame_is_a_composite_that_names_its_footage_by_the_digest_alone(
    identity, clips, tmp_path, suffix, digest
):
    video, beside = signed(identity, clips, tmp_path, suffix, dataclasses.replace(FULL, footage_sha256=digest))
    found = read(video, {identity.serial: identity.chain}, beside)
    assert (found["ours"], found["problems"]) == (True, [])
    assert (found["source_type"], found["footage_sha256"]) == ("compositeWithTrainedAlgorithmicMedia", digest)
    with video.open("rb") as file, c2pa.Reader(f"video/{suffix[1:]}", file, manifest_data=beside) as reader:
        store = json.loads(reader.json())
    (manifest,) = store["manifests"].values()
    (ingredient,) = manifest["ingredients"]
    assert ingredient["relationship"] == "componentOf"
    assert not {"thumbnail", "data", "active_manifest", "manifest_data"} & set(ingredient)
    (actions,) = (each["data"]["actions"] for each in manifest["assertions"] if each["label"] == "c2pa.actions.v2")
    created, placed = actions
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/digitalsourcetype/compositeWithTrainedAlgorithmicMedia")
    (reference,) = placed["parameters"]["ingredients"]
    assert placed["action"] == "c2pa.placed" and ingredient["label"] in reference["url"]
    if digest is not None:
        stated = ingredient["instance_id"].removeprefix("ni:///sha-256;")
        assert base64.urlsafe_b64decode(stated + "=").hex() == digest
        assert digest in ingredient["description"]
    plain, _ = signed(identity, clips, tmp_path)
    assert read(plain, {identity.serial: identity.chain})["source_type"] == "trainedAlgorithmicMedia"
    assert len(beside or video.read_bytes()) - (0 if beside else plain.stat().st_size) < 20_000


@pytest.mark.parametrize(
    "action",
    [
        {"action": "c2pa.created", "digitalSourceType": "https://example.org/digitalsourcetype/anything"},
        {"action": "c2pa.created", "digitalSourceType": content_credentials.SOURCE_TYPES + "a b <i>"},
    ],
    ids=["elsewhere", "no term"],
)
def test_only_terms_of_the_iptc_are_repeated(action, identity, clips, tmp_path, monkeypatch):
    theirs = content_credentials.manifest_of(CLAIM)
    theirs["assertions"][0]["data"]["actions"] = [action]
    monkeypatch.setattr(content_credentials, "manifest_of", lambda claim: theirs)
    video, _ = signed(identity, clips, tmp_path)
    assert read(video, {})["source_type"] is None


def test_one_flipped_byte_is_noticed(identity, clips, tmp_path):
    video, _ = signed(identity, clips, tmp_path)
    flip(video, video.read_bytes().index(b"mdat") + 400)
    found = read(video, {identity.serial: identity.chain})
    assert (found["present"], found["valid"], found["ours"], found["video_id"]) == (True, False, False, None)
    assert [problem["code"] for problem in found["problems"]] == ["assertion.bmffHash.mismatch"]


def test_a_webm_keeps_its_bytes_and_its_manifest_lies_beside(identity, clips, tmp_path):
    video, beside = signed(identity, clips, tmp_path, ".webm")
    assert video.read_bytes() == (clips / "clip.webm").read_bytes()
    chains = {identity.serial: identity.chain}
    assert read(video, chains)["present"] is False
    assert read(video, chains, beside)["ours"] is True
    flip(video, video.stat().st_size // 2)
    assert read(video, chains, beside)["valid"] is False


def test_what_somebody_else_signed_is_valid_but_not_ours(identity, settings, clips, tmp_path):
    video, _ = signed(identity, clips, tmp_path)
    other = load_identity(settings.replace(data_dir=tmp_path / "elsewhere"))
    for chains in ({}, {other.serial: other.chain}, {"1": identity.chain}):
        found = read(video, chains)
        assert (found["valid"], found["ours"], found["video_id"]) == (True, False, None)


@pytest.mark.parametrize("said", [{"created_at": "yesterday", "video_id": 5}, ["no object"]], ids=["words", "list"])
def test_what_a_stranger_says_of_a_file_in_our_words_is_not_repeated(said, identity, clips, tmp_path, monkeypatch):
    theirs = content_credentials.manifest_of(CLAIM)
    theirs["assertions"][1]["data"] = said
    monkeypatch.setattr(content_credentials, "manifest_of", lambda claim: theirs)
    video, _ = signed(identity, clips, tmp_path)
    found = read(video, {})
    assert (found["valid"], found["ours"]) == (True, False)
    assert (found["signed_at"], found["created_at"], found["video_id"]) == (None, None, None)


@pytest.mark.parametrize("content", [b"", b"x", b"....ftyp", b"\x00\x00\x00\x18ftypmp42" + bytes(400)])
def test_files_that_are_none_have_no_credentials(content, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read(path, {})["present"] is False


class Office:
    """Makes certificates of an operator's own, good and bad ones, and the settings that name them."""

    def __init__(self, settings, folder):
        self.settings, self.folder = settings, folder
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certify(self.root_key, ca=True)

    def certify(self, key, *, ca=False, days=(-1, 30), usages=SIGNING):
        moment = datetime.now(UTC)
        root = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "root"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")]
        )
        name = root if ca else x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "studio")])
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= {"encipher_only": False, "decipher_only": False, "digital_signature": not ca}
        usage |= {"key_cert_sign": ca, "crl_sign": ca}
        builder = (
            x509.CertificateBuilder(root, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(moment + timedelta(days[0]))
            .not_valid_after(moment + timedelta(days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
        )
        if not ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self.root_key, hashes.SHA256())

    def given(self, *certificates, key, password=None):
        """The settings with these in files."""
        protection = BestAvailableEncryption(password) if password else NoEncryption()
        chain, secret = self.folder / "chain.pem", self.folder / "key.pem"
        chain.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
        secret.chmod(0o600)
        return self.settings.replace(sign_certificate=str(chain), sign_key=str(secret))


@pytest.fixture
def office(settings, tmp_path):
    return Office(settings, tmp_path)


@pytest.mark.parametrize(
    ("make_key", "algorithm", "usage"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384", PURPOSES[1]),
        (ed25519.Ed25519PrivateKey.generate, "ed25519", PURPOSES[2]),
    ],
)
def test_an_operators_own_certificate(office, make_key, algorithm, usage, clips, tmp_path):
    key = make_key()
    certificate = office.certify(key, usages=[x509.ObjectIdentifier(usage)])
    identity = load_identity(office.given(certificate, office.root, key=key))
    assert identity.algorithm == algorithm
    Signer(identity).self_test()
    video, _ = signed(identity, clips, tmp_path)
    found = read(video, {identity.serial: identity.chain})
    assert (found["ours"], found["issuer"]) == (True, "studio")
    assert not office.settings.signing.exists()  # nothing was made for development


def bad(office, what):
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    good = office.certify(key)
    if what == "expired":
        return office.given(office.certify(key, days=(-30, -1)), office.root, key=key)
    if what == "not yet valid":
        return office.given(office.certify(key, days=(1, 30)), office.root, key=key)
    if what == "another key":
        return office.given(good, office.root, key=other)
    if what == "alone":
        return office.given(good, key=key)
    if what == "password":
        return office.given(good, office.root, key=key, password=b"secret")
    if what == "another purpose":
        return office.given(office.certify(key, usages=[ExtendedKeyUsageOID.SERVER_AUTH]), office.root, key=key)
    settings = office.given(good, office.root, key=key)
    if what == "missing":
        (office.folder / "key.pem").unlink()
    if what == "no PEM":
        (office.folder / "chain.pem").write_text("hello")
    if what == "one of two":
        settings = settings.replace(sign_key="")
    return settings


@pytest.mark.parametrize(
    ("what", "words"),
    {
        "expired": "valid from .* only",
        "not yet valid": "valid from .* only",
        "another key": "does not belong",
        "alone": "without its issuer",
        "password": "password",
        "another purpose": "does not allow signing",
        "missing": "cannot be read",
        "no PEM": "not in PEM",
        "one of two": "Only one",
    }.items(),
)
def test_a_certificate_that_does_not_do_is_refused_in_words(office, what, words):
    with pytest.raises(BadCertificate, match=words) as caught:
        Provenance(bad(office, what)).check()
    assert caught.value.remedy


def test_a_certificate_that_was_renewed_is_taken_up_without_a_restart(office):
    key = ec.generate_private_key(ec.SECP256R1())
    seal = Provenance(office.given(office.certify(key), office.root, key=key))
    seal.check()
    moment = datetime.now(UTC)
    seal.signer.identity = dataclasses.replace(seal.signer.identity, not_after=moment - timedelta(1))
    office.given(renewed := office.certify(key), office.root, key=key)
    seal.check()
    assert seal.signer.identity.serial == str(renewed.serial_number)
    seal.signer.identity = dataclasses.replace(seal.signer.identity, not_after=moment - timedelta(1))
    office.given(office.certify(key, days=(-30, -1)), office.root, key=key)
    with pytest.raises(BadCertificate, match="valid from"):
        seal.check()


def test_a_time_stamping_authority_that_is_away_is_named(identity):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
    with pytest.raises(BadCertificate) as caught:
        Signer(identity, url).self_test()
    assert url in str(caught.value)
    assert url not in caught.value.message + caught.value.remedy


def test_a_signing_folder_that_cannot_be_written_is_told(settings, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BadCertificate, match="cannot be created") as caught:
        load_mark_key(settings.replace(signing_dir=str(tmp_path / "file" / "signing")))
    assert "ADNERF_SIGNING_DIR" in caught.value.remedy


def test_a_job_whose_video_cannot_be_signed_fails_and_can_be_retried(house, office, caplog):
    subject = house.ready_subject()
    video = house.submit_video(subject.id)
    core = dataclasses.replace(CORE, provenance=Provenance)
    worker = PollingWorker(bad(office, "expired"), core)
    assert "cannot be signed" in caplog.text
    assert worker.run_next()
    error = house.job(video.job).error
    assert (error["code"], "valid from" in error["message"]) == ("bad_certificate", True)
    house.submit_subject()
    assert worker.run_next()  # all else goes on
    assert house.newest_job().kind == "train"
    worker.close()


def test_a_damaged_key_of_the_mark_is_not_replaced(settings):
    load_mark_key(settings)
    (settings.signing / "mark.key").write_text("short")
    with pytest.raises(BadCertificate, match="hexadecimal"):
        load_mark_key(settings)


def test_of_a_strangers_manifest_of_any_size_a_bounded_part_is_told(identity, clips, tmp_path, monkeypatch):
    manifest = content_credentials.manifest_of(CLAIM)
    manifest["claim_generator_info"] = [{"name": "\u202en" * 100_000, "version": "1"}]
    manifest["assertions"] += [
        {"label": f"a.b{number}", "data": {"text": "right" + str(number)}} for number in range(60)
    ]
    monkeypatch.setattr(content_credentials, "manifest_of", lambda claim: manifest)
    path, _ = signed(identity, clips, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"right", b"wrong"))
    found = read(path, {})
    assert (found["present"], found["valid"], found["generator"]) == (True, False, "n" * content_credentials.MAX_CHARS)
    assert len(found["problems"]) == content_credentials.MAX_PROBLEMS


def test_failed_checks_are_told_without_characters_that_a_terminal_would_carry_out():
    failed = [{"code": "assertion.hashedURI.mismatch", "explanation": "hash of \x1b[2Jevil\u202e does not match"}]
    store = {
        "active_manifest": "a",
        "manifests": {"a": {}},
        "validation_results": {"activeManifest": {"failure": failed}},
    }
    (problem,) = content_credentials._findings(store, {})["problems"]
    assert problem["detail"] == "hash of [2Jevil does not match"
