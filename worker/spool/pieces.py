"""Lines that come one by one, as pieces that are written to a spool at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from joblog.batch import MAX_FRAMES, Frames, pack_frames
from joblog.worker.spool.followed import FollowedWriter


class Line(NamedTuple):
    """Bytes of one stream and one time."""

    stream: int
    time_ns: int
    data: bytes


class Piece(NamedTuple):
    """Bytes that are written at once, with their frames. end: where it ends in all the lines."""

    raw: bytes
    streams: bytes
    times_ns: Sequence[int]
    lengths: Sequence[int]
    end: int


def pieces(lines: Iterable[Line], skip: int, piece_bytes: int) -> Iterator[Piece]:
    """Lines behind their first `skip` bytes, in pieces of at most so many bytes."""
    data, streams, at = bytearray(), bytearray(), 0
    times: list[int] = []
    lengths: list[int] = []
    for line in lines:
        start = max(0, skip - at)
        at += len(line.data)
        while start < len(line.data):
            room = piece_bytes - len(data)
            if not room or len(lengths) == MAX_FRAMES:
                yield Piece(bytes(data), bytes(streams), times, lengths, at - len(line.data) + start)
                data, streams, times, lengths = bytearray(), bytearray(), [], []
                continue
            taken = line.data[start : start + room]
            data += taken
            streams.append(line.stream)
            times.append(line.time_ns)
            lengths.append(len(taken))
            start += len(taken)
    if data:
        yield Piece(bytes(data), bytes(streams), times, lengths, at)


def append_piece(writer: FollowedWriter, piece: Piece, last_ns: int, position: bytes) -> int | None:
    """Writes a piece with the position behind it; the time of its last frame, None where there is no room.

    last_ns: of the log's last frame: times never fall within a log, whatever the clocks of those say who wrote it.
    """
    times, last = [], last_ns
    for time_ns in piece.times_ns:
        last = max(last, time_ns)
        times.append(last)
    frames = Frames(piece.streams, [(time_ns - times[0]) // 1000 for time_ns in times], piece.lengths)
    return last if writer.append_decoded(piece.raw, pack_frames(frames), times[0], position) else None
