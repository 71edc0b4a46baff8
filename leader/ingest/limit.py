"""A log's limit: beyond it whole chunks go from the middle; the head and the last lines are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from joblog.v1.types_pb2 import GAP_REASON_LOG_LIMIT, Gap


class Drop(NamedTuple):
    """All chunks that start in the gap's range go, and the gap stands in their place."""

    gap: Gap
    lines_before: int


class _Chunk(NamedTuple):
    offset: int
    length: int
    newlines: int
    lines_before: int
    data: bool


class LogLimit:
    """Keeps at most max_bytes of a log: the first half of them, and the newest. Knows the chunks' places, no bytes."""

    def __init__(self, max_bytes: int, chunks: Iterable[tuple[int, int, int, int, bool]] = ()) -> None:
        """chunks: (offset, length, newlines, lines before, holds data) of those that stand already, in order."""
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._head_end: int | None = None
        self._tail: deque[_Chunk] = deque()
        for chunk in chunks:
            self._add(_Chunk(*chunk))

    def _add(self, chunk: _Chunk) -> None:
        if chunk.data:
            self._kept_bytes += chunk.length
        if self._head_end is None:
            if self._kept_bytes <= self._max_bytes // 2:
                return
            self._head_end = chunk.offset
        self._tail.append(chunk)

    def add(self, offset: int, length: int, newlines: int, lines_before: int, *, data: bool) -> Drop | None:
        """Takes note of a new chunk; what must be dropped so that the limit holds, if anything.

        The new chunk itself always stays, so one that is larger than the limit is kept whole.
        """
        self._add(_Chunk(offset, length, newlines, lines_before, data))
        if self._kept_bytes <= self._max_bytes:
            return None
        dropped: list[_Chunk] = []
        while self._kept_bytes > self._max_bytes and len(self._tail) > 1:
            chunk = self._tail.popleft()
            dropped.append(chunk)
            if chunk.data:
                self._kept_bytes -= chunk.length
        if not any(chunk.data for chunk in dropped):
            self._tail.extendleft(reversed(dropped))
            return None
        first, last = dropped[0], dropped[-1]
        length = last.offset + last.length - first.offset
        newlines = sum(chunk.newlines for chunk in dropped)
        self._tail.appendleft(_Chunk(first.offset, length, newlines, first.lines_before, data=False))
        gap = Gap(offset=first.offset, length=length, reason=GAP_REASON_LOG_LIMIT, newlines=newlines)
        return Drop(gap, first.lines_before)
