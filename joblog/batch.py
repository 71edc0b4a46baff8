"""Batches: frames packed in columns, bytes compressed once, and the checks that hostile input must pass.

The layout of the columns is described in docs/format.md, "Frame columns". All work is per batch, none per frame.
"""

from __future__ import annotations

import sys
from _thread import _local
from array import array
from collections.abc import Sequence
from itertools import accumulate
from operator import sub
from typing import NamedTuple

from joblog.errors import InvalidInput

CODEC_NONE = 1
CODEC_ZSTD = 2
STDOUT = 1
STDERR = 2

DEFAULT_BATCH_BYTES = 1 << 20
MAX_BATCH_BYTES = 4 << 20
MAX_FRAMES = 65536
# Below this many bytes a zstd frame does not pay for its header.
MIN_COMPRESS_BYTES = 96
ZSTD_LEVEL = 1

_COLUMNS_PLAIN = 0
_COLUMNS_ZSTD = 1
_FRAME_BYTES = 13


class _Codecs(_local):
    """zstd's working memory, one for each thread: making it takes longer than packing some short lines."""

    def __init__(self) -> None:
        import zstandard

        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs: _Codecs | None = None


def _codecs_of_thread() -> _Codecs:
    # Not made with the module: a supervisor that compresses nothing does not load the library.
    global _codecs  # noqa: PLW0603
    if _codecs is None:
        _codecs = _Codecs()
    return _codecs


class Frames(NamedTuple):
    """Columns of equal length: one entry per frame, in order.

    streams: STDOUT or STDERR, a byte each. times_us: microseconds since the batch's first frame was read, never
    falling. lengths: bytes, at least 1 each.
    """

    streams: bytes
    times_us: Sequence[int]
    lengths: Sequence[int]


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def pack_frames(frames: Frames) -> bytes:
    """The columns as bytes: a byte that says how they are packed, a count, streams, time steps, lengths."""
    times = frames.times_us
    steps = array("Q", [times[0], *map(sub, times[1:], times[:-1])])
    return pack_columns(frames.streams, _little(steps), _little(array("I", frames.lengths)))


def pack_columns(streams: bytes, steps_us: bytes, lengths: bytes) -> bytes:
    """pack_frames of columns that are bytes already: u64 of steps between frames, u32 of lengths, little endian."""
    columns = streams + steps_us + lengths
    head = len(streams).to_bytes(4, "little")
    if len(columns) > MIN_COMPRESS_BYTES:
        return bytes([_COLUMNS_ZSTD]) + head + _codecs_of_thread().compressor.compress(columns)
    return bytes([_COLUMNS_PLAIN]) + head + columns


def unpack_frames(packed: bytes, raw_length: int) -> Frames:
    """The columns of a batch of raw_length bytes, checked. Raises InvalidInput when they do not add up."""
    if len(packed) < 5 or packed[0] > _COLUMNS_ZSTD:
        raise InvalidInput("frames: the columns' header is not one that this version knows")
    count = int.from_bytes(packed[1:5], "little")
    if not 1 <= count <= MAX_FRAMES:
        raise InvalidInput(f"frames: {count} frames in a batch, allowed are 1 to {MAX_FRAMES}")
    columns = bytes(packed[5:])
    if packed[0] == _COLUMNS_ZSTD:
        columns = inflate(columns, count * _FRAME_BYTES, "frames")
    if len(columns) != count * _FRAME_BYTES:
        raise InvalidInput(
            f"frames: {len(columns)} bytes of columns for {count} frames, must be {count * _FRAME_BYTES}"
        )
    steps, lengths = array("Q"), array("I")
    steps.frombytes(columns[count : 9 * count])
    lengths.frombytes(columns[9 * count :])
    if sys.byteorder == "big":
        steps.byteswap()
        lengths.byteswap()
    streams = columns[:count]
    if streams.strip(b"\x01\x02"):
        raise InvalidInput("frames: a stream is neither 1 (stdout) nor 2 (stderr)")
    if min(lengths) == 0 or sum(lengths) != raw_length:
        raise InvalidInput(
            f"frames: lengths add up to {sum(lengths)} with a shortest of {min(lengths)}, not to {raw_length}"
        )
    if sum(steps) >= 2**63 // 1000:
        raise InvalidInput("frames: times lie too far apart")
    return Frames(streams, list(accumulate(steps)), lengths)


def inflate(payload: bytes, raw_length: int, what: str = "payload") -> bytes:
    """The zstd frame `payload` inflated, never to more than raw_length bytes.

    Raises InvalidInput when it is damaged or its length is another one.
    """
    import zstandard

    try:
        if zstandard.frame_content_size(payload) != raw_length:
            raise InvalidInput(f"{what}: does not inflate to {raw_length} bytes")
        decompressor = _codecs_of_thread().decompressor
        raw = decompressor.decompress(payload, max_output_size=raw_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidInput(f"{what}: does not inflate: {error}") from None
    if len(raw) != raw_length:
        raise InvalidInput(f"{what}: inflates to {len(raw)} bytes, not to {raw_length}")
    return raw


def compress(raw: bytes | memoryview) -> bytes:
    """`raw` as a zstd frame that says its content size, made with this thread's compressor."""
    return _codecs_of_thread().compressor.compress(raw)


def deflate(raw: bytes) -> tuple[int, bytes]:
    """(codec, payload) for raw: compressed where that pays."""
    if len(raw) >= MIN_COMPRESS_BYTES:
        payload = compress(raw)
        if len(payload) < len(raw):
            return CODEC_ZSTD, payload
    return CODEC_NONE, raw


def open_payload(codec: int, payload: bytes, raw_length: int, crc32c: int) -> bytes:
    """A batch's bytes, held against its header. Raises InvalidInput when they are not what it says."""
    import google_crc32c

    if codec == CODEC_ZSTD:
        raw = inflate(payload, raw_length)
    elif codec == CODEC_NONE:
        raw = payload
        if len(raw) != raw_length:
            raise InvalidInput(f"payload: has {len(raw)} bytes, its header says {raw_length}")
    else:
        raise InvalidInput(f"codec: {codec} is not known; known are 1 (none) and 2 (zstd)")
    found = google_crc32c.value(raw)
    if found != crc32c:
        raise InvalidInput(f"crc32c: the bytes have {found:08x}, the header says {crc32c:08x}")
    return raw
