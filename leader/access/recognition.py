"""Who it is that shows a token, a cookie or a certificate; known ones are kept in memory: a call costs microseconds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.x509.oid import NameOID

from joblog.errors import InvalidInput, NotAuthenticated
from joblog.leader.access.attempts import Attempts
from joblog.leader.access.authority import common_name_of
from joblog.leader.access.principal import Principal
from joblog.leader.access.records import TokenRecord, constant_time_equal, has_expired, hash_of, serial_text
from joblog.leader.access.roles import ROLES, Grant, Permission
from joblog.leader.access.sessions import SessionRecord, is_idle
from joblog.leader.access.store import AccessStore
from joblog.token import Token

# One token may be shown in several spellings, with and without an address.
_MAX_KNOWN = 10_000
_TOUCH_NS = 10**9
_NO_HASH = hash_of(b"")
# How long what somebody makes whom a provider vouches for may be good: 90 days, and one as the session is not new.
# Nobody tells when they leave there.
_PROVIDER_RIGHTS_NS = 91 * 86_400 * 10**9

SIGN_IN_AGAIN = "the session has ended: sign in again"
NOT_KNOWN = "the token is not known here: is it of this leader, and was it copied whole?"


class _Unknown(NotAuthenticated):
    """What is shown is nothing that the leader ever gave out: a guess, perhaps."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """When sessions count. idle_seconds 0: they may be idle. origins: what may vouch for one besides a token."""

    idle_seconds: float = 0.0
    origins: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Known:
    principal: Principal
    touched_ns: int = 0


class Recogniser:
    """Tells who shows a token or a certificate. Thread-safe but for `forget`, which belongs to the event loop.

    foreign_clients: None where client certificates are those that the leader issued; else they come from a CA of the
    operator's own, and their holders may write to the namespaces of these globs. attempts: counts what is not known,
    and holds it up; whoever was recognised since the leader started is never held up.
    """

    def __init__(
        self,
        store: AccessStore,
        *,
        foreign_clients: tuple[str, ...] | None = None,
        attempts: Attempts | None = None,
        sessions: SessionRules | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.attempts = attempts or Attempts()
        self._store = store
        self._foreign_clients = foreign_clients
        self._rules = sessions or SessionRules()
        self._idle_ns = int(self._rules.idle_seconds * 1e9)
        self._clock = clock
        # By the SHA-256 of what was shown, so that memory holds no secret. Certificates are public, and so kept apart.
        self._tokens: dict[bytes, _Known] = {}
        self._certificates: dict[bytes, _Known] = {}
        self._sessions: dict[bytes, _Known] = {}

    def forget(self) -> None:
        """Something was revoked or changed: everybody is looked up anew."""
        self._tokens.clear()
        self._certificates.clear()
        self._sessions.clear()

    def bearer(self, text: str, peer: str = "") -> Principal:
        """Who shows this token. Raises NotAuthenticated, TooMany."""
        known = self._known(self._tokens, text, peer, self._token)
        return self._still_good(known, f"the token {known.principal.name!r} has expired: ask for a new one")

    def session(self, text: str, peer: str = "") -> Principal:
        """Whose browser shows this cookie. Raises NotAuthenticated, TooMany."""
        known = self._known(self._sessions, text, peer, self._session)
        if self._idle_ns and 0 < known.touched_ns <= self._clock() - self._idle_ns:
            raise NotAuthenticated(SIGN_IN_AGAIN)
        return self._still_good(known, SIGN_IN_AGAIN)

    def _known(self, kept: dict[bytes, _Known], text: str, peer: str, look_up: Callable[[str], Principal]) -> _Known:
        shown = hashlib.sha256(text.encode(errors="replace")).digest()
        known = kept.get(shown)
        if known is not None:
            return known
        try:
            principal = look_up(text)
        except _Unknown:
            # Secrets are too long to be guessed: who has one is let in, whatever others show from the same address.
            self.attempts.check(peer)
            self.attempts.failed(peer)
            raise
        self.attempts.succeeded(peer)
        return _keep(kept, shown, principal)

    def certificate(self, pem: bytes) -> Principal:
        """Whose certificate this is, which was verified against the CA already. Raises NotAuthenticated."""
        shown = hashlib.sha256(pem).digest()
        known = self._certificates.get(shown) or _keep(self._certificates, shown, self._worker(pem))
        return self._still_good(known, f"the certificate of worker {known.principal.name!r} has expired: renew it")

    def is_good(self, principal: Principal) -> bool:
        """Whether somebody who was recognised earlier would be so now."""
        now = self._clock()
        if has_expired(principal.expires_ns, now):
            return False
        if principal.kind == "worker" and self._foreign_clients is None:
            certificate = self._store.find_certificate(principal.id)
            if certificate is None or not certificate.is_good(now):
                return False
        if principal.kind == "session":
            session = self._store.sessions.find(principal.id)
            if session is None or not self._is_good_session(session, now):
                return False
        if principal.token_id:
            token = self._store.find_token(principal.token_id)
            return token is not None and not token.revoked_ns
        return True

    def _still_good(self, known: _Known, otherwise: str) -> Principal:
        now = self._clock()
        principal = known.principal
        if has_expired(principal.expires_ns, now):
            raise NotAuthenticated(otherwise)
        if now - known.touched_ns > _TOUCH_NS:
            known.touched_ns = now
            if principal.kind == "session":
                self._store.sessions.touch(principal.id)
            if principal.token_id:
                self._store.touch_token(principal.token_id)
        return principal

    def _token(self, text: str) -> Principal:
        try:
            token = Token.parse(text)
        except InvalidInput as error:
            raise _Unknown(str(error)) from None
        record = self._store.find_token(token.id)
        # An id that is not known takes as long as a wrong secret.
        is_right = constant_time_equal(hash_of(token.secret), record.secret_hash if record else _NO_HASH)
        if record is None or not is_right:
            raise _Unknown(NOT_KNOWN)
        if record.revoked_ns:
            raise NotAuthenticated(f"the token {record.name!r} was revoked: ask for a new one")
        return principal_of(record)

    def _session(self, text: str) -> Principal:
        record = self._store.sessions.shown(text)
        if record is None:
            raise _Unknown(SIGN_IN_AGAIN)
        if not self._is_good_session(record, self._clock()):
            raise NotAuthenticated(SIGN_IN_AGAIN)
        if record.origin in self._rules.origins:
            end_ns = self._clock() + _PROVIDER_RIGHTS_NS
            return Principal(
                "session", record.name, record.id, record.grants, expires_ns=record.expires_ns, rights_end_ns=end_ns
            )
        token = self._store.find_token(record.origin)
        if token is None or token.revoked_ns:
            raise NotAuthenticated("the token that the session was made with was revoked")
        return Principal(
            "session",
            record.name,
            record.id,
            record.grants,
            worker_id=token.worker_id,
            token_id=token.id,
            expires_ns=record.expires_ns,
            rights_end_ns=token.expires_ns,
        )

    def _is_good_session(self, record: SessionRecord, now: int) -> bool:
        is_over = bool(record.revoked_ns) or has_expired(record.expires_ns, now)
        return not is_over and not is_idle(record, self._idle_ns, now)

    def _worker(self, pem: bytes) -> Principal:
        try:
            found = x509.load_pem_x509_certificate(pem)
            names = [str(name.value) for name in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        except ValueError as error:
            raise NotAuthenticated(f"the client certificate can't be read: {error}") from None
        serial = serial_text(found.serial_number)
        if self._foreign_clients is not None:
            if len(names) != 1 or not names[0]:
                raise NotAuthenticated("the client certificate has no common name (CN), which is the worker's id")
            expires_ns = int(found.not_valid_after_utc.timestamp()) * 10**9
            grants = (Grant("writer", self._foreign_clients),) if self._foreign_clients else ()
            return Principal("worker", names[0], serial, grants, worker_id=names[0], expires_ns=expires_ns)
        record = self._store.find_certificate(serial)
        if record is None or names != [common_name_of(record.worker_id)]:
            raise NotAuthenticated(f"client certificate {serial} is not one that this leader issued: join again")
        if record.revoked_ns:
            raise NotAuthenticated(f"the certificate of worker {record.worker_id!r} was revoked")
        token = self._store.find_token(record.token_id)
        if token is None or token.revoked_ns:
            raise NotAuthenticated(f"the token that worker {record.worker_id!r} joined with was revoked")
        return Principal(
            "worker",
            record.worker_id,
            serial,
            _writers(token.grants),
            worker_id=record.worker_id,
            token_id=token.id,
            expires_ns=record.expires_ns,
        )


def _keep(kept: dict[bytes, _Known], shown: bytes, principal: Principal) -> _Known:
    if len(kept) >= _MAX_KNOWN:
        kept.clear()
    return kept.setdefault(shown, _Known(principal))


def principal_of(record: TokenRecord) -> Principal:
    """The holder of a token."""
    return Principal(
        "token",
        record.name,
        record.id,
        record.grants,
        worker_id=record.worker_id,
        token_id=record.id,
        expires_ns=record.expires_ns,
    )


def at(principal: Principal, peer: str) -> Principal:
    """The same, who asks from there."""
    return replace(principal, peer=peer)


def _writers(grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
    """What a worker may do whose token has these grants: write, and nothing else."""
    return tuple(Grant("writer", grant.namespaces) for grant in grants if Permission.LOG_WRITE in ROLES[grant.role])
