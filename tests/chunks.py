"""Chunks of a log made as ingest makes them, with no store."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence

import google_crc32c

from joblog.batch import CODEC_NONE, CODEC_ZSTD, STDOUT, Frames, deflate, pack_frames
from joblog.leader.buffer.chunk import KIND_DATA, KIND_GAP, Chunk, ChunkHeader, gap_header, pack_gap
from joblog.leader.crypto.envelope import LogCipher

FIRST_TIME_NS = 1_700_000_000_000_000_000
# (stream, microseconds since the chunk's first frame, bytes)
Frame = tuple[int, int, bytes]


class ChunkMaker:
    """Makes a log's chunks one after another."""

    def __init__(self) -> None:
        self.uid = os.urandom(16)
        self.dek = os.urandom(32)
        self.cipher = LogCipher(self.dek, self.uid)
        self.offset = 0
        self.lines = 0
        self.time_ns = FIRST_TIME_NS

    def frames(self, *frames: Frame, compress: bool = True) -> Chunk:
        """A chunk of these frames, at the log's end."""
        raw = b"".join(data for _, _, data in frames)
        columns = Frames(
            bytes(stream for stream, _, _ in frames),
            array("Q", (time_us for _, time_us, _ in frames)),
            array("I", (len(data) for _, _, data in frames)),
        )
        codec, payload = deflate(raw) if compress else (CODEC_NONE, raw)
        packed = pack_frames(columns)
        header = ChunkHeader(
            kind=KIND_DATA,
            codec=codec,
            newlines=raw.count(b"\n"),
            raw_length=len(raw),
            lines_before=self.lines,
            first_time_ns=self.time_ns,
            crc32c=google_crc32c.value(raw),
            frames_length=len(packed),
        )
        return self._placed(header, self.cipher.seal(header.pack(), self.offset, packed + payload))

    def data(self, raw: bytes, *, seconds_later: float = 1.0) -> Chunk:
        """A chunk of one frame of stdout; the log's time goes on before it."""
        self.time_ns += int(seconds_later * 1e9)
        return self.frames((STDOUT, 0, raw))

    def gap(self, length: int, newlines: int = 0, reason: int = 1) -> Chunk:
        """A gap at the log's end."""
        return self._placed(gap_header(length, reason, newlines, self.lines, self.time_ns), b"")

    def _placed(self, header: ChunkHeader, sealed: bytes) -> Chunk:
        offset = self.offset
        self.offset += header.raw_length
        self.lines += header.newlines
        return offset, header, sealed


def value_of(chunk: Chunk) -> bytes:
    """The chunk as it lies in the buffer."""
    _, header, sealed = chunk
    return pack_gap(header) if header.kind == KIND_GAP else header.pack() + sealed


def values(chunks: Sequence[Chunk]) -> list[tuple[int, bytes]]:
    """(offset, value) of each, as an archive object takes them."""
    return [(chunk[0], value_of(chunk)) for chunk in chunks]


__all__ = ["CODEC_NONE", "CODEC_ZSTD", "FIRST_TIME_NS", "Chunk", "ChunkMaker", "Frame", "value_of", "values"]
