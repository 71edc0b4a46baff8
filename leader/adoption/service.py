"""Adoption in the leader: one at a time, in a thread of its own, for as long as somebody watches it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress

from joblog.errors import Conflict, Interrupted
from joblog.leader.access.audit import AuditEvent, Auditor, NoAudit
from joblog.leader.access.principal import Principal
from joblog.leader.adoption.adopter import Adopter
from joblog.leader.adoption.order import Order, order_of
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.leader.crypto.keyring import Keyring
from joblog.service import Service
from joblog.v1.adoption_pb2 import AdoptRequest, AdoptResponse

log = logging.getLogger(__name__)


class Adoption(Service):
    """Adopts logs for an operator. ready: see Adopter."""

    name = "adoption"

    def __init__(
        self,
        context: ArchiveContext,
        keyring: Keyring,
        foreign: ForeignReader,
        *,
        ready: Callable[[], object],
        auditor: Callable[[], Auditor] = NoAudit,
    ) -> None:
        self._context = context
        self._keyring = keyring
        self._foreign = foreign
        self._ready = ready
        self._auditor = auditor
        self._stopping = threading.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def adopt(self, request: AdoptRequest, principal: Principal) -> AsyncGenerator[AdoptResponse, None]:
        """Adopts, and tells how far it is. Raises InvalidInput, Conflict while another one runs, what stores raise.

        Whoever stops asking ends it.
        """
        order = order_of(request, self._foreign)
        if not self._idle.is_set():
            raise Conflict("logs are being adopted already: wait for the end of that, or end it")
        if self._stopping.is_set():
            raise Interrupted("the leader is stopping")
        self._idle.clear()
        leaving = threading.Event()
        last = AdoptResponse()
        steps = self._adopter(leaving).run(order)
        try:
            detail = {"rule": request.rule, "dry_run": str(order.dry_run).lower()}
            await self._auditor().record(AuditEvent("log.adopt", principal, "ok", request.url, principal.peer, detail))
            while (step := await _next(steps, leaving)) is not None:
                last = step
                yield step
        finally:
            steps.close()
            self._idle.set()
            self._note_end(request, order, principal, last)

    def _adopter(self, leaving: threading.Event) -> Adopter:
        def stopped() -> None:
            if leaving.is_set() or self._stopping.is_set():
                raise Interrupted("adopting was stopped; what was adopted stays: run the same again for the rest")

        return Adopter(self._context, self._keyring, self._foreign, ready=self._ready, stopped=stopped)

    def _note_end(self, request: AdoptRequest, order: Order, principal: Principal, last: AdoptResponse) -> None:
        log.info(
            "adopting from %s %s: %d objects looked at, %d logs %s, %d refused, %d changed",
            request.url,
            "is done" if last.done else "ended before its end",
            last.listed,
            last.adopted,
            "would be adopted" if order.dry_run else "adopted",
            last.refused,
            last.changed,
        )
        if last.adopted and not order.dry_run:
            counts = {"logs": str(last.adopted), "bytes": str(last.bytes)}
            self._auditor().note(AuditEvent("log.adopted", principal, "ok", request.url, principal.peer, counts))

    async def drain(self, deadline_seconds: float) -> None:  # noqa: ARG002 - it ends at the next look
        """Ends what is under way; the same again goes on."""
        self._stopping.set()

    async def stop(self) -> None:
        """Ends what is under way."""
        self._stopping.set()
        await self._idle.wait()


async def _next(steps: Iterator[AdoptResponse], leaving: threading.Event) -> AdoptResponse | None:
    """The next step, made in a thread, which is waited for in any case: it must not outlive what it works with."""
    work = asyncio.ensure_future(asyncio.to_thread(next, steps, None))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        leaving.set()
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        _ = work.cancelled() or work.exception()
        raise
