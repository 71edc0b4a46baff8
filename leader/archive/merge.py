"""Merging of a log's small chunks into larger ones: compressed together, sealed anew; not a byte changes its offset.

Chunks of many small batches take more room than their bytes, and reading them takes a seek or a request for each few.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import google_crc32c
import zstandard

from joblog.batch import (
    CODEC_NONE,
    CODEC_ZSTD,
    MAX_BATCH_BYTES,
    MAX_FRAMES,
    MIN_COMPRESS_BYTES,
    Frames,
    open_payload,
    pack_frames,
    unpack_frames,
)
from joblog.errors import Corrupt, InvalidInput
from joblog.leader.buffer.chunk import KIND_DATA, KIND_GAP, Chunk, ChunkHeader, Sealed, pack_gap, stored_record
from joblog.leader.crypto.envelope import LogCipher

log = logging.getLogger(__name__)

MERGED_BYTES = 1 << 20
# A chunk of this many raw bytes is moved as it is: what merging would save does not pay for opening it.
LARGE_BYTES = 256 << 10
# The best trade where chunks are merged again later; where they stay for good, FINAL_LEVEL takes a tenth less room.
MERGE_LEVEL = 3
FINAL_LEVEL = 6
# A clock that was set back by no more is taken to have stood still; times in a chunk never fall.
_STEP_BACK_NS = 1_000_000_000


class MergedChunk(NamedTuple):
    """A chunk of the same log, to take the place of `merged` consecutive ones; when that is 1, it is the very same."""

    offset: int
    header: ChunkHeader
    sealed: Sealed
    merged: int = 1

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.header.raw_length

    @property
    def value(self) -> bytes:
        """As it lies in the buffer, and in the archive's records."""
        return pack_gap(self.header) if self.header.kind == KIND_GAP else self.header.pack() + self.sealed

    def piece(self, number: int) -> tuple[int, Sealed, int | None]:
        """As an archive object of log `number` takes it; what came from the buffer goes on as it was read."""
        if isinstance(self.sealed, memoryview):
            return self.offset, *stored_record(number, self.sealed)
        return self.offset, self.value, None


class _Opened(NamedTuple):
    chunk: MergedChunk
    raw: bytes
    frames: Frames

    @property
    def last_frame_ns(self) -> int:
        """When its last frame was read."""
        return self.chunk.header.first_time_ns + self.frames.times_us[-1] * 1000


def merge_chunks(
    cipher: LogCipher,
    chunks: Iterable[Chunk],
    *,
    merged_bytes: int = MERGED_BYTES,
    large_bytes: int = LARGE_BYTES,
    level: int = MERGE_LEVEL,
    on_damaged: Callable[[int, str], None] | None = None,
) -> Iterator[MergedChunk]:
    """The log's chunks (offset, header, sealed bytes), small neighbours merged; the same bytes, frames, lines, times.

    Merged ones have at most merged_bytes of raw bytes and MAX_FRAMES frames. Passed as they are: chunks of large_bytes
    or more, gaps, and those that do not open, for which on_damaged(offset, why) is called. Nothing is merged across
    such a chunk, a hole in the offsets, or a clock that was set back by more than a second. A frame's time may become
    earlier by less than a microsecond. Merging what was merged changes nothing. Memory: two merged chunks.
    """
    pending = _Pending(cipher, merged_bytes, level)
    for offset, header, sealed in chunks:
        chunk = MergedChunk(offset, header, sealed)
        opened = None
        if header.kind == KIND_DATA and header.raw_length < large_bytes:
            try:
                opened = _open(cipher, chunk)
            except (Corrupt, InvalidInput) as error:
                log.warning("a damaged chunk is left as it is: %s", error)
                if on_damaged is not None:
                    on_damaged(offset, str(error))
        if opened is None:
            yield from pending.take()
            yield chunk
            continue
        if not pending.fits(opened):
            yield from pending.take()
        pending.add(opened)
    yield from pending.take()


def _open(cipher: LogCipher, chunk: MergedChunk) -> _Opened:
    """The chunk in clear, checked against its header. Raises Corrupt or InvalidInput."""
    header = chunk.header
    if not 1 <= header.raw_length <= MAX_BATCH_BYTES or header.codec not in (CODEC_NONE, CODEC_ZSTD):
        raise Corrupt(f"chunk at offset {chunk.offset}: its header gives {header.raw_length} bytes in {header.codec}")
    plain = cipher.open(header.pack(), chunk.offset, chunk.sealed)
    frames = unpack_frames(plain[: header.frames_length], header.raw_length)
    raw = open_payload(header.codec, plain[header.frames_length :], header.raw_length, header.crc32c)
    return _Opened(chunk, raw, frames)


class _Pending:
    """Opened chunks that follow each other and fit in one merged chunk."""

    def __init__(self, cipher: LogCipher, merged_bytes: int, level: int) -> None:
        self._cipher = cipher
        self._limit_bytes = min(merged_bytes, MAX_BATCH_BYTES)
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._opened: list[_Opened] = []
        self._bytes = 0
        self._frames = 0

    def fits(self, following: _Opened) -> bool:
        if not self._opened:
            return True
        last, next_ = self._opened[-1], following.chunk
        return (
            last.chunk.end == next_.offset
            and last.chunk.header.lines_after == next_.header.lines_before
            and last.last_frame_ns - next_.header.first_time_ns <= _STEP_BACK_NS
            and self._bytes + next_.header.raw_length <= self._limit_bytes
            and self._frames + len(following.frames.streams) <= MAX_FRAMES
        )

    def add(self, opened: _Opened) -> None:
        self._opened.append(opened)
        self._bytes += len(opened.raw)
        self._frames += len(opened.frames.streams)

    def take(self) -> Iterator[MergedChunk]:
        """What there is, as one chunk; then it is empty."""
        opened, self._opened = self._opened, []
        self._bytes = self._frames = 0
        if len(opened) == 1:
            yield opened[0].chunk
        elif opened:
            yield self._merge(opened)

    def _merge(self, opened: list[_Opened]) -> MergedChunk:
        first = opened[0].chunk
        raw = b"".join(each.raw for each in opened)
        frames = pack_frames(_join_frames(opened))
        codec, payload = CODEC_NONE, raw
        if len(raw) >= MIN_COMPRESS_BYTES:
            smaller = self._compressor.compress(raw)
            if len(smaller) < len(raw):
                codec, payload = CODEC_ZSTD, smaller
        header = first.header._replace(
            codec=codec,
            newlines=sum(each.chunk.header.newlines for each in opened),
            raw_length=len(raw),
            crc32c=google_crc32c.value(raw),
            frames_length=len(frames),
        )
        sealed = self._cipher.seal(header.pack(), first.offset, frames + payload)
        return MergedChunk(first.offset, header, sealed, len(opened))


def _join_frames(opened: list[_Opened]) -> Frames:
    start_ns = opened[0].chunk.header.first_time_ns
    times_us: list[int] = []
    lengths: list[int] = []
    for each in opened:
        later = (each.chunk.header.first_time_ns - start_ns) // 1000
        moved = map(later.__add__, each.frames.times_us)
        if times_us and each.frames.times_us[0] + later < times_us[-1]:
            moved = map(partial(max, times_us[-1]), moved)
        times_us.extend(moved)
        lengths.extend(each.frames.lengths)
    return Frames(b"".join(each.frames.streams for each in opened), times_us, lengths)
