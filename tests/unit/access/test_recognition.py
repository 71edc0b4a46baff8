"""Who shows a token or a certificate, and who is not known: expired, revoked, of another CA, changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from joblog.errors import NotAuthenticated
from joblog.leader.access.admin_token import ensure_admin_token, remake_admin_token
from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.records import serial_text
from joblog.leader.access.roles import Grant, Permission
from joblog.leader.access.store import AccessStore
from joblog.token import Token

DAY_NS = 86_400 * 10**9


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * 10**9

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[AccessStore]:
    store = AccessStore(tmp_path / "access.sqlite3", clock=clock)
    yield store
    store.close()


@pytest.fixture
def recogniser(store: AccessStore, clock: Clock) -> Recogniser:
    return Recogniser(store, clock=clock)


def token_of(store: AccessStore, *grants: Grant, **options: int) -> Token:
    record, secret = store.create_token("t", grants or [Grant("reader")], created_by="root", **options)  # type: ignore[arg-type]
    return Token(record.id, secret)


def certificate(*names: str) -> x509.Certificate:
    """One that looks like a worker's; who signed it was looked at in the handshake."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in names])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=10_000))
        .sign(key, hashes.SHA256())
    )


def pem(found: x509.Certificate) -> bytes:
    return found.public_bytes(Encoding.PEM)


def serial(found: x509.Certificate) -> str:
    return serial_text(found.serial_number)


def test_a_token_is_its_holder_until_it_expires(store: AccessStore, recogniser: Recogniser, clock: Clock) -> None:
    token = token_of(store, lifetime_seconds=100)
    for text in (token.text, token.text, Token(token.id, token.secret, bytes(32), "h:1").text):
        principal = recogniser.bearer(text)
        assert (principal.kind, principal.id, principal.token_id, principal.name) == ("token", token.id, token.id, "t")
    principal = recogniser.bearer(token.text)
    assert recogniser.is_good(principal)
    clock.now_ns += 100 * 10**9
    with pytest.raises(NotAuthenticated, match="expired"):
        recogniser.bearer(token.text)
    assert not recogniser.is_good(principal)


def test_last_use_is_noted(store: AccessStore, recogniser: Recogniser, clock: Clock) -> None:
    token = token_of(store)
    for _ in range(3):
        clock.now_ns += 2 * 10**9
        recogniser.bearer(token.text)
        found = store.find_token(token.id)
        assert found is not None and found.last_used_ns == clock.now_ns


@pytest.mark.parametrize("text", ["", "x", "jl1.abcdefghijkl.x.-.-", "Bearer", "\ud800", "a" * 5000])
def test_what_is_no_token(recogniser: Recogniser, text: str) -> None:
    with pytest.raises(NotAuthenticated):
        recogniser.bearer(text)


def test_a_token_of_another_leader_a_wrong_secret_and_a_revoked_one(store: AccessStore, recogniser: Recogniser) -> None:
    token = token_of(store)
    for other in (Token("aaaaaaaaaaaa", token.secret), Token(token.id, bytes(32))):
        with pytest.raises(NotAuthenticated, match="not known here"):
            recogniser.bearer(other.text)
    principal = recogniser.bearer(token.text)
    store.revoke_token(token.id)
    recogniser.forget()
    with pytest.raises(NotAuthenticated, match="revoked"):
        recogniser.bearer(token.text)
    assert not recogniser.is_good(principal)


def test_a_workers_certificate_lets_it_write_where_its_token_does_and_nothing_else(
    store: AccessStore, recogniser: Recogniser, clock: Clock
) -> None:
    token = token_of(store, Grant("admin", ("a*",)), Grant("reader", ("b",)), lifetime_seconds=10)
    shown = certificate("w1")
    store.add_certificate(serial(shown), "w1", token.id, clock.now_ns + DAY_NS)
    principal = recogniser.certificate(pem(shown))
    assert (principal.kind, principal.name, principal.worker_id, principal.id) == ("worker", "w1", "w1", serial(shown))
    assert principal.grants == (Grant("writer", ("a*",)),)
    assert principal.may(Permission.LOG_WRITE, "ab") and not principal.may(Permission.LOG_READ, "ab")
    # The token that it joined with may expire; the certificate must not.
    clock.now_ns += 20 * 10**9
    assert recogniser.certificate(pem(shown)) == principal and recogniser.is_good(principal)
    clock.now_ns += DAY_NS
    with pytest.raises(NotAuthenticated, match="expired"):
        recogniser.certificate(pem(shown))
    assert not recogniser.is_good(principal)


def test_certificates_that_are_not_taken(store: AccessStore, recogniser: Recogniser, clock: Clock) -> None:
    token = token_of(store, Grant("writer"))
    unknown, for_another, revoked, of_revoked = (certificate("w1") for _ in range(4))
    store.add_certificate(serial(for_another), "w2", token.id, clock.now_ns + DAY_NS)
    store.add_certificate(serial(revoked), "w1", token.id, clock.now_ns + DAY_NS)
    store.revoke_certificates(serial=serial(revoked))
    gone = token_of(store, Grant("writer"))
    store.add_certificate(serial(of_revoked), "w1", gone.id, clock.now_ns + DAY_NS)
    assert recogniser.certificate(pem(of_revoked)).name == "w1"
    store.revoke_token(gone.id)
    recogniser.forget()
    for shown, why in (
        (unknown, "not one that this leader issued"),
        (for_another, "not one that this leader issued"),
        (revoked, "revoked"),
        (of_revoked, "revoked"),
    ):
        with pytest.raises(NotAuthenticated, match=why):
            recogniser.certificate(pem(shown))
    with pytest.raises(NotAuthenticated):
        recogniser.certificate(b"no certificate")


def test_a_certificate_is_public_and_so_no_token(store: AccessStore, recogniser: Recogniser, clock: Clock) -> None:
    token = token_of(store, Grant("writer"))
    shown = certificate("w1")
    store.add_certificate(serial(shown), "w1", token.id, clock.now_ns + DAY_NS)
    recogniser.certificate(pem(shown))
    with pytest.raises(NotAuthenticated):
        recogniser.bearer(pem(shown).decode())


def test_certificates_of_the_operators_own_ca(store: AccessStore, clock: Clock) -> None:
    recogniser = Recogniser(store, foreign_clients=("team-*",), clock=clock)
    principal = recogniser.certificate(pem(certificate("w9")))
    assert (principal.worker_id, principal.grants) == ("w9", (Grant("writer", ("team-*",)),))
    assert recogniser.is_good(principal)
    # One that bears the serial number of a worker's own certificate is none of that worker.
    shown = certificate("w9")
    store.add_certificate(serial(shown), "w1", token_of(store, Grant("admin")).id, clock.now_ns + DAY_NS)
    assert recogniser.certificate(pem(shown)).worker_id == "w9"
    assert not Recogniser(store, foreign_clients=(), clock=clock).certificate(pem(shown)).grants
    for names in ((), ("a", "b")):
        with pytest.raises(NotAuthenticated, match="common name"):
            recogniser.certificate(pem(certificate(*names)))


def test_the_leaders_own_admin_token(store: AccessStore, recogniser: Recogniser, tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    assert ensure_admin_token(store, file, fingerprint=b"f" * 32, address="h:1")
    first = Token.parse(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert (first.fingerprint, first.address) == (b"f" * 32, "h:1")
    assert recogniser.bearer(first.text).may(Permission.ACCESS_MANAGE)
    # Another address: the same token, a new file.
    assert not ensure_admin_token(store, file, address="h:2")
    again = Token.parse(file.read_text())
    assert (again.id, again.secret, again.address) == (first.id, first.secret, "h:2")
    # Lost, damaged, revoked: a new one.
    for lost in ("missing", "damaged", "revoked"):
        if lost == "missing":
            file.unlink()
        elif lost == "damaged":
            file.write_text("x")
        else:
            store.revoke_token(again.id)
        assert ensure_admin_token(store, file, address="h:2")
        assert Token.parse(file.read_text()).id != again.id
        again = Token.parse(file.read_text())
    made = remake_admin_token(store, file)
    assert Token.parse(file.read_text()) == made and made.address == "h:2"
    good = [token.id for token in store.list_tokens()[0] if not token.revoked_ns]
    assert good == [made.id]
