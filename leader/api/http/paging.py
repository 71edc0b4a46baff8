"""One page of a log's bytes or lines: what a single HTTP reply holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

from joblog.leader.api.waiting import until
from joblog.leader.reading.piece import FrameColumns, Piece, ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.v1 import types_pb2

MAX_LINES_BYTES = 4 << 20
# A page with frames ends early when it has so many: tiny writes would make it many times its bytes.
MAX_PAGE_FRAMES = 65_536


@dataclass(slots=True)
class Page:
    """Contiguous bytes, with the gaps that lie before them; fields as those of a Piece.

    gap_follows: it ended as a gap lies behind it.
    """

    offset: int
    next_offset: int
    line: int
    first_offset: int
    state: types_pb2.LogState
    tier: types_pb2.Tier
    parts: list[bytes] = field(default_factory=list)
    frames: list[FrameColumns] = field(default_factory=list)
    frame_count: int = 0
    gaps: list[types_pb2.Gap] = field(default_factory=list)
    events: list[types_pb2.Event] = field(default_factory=list)
    gap_follows: bool = False

    def data(self) -> bytes:
        """The bytes."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    def add(self, piece: Piece) -> bool:
        """Takes the piece in; False, and nothing is taken, when it is a gap behind bytes: the page ends before it."""
        if piece.gap is not None:
            if self.parts:
                self.gap_follows = True
                return False
            self.gaps.append(piece.gap)
        if not self.parts:
            # Behind a gap the page begins where the gap ends.
            self.offset = piece.next_offset if piece.gap is not None else piece.offset
            self.line = piece.line if piece.gap is None else piece.line + piece.gap.newlines
            self.tier = piece.tier
        if piece.data:
            self.parts.append(piece.data)
        if piece.frames.streams:
            self.frames.append(piece.frames)
            self.frame_count += len(piece.frames.streams)
        self.next_offset = piece.next_offset
        self.first_offset = piece.first_offset
        self.state = piece.state
        self.events += piece.events
        return True


def _page_of(piece: Piece) -> Page:
    page = Page(piece.offset, piece.offset, piece.line, piece.first_offset, piece.state, piece.tier)
    page.add(piece)
    return page


async def read_page(reader: LogReader, number: int, spec: ReadSpec) -> Page:
    """What is stored from spec.start on, up to spec.limit_bytes or to the first gap behind a byte."""
    page: Page | None = None
    async with contextlib.aclosing(reader.read(number, replace(spec, follow=False))) as pieces:
        async for piece in pieces:
            if page is None:
                page = _page_of(piece)
            elif not page.add(piece) or page.frame_count >= MAX_PAGE_FRAMES:
                break
    assert page is not None
    return page


class _News:
    """Tells what a reader who waits has not heard yet.

    events_seen: time of the newest event that the reader knows; None: it does not keep track, and only events that
    come while it waits are news to it.
    """

    def __init__(self, page: Page, events_seen: int | None) -> None:
        self._seen = events_seen or 0
        self._state = page.state
        self._known = [] if events_seen is not None else [event.time_ns for event in page.events]

    def events(self, events: Sequence[types_pb2.Event]) -> list[types_pb2.Event]:
        return [event for event in events if event.time_ns > self._seen]

    def is_in(self, page: Page) -> bool:
        fresh = any(event.time_ns not in self._known for event in self.events(page.events))
        return bool(page.parts or page.gaps or fresh or page.state != self._state)


async def await_page(
    reader: LogReader,
    number: int,
    spec: ReadSpec,
    page: Page,
    *,
    wait_seconds: float,
    closing: asyncio.Event,
    events_seen: int | None = None,
) -> Page:
    """The page that read_page() gave; when nothing is in it, waits for bytes, a gap, an event or another state.

    A page without bytes comes when the time is up, the log is completed, or the server stops. events_seen: see _News;
    events up to it are left out.
    """
    news = _News(page, events_seen)
    if not news.is_in(page) and wait_seconds > 0 and page.state != types_pb2.LOG_STATE_COMPLETED:
        following = replace(spec, start=Start(StartKind.OFFSET, page.next_offset), follow=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                page = await _first_news(until(closing, reader.read(number, following), quietly=True), news) or page
    page.events = news.events(page.events)
    return page


async def _first_news(pieces: AsyncGenerator[Piece, None], news: _News) -> Page | None:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            page = _page_of(piece)
            if news.is_in(page):
                return page
    return None


@dataclass(slots=True)
class TextLine:
    """One line without its newline. complete: False when it is cut off, or goes on."""

    line: int
    offset: int
    data: bytes
    complete: bool


@dataclass(slots=True)
class LinePage:
    """Consecutive lines. next_line, next_offset: where to go on."""

    lines: list[TextLine] = field(default_factory=list)
    gaps: list[types_pb2.Gap] = field(default_factory=list)
    next_line: int = 1
    next_offset: int = 0
    state: types_pb2.LogState = types_pb2.LOG_STATE_UNSPECIFIED


class _LineCutter:
    """Cuts pieces into lines until it has enough."""

    def __init__(self, count: int) -> None:
        self.page = LinePage()
        self._count = count
        self._open: list[bytes] = []
        self._open_offset = 0
        self._line = 0
        self._size = 0

    @property
    def enough(self) -> bool:
        return len(self.page.lines) >= self._count or self._size >= MAX_LINES_BYTES

    def add(self, piece: Piece) -> None:
        self.page.state = piece.state
        if not self._line:
            self._line = piece.line
        if piece.gap is not None:
            self.cut_off()
            self.page.gaps.append(piece.gap)
            self._line = piece.line + piece.gap.newlines
        elif piece.data:
            self._cut(piece)
            return
        self.page.next_offset = piece.next_offset
        self.page.next_line = self._line

    def _cut(self, piece: Piece) -> None:
        missing = self._count - len(self.page.lines)
        at = 0
        for part in piece.data.split(b"\n", missing)[:missing]:
            if not self._open:
                self._open_offset = piece.offset + at
            end = min(len(piece.data), at + len(part) + 1)
            self._open.append(part)
            self._size += end - at
            if at + len(part) < len(piece.data):
                self._close(complete=True)
            elif not part:
                self._open.pop()
            at = end
        self.page.next_offset = piece.offset + at
        self.page.next_line = self._line

    def _close(self, *, complete: bool) -> None:
        self.page.lines.append(TextLine(self._line, self._open_offset, b"".join(self._open), complete))
        self._open.clear()
        if complete:
            self._line += 1

    def cut_off(self) -> None:
        """What is there of an unfinished line becomes one that is not complete."""
        if self._open:
            self._close(complete=False)


async def read_lines(reader: LogReader, number: int, first_line: int, count: int) -> LinePage:
    """At most `count` lines from `first_line` on; fewer when they are long or the log has no more."""
    cutter = _LineCutter(count)
    spec = ReadSpec(Start(StartKind.LINE, first_line), limit_bytes=MAX_LINES_BYTES)
    async with contextlib.aclosing(reader.read(number, spec)) as pieces:
        async for piece in pieces:
            cutter.add(piece)
            if cutter.enough:
                break
    cutter.cut_off()
    return cutter.page
