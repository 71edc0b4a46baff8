"""A view: one moment of the store, to read a log's chunks from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from joblog.errors import Corrupt, InvalidInput
from joblog.leader.buffer import keys
from joblog.leader.buffer.chunk import ChunkHeader, unpack_chunk, unpack_header
from joblog.leader.buffer.engine import Moment, Source, scan
from joblog.leader.buffer.extents import read_extents, read_last_extent
from joblog.leader.buffer.ledger import read_log
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


def _header(value: bytes, number: int, offset: int) -> ChunkHeader:
    try:
        return unpack_header(value)
    except Corrupt as error:
        raise Corrupt(f"log number {number}, chunk at offset {offset}: {error}") from None


def read_last_chunk(source: Source, number: int) -> tuple[int, ChunkHeader] | None:
    """(offset, header) of the log's last chunk."""
    return _chunk_at(source, number, keys.MAX_U64)


def _chunk_at(source: Source, number: int, offset: int) -> tuple[int, ChunkHeader] | None:
    """(offset, header) of the last chunk that starts at or before `offset`."""
    cursor = source.cursor(keys.CHUNKS)
    key = cursor.seek_back(keys.chunk_key(number, offset))
    if key is None or not key.startswith(keys.u64(number)):
        return None
    start = keys.number_of(key)
    return start, _header(cursor.value(), number, start)


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

    def __init__(self, moment: Moment) -> None:
        self._source = moment

    def get_log(self, number: int) -> LogRecord | None:
        """As Store.get_log(), at the view's moment."""
        record = read_log(self._source, number)
        return None if record is None else complete_record(self._source, record, self.log_end(number))

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

    def chunks(self, number: int, from_offset: int = 0) -> Iterator[tuple[int, ChunkHeader, bytes]]:
        """(offset, header, sealed bytes) of the log's chunks in order, from the one that holds from_offset.

        Gap chunks come with empty sealed bytes. Chunks that lie elsewhere leave a hole; the caller compares offsets.
        Raises Corrupt when the disk gives back other bytes than were written, InvalidInput for an impossible offset.
        """
        if not 0 <= from_offset <= keys.MAX_U64:
            raise InvalidInput(f"offset {from_offset} is out of range: 0 to 2**64-1")
        cursor = self._source.cursor(keys.CHUNKS, keys.chunk_key(number + 1, 0))
        begin = keys.chunk_key(number, from_offset)
        key = cursor.seek_back(begin)
        if key is None or not key.startswith(keys.u64(number)):
            key = cursor.seek(begin)
        while key is not None:
            offset = keys.number_of(key)
            value = cursor.value()
            header = _header(value, number, offset)
            if offset + header.raw_length > from_offset:
                yield offset, header, unpack_chunk(value)[1]
            key = cursor.next()

    def last_chunk(self, number: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the log's last chunk in the buffer."""
        return read_last_chunk(self._source, number)

    def first_chunk_offset(self, number: int) -> int | None:
        """Offset of the log's first chunk in the buffer."""
        key = self._source.cursor(keys.CHUNKS, keys.chunk_key(number + 1, 0)).seek(keys.chunk_key(number, 0))
        return None if key is None else keys.number_of(key)

    def chunk_for_line(self, number: int, line: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the chunk to begin at to find the start of `line` (from 1).

        It is the first chunk for line 1; else the one that holds the newline that ends line - 1, so that the line
        starts inside it or at the next chunk's first byte. None when the log has not that many newlines.
        Newlines in a gap count as far as they are known; the chunk may then be a gap.
        """
        if line < 1:
            raise InvalidInput(f"line {line} is out of range: lines are counted from 1")
        if line == 1:
            return self._last_chunk_where(number, lambda _: False)
        found = self._last_chunk_where(number, lambda header: header.lines_before < line - 1)
        return None if found is None or found[1].lines_after < line - 1 else found

    def chunk_for_time(self, number: int, time_ns: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the last chunk whose first frame was read at or before time_ns; else the first chunk."""
        return self._last_chunk_where(number, lambda header: header.first_time_ns <= time_ns)

    def _last_chunk_where(self, number: int, holds: Callable[[ChunkHeader], bool]) -> tuple[int, ChunkHeader] | None:
        """The last chunk for which `holds` is true (it is for a first part of the log, then no more); else the first.

        Halves the range of offsets at each step, so that it takes at most 64 seeks, whatever the chunks' sizes.
        """
        cursor = self._source.cursor(keys.CHUNKS, keys.chunk_key(number + 1, 0))
        key = cursor.seek(keys.chunk_key(number, 0))
        if key is None:
            return None
        first = keys.number_of(key)
        best = first, _header(cursor.value(), number, first)
        last = self.last_chunk(number)
        if last is None or not holds(best[1]):
            return best
        if holds(last[1]):
            return last
        # holds is true at best; no chunk at or above `high` has it; none starts between best and `low`.
        low, high = first, last[0]
        while high - low > 1:
            middle = (low + high) // 2
            found = _chunk_at(self._source, number, middle)
            if found is None or found[0] <= best[0]:
                low = middle
            elif holds(found[1]):
                best, low = found, middle
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
