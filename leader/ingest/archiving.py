"""Ingest and the archive: workers learn what is archived and sealed, and wait while the buffer is full."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from joblog.errors import JoblogError
from joblog.leader.ingest.refilling import Refills
from joblog.leader.ingest.registry import Registry
from joblog.v1 import types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.session import Session

log = logging.getLogger(__name__)


class Archiving:
    """Between archiver and streams. Belongs to the event loop.

    keep_until_archived: workers are told to keep their spools until what they hold is in the archive.
    """

    def __init__(self, registry: Registry, pool: Executor, *, keep_until_archived: bool) -> None:
        self.keep_until_archived = keep_until_archived
        self._registry = registry
        self._pool = pool
        # Streams that wait for a closed log to be sealed in the archive, by the log's number.
        self._waiting: dict[int, dict[Session, int]] = {}
        self.refills = Refills(registry, pool, lambda number: self._waiting.get(number, {}), asks=keep_until_archived)
        self._telling: set[asyncio.Task[None]] = set()
        self._held: str | None = None
        self._reopened = asyncio.Event()
        # Asked before anything is taken in; calls hold() where it has to.
        self.look: Callable[[], None] = lambda: None

    def archived(self, offsets: Mapping[int, int]) -> None:
        """All below these offsets of these logs is in the archive."""
        for number, offset in offsets.items():
            live = self._registry.get(number)
            if live is not None:
                told = self.refills.hold_back(number, min(offset, live.durable_offset))
                live.archived_offset = max(live.archived_offset, told)
                if live.session is not None:
                    live.session.outbox.ack(live)

    def tell_again(self, number: int) -> None:
        """What was held back of the log may be told now. In the event loop."""
        if self.keep_until_archived:
            task = asyncio.create_task(self._tell(number))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, number: int) -> None:
        try:
            loop = asyncio.get_running_loop()
            offset = await loop.run_in_executor(self._pool, self._registry.store.archived_offset, number)
        except (JoblogError, RuntimeError) as error:
            # RuntimeError: the pool, or the store, is closed already.
            log.warning("log %d: how far it is archived can't be told now: %s", number, error)
            return
        self.archived({number: offset})

    def sealed(self, number: int, length: int) -> None:
        """The completed log is sealed in the archive."""
        self.refills.forget(number)
        for session, handle in self._waiting.pop(number, {}).items():
            session.sealed(handle, length)

    def hold(self, reason: str | None) -> None:
        """Nothing is taken in from now on, for this reason; None: it is again. Streams wait, and are not ended."""
        if reason is not None and self._held is None:
            log.warning("ingest waits: %s", reason)
            self._reopened.clear()
        elif reason is None and self._held is not None:
            log.info("ingest goes on")
            self._reopened.set()
        self._held = reason

    async def until_open(self) -> None:
        """Returns when there is room for what workers send."""
        self.look()
        while self._held is not None:
            await self._reopened.wait()
            self.look()

    def expect_seal(self, number: int, session: Session, handle: int) -> None:
        """The stream is told when the log, which is about to be closed, is sealed in the archive."""
        if self.keep_until_archived:
            self._waiting.setdefault(number, {})[session] = handle

    async def await_seal(self, number: int, session: Session, handle: int) -> None:
        """As expect_seal(), for a log that was closed before, and may be sealed by now."""
        self.expect_seal(number, session, handle)
        if self.keep_until_archived:
            loop = asyncio.get_running_loop()
            record = await loop.run_in_executor(self._pool, self._registry.store.get_log, number)
            if record is None or record.tier == types_pb2.TIER_ARCHIVE:
                self.sealed(number, record.seal.length if record else 0)

    def part(self, session: Session) -> None:
        """The stream is over: it waits for nothing any more."""
        for number in [number for number, waiting in self._waiting.items() if session in waiting]:
            del self._waiting[number][session]
            if not self._waiting[number]:
                del self._waiting[number]
