"""Signing in: a token, a one-time code or an OIDC provider's word for a session."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from joblog.errors import Conflict, Denied, JoblogError, NotAuthenticated
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.issuing import record_or_undo
from joblog.leader.access.principal import Principal
from joblog.leader.access.recognition import Recogniser, at
from joblog.leader.access.records import hash_of
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate

CODE_SECONDS = 120.0
DEFAULT_SESSION_SECONDS = 12 * 3600.0
_CODE_BYTES = 24
_MAX_CODES = 1000
_MAX_REASON = 800
_NO_CONTROL = "access control is off at this leader: there is nothing to sign in for"
_BAD_CODE = "the code is not good: it was used, or is older than two minutes; `joblog ui` makes a new link"


class SignedIn(NamedTuple):
    """A session that was made. cookie: its secret text. max_age_seconds: how long it lasts at most."""

    principal: Principal
    cookie: str
    max_age_seconds: int


@dataclass(frozen=True, slots=True)
class _Code:
    principal: Principal
    until: float


class SignIn:
    """Makes sessions and ends them, and tells the audit log. Belongs to the event loop.

    clock: seconds, monotonic; clock_ns: since 1970.
    """

    def __init__(
        self,
        store: AccessStore,
        gate: Gate,
        *,
        session_seconds: float = DEFAULT_SESSION_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.session_seconds = session_seconds
        self._store = store
        self._gate = gate
        self._clock = clock
        self._clock_ns = clock_ns
        # By their hashes, the oldest first.
        self._codes: dict[bytes, _Code] = {}

    @property
    def is_needed(self) -> bool:
        """Whether the leader asks anybody who they are."""
        return self._gate.recogniser is not None

    def new_code(self, principal: Principal) -> str:
        """A code that makes one session for the holder of a token, soon; empty where nobody needs to sign in.

        Raises Denied for all but tokens.
        """
        if not self.is_needed:
            return ""
        if principal.kind != "token":
            raise Denied(f"a {principal.kind} can't sign anybody in: it takes a token")
        now = self._clock()
        self._codes = {key: code for key, code in self._codes.items() if code.until > now}
        while len(self._codes) >= _MAX_CODES:
            del self._codes[next(iter(self._codes))]
        text = base64.urlsafe_b64encode(secrets.token_bytes(_CODE_BYTES)).decode()
        self._codes[hash_of(text.encode())] = _Code(principal, now + CODE_SECONDS)
        return text

    async def by_token(self, text: str, peer: str) -> SignedIn:
        """A session for who has the token. Raises NotAuthenticated, TooMany, Conflict."""
        recogniser = self._needed()
        try:
            principal = recogniser.bearer(text, peer)
        except JoblogError as error:
            self.refused("token", error, peer)
            raise
        return await self._begin(principal, "token", peer)

    async def by_code(self, text: str, peer: str) -> SignedIn:
        """A session for who has the code, which is used up. Raises NotAuthenticated, TooMany, Conflict."""
        recogniser = self._needed()
        try:
            code = self._codes.pop(hash_of(text.encode(errors="replace")), None)
            if code is None:
                recogniser.attempts.check(peer)
                recogniser.attempts.failed(peer)
            if code is None or code.until <= self._clock():
                raise NotAuthenticated(_BAD_CODE)
            if not await asyncio.to_thread(recogniser.is_good, code.principal):
                raise NotAuthenticated("the token that the code was made with was revoked")
        except JoblogError as error:
            self.refused("code", error, peer)
            raise
        return await self._begin(code.principal, "code", peer)

    async def by_provider(
        self, name: str, grants: tuple[Grant, ...], origin: str, peer: str, detail: dict[str, str]
    ) -> SignedIn:
        """A session for somebody whom an OIDC provider knows. origin: see SessionRecord. detail: for the audit log."""
        return await self._begin(Principal("session", name, "", grants), "oidc", peer, origin, detail)

    async def end(self, principal: Principal) -> None:
        """Signs out: the session is over, with all that is open in it but the call that asks for it."""
        self._gate.calls.let_finish(principal)
        await asyncio.to_thread(self._store.end_session, principal.id)
        self._gate.auditor.note(AuditEvent("logout", principal, "ok", principal.id, principal.peer))

    def refused(self, by: str, error: JoblogError, peer: str) -> None:
        """Tells the audit log that somebody could not sign in."""
        detail = {"by": by, "reason": str(error)[:_MAX_REASON]}
        self._gate.auditor.note(AuditEvent("login", None, "refused", "", peer, detail))

    def _needed(self) -> Recogniser:
        if self._gate.recogniser is None:
            raise Conflict(_NO_CONTROL)
        return self._gate.recogniser

    async def _begin(
        self, who: Principal, by: str, peer: str, origin: str = "", detail: dict[str, str] | None = None
    ) -> SignedIn:
        record, cookie = await asyncio.to_thread(
            lambda: self._store.sessions.create(
                who.name,
                who.grants,
                origin=origin or who.token_id,
                lifetime_seconds=self.session_seconds,
                until_ns=who.expires_ns,
            )
        )
        principal = Principal(
            "session",
            who.name,
            record.id,
            who.grants,
            worker_id=who.worker_id,
            token_id=who.token_id,
            expires_ns=record.expires_ns,
        )
        event = AuditEvent("login", at(principal, peer), "ok", record.id, peer, {"by": by, **(detail or {})})
        await record_or_undo(self._gate.auditor, event, lambda: self._store.end_session(record.id))
        left = (record.expires_ns - self._clock_ns()) / 1e9
        return SignedIn(at(principal, peer), cookie, max(0, int(left)))
