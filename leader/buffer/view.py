"""A view: one moment of the store, to read a log's chunks from."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, Self

from joblog.errors import InvalidInput
from joblog.leader.buffer import keys
from joblog.leader.buffer.chunk import Chunk, ChunkHeader, gap_header
from joblog.leader.buffer.cursor import Moment, Source, scan
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.extents import read_extents, read_last_extent
from joblog.leader.buffer.ledger import read_held, read_log
from joblog.leader.buffer.walk import Walk
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import Event, Gap, LogRecord

VIEW_FAMILIES = (keys.LOGS, keys.CHUNKS, keys.EXTENTS, keys.KEYS)


def read_events(source: Source, number: int) -> list[Event]:
    """The log's events by offset and time."""
    prefix = keys.event_prefix(number)
    return [Event.FromString(value) for _, value in scan(source, keys.LOGS, prefix, keys.after(prefix))]


def read_gaps(source: Source, number: int) -> list[Gap]:
    """The log's gaps by offset."""
    prefix = keys.gap_prefix(number)
    return [Gap.FromString(value) for _, value in scan(source, keys.LOGS, prefix, keys.after(prefix))]


# (offset, header) of a chunk.
Head = tuple[int, ChunkHeader]


def _ends_within(chunk: Head, tail: Head) -> bool:
    """Whether the last chunk, which came again, took the place of a first part of what was the last one before."""
    return tail[0] < chunk[0] + chunk[1].raw_length < tail[0] + tail[1].raw_length


def read_last_chunk(source: Source, number: int, damage: Damage) -> Head | None:
    """(offset, header) of the log's last chunk that is not damaged."""
    found = Walk(source, number, damage).last_at(keys.MAX_U64)
    return None if found is None else found[:2]


class LogEnd(NamedTuple):
    """Where a log ends, wherever its last bytes lie. time_ns: when the last chunk's first frame was read."""

    offset: int
    lines: int
    time_ns: int


def end_of(chunk: tuple[int, ChunkHeader] | None, extent: Extent | None) -> LogEnd | None:
    """The end of a log whose last chunk and last extent these are; None for one that holds nothing."""
    ends = []
    if chunk is not None:
        offset, header = chunk
        ends.append(LogEnd(offset + header.raw_length, header.lines_after, header.first_time_ns))
    if extent is not None:
        ends.append(LogEnd(extent.end_offset, extent.lines_before + extent.newlines, extent.last_time_ns))
    return max(ends, default=None)


def complete_record(source: Source, record: LogRecord, end: LogEnd | None) -> LogRecord:
    """`record` with what is not written per append: length, newlines and gaps so far of a log that is not completed."""
    last = read_last_extent(source, record.number)
    record.archived_offset = last.end_offset if last is not None else 0
    if record.state == types_pb2.LOG_STATE_COMPLETED:
        return record
    if end is not None:
        record.next_offset = max(record.next_offset, end.offset)
        record.newlines = max(record.newlines, end.lines)
        record.last_append_ns = max(record.last_append_ns, end.time_ns)
    del record.gaps[:]
    record.gaps.extend(read_gaps(source, record.number))
    return record


class View:
    """One moment of the store. Close it soon: what it sees stays on disk and in memory. One thread at a time."""

    def __init__(self, moment: Moment, damage: Damage, mendings: int, tail: Callable[[int], Head | None]) -> None:
        """mendings: of before the moment. tail: the chunk that was written to a log last, where that is known, whether
        the disk has it or not.
        """
        self._source = moment
        self._mendings = mendings
        self._damage = damage
        self._tail = tail

    def get_log(self, number: int) -> LogRecord | None:
        """As Store.get_log(), at the view's moment."""
        record = read_log(self._source, number)
        return None if record is None else complete_record(self._source, record, self.log_end(number))

    def held(self) -> Generator[tuple[tuple[str, str], int], None, None]:
        """The namespace and token of each completed log, and the bytes that it takes; closes the view."""
        try:
            yield from read_held(self._source)
        finally:
            self.close()

    def log_end(self, number: int) -> LogEnd | None:
        """Where the log ends in the view; None when it holds nothing."""
        return end_of(self.last_chunk(number), read_last_extent(self._source, number))

    def extents(self, number: int, from_offset: int = 0) -> Iterator[Extent]:
        """The log's extents in order, from the one that holds from_offset, else from the next.

        They do not overlap. Where an extent and a chunk of the buffer overlap, the chunk counts.
        """
        return read_extents(self._source, number, from_offset)

    def get_dek(self, number: int) -> bytes | None:
        """As Store.get_dek(), at the view's moment."""
        return self._source.get(keys.KEYS, keys.dek_key(number))

    def events(self, number: int) -> list[Event]:
        """As Store.events(), at the view's moment."""
        return read_events(self._source, number)

    def gaps(self, number: int) -> list[Gap]:
        """As Store.gaps(), at the view's moment."""
        return read_gaps(self._source, number)

    def chunks(self, number: int, from_offset: int = 0) -> Iterator[Chunk]:
        """(offset, header, sealed bytes) of the log's chunks in order, from the one that holds from_offset.

        Gap chunks come with empty sealed bytes. Chunks that lie elsewhere leave a hole, and so do those
        that the disk does not give back as they were written; the caller compares offsets. Raises InvalidInput for an
        impossible offset.
        """
        if not 0 <= from_offset <= keys.MAX_U64:
            raise InvalidInput(f"offset {from_offset} is out of range: 0 to 2**64-1")
        return self._without_holes(number, self._walk(number).chunks(from_offset))

    def _without_holes(self, number: int, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        end: int | None = None
        for chunk in chunks:
            if end is not None and chunk[0] > end:
                self.note_hole(number, end, chunk[0])
            end = chunk[0] + chunk[1].raw_length
            yield chunk

    def note_hole(self, number: int, begin: int, before: int) -> None:
        """No chunk of [begin, before) is there, and some behind it is: what no extent holds either counts as damaged.

        A damaged table may hide keys without an error.
        """
        extents = self.extents(number, begin) if begin < before else iter(())
        for extent in extents:
            if extent.offset > begin:
                break
            begin = max(begin, extent.end_offset)
        if begin < before:
            self._damage.found(number, begin, "nothing is there", self._mendings, is_there=False)

    def _walk(self, number: int) -> Walk:
        tail = self._tail(number)
        last = None if tail is None else tail[0]
        return Walk(self._source, number, self._damage, last, mendings=self._mendings)

    def last_chunk(self, number: int) -> Head | None:
        """(offset, header) of the log's last chunk in the buffer; one that is damaged only where its end is known."""
        walk = self._walk(number)
        found, tail = walk.last_at(keys.MAX_U64), self._tail(number)
        if tail is not None and (tail[0] in walk.passed or (found is not None and _ends_within(found[:2], tail))):
            return tail
        return None if found is None else found[:2]

    def chunk_before(self, number: int, offset: int) -> Head | None:
        """(offset, header) of the last chunk in the buffer that starts at or before `offset` and is not damaged."""
        found = self._walk(number).last_at(offset)
        return None if found is None else found[:2]

    def first_chunk_offset(self, number: int) -> int | None:
        """Offset of the log's first chunk in the buffer, damaged or not."""
        return self._walk(number).first_offset()

    def chunk_for_line(self, number: int, line: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the chunk to begin at to find the start of `line` (from 1).

        It is the first chunk for line 1; else the one that holds the newline that ends line - 1, so that the line
        starts inside it or at the next chunk's first byte. None when the log has not that many newlines.
        Newlines in a gap count as far as they are known; the chunk may then be a gap, also one where nothing is stored.
        """
        if line < 1:
            raise InvalidInput(f"line {line} is out of range: lines are counted from 1")
        if line == 1:
            return self._last_chunk_where(number, lambda _: False)
        found = self._last_chunk_where(number, lambda header: header.lines_before < line - 1)
        return found if found is None or found[1].lines_after >= line - 1 else self._hole_behind(number, found)

    def _hole_behind(self, number: int, chunk: Head) -> Head | None:
        """What lies between the chunk and the next, which has more newlines before it than the chunk behind it."""
        end, lines = chunk[0] + chunk[1].raw_length, chunk[1].lines_after
        following = next(self.chunks(number, end), None)
        if following is None or following[0] == end:
            return None
        newlines = max(0, following[1].lines_before - lines)
        lost = types_pb2.GAP_REASON_LOST
        return end, gap_header(following[0] - end, lost, newlines, lines, chunk[1].first_time_ns)

    def chunk_for_time(self, number: int, time_ns: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the last chunk whose first frame was read at or before time_ns; else the first chunk."""
        return self._last_chunk_where(number, lambda header: header.first_time_ns <= time_ns)

    def _last_chunk_where(self, number: int, holds: Callable[[ChunkHeader], bool]) -> Head | None:
        """The last chunk for which `holds` is true (it is for a first part of the log, then no more); else the first.

        Halves the range of offsets at each step, so that it takes at most 64 seeks, whatever the chunks' sizes.
        """
        walk = self._walk(number)
        first, last = next(walk.chunks(0), None), walk.last_at(keys.MAX_U64)
        if first is None or last is None:
            return None
        best = first[:2]
        if not holds(best[1]):
            return best
        if holds(last[1]):
            return last[:2]
        # holds is true at best; no chunk at or above `high` has it; none starts between best and `low`.
        low, high = best[0], last[0]
        while high - low > 1:
            middle = (low + high) // 2
            found = walk.last_at(middle)
            if found is None or found[0] <= best[0]:
                low = middle
            elif holds(found[1]):
                best, low = found[:2], middle
            else:
                high = found[0]
        return best

    def close(self) -> None:
        """Lets go of the moment; a second call does nothing."""
        self._source.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
