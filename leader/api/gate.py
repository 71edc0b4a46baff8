"""The gate that every call goes through, gRPC or HTTP: who asks, whether it may, what the audit log is told.

Calls whose caller is not known any more end here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from joblog.errors import Denied, JoblogError, NotAuthenticated
from joblog.leader.access.audit import AuditEvent, Auditor, NoAudit
from joblog.leader.access.calls import OpenCalls
from joblog.leader.access.pace import Pace, Readers
from joblog.leader.access.principal import CURRENT, EVERYBODY, Principal
from joblog.leader.access.recognition import Recogniser, at
from joblog.leader.access.records import Revoked, has_expired
from joblog.leader.access.roles import Permission
from joblog.leader.access.store import AccessStore
from joblog.leader.api.rules import Rule, Where
from joblog.service import Service

log = logging.getLogger(__name__)

NO_CREDENTIALS = (
    "say who you are: set JOBLOG_TOKEN or JOBLOG_TOKEN_FILE, use `joblog login`, or be the leader's user on its "
    "machine; in a browser, sign in"
)
_READS = frozenset({Permission.LOG_READ, Permission.LOG_VERIFY})
_LOOK_SECONDS = 0.5
_WRITE_USED_SECONDS = 30.0
_MAX_SUBJECT = 800
_REVOKED_KINDS = {"token": "token", "certificate": "worker", "session": "session"}
_BEARER = "bearer "
_ENDED = "what you were recognised by has expired or was revoked"


def bearer_of(header: str) -> str:
    """The token in an Authorization header. Raises NotAuthenticated for any other scheme."""
    if header[: len(_BEARER)].lower() != _BEARER:
        raise NotAuthenticated("the authorization header must read: Bearer TOKEN")
    return header[len(_BEARER) :].strip()


class Gate(Service):
    """Decides on every call. Belongs to the event loop, but for what is said of AccessStore.

    recogniser, store: None where access control is off; then everybody may do everything.
    """

    name = "access"

    def __init__(
        self,
        store: AccessStore | None,
        recogniser: Recogniser | None,
        auditor: Auditor | None = None,
        *,
        open_metrics: bool = False,
    ) -> None:
        self.auditor: Auditor = auditor or NoAudit()
        self.calls = OpenCalls()
        # Held to by those who are let in; None: nobody is held up.
        self.pace: Pace | None = None
        self.readers: Readers | None = None
        self.recogniser = recogniser
        self._store = store
        self._open_metrics = open_metrics
        self._loop: asyncio.AbstractEventLoop | None = None
        if store is not None:
            store.on_revoked(self._revoked)

    @classmethod
    def open(cls, auditor: Auditor | None = None) -> Gate:
        """A gate that lets everybody through: for a leader without access control."""
        return cls(None, None, auditor)

    async def start(self) -> None:
        """From now on it hears of revocations."""
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Ends calls of those who expire, notices what other processes change, writes down what tokens were used."""
        if self._store is None:
            await asyncio.Event().wait()
            return
        seen = await asyncio.to_thread(self._store.foreign_changes)
        written = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                changes = await asyncio.to_thread(self._store.foreign_changes)
                if changes != seen:
                    seen = changes
                    self._forget()
                    await self._end_those_not_good()
                now = time.time_ns()
                self.calls.end_those(lambda one, now=now: has_expired(one.expires_ns, now), _ENDED)  # type: ignore[misc]
                if asyncio.get_running_loop().time() - written > _WRITE_USED_SECONDS:
                    written = asyncio.get_running_loop().time()
                    await asyncio.to_thread(self._store.write_used)
            except JoblogError as error:
                log.warning("tokens and certificates can't be looked at: %s", error)

    # Who asks

    def bearer(self, header: str, peer: str) -> Principal:
        """Who shows this Authorization header. Raises NotAuthenticated."""
        if self.recogniser is None:
            return at(EVERYBODY, peer)
        return at(self.recogniser.bearer(bearer_of(header), peer), peer)

    def session(self, cookie: str, peer: str) -> Principal:
        """Whose browser shows this cookie. Raises NotAuthenticated."""
        if self.recogniser is None:
            return at(EVERYBODY, peer)
        return at(self.recogniser.session(cookie, peer), peer)

    def certificate(self, pem: bytes, peer: str) -> Principal:
        """Whose client certificate this is. Raises NotAuthenticated."""
        if self.recogniser is None:
            return at(EVERYBODY, peer)
        return at(self.recogniser.certificate(pem), peer)

    def nobody(self, peer: str) -> Principal:
        """Who shows nothing. Raises NotAuthenticated."""
        if self.recogniser is None:
            return at(EVERYBODY, peer)
        raise NotAuthenticated(NO_CREDENTIALS)

    # Whether it may

    def is_public(self, rule: Rule) -> bool:
        """Whether nobody is asked who they are."""
        return rule.where is Where.PUBLIC or (self._open_metrics and rule.permission is Permission.METRICS_READ)

    def check(self, principal: Principal, rule: Rule | None, method: str, asked: str) -> None:
        """Raises Denied, TooMany. asked: the namespace, or for OWN_WORKER the worker's id, that the request names."""
        if rule is None:
            raise Denied(f"{method} is not for anybody: it has no rule")
        if not _may(principal, rule, asked):
            raise _refusal(principal, rule, asked)
        if self.pace is not None and rule.permission is not Permission.LOG_WRITE and rule.where is not Where.WORKER:
            self.pace.take(asked if rule.where is Where.NAMESPACE else "", principal.token_id)

    def reading(self, principal: Principal, rule: Rule | None) -> contextlib.AbstractContextManager[None]:
        """Around an answer that was allowed: where it reads a log, it counts as open. Raises TooMany when entered."""
        if self.readers is None or rule is None or rule.permission not in _READS:
            return contextlib.nullcontext()
        return self.readers.reading(principal)

    def refused(
        self, error: JoblogError, method: str, principal: Principal | None, peer: str, subject: str = ""
    ) -> None:
        """Tells the audit log that somebody was refused."""
        detail = {"method": method, "reason": str(error)[:_MAX_SUBJECT]}
        self.auditor.note(AuditEvent("refused", principal, "refused", subject[:_MAX_SUBJECT], peer, detail))

    async def admitted(self, principal: Principal, rule: Rule, subject: str) -> None:
        """Tells the audit log what is done now; what changes something is on disk there first. Raises Unavailable."""
        if not rule.act:
            return
        event = AuditEvent(rule.act, principal, "ok", subject[:_MAX_SUBJECT], principal.peer)
        if rule.changes:
            await self.auditor.record(event)
        else:
            self.auditor.note(event)

    @contextlib.asynccontextmanager
    async def answering(self, principal: Principal) -> AsyncIterator[None]:
        """Around the answer to a call: it is the principal's, and ends with NotAuthenticated when that is revoked."""
        token = CURRENT.set(principal)
        call = self.calls.enter(principal)
        try:
            yield
        except asyncio.CancelledError:
            if not call.ended:
                raise
            call.task.uncancel()
            raise NotAuthenticated(call.ended) from None
        finally:
            self.calls.leave(call)
            CURRENT.reset(token)

    # Who is not known any more

    def _revoked(self, what: Revoked) -> None:
        """Any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end, what)

    def _end(self, what: Revoked) -> None:
        self._forget()
        self.calls.end((_REVOKED_KINDS[what.kind], what.id), f"the {what.kind} was revoked")

    def _forget(self) -> None:
        if self.recogniser is not None:
            self.recogniser.forget()

    async def _end_those_not_good(self) -> None:
        recogniser = self.recogniser
        principals = self.calls.principals()
        if recogniser is None or not principals:
            return
        gone = await asyncio.to_thread(lambda: [one for one in principals if not recogniser.is_good(one)])
        for principal in gone:
            self.calls.end((principal.kind, principal.id), _ENDED)


def _may(principal: Principal, rule: Rule, asked: str) -> bool:
    if rule.where is Where.PUBLIC or rule.where is Where.ANYBODY:
        return True
    if rule.where is Where.WORKER:
        return principal.kind == "worker"
    permission = rule.permission
    assert permission is not None
    if rule.where is Where.NAMESPACE:
        return principal.may(permission, asked)
    if rule.where is Where.WHOLE:
        return principal.may(permission)
    if rule.where is Where.OWN_WORKER:
        is_own = bool(asked) and principal.worker_id == asked
        return (is_own and principal.may_somewhere(permission)) or principal.may(Permission.ACCESS_MANAGE)
    return principal.may_somewhere(permission)


def _refusal(principal: Principal, rule: Rule, asked: str) -> Denied:
    if rule.where is Where.WORKER:
        return Denied("only a worker may ask this, with its certificate, at the address for workers")
    if rule.where is Where.OWN_WORKER and rule.permission and principal.may_somewhere(rule.permission):
        return Denied(f"{principal.kind} {principal.name!r} is not bound to worker {asked[:60]!r}")
    assert rule.permission is not None
    return principal.refusal(rule.permission, asked if rule.where is Where.NAMESPACE else None)
