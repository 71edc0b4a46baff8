from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from joblog.errors import Corrupt, Denied, InvalidSettings, JoblogError, Unavailable, WrongVersion
from joblog.leader.crypto.kms_options import KmsSecrets, VaultOptions
from joblog.leader.crypto.vault_kms import VaultKms
from tests.kms_places import vault_options
from tests.object_servers import free_port
from tests.vault_server import TransitKey, VaultServer, vault_server

CONTEXT = {"store": "s", "key": "k"}
ROOT = KmsSecrets(vault_token="root-token")


@pytest.fixture
def options(vault: VaultServer) -> VaultOptions:
    return vault_options(vault, "joblog")


def certificate(folder: Path, name: str) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that nobody but itself has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    file = folder / f"{name}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return file


def test_rewrapping_gives_the_secret_to_nobody(vault: VaultServer, options: VaultOptions) -> None:
    kms = VaultKms(options, ROOT)
    wrapped = kms.wrap(b"secret", CONTEXT)
    assert kms.rotate() == "2"
    vault.requests.clear()
    newer = kms.rewrap(wrapped, CONTEXT)
    assert vault.requests == ["POST /v1/transit/rewrap/joblog"]
    assert (kms.version_of(wrapped), kms.version_of(newer), kms.current_version()) == ("1", "2", "2")


def test_what_a_version_wrapped_that_is_not_allowed_any_more_is_denied(
    vault: VaultServer, options: VaultOptions
) -> None:
    kms = VaultKms(options, ROOT)
    wrapped = kms.wrap(b"secret", CONTEXT)
    kms.rotate()
    vault.keys["joblog"].min_decryption_version = 2
    with pytest.raises(Denied, match="not allowed any more"):
        kms.unwrap(wrapped, CONTEXT)


def test_a_key_that_would_ignore_the_context_is_refused(vault: VaultServer) -> None:
    vault.keys["plain"] = TransitKey(derived=False)
    kms = VaultKms(VaultOptions(vault.url, "plain"), ROOT)
    for ask in (lambda: kms.wrap(b"secret", CONTEXT), kms.current_version):
        with pytest.raises(InvalidSettings, match="derived=true"):
            ask()
    assert not any("encrypt" in request for request in vault.requests)


def test_another_context_another_key_and_another_version_are_told_apart(
    vault: VaultServer, options: VaultOptions
) -> None:
    kms = VaultKms(options, ROOT)
    wrapped = kms.wrap(b"secret", CONTEXT)
    with pytest.raises(Corrupt, match="belongs to another store"):
        kms.unwrap(wrapped, {**CONTEXT, "key": "l"})
    with pytest.raises(Denied, match="wrapped with another key than transit/other"):
        VaultKms(vault_options(vault, "other"), ROOT).unwrap(wrapped, CONTEXT)
    with pytest.raises(WrongVersion):
        kms.unwrap(b"\x02" + wrapped[1:], CONTEXT)
    del vault.keys["joblog"]
    with pytest.raises(Denied, match="no such key"):
        kms.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize(
    ("breaks", "kind", "says"),
    [
        (lambda vault: setattr(vault, "sealed", True), Unavailable, "sealed"),
        (lambda vault: setattr(vault, "busy", True), Unavailable, "can't take it now"),
        (lambda vault: vault.tokens.clear(), Denied, "the token is refused"),
        (lambda vault: vault.released.clear(), Unavailable, "no answer: ReadTimeout"),
    ],
)
def test_a_server_that_can_not_or_will_not(
    vault: VaultServer, breaks: Callable[[VaultServer], object], kind: type[JoblogError], says: str
) -> None:
    kms = VaultKms(replace(vault_options(vault, "joblog"), timeout_seconds=0.3), ROOT)
    wrapped = kms.wrap(b"secret", CONTEXT)
    breaks(vault)
    for ask in (
        lambda: kms.wrap(b"secret", CONTEXT),
        lambda: kms.unwrap(wrapped, CONTEXT),
        lambda: kms.rewrap(wrapped, CONTEXT),
        kms.current_version,
        kms.rotate,
    ):
        with pytest.raises(kind, match=says) as caught:
            ask()
        assert "root-token" not in str(caught.value)
    vault.sealed = vault.busy = False
    vault.tokens.add("root-token")
    vault.released.set()
    assert kms.unwrap(wrapped, CONTEXT) == b"secret"


def test_a_server_that_is_not_there_is_unavailable(options: VaultOptions) -> None:
    kms = VaultKms(replace(options, address=f"http://127.0.0.1:{free_port()}"), ROOT)
    with pytest.raises(Unavailable, match="no answer: ConnectionError"):
        kms.wrap(b"secret", CONTEXT)


def test_a_token_file_is_read_again_when_it_changes(
    vault: VaultServer, options: VaultOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "root-token")
    file = tmp_path / "token"
    kms = VaultKms(replace(options, token_file=str(file)), KmsSecrets())
    with pytest.raises(Denied, match="token_file"):
        kms.wrap(b"secret", CONTEXT)
    file.write_text("first-token\n")
    with pytest.raises(Denied, match="the token is refused"):
        kms.wrap(b"secret", CONTEXT)
    vault.tokens = {"first-token"}
    wrapped = kms.wrap(b"secret", CONTEXT)
    vault.tokens = {"second-token"}
    file.write_text("second-token\n")
    assert kms.unwrap(wrapped, CONTEXT) == b"secret"
    file.write_text("\n")
    with pytest.raises(Denied, match="holds no token"):
        kms.unwrap(wrapped, CONTEXT)
    # Nor is one taken that nobody gave it.
    with pytest.raises(Denied, match="there is no token"):
        VaultKms(options, KmsSecrets()).wrap(b"secret", CONTEXT)


@pytest.mark.parametrize("login", ["approle", "kubernetes"])
def test_a_login_is_made_again_when_its_token_has_run_out(
    vault: VaultServer, options: VaultOptions, tmp_path: Path, login: str
) -> None:
    jwt = tmp_path / "jwt"
    jwt.write_text("jwt-1")
    role = "role-1" if login == "approle" else "joblog"
    options = replace(options, login=login, role=role, jwt_file=str(jwt))
    kms = VaultKms(options, KmsSecrets(vault_secret_id="secret-1"))
    wrapped = kms.wrap(b"secret", CONTEXT)
    assert kms.unwrap(wrapped, CONTEXT) == b"secret"
    path = f"POST /v1/auth/{login}/login"
    assert vault.requests.count(path) == 1
    vault.tokens.clear()
    assert kms.unwrap(wrapped, CONTEXT) == b"secret"
    assert vault.requests.count(path) == 2
    vault.tokens.clear()
    vault.role_ids.clear()
    vault.jwts.clear()
    with pytest.raises(Denied) as caught:
        kms.unwrap(wrapped, CONTEXT)
    assert not {"secret-1", "jwt-1"} & set(str(caught.value).split())


def test_a_namespace_is_named_in_requests_and_in_the_key(vault: VaultServer, options: VaultOptions) -> None:
    vault.namespace = "team"
    kms = VaultKms(replace(options, namespace="team"), ROOT)
    assert kms.key_id == "team/transit/joblog"
    assert kms.unwrap(kms.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"
    with pytest.raises(Denied):
        VaultKms(options, ROOT).wrap(b"secret", CONTEXT)


def test_in_the_steady_state_one_request_is_one_request(vault: VaultServer, options: VaultOptions) -> None:
    kms = VaultKms(options, ROOT)
    wrapped = kms.wrap(b"secret", CONTEXT)
    vault.requests.clear()
    for _ in range(3):
        kms.unwrap(wrapped, CONTEXT)
    assert vault.requests == ["POST /v1/transit/decrypt/joblog"] * 3


def test_over_tls_only_a_server_that_is_trusted_gets_the_token(tmp_path: Path) -> None:
    own, other = certificate(tmp_path, "own"), certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    with vault_server(context) as vault:
        options = vault_options(vault, "joblog")
        for ca_file in (str(other), ""):
            with pytest.raises(Unavailable, match=r"keys\.vault\.ca_file"):
                VaultKms(replace(options, ca_file=ca_file), ROOT).wrap(b"secret", CONTEXT)
        assert not vault.requests
        kms = VaultKms(replace(options, ca_file=str(own)), ROOT)
        assert kms.unwrap(kms.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"
