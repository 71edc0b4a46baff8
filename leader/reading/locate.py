"""Where a read begins: a line's first byte, the last lines, the last bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from joblog.errors import BeyondEnd, Corrupt, Interrupted, InvalidInput
from joblog.leader.buffer.chunk import KIND_GAP, Chunk, ChunkHeader, Sealed
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.reading.piece import Start, StartKind
from joblog.leader.reading.scan import Opened, open_chunk
from joblog.leader.reading.selection import after_newline, before_last_newlines, stream_ranges
from joblog.leader.reading.tiers import TieredSource


def _place_in_chunk(ranges: Sequence[tuple[int, int]], place: int) -> int:
    """Where the byte at `place` of the joined ranges lies in the chunk; the end of the last range when behind it."""
    ends = list(accumulate(high - low for low, high in ranges))
    index = bisect_right(ends, place)
    return ranges[index][1] - (ends[index] - place) if index < len(ends) else ranges[-1][1]


class Locator:
    """Finds offsets in one log, in one view, in both tiers; opens at most a few chunks unless it counts in one stream.

    stopped: asked between chunks; a search ends with Interrupted once it says so. opened: the last chunk that was.
    """

    def __init__(
        self, source: TieredSource, cipher: LogCipher, length: int, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._source = source
        self._cipher = cipher
        self._length = length
        self._stopped = stopped
        self.opened: Opened | None = None

    def offset_of(self, start: Start, stream: int | None) -> int:
        """The offset where a read that starts so begins. Raises BeyondEnd when it lies beyond the log's end."""
        kind, value = start
        if kind is StartKind.OFFSET:
            if value > self._length:
                raise BeyondEnd(f"offset {value} lies beyond the end of the log, which is at {self._length}")
            return value
        if kind is StartKind.LINE:
            return self._line(value)
        if value == 0:
            return self._length
        if stream is not None:
            return self._last_of_stream(value, stream, lines=kind is StartKind.LAST_LINES)
        if kind is StartKind.LAST_BYTES:
            return max(0, self._length - value)
        return self._last_lines(value)

    def _line(self, line: int) -> int:
        """The first byte of `line`; the begin of the gap where it lies in one."""
        found = self._source.chunk_for_line(line) if line > 1 else None
        if found is None:
            if line == 1:
                return 0
            lines = self._source.newlines()
            raise BeyondEnd(f"line {line} lies beyond the end of the log, which is in line {lines + 1}")
        offset, header, sealed = found
        opened = self._open(offset, header, sealed)
        missing = line - 1 - header.lines_before
        if opened is None or opened.raw is None or opened.raw.count(b"\n") < missing:
            return offset
        return offset + after_newline(opened.raw, missing)

    def _last_lines(self, count: int) -> int:
        last = self._source.last_chunk()
        if last is None:
            return 0
        opened = self._open(*last)
        lines = last[1].lines_after
        if opened is not None and opened.raw is not None and not opened.raw.endswith(b"\n"):
            lines += 1
        return self._line(max(1, lines - count + 1))

    def _last_of_stream(self, count: int, stream: int, *, lines: bool) -> int:
        """Goes back chunk by chunk until it has seen so many lines or bytes of the stream."""
        behind = self._length
        needed = None if lines else count
        while behind > 0:
            if self._stopped():
                raise Interrupted("the reader went away")
            chunk = self._source.chunk_holding(behind - 1)
            if chunk is None or chunk[0] >= behind:
                break
            data, ranges = self._of_stream(chunk, stream)
            if needed is None and data:
                # A last line without a newline is a line too; one with it ends at its own newline.
                needed = count + data.endswith(b"\n")
            if needed is not None:
                here = data.count(b"\n") if lines else len(data)
                if here >= needed:
                    place = before_last_newlines(data, needed) if lines else len(data) - needed
                    return chunk[0] + _place_in_chunk(ranges, place)
                needed -= here
            behind = chunk[0]
        return 0

    def _of_stream(self, chunk: Chunk, stream: int) -> tuple[bytes, Sequence[tuple[int, int]]]:
        """What the stream wrote in the chunk, and where in the chunk; nothing for a gap or a damaged one."""
        opened = self._open(*chunk)
        if opened is None or opened.raw is None:
            return b"", ()
        try:
            ranges = stream_ranges(opened.frames(), stream)
        except InvalidInput:
            return b"", ()
        return b"".join(opened.raw[low:high] for low, high in ranges), ranges

    def _open(self, offset: int, header: ChunkHeader, sealed: Sealed) -> Opened | None:
        """The chunk in clear; None for a gap or one that is damaged."""
        if header.kind == KIND_GAP:
            return None
        try:
            self.opened = open_chunk(self._cipher, offset, header, sealed, self._source.foreign)
        except (Corrupt, InvalidInput):
            return None
        return self.opened
