"""The DEKs of deleted logs leave the store's files soon after, not only when RocksDB comes by them."""

from __future__ import annotations

import asyncio
import logging

from joblog.errors import JoblogError
from joblog.leader.buffer.store import Store
from joblog.service import Service

log = logging.getLogger(__name__)

# Deletions often come in rows: one pass does for all of them.
GATHER_SECONDS = 2.0
# A pass rewrites all keys, some 100 bytes of each log.
REST_SECONDS = 30.0
_RETRY_SECONDS = 60.0


class Shredder(Service):
    """Has the store write its keys anew after logs were deleted; what a killed leader left is done by the next one.

    gather_seconds: how long deletions are waited for before a pass; rest_seconds: between two passes.
    """

    name = "shredder"

    def __init__(
        self, store: Store, *, gather_seconds: float = GATHER_SECONDS, rest_seconds: float = REST_SECONDS
    ) -> None:
        self._store = store
        self._gather_seconds = gather_seconds
        self._rest_seconds = rest_seconds
        self._woken = asyncio.Event()
        self._problem = ""

    def wake(self) -> None:
        """Logs were deleted. In the event loop."""
        self._woken.set()

    def warnings(self) -> list[str]:
        """What is wrong now, for people."""
        return [self._problem] if self._problem else []

    async def run(self) -> None:
        """Does what is due, then waits for more."""
        while True:
            self._woken.clear()
            if not self._store.shred_due():
                await self._woken.wait()
                await asyncio.sleep(self._gather_seconds)
                continue
            working = asyncio.ensure_future(asyncio.to_thread(self.work))
            try:
                went_well = await asyncio.shield(working)
            except asyncio.CancelledError:
                # The store must not be closed under it.
                await working
                raise
            await asyncio.sleep(self._rest_seconds if went_well else _RETRY_SECONDS)

    def work(self) -> bool:
        """One pass, where one is due; False when it failed, and is to be tried again. Blocks."""
        due = self._store.shred_due()
        if not due:
            return True
        try:
            self._store.shred(due)
        except JoblogError as error:
            if not self._problem:
                log.warning("the keys of deleted logs do not leave the store's files, tried again: %s", error)
            self._problem = f"keys: those of deleted logs are still in the store's files: {error}"
            return False
        self._problem = ""
        log.info("the keys of deleted logs have left the store's files")
        return True
