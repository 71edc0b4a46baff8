"""Cuts a data record into pieces, for a leader whose batch limit is lower than what was captured at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from joblog.batch import CODEC_NONE, Frames, pack_frames, unpack_frames
from joblog.worker.spool.record import Record, cut_before, raw_bytes


def frame_count(record: Record) -> int:
    """How many frames a data record has."""
    return int.from_bytes(record.frames[1:5], "little")


def head(record: Record, length: int) -> Record:
    """The first `length` bytes of a data record, which has at least as many. Raises Corrupt."""
    raw = raw_bytes(record)[:length]
    frames = unpack_frames(record.frames, record.raw_length)
    ends = list(accumulate(frames.lengths))
    last = bisect_left(ends, length)
    lengths = [*frames.lengths[:last], frames.lengths[last] - (ends[last] - length)]
    kept = Frames(frames.streams[: last + 1], frames.times_us[: last + 1], lengths)
    return record._replace(
        raw_length=length,
        codec=CODEC_NONE,
        payload=raw,
        frames=pack_frames(kept),
        newlines=raw.count(b"\n"),
        crc32c=0,
    )


def split(record: Record, max_bytes: int) -> Iterator[Record]:
    """The data record in pieces of at most max_bytes raw bytes; itself when it is short enough. Raises Corrupt."""
    while record.raw_length > max_bytes:
        yield head(record, max_bytes)
        record = cut_before(record, record.offset + max_bytes)
    yield record
