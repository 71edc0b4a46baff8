"""The one container of the archive: pack, segment and sealed log. Layout: docs/format.md, "Container".

    magic | records | index | footer

A record holds one chunk exactly as it lies in the buffer, and can be found, read and checked without its neighbours.
Nothing here needs a key.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import google_crc32c

from joblog.errors import Corrupt, InvalidInput, WrongVersion
from joblog.leader.archive.index import (
    GAP_RECORD_BYTES,
    MAX_CHUNKS,
    MAX_LOGS,
    MAX_RECORD_BYTES,
    Entry,
    Index,
    IndexBuilder,
    LogEntries,
    index_limit_bytes,
    unpack_index,
)
from joblog.leader.buffer.chunk import (
    HEADER_BYTES,
    KIND_GAP,
    RECORD_HEAD_BYTES,
    RECORD_START,
    ChunkHeader,
    Sealed,
    record_crc32c,
    unpack_header,
)

__all__ = [
    "FOOTER_BYTES",
    "KIND_PACK",
    "KIND_SEALED",
    "KIND_SEGMENT",
    "MAGIC",
    "MAX_CHUNKS",
    "MAX_LOGS",
    "RECORD_HEADER_BYTES",
    "ContainerWriter",
    "Entry",
    "Footer",
    "Index",
    "LogEntries",
    "LogRange",
    "Record",
    "check_magic",
    "entry_record",
    "log_range",
    "read_footer",
    "read_index",
    "read_record",
    "record_head",
    "record_header",
    "walk_records",
    "write_container",
]

CONTAINER_VERSION = 1
KIND_PACK = 1
KIND_SEGMENT = 2
KIND_SEALED = 3
KINDS = frozenset({KIND_PACK, KIND_SEGMENT, KIND_SEALED})
MAGIC = b"JLARCH1\n"
_FAMILY = MAGIC[:6]
_END_MAGIC = b"JLARCEND"
# Index position and length, logs, chunks, kind, version, SHA-256 of the index, unused bytes.
_FOOTER = struct.Struct(">QIIIBB32s6x")
FOOTER_BYTES = _FOOTER.size + 4 + len(_END_MAGIC)
# Enough for record_header().
RECORD_HEADER_BYTES = GAP_RECORD_BYTES


class Footer(NamedTuple):
    """What an object's last FOOTER_BYTES say."""

    kind: int
    logs: int
    chunks: int
    index_position: int
    index_length: int
    index_sha256: bytes

    @property
    def size(self) -> int:
        """Of the whole object."""
        return self.index_position + self.index_length + FOOTER_BYTES


class Record(NamedTuple):
    """One chunk with its place in the log. value: as in the buffer."""

    offset: int
    header: ChunkHeader
    value: bytes

    @property
    def sealed(self) -> bytes:
        """What LogCipher.open() takes; empty for a gap."""
        return b"" if self.header.kind == KIND_GAP else self.value[HEADER_BYTES:]


class LogRange(NamedTuple):
    """What an object holds of one log: records at [position, position + length) with bytes of [offset, end_offset).

    newlines: those counted in its chunks. contiguous: no offset in between is left out.
    """

    uid: bytes
    position: int
    length: int
    offset: int
    end_offset: int
    lines_before: int
    newlines: int
    chunks: int
    contiguous: bool


def log_range(log: LogEntries) -> LogRange:
    """The range of a log that has at least one chunk in the object."""
    first, last = log[0], log[-1]
    raw_length = sum(log.column("raw_length"))
    return LogRange(
        uid=log.uid,
        position=first.position,
        length=last.position + last.length - first.position,
        offset=first.offset,
        end_offset=last.end,
        lines_before=first.lines_before,
        newlines=sum(log.column("newlines")),
        chunks=len(log),
        contiguous=raw_length == last.end - first.offset,
    )


class ContainerWriter:
    """Makes an object piece by piece: what the calls return, joined in order, is the object.

    Keeps 45 bytes for each chunk and nothing else. The same calls give the same bytes. One thread at a time.

        writer = ContainerWriter(KIND_PACK)
        for uid, chunks in logs:
            send(writer.begin_log(uid))
            for offset, value in chunks:
                send(*writer.add(offset, value))
        send(writer.finish())
        writer.footer, writer.index                     # for the catalog
    """

    def __init__(self, kind: int) -> None:
        """kind: KIND_PACK (one log or more), KIND_SEGMENT or KIND_SEALED (exactly one log)."""
        if kind not in KINDS:
            raise InvalidInput(f"kind {kind} of an archive object is not known: known are {sorted(KINDS)}")
        self._kind = kind
        self._builder = IndexBuilder()
        # Bytes of the object that the pieces given so far, and records copied, stand for.
        self.position = 0
        self._footer: Footer | None = None
        self._index: Index | None = None

    def begin_log(self, uid: bytes) -> bytes:
        """Chunks of log `uid` follow, by offset; each log has one turn. Returns the next piece (empty but at first).

        Raises InvalidInput for a second log in a segment or sealed log, or too many.
        """
        if self._kind != KIND_PACK and self._builder.logs:
            raise InvalidInput("a segment or sealed log holds one log")
        self._builder.begin_log(uid)
        return self._begin()

    def _begin(self) -> bytes:
        if self.position:
            return b""
        self.position = len(MAGIC)
        return MAGIC

    def add(self, offset: int, value: Sealed, crc32c: int | None = None) -> tuple[bytes, Sealed]:
        """The next chunk; the pieces are its record's head and `value` itself. crc32c: the record's, where it is known.

        Raises InvalidInput when it overlaps the one before, is too large, or the object has MAX_CHUNKS. Corrupt and
        WrongVersion when `value` is no chunk.
        """
        length = RECORD_HEAD_BYTES + len(value)
        if length > MAX_RECORD_BYTES:
            raise InvalidInput(f"chunk at offset {offset} has {len(value)} bytes: a record takes {MAX_RECORD_BYTES}")
        self._builder.add(offset, length, unpack_header(value))
        self.position += length
        return record_head(offset, value, crc32c), value

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Records that somebody copies into the object at this place, byte by byte and in this order.

        Where these are at the very start of a source object, its magic may be copied with them: then drop the piece
        that begin_log() returned. Raises InvalidInput as add() does.
        """
        for entry in entries:
            self._builder.adopt(entry)
            self.position += entry.length

    def finish(self) -> bytes:
        """The last piece: index and footer. Nothing may be added any more."""
        if self._kind != KIND_PACK and self._builder.logs != 1:
            raise InvalidInput("a segment or sealed log holds one log, and none was begun")
        begin = self._begin()
        index = self._builder.pack()
        self._footer = Footer(
            kind=self._kind,
            logs=self._builder.logs,
            chunks=self._builder.chunks,
            index_position=self.position,
            index_length=len(index),
            index_sha256=hashlib.sha256(index).digest(),
        )
        self.position = self._footer.size
        return begin + index + pack_footer(self._footer)

    @property
    def footer(self) -> Footer:
        """Of the finished object."""
        if self._footer is None:
            raise InvalidInput("the archive object is not finished")
        return self._footer

    @property
    def index(self) -> Index:
        """Of the finished object, as read_index() gives it."""
        if self._index is None:
            self._index = self._builder.build(self.footer.kind, len(MAGIC))
        return self._index


def write_container(kind: int, logs: Iterable[tuple[bytes, Iterable[tuple[int, Sealed]]]]) -> Iterator[Sealed]:
    """The pieces of an object with these logs: (uid, its chunks as (offset, value))."""
    writer = ContainerWriter(kind)
    for uid, chunks in logs:
        yield writer.begin_log(uid)
        for offset, value in chunks:
            yield from writer.add(offset, value)
    yield writer.finish()


def record_head(offset: int, value: Sealed, crc32c: int | None = None) -> bytes:
    """What stands before the chunk `value` in its record; crc32c: the record's, where that is known."""
    if crc32c is None:
        crc32c = record_crc32c(offset, bytes(value))
    return RECORD_START.pack(RECORD_HEAD_BYTES + len(value), offset) + crc32c.to_bytes(4, "big")


def pack_footer(footer: Footer) -> bytes:
    """The footer's FOOTER_BYTES."""
    fields = _FOOTER.pack(
        footer.index_position,
        footer.index_length,
        footer.logs,
        footer.chunks,
        footer.kind,
        CONTAINER_VERSION,
        footer.index_sha256,
    )
    return fields + int(google_crc32c.value(fields)).to_bytes(4, "big") + _END_MAGIC


def check_magic(begin: bytes) -> None:
    """Raises Corrupt or WrongVersion when an object does not begin with MAGIC; its first 8 bytes are enough."""
    if begin[: len(MAGIC)] == MAGIC:
        return
    if begin[: len(_FAMILY)] == _FAMILY and len(begin) >= len(MAGIC):
        raise WrongVersion(f"archive object begins with {begin[:8]!r}: this joblog knows {MAGIC!r}; use a newer joblog")
    raise Corrupt(f"archive object begins with {begin[:8]!r}, not with {MAGIC!r}: it is none of joblog's")


def read_footer(tail: bytes, size: int) -> Footer:
    """The footer of an object of `size` bytes, from its last FOOTER_BYTES or more. Raises Corrupt or WrongVersion."""
    fields, check, magic = tail[-FOOTER_BYTES:-12], tail[-12:-8], tail[-8:]
    if len(tail) < FOOTER_BYTES or magic != _END_MAGIC:
        raise Corrupt(
            f"archive object of {size} bytes does not end with a footer: it is cut short, or none of joblog's"
        )
    position, length, logs, chunks, kind, version, sha256 = _FOOTER.unpack(fields)
    if google_crc32c.value(fields) != int.from_bytes(check, "big"):
        raise Corrupt(f"archive object of {size} bytes: its footer is damaged")
    if version != CONTAINER_VERSION:
        raise WrongVersion(f"archive object has version {version}; this joblog knows version {CONTAINER_VERSION}")
    footer = Footer(kind, logs, chunks, position, length, sha256)
    if kind not in KINDS or not (kind == KIND_PACK or logs == 1):
        raise Corrupt(f"archive object: its footer says kind {kind} with {logs} logs")
    if logs > MAX_LOGS or chunks > MAX_CHUNKS or length > index_limit_bytes(logs, chunks):
        raise Corrupt(f"archive object: its footer says {logs} logs, {chunks} chunks, an index of {length} bytes")
    if position < len(MAGIC) + chunks * GAP_RECORD_BYTES or footer.size != size:
        raise Corrupt(f"archive object has {size} bytes; its footer is one of {footer.size} bytes with {chunks} chunks")
    return footer


def read_index(packed: bytes, footer: Footer) -> Index:
    """The index, from the footer.index_length bytes at footer.index_position. Raises Corrupt."""
    if len(packed) != footer.index_length or hashlib.sha256(packed).digest() != footer.index_sha256:
        raise Corrupt("archive object: its index is damaged or cut short")
    return unpack_index(packed, footer.kind, footer.logs, footer.chunks, first=len(MAGIC), end=footer.index_position)


def read_record(data: bytes, at: int = 0) -> tuple[Record, int]:
    """The record that begins at data[at], checked, and where the next one begins. Raises Corrupt or WrongVersion."""
    if len(data) - at < GAP_RECORD_BYTES:
        raise Corrupt(f"archive record: {len(data) - at} bytes are left, a record has at least {GAP_RECORD_BYTES}")
    length, offset = RECORD_START.unpack_from(data, at)
    end = at + length
    if not GAP_RECORD_BYTES <= length <= MAX_RECORD_BYTES or end > len(data):
        raise Corrupt(f"archive record says {length} bytes, {len(data) - at} are left: it is damaged or cut short")
    value = bytes(data[at + RECORD_HEAD_BYTES : end])
    start, check = bytes(data[at : at + 12]), int.from_bytes(data[at + 12 : at + 16], "big")
    if google_crc32c.extend(google_crc32c.value(start), value) != check:
        raise Corrupt(f"archive record that says offset {offset}: its checksum does not fit, it is damaged")
    return Record(offset, unpack_header(value), value), end


def walk_records(data: bytes) -> Iterator[Record]:
    """The records that lie one behind the other in `data`, such as the bytes of an extent.

    Raises Corrupt or WrongVersion at the first that is damaged; what lies behind it can be read with the index.
    """
    at = 0
    while at < len(data):
        record, at = read_record(data, at)
        yield record


def entry_record(data: bytes, at: int, entry: Entry) -> Record:
    """The record of `entry`, which begins at data[at], held against the index. Raises Corrupt or WrongVersion."""
    record, end = read_record(data, at)
    header = record.header
    found = (record.offset, end - at, header.raw_length, header.lines_before, header.newlines, header.first_time_ns)
    if (*found, header.kind) != (entry.offset, *entry[2:]):
        raise Corrupt(f"archive record at offset {record.offset} is not the one that the index has at {entry.offset}")
    return record


def record_header(data: bytes, at: int = 0) -> tuple[int, int, ChunkHeader]:
    """(length, offset, header) of the record whose first RECORD_HEADER_BYTES begin at data[at]; not checked as a whole.

    Raises Corrupt or WrongVersion.
    """
    if len(data) - at < RECORD_HEADER_BYTES:
        raise Corrupt(f"archive record: {len(data) - at} bytes, its head and header have {RECORD_HEADER_BYTES}")
    length, offset = RECORD_START.unpack_from(data, at)
    if not GAP_RECORD_BYTES <= length <= MAX_RECORD_BYTES:
        raise Corrupt(f"archive record says {length} bytes: it is damaged")
    return length, offset, unpack_header(bytes(data[at + RECORD_HEAD_BYTES : at + RECORD_HEADER_BYTES]))
