"""Setting and lifting legal holds: written to the audit log first, then in the store, then in the archive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, Protocol

from joblog.errors import JoblogError, NotFound
from joblog.leader.access.audit import AuditEvent, Auditor, NoAudit
from joblog.leader.access.principal import Principal
from joblog.leader.buffer.every import every_namespace, runs_of
from joblog.leader.buffer.holds import check_hold, words_of
from joblog.leader.buffer.store import RunFilter, Store
from joblog.v1.retention_pb2 import Hold

# So long the archive is waited for: a hold is in force anyway, and goes there as soon as that is back.
ARCHIVE_SECONDS = 5.0
MAX_COUNTED = 10_000


class Keeper(Protocol):
    """What writes holds to the archive."""

    @property
    def is_current(self) -> bool:
        """Whether the archive has those that there are."""
        ...

    async def keep(self) -> bool:
        """Writes them; whether the archive has them now."""
        ...


class Set(NamedTuple):
    """hold: as it is now. created: it was not there before. runs: that it holds now, up to MAX_COUNTED."""

    hold: Hold
    created: bool
    archived: bool
    runs: int


class Holding:
    """Sets, lifts and lists holds for an admin. keeper: None where no archive is set."""

    def __init__(
        self,
        store: Store,
        *,
        auditor: Callable[[], Auditor] = NoAudit,
        keeper: Keeper | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._auditor = auditor
        self._keeper = keeper
        self._clock_ns = clock_ns

    async def set(self, hold: Hold, principal: Principal) -> Set:
        """Sets it. Raises InvalidInput, NotFound for a run that is not there, Conflict, Unavailable."""
        wanted = Hold()
        wanted.CopyFrom(check_hold(hold))
        wanted.set_by, wanted.set_ns = f"{principal.kind} {principal.name}".strip(), self._clock_ns()
        runs = await asyncio.to_thread(self._count, wanted)
        if hold.run and not runs:
            raise NotFound(f"there is no run {hold.namespace}:{hold.run}: nothing would be held")
        await self._record("hold.set", wanted, principal)
        there = await asyncio.to_thread(self._store.holds.set, wanted)
        return Set(there or wanted, there is None, await self._archived(), runs)

    async def lift(self, hold: Hold, principal: Principal) -> tuple[bool, bool]:
        """Lifts it; whether there was one, and whether the archive knows. Raises InvalidInput, Unavailable."""
        check_hold(hold)
        await self._record("hold.lift", hold, principal)
        lifted = await asyncio.to_thread(self._store.holds.lift, hold)
        return lifted, await self._archived()

    async def go_on_without(self, principal: Principal) -> tuple[bool, bool]:
        """What could not be read of a former leader's holds is known to be gone: deletions go on."""
        unreadable = self._store.holds.present.unreadable
        await self._auditor().record(
            AuditEvent("hold.lift", principal, "ok", "", principal.peer, {"unreadable": unreadable[:400]})
        )
        await asyncio.to_thread(self._store.holds.restore, [])
        return bool(unreadable), await self._archived()

    def list(self) -> tuple[list[Hold], bool, str]:
        """All of them, whether the archive has them, and why others may be missing."""
        present = self._store.holds.present
        holds = [present.all[key] for key in sorted(present.all)]
        return holds, self._keeper is not None and self._keeper.is_current, present.unreadable

    async def _record(self, act: str, hold: Hold, principal: Principal) -> None:
        detail = {"label": f"{hold.label}={hold.value}" if hold.label else "", "reason": hold.reason}
        subject = f"{hold.namespace}:{hold.run}" if hold.run else words_of(hold)
        await self._auditor().record(AuditEvent(act, principal, "ok", subject, principal.peer, detail))

    async def _archived(self) -> bool:
        if self._keeper is None:
            return False
        try:
            async with asyncio.timeout(ARCHIVE_SECONDS):
                return await self._keeper.keep()
        except (TimeoutError, JoblogError):
            return False

    def _count(self, hold: Hold) -> int:
        store = self._store
        if hold.run:
            return int(store.get_run(hold.namespace, hold.run) is not None)
        where = RunFilter(labels=((hold.label, hold.value),))
        namespaces = [hold.namespace] if hold.namespace else every_namespace(store)
        held = (run for namespace in namespaces for run in runs_of(store, namespace, where))
        return sum(1 for _ in islice(held, MAX_COUNTED))
