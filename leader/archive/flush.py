"""The flush: what live logs have in the buffer goes to the archive, as one pack or a few, and leaves the buffer."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, InvalidInput, JoblogError, WrongVersion
from joblog.leader.archive import failpoints
from joblog.leader.archive.container import KIND_PACK, MAX_LOGS, walk_records
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.layout import pack_key
from joblog.leader.archive.merge import MergedChunk, merge_chunks
from joblog.leader.archive.packing import ObjectBuilder, Piece
from joblog.leader.archive.ranges import Range, read_ranges
from joblog.leader.archive.rollup import LARGE_EXTENTS, SMALL_EXTENTS, joined_generation, sizes_of, small_to_join
from joblog.leader.archive.rosters import Rosters
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import HEADER_BYTES, Chunk
from joblog.leader.buffer.store import View
from joblog.v1.archive_pb2 import Extent

log = logging.getLogger(__name__)

# A log with less than this in the buffer may wait for more, for some of PATIENCE_INTERVALS: a trickle flushed at each
# interval would take several times its bytes in overhead. Not all logs wait equally long, so that they take turns.
EAGER_BYTES = 16 << 10
PATIENCE_INTERVALS = (7, 8, 9)
# Of a pack's size, what may become one with new chunks in one flush; the rest waits for its turn.
_JOIN_SHARE = 8
# Longer rows of chunks are dropped as a range.
_SINGLE_DROPS = 256


class FlushLimits(NamedTuple):
    """pack_bytes: of a pack, at which it is closed. merge: whether small chunks are merged.

    interval_seconds: between flushes; a log that trickles waits for a few.
    loss_patience_seconds: how long a worker keeps what it still has of a chunk that the buffer does not give back.
    """

    pack_bytes: int = 64 << 20
    interval_seconds: float = 10.0
    merge: bool = True
    loss_patience_seconds: float = 3600.0


@dataclass(slots=True)
class Flushed:
    """What a flush did. left_bytes: passed over. archived: per log, the offset below which all is in the archive, or is
    known to be lost for longer than anybody has patience.

    crowded: logs with many large extents. joined_bytes: of extents that became one with new chunks.
    """

    archived: dict[int, int] = field(default_factory=dict)
    packs: int = 0
    put_bytes: int = 0
    dropped_bytes: int = 0
    left_bytes: int = 0
    crowded: list[int] = field(default_factory=list)
    joined_bytes: int = 0


@dataclass(slots=True)
class _Part:
    """One log's part of a pack: chunks from the buffer, behind extents that become one with them."""

    number: int
    uid: bytes
    rewrites: int
    chunks: list[Chunk]
    joined: list[Extent] = field(default_factory=list)
    old: list[Chunk] = field(default_factory=list)

    @property
    def generation(self) -> int:
        return joined_generation(sizes_of(self.joined)) if self.joined else 0

    def drop(self, changes: Changes) -> None:
        changes.guard(self.number, self.rewrites)
        if self.joined:
            changes.delete_extents(self.number, self.joined[0].offset, self.joined[-1].offset + 1)
        for row in _rows(self.chunks):
            if len(row) <= _SINGLE_DROPS:
                for offset, _, _ in row:
                    changes.delete_chunk(self.number, offset)
            else:
                changes.delete_chunks(self.number, row[0][0], row[-1][0] + 1)


class Flusher:
    """Flushes live logs. One flush at a time; blocks. Logs that others work on are left for the next time."""

    def __init__(
        self,
        context: ArchiveContext,
        rosters: Rosters,
        limits: FlushLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._store = context.store
        self._busy = context.busy
        self._rosters = rosters
        self._limits = limits
        self._clock = clock
        # When a log was flushed last; of those that are open.
        self._flushed_at: dict[int, float] = {}

    def flush(self, *, everything: bool = False, on_pack: Callable[[Flushed], None] = lambda _: None) -> Flushed:
        """Flushes all live and interrupted logs; on_pack is called after each pack, with all that was done so far.

        everything: those that only have a little too. Raises what the object store and the store raise; what was
        committed by then stays committed.
        """
        numbers = self._store.open_numbers()
        known = set(numbers)
        self._flushed_at = {number: at for number, at in self._flushed_at.items() if number in known}
        pending = deque(numbers)
        done = Flushed()
        while pending:
            mine = self._busy.take(pending)
            try:
                parts = self._gather(pending, mine, done, everything=everything)
                # Those that are not in the pack may be sealed meanwhile.
                packed = {part.number for part in parts}
                self._busy.give({number for number in mine if number not in packed})
                mine &= packed
                failpoints.reach("flush.gathered")
                if parts:
                    unknown = self._rosters.add([part.number for part in parts])
                    self._pack([part for part in parts if part.number not in unknown], done)
                    on_pack(done)
            finally:
                self._busy.give(mine)
        return done

    # What is to be flushed

    def _gather(self, pending: deque[int], mine: set[Hashable], done: Flushed, *, everything: bool) -> list[_Part]:
        """Parts for one pack; takes the logs that are through with off `pending`."""
        rewrites = {number: self._store.rewrites(number) for number in pending}
        parts: list[_Part] = []
        size = 0
        now = self._clock()
        with self._store.view() as view:
            while pending and size < self._limits.pack_bytes and len(parts) < MAX_LOGS:
                number = pending[0]
                if number not in mine:
                    pending.popleft()
                    continue
                chunks, bytes_, more = take_some(view.chunks(number), self._limits.pack_bytes - size)
                if not more:
                    pending.popleft()
                if not chunks:
                    continue
                if not (everything or more or self._is_due(number, bytes_, now)):
                    done.left_bytes += bytes_
                    continue
                record = view.get_log(number)
                if record is None:
                    continue
                part = _Part(number, record.uid, rewrites[number], chunks)
                size += bytes_ + self._plan(view, part, done)
                parts.append(part)
                if more:
                    break
        self._read_old(parts)
        return parts

    def _is_due(self, number: int, bytes_: int, now: float) -> bool:
        last = self._flushed_at.get(number)
        # Intervals are not of the same length to the last millisecond.
        patience = (PATIENCE_INTERVALS[number % len(PATIENCE_INTERVALS)] - 0.5) * self._limits.interval_seconds
        return last is None or bytes_ >= EAGER_BYTES or now - last >= patience

    def _plan(self, view: View, part: _Part, done: Flushed) -> int:
        """Chooses the extents that become one with the part; their bytes."""
        extents = list(view.extents(part.number))
        view.note_hole(part.number, extents[-1].end_offset if extents else 0, part.chunks[0][0])
        if extents and extents[-1].end_offset > part.chunks[0][0]:
            # A chunk that the disk gives back after all, when those behind it are archived already.
            return 0
        if len(extents) > LARGE_EXTENTS:
            done.crowded.append(part.number)
        count = small_to_join(sizes_of(extents))
        joined = extents[len(extents) - count :]
        size = sum(extent.length for extent in joined)
        budget = self._limits.pack_bytes // _JOIN_SHARE
        if done.joined_bytes and done.joined_bytes + size > budget and len(extents) < 2 * SMALL_EXTENTS:
            return 0
        part.joined = joined
        done.joined_bytes += size
        return size

    def _read_old(self, parts: Sequence[_Part]) -> None:
        """Reads the chunks of extents that become one with new ones; what does not read well stays where it is."""
        joining = [part for part in parts if part.joined]
        wanted = [_range(extent) for part in joining for extent in part.joined]
        found = read_ranges(self._context.putter.objects, self._context.pool, wanted) if wanted else {}
        for part in joining:
            try:
                part.old = [chunk for extent in part.joined for chunk in _chunks(extent, found.get(_range(extent)))]
            except (Corrupt, WrongVersion, InvalidInput) as error:
                log.warning("log %d: its extents are not rolled up: %s", part.number, error)
                part.joined, part.old = [], []

    # Putting and committing

    def _pack(self, parts: list[_Part], done: Flushed) -> None:
        if not parts:
            return
        builder = ObjectBuilder(KIND_PACK)
        for part in parts:
            builder.add_log(part.uid, self._merged(part))
        builder.finish()
        key = pack_key(self._store.store_id, self._context.claim.next_sequence())
        with self._busy.all([key]):
            self._context.putter.announce([key])
            failpoints.reach("pack.announced")
            self._context.putter.put_new(key, builder.pieces)
            failpoints.reach("pack.put")
            done.packs += 1
            done.put_bytes += builder.size_bytes
            for part in self._commit(parts, builder, key):
                self._flushed_at[part.number] = self._clock()
                done.archived[part.number] = self._archived(part)
                done.dropped_bytes += sum(HEADER_BYTES + len(sealed) for _, _, sealed in part.chunks)
            failpoints.reach("pack.committed")

    def _archived(self, part: _Part) -> int:
        """Up to where the log is in the archive now: what is damaged stays in the buffer, and a worker may have it."""
        last, header, _ = part.chunks[-1]
        end = last + header.raw_length
        with self._store.view() as view:
            beyond = next(view.extents(part.number, end), None)
        if beyond is not None:
            # The part was a hole that was filled when what is behind it was archived already.
            end = self._store.archived_offset(part.number)
        waiting = self._store.damage.offsets(part.number, self._limits.loss_patience_seconds)
        return min([end, *waiting[:1]])

    def _merged(self, part: _Part) -> Iterator[Piece]:
        chunks = [*part.old, *part.chunks] if part.old else part.chunks
        if len(chunks) == 1 or not self._limits.merge:
            # merge_chunks() would open even a single one.
            return (MergedChunk(*one).piece(part.number) for one in chunks)
        try:
            cipher = self._context.open_cipher(part.number)
        except JoblogError as error:
            log.warning("log %d: its chunks are not merged: %s", part.number, error)
            return (MergedChunk(*one).piece(part.number) for one in chunks)
        return (merged.piece(part.number) for merged in merge_chunks(cipher, chunks))

    def _commit(self, parts: list[_Part], builder: ObjectBuilder, key: str) -> list[_Part]:
        """Commits the extents of the parts that still are what they were when read; those that were committed."""
        while parts:
            changes = Changes()
            for part in parts:
                part.drop(changes)
                for extent in builder.extents(part.uid, key, part.generation):
                    changes.put_extent(part.number, extent)
            try:
                self._store.write(changes)
                return parts
            except Conflict:
                deleted = self._store.deleted_among(part.number for part in parts)
                left = [p for p in parts if p.number not in deleted and self._store.rewrites(p.number) == p.rewrites]
                if len(left) == len(parts):
                    raise
                parts = left
        return parts


def take_some(chunks: Iterable[Chunk], limit_bytes: int) -> tuple[list[Chunk], int, bool]:
    """(chunks, their stored bytes, whether there are more) until their bytes reach the limit."""
    taken: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if size >= limit_bytes:
            return taken, size, True
        taken.append(chunk)
        size += HEADER_BYTES + len(chunk[2])
    return taken, size, False


def _rows(chunks: Sequence[Chunk]) -> Iterator[Sequence[Chunk]]:
    """The chunks cut where an offset between them is left out: what is damaged there is not dropped with them."""
    begin, end = 0, -1
    for at, (offset, header, _) in enumerate(chunks):
        if at > begin and offset != end:
            yield chunks[begin:at]
            begin = at
        end = offset + header.raw_length
    yield chunks[begin:]


def _range(extent: Extent) -> Range:
    return Range(extent.object, extent.position, extent.length)


def _chunks(extent: Extent, data: bytes | None) -> Iterator[Chunk]:
    """The extent's chunks, which must fill it. Raises Corrupt."""
    if data is None:
        raise Corrupt(f"archive object {extent.object} is gone or cut short")
    at = extent.offset
    for record in walk_records(data):
        if extent.offset <= record.offset < extent.end_offset:
            if record.offset != at:
                raise Corrupt(f"archive object {extent.object}: nothing is there for offsets {at} to {record.offset}")
            yield record.offset, record.header, record.sealed
            at = record.offset + record.header.raw_length
    if at != extent.end_offset:
        raise Corrupt(f"archive object {extent.object} ends at offset {at}, not at {extent.end_offset}")
