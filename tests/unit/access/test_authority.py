"""The leader's CA and the certificate that its servers show: what is in them, who may read them, when they change."""

from __future__ import annotations

import ssl
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from joblog.errors import Corrupt, Denied, InvalidInput, InvalidSettings
from joblog.leader.access.authority import BACKDATED_SECONDS, Authority, Pair, general_name, key_pem_of, pem_of
from joblog.leader.access.host_names import host_names, is_host
from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.roles import Grant
from joblog.leader.access.shown import GivenFiles, ServerCertificate
from joblog.leader.access.store import AccessStore
from joblog.leader.settings import LeaderSettings
from joblog.settings import load

DAY_NS = 86_400 * 10**9
NAMES = ["localhost", "127.0.0.1", "::1", "logs.example"]


def request(key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    made = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
    )
    signed = made.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def leaf(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain)[0]


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    again = Authority.open(tmp_path)
    assert again.fingerprint == first.fingerprint
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"ca.pem", "ca.key"}


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
def test_files_that_others_may_read_are_refused(tmp_path: Path, name: str) -> None:
    Authority.open(tmp_path)
    (tmp_path / name).chmod(0o640)
    with pytest.raises(Denied, match="others may read it: chmod 600"):
        Authority.open(tmp_path)


def test_a_lost_key_is_no_new_authority(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(Corrupt, match=r"ca\.key: is missing"):
        Authority.open(tmp_path)


def test_a_stop_between_key_and_certificate_is_made_good(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.pem").unlink()
    assert Authority.open(tmp_path).fingerprint
    assert (tmp_path / "ca.key").read_bytes() == key


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Authority.open(tmp_path / name)
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    with pytest.raises(Corrupt, match="do not belong together"):
        Authority.open(tmp_path / "a")


@pytest.mark.parametrize("worker_id", ["host-01abc", "w" * 250, "wörker / 1"])
def test_a_workers_certificate_is_for_that_worker_and_for_clients_alone(tmp_path: Path, worker_id: str) -> None:
    authority = Authority.open(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    before = time.time()
    issued = authority.issue(request(key), worker_id, 3600)
    certificate = leaf(issued.chain)
    extensions = certificate.extensions
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() != "CN=somebody else"
    uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    (uri,) = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert uri.value.startswith("joblog://worker/") and " " not in uri.value
    assert issued.serial == format(certificate.serial_number, "x")
    assert issued.expires_ns == certificate.not_valid_after_utc.timestamp() * 1e9
    assert before + 3598 <= issued.expires_ns / 1e9 <= time.time() + 3600
    assert certificate.not_valid_before_utc.timestamp() <= before - BACKDATED_SECONDS + 1
    verifier = PolicyBuilder().store(Store([leaf(authority.pem)])).build_client_verifier()
    verifier.verify(certificate, [])


@pytest.mark.parametrize("worker_id", ["w" * 250, "ü" * 40])
def test_a_worker_with_a_long_id_is_recognised_by_its_certificate(tmp_path: Path, worker_id: str) -> None:
    authority, store = Authority.open(tmp_path), AccessStore(tmp_path / "access.sqlite3")
    record, _ = store.create_token("t", (Grant("writer"),), created_by="x")
    issued = authority.issue(request(), worker_id, 60)
    store.add_certificate(issued.serial, worker_id, record.id, issued.expires_ns)
    principal = Recogniser(store).certificate(pem_of(leaf(issued.chain)))
    assert (principal.worker_id, principal.id, principal.token_id) == (worker_id, issued.serial, record.id)
    store.close()


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    good = request()
    with pytest.raises(InvalidInput, match="is no PKCS#10"):
        authority.issue(b"junk", "w", 60)
    with pytest.raises(InvalidInput, match="at most 8192"):
        authority.issue(good + bytes(10_000), "w", 60)
    with pytest.raises(InvalidInput, match=r"not signed with its own key|is no PKCS#10"):
        authority.issue(good[:-1] + bytes([good[-1] ^ 1]), "w", 60)
    weak = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    other = weak.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(serialization.Encoding.DER)
    with pytest.raises(InvalidInput, match="P-256 or P-384, or RSA"):
        authority.issue(other, "w", 60)


def test_the_servers_certificate_has_its_names_and_the_ca_beside_it(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    server = ServerCertificate(tmp_path, authority, lambda: NAMES)
    shown = server.current()
    certificate, ca = x509.load_pem_x509_certificates(shown.pair.chain)
    assert ca.fingerprint(hashes.SHA256()) == authority.fingerprint == shown.fingerprint
    verifier = PolicyBuilder().store(Store([ca]))
    for name in NAMES:
        subject = general_name(name)
        assert isinstance(subject, x509.DNSName | x509.IPAddress)
        verifier.build_server_verifier(subject).verify(certificate, [])
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("other.example")).verify(certificate, [])
    assert (server.name_for("127.0.0.1"), server.name_for("10.9.8.7")) == ("", "localhost")
    again = ServerCertificate(tmp_path, authority, lambda: NAMES)
    assert again.current() == shown
    renamed = ServerCertificate(tmp_path, authority, lambda: [*NAMES, "new.example"])
    assert renamed.current() != shown
    renamed.context()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_it_is_renewed_after_two_thirds_of_its_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    authority = Authority.open(tmp_path)
    server = ServerCertificate(tmp_path, authority, lambda: NAMES, lifetime_seconds=1000, clock=lambda: now[0])
    monkeypatch.setattr("joblog.reread._LOOK_SECONDS", 0.0)
    first = server.current()
    now[0] += 500
    assert server.current() is first
    now[0] += 200
    second = server.current()
    assert leaf(second.pair.chain).serial_number != leaf(first.pair.chain).serial_number
    assert second.fingerprint == first.fingerprint


def given(folder: Path, authority: Authority, *names: str) -> GivenFiles:
    """Certificate files as an operator would put them, without the CA in the chain."""
    pair = authority.server_pair(names, 3600)
    files = GivenFiles(folder / "own.pem", folder / "own.key", folder / "own-ca.pem")
    put(files, Pair(pair.chain.removesuffix(authority.pem), pair.key))
    assert files.ca is not None
    files.ca.write_bytes(authority.pem)
    return files


def put(files: GivenFiles, pair: Pair) -> None:
    assert files.certificate is not None and files.key is not None
    for path, content in ((files.key, pair.key), (files.certificate, pair.chain)):
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.replace(path)


def test_own_files_are_shown_and_read_again_and_a_broken_one_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("joblog.reread._LOOK_SECONDS", 0.0)
    (tmp_path / "theirs").mkdir()
    mine, theirs = Authority.open(tmp_path), Authority.open(tmp_path / "theirs")
    files = given(tmp_path / "theirs", theirs, "logs.example")
    server = ServerCertificate(tmp_path, mine, lambda: NAMES, given=files)
    first = server.current()
    assert (first.fingerprint, first.ca, first.client_ca) == (theirs.fingerprint, theirs.pem, mine.pem)
    assert x509.load_pem_x509_certificates(first.pair.chain)[-1].fingerprint(hashes.SHA256()) == theirs.fingerprint
    assert server.name_for("127.0.0.1") == "logs.example"

    assert files.certificate is not None
    files.certificate.write_bytes(b"half a certif")
    assert server.current() is first
    assert server.current() is first
    assert sum("stays in force" in record.message for record in caplog.records) == 1
    put(files, Pair(theirs.server_pair(["x.example"], 60).chain, first.pair.key))
    assert server.current() is first

    put(files, theirs.server_pair(["new.example"], 3600))
    second = server.current()
    assert leaf(second.pair.chain).serial_number != leaf(first.pair.chain).serial_number
    assert server.name_for("127.0.0.1") == "new.example"


def test_a_key_of_ones_own_must_be_private_and_without_a_passphrase(tmp_path: Path) -> None:
    mine = Authority.open(tmp_path)
    files = given(tmp_path, mine, "logs.example")
    assert files.key is not None
    files.key.chmod(0o644)
    with pytest.raises(Denied, match="chmod 600"):
        ServerCertificate(tmp_path, mine, lambda: NAMES, given=files)
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    files.key.write_bytes(locked)
    files.key.chmod(0o600)
    with pytest.raises(InvalidInput, match="has a passphrase"):
        ServerCertificate(tmp_path, mine, lambda: NAMES, given=files)
    files.key.write_bytes(key_pem_of(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(Corrupt, match="is not that of the first certificate"):
        ServerCertificate(tmp_path, mine, lambda: NAMES, given=files)


def test_http_takes_nothing_older_than_tls_1_2(tmp_path: Path) -> None:
    context = ServerCertificate(tmp_path, Authority.open(tmp_path), lambda: NAMES).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_names_of_this_machine() -> None:
    found = host_names(["logs.example", "*.jobs.example", "0.0.0.0", "not a name"])
    assert {"localhost", "127.0.0.1", "::1", "logs.example", "*.jobs.example"} <= set(found)
    assert "0.0.0.0" not in found and "not a name" not in found
    assert [is_host(name) for name in ("a.b", "*.b", "10.0.0.1", "::1", "a b", "-a", "a..b", "")] == [True] * 4 + [
        False
    ] * 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tls.names": "a b"}, "neither a host name nor an address"),
        ({"tls.certificate": "/x.pem"}, "tls.key must be given together"),
        ({"tls.ca": "/x.pem"}, "needs tls.certificate"),
    ],
)
def test_settings_that_do_not_fit(flags: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        load(LeaderSettings, flags=flags)
