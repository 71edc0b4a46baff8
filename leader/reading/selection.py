"""Cutting a chunk's bytes and frames: a range, one stream, a limit. Work is per run of frames, in C where it counts."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, compress
from typing import NamedTuple

from joblog.batch import STDERR, STDOUT, Frames
from joblog.leader.reading.piece import FrameColumns

_RUNS = {STDOUT: re.compile(rb"\x01+"), STDERR: re.compile(rb"\x02+")}
_IS_STREAM = {
    STDOUT: bytes(value == STDOUT for value in range(256)),
    STDERR: bytes(value == STDERR for value in range(256)),
}


class Cut(NamedTuple):
    """Bytes that were selected. first: where the first one lies in the chunk; end: where to go on in the chunk."""

    parts: list[memoryview]
    size: int
    first: int
    end: int


def stream_ranges(frames: Frames, stream: int) -> list[tuple[int, int]]:
    """Ranges of a chunk's bytes, in order, that came from `stream`; neighbours are joined."""
    bounds = [0, *accumulate(frames.lengths)]
    return [(bounds[run.start()], bounds[run.end()]) for run in _RUNS[stream].finditer(frames.streams)]


def cut_range(raw: bytes, start: int, limit: int | None) -> Cut:
    """The bytes from `start` on, `limit` at most."""
    end = len(raw) if limit is None else min(len(raw), start + limit)
    return Cut([memoryview(raw)[start:end]], end - start, start, end)


def cut_stream(raw: bytes, ranges: Sequence[tuple[int, int]], start: int, limit: int | None) -> Cut:
    """The bytes from `start` on that lie in `ranges`, `limit` at most.

    The chunk is used up (end is its length) unless the limit was reached.
    """
    view = memoryview(raw)
    parts: list[memoryview] = []
    left = len(raw) if limit is None else limit
    first = start
    for begin, end in ranges[bisect_right(ranges, start, key=lambda entry: entry[1]) :]:
        low = max(begin, start)
        high = min(end, low + left)
        if not parts:
            first = low
        parts.append(view[low:high])
        left -= high - low
        if left == 0 and limit is not None:
            return Cut(parts, limit, first, high)
    return Cut(parts, sum(map(len, parts)), first, len(raw))


def cut_frames(
    frames: Frames, chunk_offset: int, first_time_ns: int, *, start: int, end: int, stream: int | None
) -> FrameColumns:
    """The frames of the chunk's bytes [start, end), those of `stream` when given; the outer ones are clipped."""
    ends = list(accumulate(frames.lengths))
    low, high = bisect_right(ends, start), bisect_left(ends, end) + 1
    lengths = list(frames.lengths[low:high])
    if start >= end or not lengths:
        return FrameColumns(b"", (), (), ())
    offsets = [chunk_offset + ends[low] - lengths[0], *(chunk_offset + value for value in ends[low : high - 1])]
    lengths[-1] -= max(0, ends[low + len(lengths) - 1] - end)
    cut_off = max(0, chunk_offset + start - offsets[0])
    offsets[0] += cut_off
    lengths[0] -= cut_off
    times = [first_time_ns + 1000 * value for value in frames.times_us[low:high]]
    streams = frames.streams[low:high]
    if stream is None:
        return FrameColumns(streams, times, offsets, lengths)
    chosen = streams.translate(_IS_STREAM[stream])
    return FrameColumns(
        bytes(compress(streams, chosen)),
        list(compress(times, chosen)),
        list(compress(offsets, chosen)),
        list(compress(lengths, chosen)),
    )


def join_frames(parts: Sequence[FrameColumns]) -> FrameColumns:
    """Columns one after another."""
    if len(parts) == 1:
        return parts[0]
    return FrameColumns(
        b"".join(part.streams for part in parts),
        [value for part in parts for value in part.times_ns],
        [value for part in parts for value in part.offsets],
        [value for part in parts for value in part.lengths],
    )


def after_newline(raw: bytes, count: int) -> int:
    """Where the byte after the count-th newline (from 1) lies; raw must hold so many.

    Halves the range by counting in it, which is far quicker than looking at each newline.
    """
    low, high = 0, len(raw)
    while high - low > 1:
        middle = (low + high) // 2
        found = raw.count(b"\n", low, middle)
        if found >= count:
            high = middle
        else:
            count -= found
            low = middle
    return high


def before_last_newlines(raw: bytes, count: int) -> int:
    """Where the byte after the count-th newline from the end lies (count from 1); raw must hold so many."""
    return after_newline(raw, raw.count(b"\n") - count + 1)
