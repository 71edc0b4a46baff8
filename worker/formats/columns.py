"""What codecs of lines share: times of many lines at once, and lines joined to frames.

All of it works on columns of a block: what is done for each line is done inside numpy, but for one slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from joblog.batch import pack_columns
from joblog.worker.formats.decoded import Decoded

# Bytes behind the last line of a block, so that what is looked at beyond a short line is there.
PADDING = b"\0" * 64
# A time stamp has at most so many bytes: 2026-01-31T12:00:00.123456789+00:00
STAMP_BYTES = 35
# Where in a time stamp lies "mm:ss.cc": lines of one stream and one hundredth of a second are one frame.
FRAME_KEY_AT = 14

_ZERO = ord("0")
_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
# What a u64 of nanoseconds is sure to hold, and no clock shows.
_LAST_YEAR = 2200

Column = np.ndarray[tuple[int], np.dtype[Any]]


def padded(data: bytes) -> Column:
    """The bytes, and some zeros behind them."""
    return np.frombuffer(data + PADDING, np.uint8)


def words(array: Column) -> Column:
    """At each position, the 8 bytes from there on as a number."""
    return np.ndarray((len(array) - 7,), np.dtype("<u8"), array.data, strides=(1,))


def line_bounds(array: Column, length: int) -> tuple[Column, Column]:
    """(first byte, byte behind the newline) of each line in array[:length]."""
    ends = np.flatnonzero(array[:length] == 10) + 1
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1]
    return starts, ends


def stamps_ns(array: Column, starts: Column, ends: Column) -> Column:
    """RFC 3339 time stamps at array[starts:ends] in ns since 1970; 0 for what is none."""
    if not len(starts):
        return np.zeros(0, np.int64)
    digits = array[starts[:, None] + np.arange(29)].astype(np.int64) - _ZERO
    whole = digits[:, [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]]
    good = ((whole >= 0) & (whole <= 9)).all(axis=1) & (ends - starts >= 20) & (ends - starts <= STAMP_BYTES)
    days = whole[:, 0:8] @ np.array([1000_00_00, 100_00_00, 10_00_00, 1_00_00, 10_00, 1_00, 10, 1])
    seconds = whole[:, 8:] @ np.array([36_000, 3600, 600, 60, 10, 1])
    fraction = digits[:, 20:29]
    is_digit = np.logical_and.accumulate(
        (fraction >= 0) & (fraction <= 9) & (np.arange(20, 29) < (ends - starts)[:, None]), axis=1
    )
    nanos = (fraction * is_digit) @ (10 ** np.arange(8, -1, -1))
    nanos[array[starts + 19] != ord(".")] = 0
    known, index = np.unique(days[good], return_inverse=True)
    epoch_days = np.array([_epoch_day(int(day)) for day in known], np.int64)
    result = np.zeros(len(starts), np.int64)
    result[good] = epoch_days[index] * _DAY_SECONDS
    good &= result > 0
    total = (result + seconds - _zone_seconds(array, ends)) * 1_000_000_000 + nanos
    return np.where(good, total, 0)


def _zone_seconds(array: Column, ends: Column) -> Column:
    """What the zones at the ends of time stamps are ahead of UTC."""
    zone = np.zeros(len(ends), np.int64)
    local = np.flatnonzero(array[ends - 1] != ord("Z"))
    if len(local):
        at = ends[local]
        part = array[at[:, None] + np.array([-5, -4, -2, -1])].astype(np.int64) - _ZERO
        ahead = part @ np.array([36_000, 3600, 600, 60])
        zone[local] = np.where(array[at - 6] == ord("-"), -ahead, ahead)
    return zone


def _epoch_day(day: int) -> int:
    """Days from 1970 to a day written as yyyymmdd; 0 for what is none."""
    try:
        found = date(day // 10_000, day // 100 % 100, day % 100)
    except ValueError:
        return 0
    return found.toordinal() - _EPOCH if found.year <= _LAST_YEAR else 0


def joined(
    consumed: int,
    raw: bytes,
    *,
    lengths: Column,
    streams: Column,
    first_of_frame: Column,
    times_ns: Column,
    after_ns: int,
    now_ns: int,
    odd_lines: int,
) -> Decoded:
    """Lines as frames. lengths, streams: of each line; first_of_frame: which line begins one; times_ns: of those."""
    heads = np.flatnonzero(first_of_frame)
    sizes = np.add.reduceat(lengths, heads) if len(heads) else np.zeros(0, np.int64)
    # A fragment may be empty, a frame may not.
    some = sizes > 0
    heads, sizes, times_ns = heads[some], sizes[some], times_ns[some]
    if not len(heads):
        return Decoded(consumed, odd_lines=odd_lines)
    times_ns = np.maximum.accumulate(np.clip(times_ns, after_ns, max(after_ns, now_ns)))
    first = int(times_ns[0])
    micros = (times_ns - first) // 1000
    steps = np.diff(micros, prepend=micros[:1])
    frames = pack_columns(
        streams[heads].astype(np.uint8).tobytes(),
        steps.astype("<u8").tobytes(),
        sizes.astype("<u4").tobytes(),
    )
    return Decoded(consumed, raw, frames, first, int(times_ns[-1]), odd_lines)


def slices(data: bytes, starts: Sequence[int], ends: Sequence[int]) -> bytes:
    """data[start:end] of all pairs in one piece: of the ways that were measured the one that costs least."""
    return b"".join([data[start:end] for start, end in zip(starts, ends, strict=True)])
