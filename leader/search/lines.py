"""Finds lines that match in bytes that come chunk by chunk. Python works per hit, never per line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from joblog.leader.search.pattern import Found, Pattern

# Of a line, at most so much is shown, with a quarter of it before the match.
SHOWN_BYTES = 4096
MAX_SPANS = 100
MAX_CONTEXT_LINES = 20
# A line that is longer is searched in parts that overlap; a match in each may be a hit of its own.
LONG_LINE_BYTES = 4 << 20
_OVERLAP_BYTES = 64 << 10

# (stream, time in ns) of the byte at an offset; 0 where it is not known.
Origin = Callable[[int], tuple[int, int]]


class ShownLine(NamedTuple):
    """A line, or the part of a long one that is shown. offset: of the first byte shown. cut: there is more of it."""

    line: int
    offset: int
    text: bytes
    cut: bool


@dataclass(slots=True)
class Hit:
    """A line that matches. spans: where in shown.text. offset: of the first match in the log."""

    shown: ShownLine
    offset: int
    spans: list[Found]
    stream: int = 0
    time_ns: int = 0
    before: list[ShownLine] = field(default_factory=list)
    after: list[ShownLine] = field(default_factory=list)


class LineSearch:
    """Searches one contiguous row of bytes: add() them in order, then end(). Memory: two chunks, or a long line.

    offset, line: of the first byte to come. stream: only lines whose first match came from it; 0 is any.
    """

    def __init__(self, pattern: Pattern, *, offset: int, line: int, context: int, stream: int, origin: Origin) -> None:
        self._pattern = pattern
        self._context = context
        self._stream = stream
        self._origin = origin
        self._data = b""
        # Of the first byte of _data: where it lies, and in which line.
        self._offset = offset
        self._line = line
        # Up to where _data was searched; always the begin of a line, but in a long one.
        self._searched = 0
        self._counted = (0, line)

    @property
    def offset(self) -> int:
        """Everything before it was searched."""
        return self._offset + self._searched

    def add(self, data: bytes, limit: int) -> list[Hit]:
        """The next bytes; what is found by now, at most `limit` hits. After as many, it must not be used any more."""
        self._forget()
        self._data = self._data + data if self._data else data
        end = self._end_of_lines(self._context + 1)
        if end <= self._searched and len(self._data) - self._searched > LONG_LINE_BYTES:
            return self._search(len(self._data) - _OVERLAP_BYTES, limit)
        return self._search(end, limit)

    def end(self, limit: int) -> list[Hit]:
        """Nothing follows, or a gap does: what is found in the rest."""
        return self._search(len(self._data), limit)

    def _end_of_lines(self, count: int) -> int:
        """Behind the last line that is followed by count - 1 whole ones; 0 where there is none."""
        end = len(self._data)
        for _ in range(count):
            end = self._data.rfind(b"\n", 0, end)
            if end < 0:
                return 0
        return end + 1

    def _forget(self) -> None:
        """Lets go of what was searched, but for the lines that may be shown before a hit."""
        keep = self._searched
        for _ in range(self._context):
            if keep == 0:
                break
            keep = self._data.rfind(b"\n", 0, keep - 1) + 1
        # The lines before are shown cut anyway.
        keep = max(keep, self._searched - (self._context + 1) * SHOWN_BYTES)
        if keep > 0:
            self._line = self._line_at(keep)
            self._offset += keep
            self._data = self._data[keep:]
            self._searched -= keep
            self._counted = (0, self._line)

    def _line_at(self, place: int) -> int:
        """The number of the line at `place`; places are asked for in rising order."""
        at, line = self._counted
        if place < at:
            at, line = 0, self._line
        line += self._data.count(b"\n", at, place)
        self._counted = (place, line)
        return line

    def _search(self, end: int, limit: int) -> list[Hit]:
        hits: list[Hit] = []
        at = self._searched
        while at < end and len(hits) < limit:
            found = self._pattern.first(self._data, at, end)
            if found is None:
                break
            line_end = self._data.find(b"\n", found.begin)
            line_end = len(self._data) if line_end < 0 else line_end
            stream, time_ns = self._origin(self._offset + min(found.begin, len(self._data) - 1))
            if not self._stream or stream == self._stream:
                hits.append(self._hit(found, min(line_end, end), stream, time_ns))
            at = line_end + 1
        else:
            end = min(at, end)
        self._searched = max(self._searched, end)
        return hits

    def _hit(self, found: Found, line_end: int, stream: int, time_ns: int) -> Hit:
        begin = self._data.rfind(b"\n", 0, found.begin) + 1
        low = max(begin, found.begin - SHOWN_BYTES // 4)
        high = min(line_end, low + SHOWN_BYTES)
        cut = low > begin or high < line_end
        shown = ShownLine(self._line_at(begin), self._offset + low, self._data[low:high], cut)
        spans = [
            Found(match.begin - low, min(match.end, high) - low)
            for match in self._pattern.each(self._data, begin, line_end, MAX_SPANS)
            if low <= match.begin < high
        ]
        hit = Hit(shown, self._offset + found.begin, spans, stream, time_ns)
        if self._context:
            hit.before = self._lines_before(begin)
            hit.after = self._lines_after(line_end, shown.line)
        return hit

    def _lines_before(self, begin: int) -> list[ShownLine]:
        lines: list[ShownLine] = []
        line = self._line_at(begin)
        while len(lines) < self._context and begin > 0:
            end = begin - 1
            begin = self._data.rfind(b"\n", 0, end) + 1
            line -= 1
            lines.append(self._shown(line, begin, end))
        return lines[::-1]

    def _lines_after(self, end: int, line: int) -> list[ShownLine]:
        lines: list[ShownLine] = []
        while len(lines) < self._context and end + 1 < len(self._data):
            begin, end = end + 1, self._data.find(b"\n", end + 1)
            end = len(self._data) if end < 0 else end
            line += 1
            lines.append(self._shown(line, begin, end))
        return lines

    def _shown(self, line: int, begin: int, end: int) -> ShownLine:
        high = min(end, begin + SHOWN_BYTES)
        return ShownLine(line, self._offset + begin, self._data[begin:high], high < end)
