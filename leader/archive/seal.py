"""The seal: a completed log becomes one object with its metadata beside it, and leaves buffer and packs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from joblog.errors import Conflict, JoblogError
from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.assembling import Assembled
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.layout import metadata_key, sealed_key
from joblog.leader.archive.metadata import SealedObject
from joblog.leader.archive.plain import PlainCopier
from joblog.leader.archive.sealing import Found, LogChunks, new_assembly
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.keys import MAX_U64
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import EXTENT_KIND_SEALED, Extent
from joblog.v1.types_pb2 import Event, LogRecord

log = logging.getLogger(__name__)

# Longer rows of chunks are dropped as a range.
_SINGLE_DROPS = 256


class SealResult(Enum):
    """What became of an attempt. LATER: somebody else works on it, or bytes are missing that may come back."""

    SEALED = 1
    GONE = 2
    LATER = 3


class Sealing(NamedTuple):
    """An attempt to seal a log. put_bytes: sent to the archive. dropped_bytes: of chunks that left the buffer."""

    result: SealResult
    put_bytes: int = 0
    dropped_bytes: int = 0


@dataclass(slots=True)
class _Missing:
    """Since when something of a log is missing, and what the last attempt to seal it saw.

    All of the log may have to be read and sent to find out: that is not done at each turn.
    """

    since: float
    tried_at: float
    rewrites: int

    def is_worth_a_try(self, now: float, rewrites: int, patience: float) -> bool:
        waited = now - self.since
        return rewrites != self.rewrites or waited >= patience or now - self.tried_at >= waited / 2


class Sealer:
    """Seals completed logs; any number at once, in different threads. Blocks.

    loss_patience_seconds: how long bytes that neither archive nor buffer gives back are waited for, before the log is
    sealed without them.
    """

    def __init__(
        self,
        context: ArchiveContext,
        reader: ExtentReader,
        *,
        loss_patience_seconds: float = 3600.0,
        plain: PlainCopier | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """plain: writes a plain copy of each log too."""
        self._plain = plain
        self._context = context
        self._store = context.store
        self._reader = reader
        self._loss_patience_seconds = loss_patience_seconds
        self._clock = clock
        # Logs of which something is missing.
        self._missing: dict[int, _Missing] = {}

    def seal(self, number: int) -> Sealing:
        """Seals one log. Raises what the stores raise; then it is as it was, and can be tried again."""
        record = self._store.get_log(number)
        if record is None or record.state != types_pb2.LOG_STATE_COMPLETED or record.tier == types_pb2.TIER_ARCHIVE:
            self._missing.pop(number, None)
            return Sealing(SealResult.GONE)
        keys = metadata_key(_name(record)), sealed_key(_name(record))
        with self._context.busy.all([number, ("roll", number), *keys]) as free:
            if not free:
                return Sealing(SealResult.LATER)
            # Flushed or sealed since then.
            record = self._store.get_log(number)
            if record is None or record.tier == types_pb2.TIER_ARCHIVE:
                return Sealing(SealResult.GONE)
            self._context.putter.announce([*keys, *self._plain_keys(record)])
            failpoints.reach("seal.announced")
            try:
                done = self._seal(record, *keys)
            except JoblogError:
                if not self._store.deleted_among([number]):
                    raise
                done = Sealing(SealResult.GONE)
        if done.result is not SealResult.LATER:
            self._missing.pop(number, None)
        return done

    def _seal(self, record: LogRecord, metadata_at: str, sealed_at: str) -> Sealing:
        hashing = not record.seal.sha256
        rewrites = self._store.rewrites(record.number)
        missing = self._missing.get(record.number)
        if missing is not None and not missing.is_worth_a_try(self._clock(), rewrites, self._loss_patience_seconds):
            return Sealing(SealResult.LATER)
        assembled, found = self._assemble(record, sealed_at, hashing=hashing, with_losses=False)
        if assembled is None:
            if self._waits(record.number, rewrites):
                return Sealing(SealResult.LATER)
            # The seal's hash is that of all bytes: what is left is hashed anew.
            assembled, found = self._assemble(record, sealed_at, hashing=True, with_losses=True)
        assert assembled is not None
        failpoints.reach("seal.put")
        self._amend(record, found, assembled.footer.size)
        sealed = SealedObject(assembled.footer, assembled.sha256)
        document = self._context.describer.sealed(record, sealed)
        if document is None:
            return Sealing(SealResult.GONE)
        self._context.putter.put_over(metadata_at, document)
        failpoints.reach("seal.metadata")
        if self._plain is not None:
            self._plain.write(record, assembled.extents(sealed_at, 0))
        companions = [metadata_at, *self._plain_keys(record)]
        committed = self._commit(record, assembled, found, companions, rewrites)
        failpoints.reach("seal.committed")
        dropped = found.buffered_bytes if committed is SealResult.SEALED else 0
        return Sealing(committed, assembled.footer.size + len(document), dropped)

    def _plain_keys(self, record: LogRecord) -> list[str]:
        return [] if self._plain is None else [self._plain.key(record)]

    def _waits(self, number: int, rewrites: int) -> bool:
        """Whether what is missing may still come back."""
        now = self._clock()
        missing = self._missing.setdefault(number, _Missing(now, now, rewrites))
        missing.tried_at, missing.rewrites = now, rewrites
        return now - missing.since < self._loss_patience_seconds

    def _assemble(
        self, record: LogRecord, key: str, *, hashing: bool, with_losses: bool
    ) -> tuple[Assembled | None, Found]:
        """Puts the sealed object; None: something is lost, and nothing was put. with_losses: then it is put as well."""
        chunks = LogChunks(self._context, self._reader, record, hashing=hashing)
        assembly = new_assembly(self._context, key, record, chunks.extents)
        try:
            chunks.write(assembly)
            if chunks.found.lost and not with_losses:
                assembly.abort()
                return None, chunks.found
            return assembly.finish(), chunks.found
        except BaseException:
            assembly.abort()
            raise

    @staticmethod
    def _amend(record: LogRecord, found: Found, size: int) -> None:
        """Says in the record what sealing found out."""
        record.tier = types_pb2.TIER_ARCHIVE
        record.stored_bytes = size
        if found.sha256 is not None:
            record.seal.sha256 = found.sha256
        if found.lost:
            kept = [gap for gap in record.seal.gaps if not any(_covers(lost, gap) for lost in found.lost)]
            gaps = sorted([*kept, *found.lost], key=lambda gap: gap.offset)
            del record.seal.gaps[:]
            record.seal.gaps.extend(gaps)

    def _commit(
        self, record: LogRecord, assembled: Assembled, found: Found, companions: list[str], rewrites: int
    ) -> SealResult:
        key = sealed_key(_name(record))
        changes = Changes()
        changes.require(record.number)
        # What was missing may just have come from a worker that has kept it.
        changes.guard(record.number, rewrites)
        changes.put_log(record)
        changes.delete_extents(record.number, 0, MAX_U64)
        extents = assembled.extents(key, 0) or [empty_extent(assembled, key)]
        for extent in extents:
            extent.companions.extend(companions)
            changes.put_extent(record.number, extent)
        self._drop_chunks(changes, record.number, found.buffered)
        now = time.time_ns()
        for gap in found.lost:
            place = f"offsets {gap.offset} to {gap.offset + gap.length}"
            message = f"{place} were lost in the buffer or the archive before the log was sealed"
            changes.put_event(
                record.number, Event(offset=gap.offset, time_ns=now, kind="archive_loss", message=message)
            )
        try:
            self._store.write(changes)
        except Conflict:
            if self._store.deleted_among([record.number]):
                return SealResult.GONE
            if self._store.rewrites(record.number) != rewrites:
                return SealResult.LATER
            raise
        return SealResult.SEALED

    def _drop_chunks(self, changes: Changes, number: int, count: int) -> None:
        if count > _SINGLE_DROPS or self._store.damage.offsets(number):
            changes.delete_chunks(number, 0, MAX_U64)
        elif count:
            with self._store.view() as view:
                for offset, _, _ in view.chunks(number):
                    changes.delete_chunk(number, offset)


def _name(record: LogRecord) -> LogName:
    return LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)


def _covers(outer: types_pb2.Gap, inner: types_pb2.Gap) -> bool:
    return outer.offset <= inner.offset and inner.offset + inner.length <= outer.offset + outer.length


def empty_extent(assembled: Assembled, key: str) -> Extent:
    """Says where the object of a log without bytes is."""
    footer = assembled.footer
    return Extent(
        object=key,
        kind=EXTENT_KIND_SEALED,
        object_bytes=footer.size,
        index_position=footer.index_position,
        index_length=footer.index_length,
        object_logs=1,
    )
