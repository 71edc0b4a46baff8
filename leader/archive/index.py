"""An archive object's index: where the chunks of which logs lie in it. Layout: docs/format.md, "Index".

All work is per column, none per chunk, as an object may hold a million of them.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from operator import add, gt
from typing import NamedTuple, overload

import zstandard

from joblog.batch import MAX_BATCH_BYTES
from joblog.errors import Corrupt, InvalidInput
from joblog.leader.buffer.chunk import GAP_CHUNK_BYTES, KIND_DATA, KIND_GAP, RECORD_HEAD_BYTES, ChunkHeader
from joblog.leader.crypto.envelope import UID_BYTES

# What bounds the memory that an object's index can make a reader take.
MAX_CHUNKS = 1 << 20
MAX_LOGS = 1 << 16
GAP_RECORD_BYTES = RECORD_HEAD_BYTES + GAP_CHUNK_BYTES
MAX_RECORD_BYTES = 8 << 20
_LEVEL = 3
_LOG_BYTES = UID_BYTES + 4
# Columns in the order in which they lie in the index.
_TYPES = ("Q", "I", "Q", "Q", "Q", "Q", "B")
_ENTRY_BYTES = 45
_U64 = 2**64 - 1


class Entry(NamedTuple):
    """One chunk in an object.

    offset, raw_length: bytes of the log. position, length: of its record in the object, with the record's head.
    lines_before, newlines, first_time_ns, kind: as in its header.
    """

    offset: int
    position: int
    length: int
    raw_length: int
    lines_before: int
    newlines: int
    first_time_ns: int
    kind: int

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.raw_length


class LogEntries(Sequence[Entry]):
    """One log's chunks in an object, by offset; their records lie one behind the other. Not changed once made."""

    __slots__ = ("_columns", "_ends", "uid")

    def __init__(self, uid: bytes, columns: tuple[Sequence[int], ...]) -> None:
        """columns: one for each field of Entry. Raises Corrupt when an offset is out of range."""
        self.uid = uid
        self._columns = columns
        try:
            self._ends = array("Q", map(add, columns[0], columns[3]))
        except OverflowError:
            raise Corrupt(f"index: a chunk of log {uid.hex()} ends behind 2**64-1") from None

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> LogEntries: ...
    def __getitem__(self, at: int | slice) -> Entry | LogEntries:
        if isinstance(at, slice):
            return LogEntries(self.uid, tuple(column[at] for column in self._columns))
        return Entry(*(column[at] for column in self._columns))

    def __iter__(self) -> Iterator[Entry]:
        return map(Entry, *self._columns)

    def check_order(self) -> None:
        """Raises Corrupt when chunks overlap, or do not follow each other."""
        if any(map(gt, self._ends, self._columns[0][1:])):
            raise Corrupt(f"index: chunks of log {self.uid.hex()} overlap, or do not follow each other")

    def find(self, offset: int) -> int:
        """The number of the first chunk that ends behind `offset`: that which holds it, or else the next one."""
        return bisect_right(self._ends, offset)

    def between(self, from_offset: int, to_offset: int = _U64) -> LogEntries:
        """The chunks that hold bytes of [from_offset, to_offset)."""
        return self[self.find(from_offset) : bisect_left(self._columns[0], to_offset)]

    def column(self, field: str) -> Sequence[int]:
        """One field of all entries."""
        return self._columns[Entry._fields.index(field)]


class Index:
    """The chunks in an object, by log. kind: of the object."""

    def __init__(self, kind: int, logs: Iterable[LogEntries]) -> None:
        self.kind = kind
        self.logs = {log.uid: log for log in logs}

    def find(self, uid: bytes, from_offset: int = 0, to_offset: int = _U64) -> LogEntries | None:
        """The chunks of log `uid` that hold bytes of [from_offset, to_offset); None when the object has none of it."""
        log = self.logs.get(uid)
        return None if log is None else log.between(from_offset, to_offset)


def _big(column: array[int]) -> bytes:
    if sys.byteorder == "little":
        column = column[:]
        column.byteswap()
    return column.tobytes()


class IndexBuilder:
    """Collects what goes into an index; 45 bytes of memory for each chunk."""

    def __init__(self) -> None:
        self._columns = tuple(array(type_) for type_ in _TYPES)
        self._logs: dict[bytes, int] = {}
        self._last = b""
        self._end = 0

    @property
    def logs(self) -> int:
        """How many logs it has."""
        return len(self._logs)

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return len(self._columns[0])

    def begin_log(self, uid: bytes) -> None:
        """Chunks of log `uid` follow. Raises InvalidInput when it had its turn, or for more than MAX_LOGS."""
        if uid in self._logs or len(uid) != UID_BYTES or len(self._logs) >= MAX_LOGS:
            raise InvalidInput(
                f"log {uid.hex()} can't be added to an archive object: it is in it already, or has no uid of "
                f"{UID_BYTES} bytes, or the object holds {MAX_LOGS} logs"
            )
        self._logs[uid] = 0
        self._last = uid
        self._end = 0

    def add(self, offset: int, length: int, header: ChunkHeader) -> None:
        """The next chunk of the log begun last. Raises InvalidInput when it does not fit there."""
        self._add(offset, length, header.raw_length, header.lines_before, header.newlines, header.first_time_ns,
                  header.kind)  # fmt: skip

    def adopt(self, entry: Entry) -> None:
        """As add(), for a chunk whose record is copied from another object."""
        self._add(entry.offset, entry.length, *entry[3:])

    def _add(self, offset: int, length: int, raw_length: int, *rest: int) -> None:
        end = offset + raw_length
        if not self._last or offset < self._end or raw_length < 1 or end > _U64:
            raise InvalidInput(
                f"chunk at offset {offset} of {raw_length} bytes does not fit behind offset {self._end} of a log"
            )
        if self.chunks >= MAX_CHUNKS:
            raise InvalidInput(f"an archive object holds at most {MAX_CHUNKS} chunks: merge them before")
        for column, value in zip(self._columns, (offset, length, raw_length, *rest), strict=True):
            column.append(value)
        self._logs[self._last] += 1
        self._end = end

    def pack(self) -> bytes:
        """The index as it lies in the object; the same chunks give the same bytes."""
        logs = b"".join(uid + count.to_bytes(4, "big") for uid, count in self._logs.items())
        return zstandard.ZstdCompressor(level=_LEVEL).compress(logs + b"".join(map(_big, self._columns)))

    def build(self, kind: int, first: int) -> Index:
        """The index as a reader gets it; the first record begins at position `first`."""
        columns = tuple(column[:] for column in self._columns)
        return Index(kind, _split(columns, self._logs.keys(), self._logs.values(), first))


def index_limit_bytes(logs: int, chunks: int) -> int:
    """The most bytes that an index can have as it lies in an object."""
    return 1024 + (logs * _LOG_BYTES + chunks * _ENTRY_BYTES) * 257 // 256


def unpack_index(packed: bytes, kind: int, logs: int, chunks: int, *, first: int, end: int) -> Index:
    """The index of an object of `logs` logs and `chunks` chunks whose records fill positions first to end.

    Raises Corrupt when it does not add up; takes memory for what the (limited) counts say at most.
    """
    if not 0 <= logs <= MAX_LOGS or not 0 <= chunks <= MAX_CHUNKS:
        raise Corrupt(f"index: {logs} logs and {chunks} chunks are more than {MAX_LOGS} and {MAX_CHUNKS}")
    size = logs * _LOG_BYTES + chunks * _ENTRY_BYTES
    try:
        if zstandard.frame_content_size(packed) != size:
            raise Corrupt(f"index: does not inflate to {size} bytes")
        raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Corrupt(f"index: does not inflate: {error}") from None
    if len(raw) != size:
        raise Corrupt(f"index: inflates to {len(raw)} bytes, not to {size}")
    heads = [raw[at : at + _LOG_BYTES] for at in range(0, logs * _LOG_BYTES, _LOG_BYTES)]
    counts = [int.from_bytes(head[UID_BYTES:], "big") for head in heads]
    uids = [head[:UID_BYTES] for head in heads]
    if sum(counts) != chunks or len(set(uids)) != logs:
        raise Corrupt(f"index: its logs have {sum(counts)} chunks, not {chunks}, or one log is in it twice")
    columns = _columns(memoryview(raw)[logs * _LOG_BYTES :], chunks)
    if first + sum(columns[1]) != end:
        raise Corrupt(f"index: its records do not fill the object from {first} to {end}")
    _check_records(columns)
    found = _split(columns, uids, counts, first)
    for log in found:
        log.check_order()
    return Index(kind, found)


def _split(
    columns: tuple[array[int], ...], uids: Iterable[bytes], counts: Iterable[int], first: int
) -> list[LogEntries]:
    """The logs' entries; positions follow from the lengths, as records lie one behind the other."""
    positions = array("Q", accumulate(columns[1], initial=first))
    whole = (columns[0], positions, *columns[1:])
    bounds = pairwise(accumulate(counts, initial=0))
    return [
        LogEntries(uid, tuple(column[begin:stop] for column in whole))
        for uid, (begin, stop) in zip(uids, bounds, strict=True)
    ]


def _columns(raw: memoryview, chunks: int) -> tuple[array[int], ...]:
    columns = []
    for type_ in _TYPES:
        column = array(type_)
        size = chunks * column.itemsize
        column.frombytes(raw[:size])
        if sys.byteorder == "little":
            column.byteswap()
        columns.append(column)
        raw = raw[size:]
    return tuple(columns)


def _check_records(columns: tuple[array[int], ...]) -> None:
    _, lengths, raw_lengths, _, _, _, kinds = columns
    known = {(KIND_DATA, False), (KIND_GAP, True)}
    if not set(zip(kinds, map(GAP_RECORD_BYTES.__eq__, lengths), strict=True)) <= known:
        raise Corrupt("index: a chunk is neither data nor a gap, or a gap has another length than gaps have")
    if lengths and (min(lengths) < GAP_RECORD_BYTES or max(lengths) > MAX_RECORD_BYTES or min(raw_lengths) < 1):
        raise Corrupt(f"index: a record is shorter than {GAP_RECORD_BYTES} or longer than {MAX_RECORD_BYTES} bytes")
    data = [raw for raw, kind in zip(raw_lengths, kinds, strict=True) if kind == KIND_DATA]
    if data and max(data) > MAX_BATCH_BYTES:
        raise Corrupt(f"index: a chunk stands for {max(data)} bytes, at most {MAX_BATCH_BYTES} are allowed")
