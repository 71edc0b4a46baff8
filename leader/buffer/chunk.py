"""A chunk's header and values, as docs/format.md, "Chunk" and "Stored chunk", describe them. Pure functions."""

from __future__ import annotations

import struct
from typing import NamedTuple

import google_crc32c

from joblog.errors import Corrupt, InvalidInput, WrongVersion

CHUNK_VERSION = 1
KIND_DATA = 1
KIND_GAP = 2

# Sealed bytes; those of a chunk in the buffer are a part of the value that was read.
Sealed = bytes | memoryview

_HEADER = struct.Struct(">BBHIQQQII")
_GAP = struct.Struct(">BQ")
HEADER_BYTES = _HEADER.size
GAP_CHUNK_BYTES = HEADER_BYTES + _GAP.size
_U32 = 2**32 - 1
# A record of the archive begins with its length and its offset, and a CRC-32C of both and the chunk.
RECORD_START = struct.Struct(">IQ")
RECORD_HEAD_BYTES = RECORD_START.size + 4
CHECK_BYTES = 4


class ChunkHeader(NamedTuple):
    """What is known of a chunk without its key.

    kind: KIND_DATA or KIND_GAP. codec: of the payload (joblog.batch.CODEC_*; 0 in a gap). raw_length: bytes of the log
    that the chunk stands for, before compression. newlines: newlines among them (in a gap: as far as known).
    lines_before: newlines in the log before the chunk. frames_length: bytes of packed frames before the payload.
    reason: a gap's GapReason; 0 in a data chunk.
    """

    kind: int
    codec: int
    newlines: int
    raw_length: int
    lines_before: int
    first_time_ns: int
    crc32c: int
    frames_length: int
    reason: int = 0

    def pack(self) -> bytes:
        """The header's 40 bytes, part of a data chunk's associated data. Raises InvalidInput on overflow."""
        try:
            return _HEADER.pack(CHUNK_VERSION, *self[:2], min(self.newlines, _U32), *self[3:8])
        except struct.error as error:
            raise InvalidInput(f"chunk header {self!r} does not fit its fields: {error}") from None

    @property
    def lines_after(self) -> int:
        """Newlines in the log up to the chunk's end."""
        return self.lines_before + self.newlines


# (offset, header, sealed bytes); sealed is empty for a gap.
Chunk = tuple[int, ChunkHeader, Sealed]


def pack_gap(header: ChunkHeader) -> bytes:
    """The whole value of a gap chunk; nothing in it is sealed. Raises InvalidInput on overflow."""
    try:
        return header.pack() + _GAP.pack(header.reason, header.newlines)
    except struct.error as error:
        raise InvalidInput(f"a gap's header {header!r} does not fit its fields: {error}") from None


def gap_header(raw_length: int, reason: int, newlines: int, lines_before: int, first_time_ns: int) -> ChunkHeader:
    """The header of a gap of raw_length bytes; first_time_ns: when the gap was declared."""
    return ChunkHeader(KIND_GAP, 0, newlines, raw_length, lines_before, first_time_ns, 0, 0, reason)


def unpack_header(value: Sealed) -> ChunkHeader:
    """The header of a stored chunk, of which the first GAP_CHUNK_BYTES are enough. Raises Corrupt or WrongVersion."""
    if len(value) < HEADER_BYTES:
        raise Corrupt(f"a chunk of {len(value)} bytes is shorter than its header of {HEADER_BYTES} bytes")
    version, kind, codec, newlines, raw_length, lines_before, first_time_ns, crc32c, frames_length = (
        _HEADER.unpack_from(value)
    )
    if version != CHUNK_VERSION:
        raise WrongVersion(f"chunk version {version} is not known: this joblog knows version {CHUNK_VERSION}")
    if kind == KIND_DATA:
        return ChunkHeader(kind, codec, newlines, raw_length, lines_before, first_time_ns, crc32c, frames_length)
    if kind != KIND_GAP or len(value) < GAP_CHUNK_BYTES:
        raise Corrupt(f"chunk kind {kind} with {len(value)} bytes is neither a data chunk nor a gap")
    reason, gap_newlines = _GAP.unpack_from(value, HEADER_BYTES)
    return ChunkHeader(kind, codec, gap_newlines, raw_length, lines_before, first_time_ns, 0, 0, reason)


def unpack_chunk(value: bytes) -> tuple[ChunkHeader, bytes]:
    """(header, sealed bytes) of a stored chunk; sealed is empty for a gap. Raises Corrupt or WrongVersion."""
    header = unpack_header(value)
    return header, b"" if header.kind == KIND_GAP else value[HEADER_BYTES:]


def record_crc32c(offset: int, *parts: bytes) -> int:
    """The CRC-32C in the head of the archive's record of the chunk at `offset` that these parts make."""
    start = RECORD_START.pack(RECORD_HEAD_BYTES + sum(map(len, parts)), offset)
    crc32c: int = google_crc32c.value(start)
    for part in parts:
        crc32c = google_crc32c.extend(crc32c, part)
    return crc32c


def _bound(number: int) -> int:
    """What the check of log `number` differs by from the CRC-32C of the record."""
    crc32c: int = google_crc32c.value(number.to_bytes(8, "big"))
    return crc32c


def pack_stored(number: int, offset: int, *parts: bytes) -> bytes:
    """The store's value for the chunk of log `number` at `offset`, which the parts make: with its check behind it."""
    check = record_crc32c(offset, *parts) ^ _bound(number)
    return b"".join((*parts, check.to_bytes(CHECK_BYTES, "big")))


def unpack_stored(number: int, offset: int, stored: bytes) -> tuple[ChunkHeader, memoryview]:
    """(header, sealed bytes) of the store's value under this key; sealed is empty for a gap, and copied by nobody.

    Raises Corrupt when it is not what was stored there, WrongVersion.
    """
    size = len(stored) - CHECK_BYTES
    if size < HEADER_BYTES:
        raise Corrupt(f"{len(stored)} bytes are too few for a chunk")
    check = stored[size:]
    # Over all of the bytes, as a part of them would have to be copied: the check itself goes through both sides.
    expected = google_crc32c.extend(int.from_bytes(check, "big") ^ _bound(number), check)
    start = google_crc32c.value(RECORD_START.pack(RECORD_HEAD_BYTES + size, offset))
    if google_crc32c.extend(start, stored) != expected:
        raise Corrupt("its checksum does not fit")
    header = unpack_header(stored)
    return header, memoryview(stored)[size if header.kind == KIND_GAP else HEADER_BYTES : size]


def stored_record(number: int, sealed: memoryview) -> tuple[memoryview, int]:
    """(chunk, CRC-32C of its record) from the sealed bytes of log `number` that unpack_stored() gave; no copy."""
    stored = memoryview(sealed.obj)
    size = len(stored) - CHECK_BYTES
    return stored[:size], int.from_bytes(stored[size:], "big") ^ _bound(number)


def said_length(value: bytes) -> int:
    """How many bytes of the log a value that may be damaged says that it stands for; 0 when it says nothing."""
    try:
        return unpack_header(value).raw_length
    except (Corrupt, WrongVersion):
        return 0
