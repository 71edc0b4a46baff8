"""A chunk's header and value, as docs/format.md, "Chunk", describes them. Pure functions, no state."""

from __future__ import annotations

import struct
from typing import NamedTuple

from joblog.errors import Corrupt, InvalidInput, WrongVersion

CHUNK_VERSION = 1
KIND_DATA = 1
KIND_GAP = 2

_HEADER = struct.Struct(">BBHIQQQII")
_GAP = struct.Struct(">BQ")
HEADER_BYTES = _HEADER.size
GAP_CHUNK_BYTES = HEADER_BYTES + _GAP.size
_U32 = 2**32 - 1


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


def pack_gap(header: ChunkHeader) -> bytes:
    """The whole value of a gap chunk; nothing in it is sealed."""
    return header.pack() + _GAP.pack(header.reason, header.newlines)


def gap_header(raw_length: int, reason: int, newlines: int, lines_before: int, first_time_ns: int) -> ChunkHeader:
    """The header of a gap of raw_length bytes; first_time_ns: when the gap was declared."""
    return ChunkHeader(KIND_GAP, 0, newlines, raw_length, lines_before, first_time_ns, 0, 0, reason)


def unpack_header(value: bytes) -> ChunkHeader:
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
