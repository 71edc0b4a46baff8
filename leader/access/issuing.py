"""Tokens are made, listed and revoked: by whom, for whom at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from joblog.errors import Denied, InvalidInput, NotFound
from joblog.leader.access.audit import AuditEvent, Auditor
from joblog.leader.access.principal import Principal
from joblog.leader.access.records import NO_QUOTA, CertificateRecord, Quota, TokenRecord
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.access.usage import Use
from joblog.token import Token

MAX_NAME_LENGTH = 100
MAX_GRANTS = 100
MAX_LIFETIME_SECONDS = 100 * 366 * 86400
MAX_QUOTA = 2**63 - 1
# Pages that were looked through for one page of those that may be seen.
_SCANNED_PAGES = 100


def _no_fingerprint() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token that somebody asks for. lifetime_seconds 0: for ever. address: put into its text; empty: the leader's."""

    name: str
    grants: tuple[Grant, ...]
    worker_id: str = ""
    lifetime_seconds: int = 0
    quota: Quota = NO_QUOTA
    address: str = ""

    def check(self) -> None:
        """Raises InvalidInput."""
        if not 1 <= len(self.name) <= MAX_NAME_LENGTH or not self.name.isprintable():
            raise InvalidInput(f"name {self.name[:60]!r} must be 1-{MAX_NAME_LENGTH} printable characters")
        if not 1 <= len(self.grants) <= MAX_GRANTS:
            raise InvalidInput(f"grants: give 1 to {MAX_GRANTS}, {len(self.grants)} are given")
        if len(self.worker_id) > 250 or not self.worker_id.isprintable():
            raise InvalidInput("worker_id must be at most 250 printable characters")
        if not 0 <= self.lifetime_seconds <= MAX_LIFETIME_SECONDS:
            raise InvalidInput(f"lifetime_seconds {self.lifetime_seconds} is out of range: 0 to {MAX_LIFETIME_SECONDS}")
        if len(self.address) > 300 or not self.address.isascii() or not self.address.isprintable():
            raise InvalidInput(f"address {self.address[:60]!r} is not HOST:PORT")
        for name in Quota.__slots__:
            if not 0 <= getattr(self.quota, name) <= MAX_QUOTA:
                raise InvalidInput(f"quota.{name} {getattr(self.quota, name)} is out of range: 0 to {MAX_QUOTA}")


class Page(NamedTuple):
    """Some tokens, and where the next ones begin; empty at the end."""

    tokens: list[TokenRecord]
    next_token: str


class Issuer:
    """Makes, lists and revokes tokens and certificates for those who may. Uses the disk: not for the event loop.

    address: HOST:PORT of the leader as clients reach it. fingerprint: of the CA, empty where the system's CAs vouch for
    the leader; both are asked each time. use: what counts for the quota of the token with an id.
    """

    def __init__(
        self,
        store: AccessStore,
        *,
        address: Callable[[], str],
        fingerprint: Callable[[], bytes] = _no_fingerprint,
        use: Callable[[str], Use] = lambda _id: Use(),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.use = use
        self._store = store
        self._address = address
        self._fingerprint = fingerprint
        self._clock = clock

    def create(self, principal: Principal, wanted: Wanted) -> tuple[TokenRecord, str]:
        """A new token, and its text. Raises InvalidInput, and Denied for more than the principal may do itself."""
        wanted.check()
        if not principal.includes(wanted.grants):
            held = "; ".join(f"{grant.role} on {', '.join(grant.namespaces)}" for grant in principal.grants)
            raise Denied(f"a token can't be granted more than {principal.name!r} holds: {held[:300]}")
        if principal.worker_id and wanted.worker_id != principal.worker_id:
            raise Denied(f"worker_id must be {principal.worker_id!r}, which {principal.name!r} is bound to")
        lifetime = wanted.lifetime_seconds
        if until_ns := principal.grants_until_ns:
            left = max(0, until_ns - self._clock()) // 10**9
            if not 0 < lifetime <= left:
                raise Denied(
                    f"a token must end before what {principal.name!r} itself holds: lifetime_seconds is 1 to {left}"
                )
        record, secret = self._store.create_token(
            wanted.name,
            wanted.grants,
            created_by=principal.name,
            worker_id=wanted.worker_id,
            lifetime_seconds=lifetime,
            quota=wanted.quota,
        )
        return record, Token(record.id, secret, self._fingerprint(), wanted.address or self._address()).text

    def tokens(self, principal: Principal, page_token: str, limit: int) -> Page:
        """A page of those tokens that the principal could have made, newest first. Raises InvalidInput."""
        found: list[TokenRecord] = []
        for _ in range(_SCANNED_PAGES):
            records, page_token = self._store.list_tokens(page_token, limit - len(found))
            found += [record for record in records if self._is_visible(principal, record)]
            if not page_token or len(found) == limit:
                break
        return Page(found, page_token)

    def revoke(self, principal: Principal, token_id: str) -> TokenRecord:
        """Revokes a token that the principal could have made. Can be repeated. Raises NotFound for any other."""
        record = self._store.find_token(token_id)
        if record is None or not self._is_visible(principal, record):
            raise NotFound(f"there is no token {token_id[:60]!r}; `joblog token ls` lists them")
        return self._store.revoke_token(token_id)

    def certificates(self, page_token: str, limit: int) -> tuple[list[CertificateRecord], str]:
        """A page of all certificates, newest first, and where the next one begins. Raises InvalidInput."""
        return self._store.list_certificates(page_token, limit)

    def certificates_of(self, worker_id: str) -> list[CertificateRecord]:
        """All of a worker's, those that are revoked or have expired too."""
        return self._store.certificates_of(worker_id)

    def revoke_certificates(self, *, serial: str = "", worker_id: str = "") -> Sequence[CertificateRecord]:
        """Revokes one, or all of a worker. Can be repeated. Raises NotFound, InvalidInput."""
        return self._store.revoke_certificates(serial=serial, worker_id=worker_id)

    @staticmethod
    def _is_visible(principal: Principal, record: TokenRecord) -> bool:
        return principal.includes(record.grants)


def token_event(action: str, principal: Principal, record: TokenRecord) -> AuditEvent:
    """What the audit log says of a token that was made or revoked."""
    detail = {
        "name": record.name,
        "grants": "; ".join(f"{grant.role} on {', '.join(grant.namespaces)}" for grant in record.grants)[:500],
    }
    if record.worker_id:
        detail["worker_id"] = record.worker_id
    return AuditEvent(action, principal, "ok", record.id, principal.peer, detail)


async def record_or_undo(auditor: Auditor, event: AuditEvent, undo: Callable[[], object]) -> None:
    """Writes down what was done; takes it back when that fails. Raises Unavailable."""
    try:
        await auditor.record(event)
    except BaseException:
        undo()
        raise
