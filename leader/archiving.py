"""The archive as the leader's daemon runs it: what reads from it, what writes to it, and what closes it at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from joblog.leader.archive.archiver import Archiver, ArchiverLimits
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.state_object import ACCESS, StateWriter, state_keys
from joblog.leader.archive.takeover import Takeover
from joblog.leader.archived_access import AccessRestorer
from joblog.leader.archived_holds import HoldWriter, hold_keeper, restore_holds
from joblog.leader.archived_state import StateKeeper
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.metrics import Metrics
from joblog.leader.reading.reader import CipherCache
from joblog.service import Service


class ArchiveEnd(Service):
    """Closes the archive once nobody uses it any more: the first to start, the last to stop."""

    name = "archive"

    def __init__(self, objects: ObjectStore, foreign: ForeignReader, *readers: ExtentReader) -> None:
        self.objects = objects
        self._foreign = foreign
        self._readers = readers

    async def stop(self) -> None:
        """Ends reads that are under way, and connections."""
        for reader in self._readers:
            await asyncio.to_thread(reader.close)
        await asyncio.to_thread(self._foreign.close)
        await asyncio.to_thread(self.objects.close)


class TakingOver(Service):
    """Takes over what another leader has archived, where this one has no logs, before anything else starts."""

    name = "takeover"

    def __init__(self, takeover: Takeover, restore: Callable[[], None]) -> None:
        """restore: called when nothing is left to be taken over."""
        self._takeover = takeover
        self._restore = restore

    @property
    def has_not_looked(self) -> bool:
        """Whether the archive may hold logs that this leader does not know of."""
        return self._takeover.has_not_looked

    async def start(self) -> None:
        """Raises Conflict, Denied and what rebuilding raises."""
        try:
            if not await asyncio.to_thread(self._takeover.run) and not self.has_not_looked:
                await asyncio.to_thread(self._restore)
        finally:
            self._takeover.stop()


class ArchiveParts(NamedTuple):
    """What the daemon runs and hands to the reader. `end` goes before all that reads from the archive.

    takeover: goes before all that looks into the store. access: works beside what answers requests; None where the
    archive does not keep who may come in. holds: works beside it, too.
    """

    end: ArchiveEnd
    takeover: TakingOver
    archiver: Archiver
    extents: ExtentReader
    foreign: ForeignReader
    access: StateKeeper | None
    holds: StateKeeper


def archive_parts(
    objects: ObjectStore,
    limits: ArchiverLimits,
    cache: RangeCache,
    *,
    store: Store,
    keyring: Keyring,
    ingest: Ingest,
    metrics: Metrics,
    access: AccessRestorer | None = None,
    foreign: ForeignReader | None = None,
) -> ArchiveParts:
    """The parts of a leader with an archive, tied to its ingest. access: None where who may come in is not kept.

    foreign: reads the text of adopted logs.
    """
    foreign = foreign or ForeignReader([])
    extents = ExtentReader(objects, cache, foreign=foreign)
    ciphers = CipherCache(store, keyring)

    def open_cipher(number: int) -> LogCipher:
        live = ingest.registry.get(number)
        return live.cipher if live is not None else ciphers.open(number)

    # Sealing reads each byte once: it keeps nothing, and leaves the readers' cache alone.
    sealing = ExtentReader(objects, RangeCache(0))
    archiver = Archiver(
        store,
        objects,
        limits,
        keyring=keyring,
        open_cipher=open_cipher,
        reader=sealing,
        intake=ingest.archiving,
        metrics=metrics,
    )
    archiver.forget_keys = ciphers.clear
    ingest.on_completed(archiver.completed)
    ingest.archiving.look = archiver.note_pressure
    archiver.pressure.coming = lambda: ingest.gate.used_bytes

    def restore() -> None:
        restore_holds(store, objects, state_keys(objects, keyring))
        if access is not None:
            access.restore(objects, state_keys(objects, keyring))

    def restore_own() -> None:
        if access is not None:
            access.restore_own(objects, state_keys(objects, keyring), store.store_id)

    takeover = TakingOver(Takeover(store, keyring, objects, claimed=restore), restore_own)
    keeper = None if access is None else access.keeper(StateWriter(ACCESS, objects, keyring, archiver.ready))
    holds = hold_keeper(store, HoldWriter(store, objects, keyring, archiver.ready))
    end = ArchiveEnd(objects, foreign, extents, sealing)
    return ArchiveParts(end, takeover, archiver, extents, foreign, keeper, holds)
