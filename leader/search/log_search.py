"""The search of one log, a step at a time, each in a fresh view of the store."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from joblog.batch import Frames
from joblog.errors import BeyondEnd, InvalidInput, NotFound
from joblog.leader.archive.fetch import ExtentReader, ObjectGone
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.reading.scan import Opened, Scan
from joblog.leader.reading.tiers import Reach, TieredSource
from joblog.leader.search.lines import Hit, LineSearch
from joblog.leader.search.pattern import Pattern
from joblog.v1 import types_pb2

_STEP_SECONDS = 0.1
_MAX_GAPS = 100


class SearchSpec(NamedTuple):
    """What to look for in a log. stream: 0 is any. until_offset: 0 is the log's end."""

    pattern: Pattern
    stream: int = 0
    context_lines: int = 0
    max_hits: int = 1000
    from_offset: int = 0
    until_offset: int = 0


@dataclass(slots=True)
class Step:
    """What a step found. at: everything before it was searched. length: of what is to be searched, as known now.

    skipped: ranges of offsets that could not be searched, for they are missing; the first 100.
    """

    hits: list[Hit] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0
    length: int = 0
    done: bool = False
    truncated: bool = False


class _Origins:
    """Where the bytes of the last chunks came from; their frames are unpacked when they are asked for."""

    def __init__(self) -> None:
        self._chunks: deque[Opened] = deque()
        self._unpacked: tuple[int, Frames | None, list[int]] = (-1, None, [])

    def add(self, chunk: Opened, keep_from: int) -> None:
        while self._chunks and self._chunks[0].end <= keep_from:
            self._chunks.popleft()
        self._chunks.append(chunk)

    def __call__(self, offset: int) -> tuple[int, int]:
        for chunk in self._chunks:
            if chunk.offset <= offset < chunk.end:
                return self._in_chunk(chunk, offset)
        return 0, 0

    def _in_chunk(self, chunk: Opened, offset: int) -> tuple[int, int]:
        if self._unpacked[0] != chunk.offset:
            try:
                frames = chunk.frames()
            except InvalidInput:
                self._unpacked = chunk.offset, None, []
            else:
                self._unpacked = chunk.offset, frames, list(accumulate(frames.lengths))
        _, frames_or_none, ends = self._unpacked
        if frames_or_none is None:
            return 0, 0
        index = min(bisect_right(ends, offset - chunk.offset), len(ends) - 1)
        return frames_or_none.streams[index], chunk.first_time_ns + frames_or_none.times_us[index] * 1000


class LogSearch:
    """Searches one log. step() blocks, for about a tenth of a second; one thread at a time."""

    def __init__(
        self,
        store: Store,
        number: int,
        spec: SearchSpec,
        open_cipher: Callable[[int], LogCipher],
        archive: ExtentReader | None,
    ) -> None:
        self._store = store
        self._number = number
        self._spec = spec
        self._open_cipher = open_cipher
        self._archive = archive
        self._missing: set[str] = set()
        self._at = spec.from_offset
        self._newlines: int | None = None if spec.from_offset else 0
        self._length: int | None = None
        self._origins = _Origins()
        self._lines: LineSearch | None = None
        self._left = spec.max_hits
        self._skipped = 0

    def step(self) -> Step:
        """Goes on for a while. Raises NotFound when the log is gone, BeyondEnd when it ends before from_offset."""
        done = Step()
        with self._store.view() as view:
            record = view.get_log(self._number)
            if record is None:
                raise NotFound(f"log number {self._number} was deleted")
            length = self._bound(record)
            source = TieredSource(
                view, self._number, record.uid, self._archive, reach=Reach(sequential=True), missing=self._missing
            )
            cipher = self._open_cipher(self._number)
            # To the log's end, as a line that begins within the bound may end behind it.
            scan = Scan(
                source,
                self._number,
                cipher,
                self._at,
                record.next_offset,
                lines=self._newlines,
                foreign=source.foreign,
            )
            try:
                self._go_on(scan, length, done)
            except ObjectGone as gone:
                # Its bytes have moved; when the next view names it too, they are lost.
                self._missing.add(gone.key)
        done.at, done.length = min(self._at, length), length
        return done

    def give_up(self) -> Step:
        """The last step of a log that can't be read: what is left is skipped."""
        length = self._length or self._at
        return Step(skipped=[(self._at, length)] if self._at < length else [], at=length, length=length, done=True)

    def _bound(self, record: types_pb2.LogRecord) -> int:
        if self._length is None:
            if self._spec.from_offset > record.next_offset:
                raise BeyondEnd(
                    f"offset {self._spec.from_offset} lies beyond the end of the log, which is at {record.next_offset}"
                )
            self._length = min(self._spec.until_offset or record.next_offset, record.next_offset)
        return self._length

    def _go_on(self, scan: Scan, length: int, done: Step) -> None:
        until = time.monotonic() + _STEP_SECONDS
        while self._at < length and self._left > 0:
            chunk = scan.next()
            if chunk is None:
                break
            if chunk.raw is None:
                self._gap(chunk, done)
            else:
                self._bytes(chunk, chunk.raw, done)
            self._at, self._newlines = chunk.end, chunk.lines_before + chunk.newlines
            if self._left > 0 and time.monotonic() > until:
                return
        self._end_row(done)
        done.done = True
        done.truncated = self._left <= 0
        if done.truncated and self._lines is not None:
            self._at = self._lines.offset

    def _bytes(self, chunk: Opened, raw: bytes, done: Step) -> None:
        skip = max(0, self._at - chunk.offset)
        if self._lines is None:
            self._lines = LineSearch(
                self._spec.pattern,
                offset=chunk.offset + skip,
                line=chunk.lines_before + raw.count(b"\n", 0, skip) + 1,
                context=self._spec.context_lines,
                stream=self._spec.stream,
                origin=self._origins,
            )
        self._origins.add(chunk, self._lines.offset)
        self._take(self._lines.add(raw[skip:] if skip else raw, self._left), done)

    def _gap(self, chunk: Opened, done: Step) -> None:
        self._end_row(done)
        if self._left > 0:
            self._lines = None
        if self._skipped < _MAX_GAPS:
            done.skipped.append((chunk.offset, chunk.end))
            self._skipped += 1

    def _end_row(self, done: Step) -> None:
        if self._lines is not None and self._left > 0:
            self._take(self._lines.end(self._left), done)

    def _take(self, hits: list[Hit], done: Step) -> None:
        self._left -= len(hits)
        # The last chunk may go beyond what is to be searched.
        done.hits += [hit for hit in hits if hit.offset < (self._length or 0)]
