"""The last lines of a log before an offset."""

from __future__ import annotations

import contextlib

from joblog.death import MAX_TAIL_BYTES, tail_of
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader


async def read_tail(reader: LogReader, number: int, end_offset: int) -> bytes:
    """The last lines of a log before an offset, as far as they are there. Raises NotFound, Corrupt, Unavailable."""
    begin = max(0, end_offset - MAX_TAIL_BYTES)
    if end_offset == 0:
        return b""
    spec = ReadSpec(Start(StartKind.OFFSET, begin), limit_bytes=end_offset - begin)
    async with contextlib.aclosing(reader.read(number, spec)) as pieces:
        data = b"".join([piece.data[: max(0, end_offset - piece.offset)] async for piece in pieces])
    return tail_of(data)
