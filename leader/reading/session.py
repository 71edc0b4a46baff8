"""One read, step by step, in a pool's threads: holds a view while there is work, and lets go of it when told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from joblog.batch import Frames
from joblog.errors import Interrupted, InvalidInput, NotFound
from joblog.leader.archive.fetch import ExtentReader, ObjectGone
from joblog.leader.buffer.store import Store, View
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.metrics import ReadMetrics
from joblog.leader.reading.damage import DamageNotes
from joblog.leader.reading.locate import Locator
from joblog.leader.reading.piece import NO_FRAMES, PIECE_BYTES, FrameColumns, Piece, ReadSpec
from joblog.leader.reading.records import first_offset
from joblog.leader.reading.scan import Opened, Scan
from joblog.leader.reading.selection import Cut, cut_frames, cut_range, cut_stream, join_frames, stream_ranges
from joblog.leader.reading.tiers import InArchive, Reach, TieredSource
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

# A piece is handed over after so many small chunks or frames even when it is not full.
_MAX_CHUNKS = 512
_MAX_FRAMES = 32768
# The same for bytes that were looked through for one stream.
_MAX_SCANNED_BYTES = 16 << 20
# A read that has given so much is taken to go on.
_SEQUENTIAL_BYTES = 4 << 20
# A view that is older is taken anew, so that a slow reader does not keep deleted data on disk.
_VIEW_SECONDS = 10.0


class _Builder:
    """Gathers the parts of one piece that begins at `offset`."""

    def __init__(self, offset: int, limit_bytes: int) -> None:
        self.offset = offset
        self.limit_bytes = limit_bytes
        self.line = 1
        self.parts: list[memoryview] = []
        self.frames: list[FrameColumns] = []
        self.size = 0
        self.first_time_ns = 0
        self._frame_count = 0
        self._chunks = 0
        self._scanned = 0

    @property
    def full(self) -> bool:
        return (
            self.size >= self.limit_bytes
            or self._scanned >= _MAX_SCANNED_BYTES
            or self._chunks >= _MAX_CHUNKS
            or self._frame_count >= _MAX_FRAMES
        )

    def add(self, chunk: Opened, start: int, cut: Cut, frames: FrameColumns) -> None:
        """Adds what was cut from the chunk's bytes from `start` on."""
        if (cut.size and not self.size) or not self._chunks:
            first = cut.first if cut.size else start
            self.offset = chunk.offset + first
            self.line = chunk.lines_before + (chunk.raw or b"").count(b"\n", 0, first) + 1
            self.first_time_ns = chunk.first_time_ns
        self.parts += cut.parts
        self.size += cut.size
        self._chunks += 1
        self._scanned += cut.end - start
        if frames.streams:
            self.frames.append(frames)
            self._frame_count += len(frames.streams)

    def data(self) -> bytes:
        """What was gathered; a whole chunk's bytes are handed on as they are."""
        if len(self.parts) == 1 and isinstance(whole := self.parts[0].obj, bytes) and len(whole) == self.size:
            return whole
        return b"".join(self.parts)


class ReadSession:
    """The state of one read between its pieces.

    `load` and `release` may come from different threads, one after another. What was read stays valid when the view is
    released: a log's bytes never change, so the next view goes on where the last one ended.
    """

    def __init__(
        self,
        store: Store,
        number: int,
        spec: ReadSpec,
        open_cipher: Callable[[int], LogCipher],
        metrics: ReadMetrics,
        *,
        archive: ExtentReader | None = None,
        notes: DamageNotes | None = None,
        piece_bytes: Callable[[], int] = lambda: PIECE_BYTES,
    ) -> None:
        """piece_bytes: how large a piece may be; asked for each."""
        self._piece_bytes = piece_bytes
        self._store = store
        self._number = number
        self._spec = spec
        self._open_cipher = open_cipher
        self._metrics = metrics
        self._archive = archive
        self._notes = notes
        # Objects that are not there although a view taken after that was known still names them.
        self._missing: set[str] = set()
        self._given_bytes = 0
        self._fetching = True
        # A gap that is found here may have begun before.
        self._unknown_begin = 0
        # (offset, newlines before it) where the last view was left.
        self._lines_at: tuple[int, int | None] = (0, None)
        self._source: TieredSource | None = None
        self._tier: types_pb2.Tier = types_pb2.TIER_BUFFER
        self._lock = threading.Lock()
        self._view: View | None = None
        self._view_taken = 0.0
        self._scan: Scan | None = None
        self._chunk: Opened | None = None
        self._ranges: list[tuple[int, int]] = []
        self._frames: Frames | None = None
        self._closed = False
        self._events_from = 0
        self._ended = False
        self._left = spec.limit_bytes
        self._first_length: int | None = None
        self._state_told: int | None = None
        self._events: list[types_pb2.Event] = []
        self._events_told: set[tuple[int, int, str]] = set()
        self.record: types_pb2.LogRecord | None = None
        self.at: int | None = None
        self.first_time_ns = 0

    @property
    def limit_reached(self) -> bool:
        """Whether all that was asked for was delivered."""
        return self._left == 0

    @property
    def completed(self) -> bool:
        """Whether the log was completed when the view was taken: nothing will come behind it."""
        return self.record is not None and self.record.state == types_pb2.LOG_STATE_COMPLETED

    @property
    def in_archive(self) -> bool:
        """Whether the last bytes came from there."""
        return self._tier == types_pb2.TIER_ARCHIVE

    def load(self, *, fetching: bool = True) -> Piece | None:
        """The next piece; None when there is nothing more at this moment, with follow there may be some later.

        fetching: it may wait for the archive; else raises InArchive where it would have to: load again with it.
        The first load gives a piece in any case, so that a reader learns the log's state. Raises NotFound when the log
        is gone, BeyondEnd when the read begins beyond its end.
        """
        with self._lock:
            if self._closed:
                raise Interrupted("the read was closed")
            if self._ended:
                return None
            if fetching is not self._fetching:
                self._fetching = fetching
                self._drop_view()
            if self._view is not None and time.monotonic() - self._view_taken > _VIEW_SECONDS:
                self._drop_view()
            if self._view is None:
                self._take_view()
            piece = None if self._all_delivered() else self._build()
            if piece is None:
                # The next load looks at the store anew.
                self._drop_view()
                self._ended = not self._spec.follow
                piece = self._news()
            return self._finish(piece)

    def _all_delivered(self) -> bool:
        if self.limit_reached:
            return True
        # A log that grows while it is read ends where it ended at first, unless it is followed.
        return not self._spec.follow and (self.at or 0) >= (self._first_length or 0)

    def abandon(self) -> None:
        """Makes a load that is under way end early, and every later one fail. Does not wait."""
        self._closed = True

    def release(self) -> None:
        """Lets go of the view; a later load takes a new one."""
        with self._lock:
            self._drop_view()

    def close(self) -> None:
        """Lets go of the view for good; waits for a load that is under way."""
        self._closed = True
        self.release()

    def _take_view(self) -> None:
        while self._view is None:
            view = self._view = self._store.view()
            self._view_taken = time.monotonic()
            try:
                self._look(view)
            except ObjectGone as gone:
                self._renew(gone)
            except BaseException:
                self._drop_view()
                raise

    def _renew(self, gone: ObjectGone) -> None:
        """Lets go of a view that names an object that is gone: its bytes have moved, or are lost if the next does."""
        self._drop_view()
        self._missing.add(gone.key)

    def _look(self, view: View) -> None:
        record = self.record = view.get_log(self._number)
        if record is None:
            raise NotFound(f"log number {self._number} was deleted")
        length = record.next_offset
        cipher = self._open_cipher(self._number)
        source = self._source = TieredSource(
            view,
            self._number,
            record.uid,
            self._archive,
            reach=self._reach(),
            missing=self._missing,
            fetching=self._fetching,
        )
        opened = None
        if self.at is None:
            locator = Locator(source, cipher, length, lambda: self._closed)
            self.at = self._events_from = locator.offset_of(self._spec.start, self._spec.stream)
            self._first_length = length
            opened = locator.opened
        lines = self._lines_at[1] if self._lines_at[0] == self.at else None
        self._unknown_begin = self.at if lines is None else 0
        self._scan = Scan(
            source, self._number, cipher, self.at, length, lines=lines, foreign=source.foreign, opened=opened
        )
        self._events = [
            event
            for event in view.events(self._number)
            if event.offset >= self._events_from and _key(event) not in self._events_told
        ]

    def _reach(self) -> Reach:
        if self._spec.stream:
            return Reach()
        return Reach(self._left, sequential=self._given_bytes >= _SEQUENTIAL_BYTES)

    def _drop_view(self) -> None:
        if self._scan is not None:
            self._lines_at = self._scan.at, self._scan.lines
        view, self._view, self._scan = self._view, None, None
        self._chunk = self._frames = None
        if view is not None:
            view.close()

    def _next_chunk(self) -> bool:
        """Makes the chunk at `at` the current one; False at the end."""
        chunk = self._chunk = self._scan_next()
        self._frames = None
        self._ranges = []
        if chunk is None:
            return False
        if chunk.damaged:
            self._metrics.corrupt_chunks.inc()
            is_ours = chunk.reason != types_pb2.GAP_REASON_SOURCE_CHANGED
            if self._notes is not None and is_ours and (chunk.offset == 0 or chunk.offset != self._unknown_begin):
                self._notes.note(self._number, chunk.offset, chunk.end)
        if chunk.raw is not None and (self._spec.stream or self._spec.with_frames):
            self._open_frames(chunk)
        return True

    def _scan_next(self) -> Opened | None:
        while True:
            assert self._scan is not None
            try:
                return self._scan.next()
            except ObjectGone as gone:
                self._renew(gone)
                self._take_view()

    def _open_frames(self, chunk: Opened) -> None:
        try:
            self._frames = chunk.frames()
        except InvalidInput as error:
            log.warning("log %d, chunk at offset %d: %s", self._number, chunk.offset, error)
            self._metrics.corrupt_chunks.inc()
            if self._spec.stream:
                # Nobody can tell which of its bytes belong to the stream.
                self._chunk = chunk._replace(raw=None, reason=types_pb2.GAP_REASON_LOST, damaged=True)
        else:
            if self._spec.stream:
                self._ranges = stream_ranges(self._frames, self._spec.stream)

    def _build(self) -> Piece | None:
        assert self.at is not None
        builder = _Builder(self.at, self._piece_bytes())
        began = self.at
        while not builder.full and not self.limit_reached:
            if self._chunk is None and not self._more(began):
                break
            assert self._chunk is not None and self._source is not None
            raw = self._chunk.raw
            if not builder.size:
                self._tier = self._source.tier
            if raw is not None:
                if builder.size and builder.size + len(raw) > builder.limit_bytes:
                    # A large chunk is a piece of its own: its bytes are not copied once more.
                    break
                self._add(builder, self._chunk, raw)
            elif builder.size:
                break
            else:
                return self._gap_piece(self._chunk)
        if self.at == began:
            return None
        self._metrics.bytes.inc(builder.size)
        self.first_time_ns = builder.first_time_ns
        return Piece(builder.offset, self.at, builder.line, builder.data(), frames=join_frames(builder.frames))

    def _more(self, began: int) -> bool:
        """_next_chunk(), where it does not have to wait for the archive or the piece is still empty."""
        try:
            return self._next_chunk()
        except InArchive:
            self._drop_view()
            if self.at == began:
                raise
            return False

    def _add(self, builder: _Builder, chunk: Opened, raw: bytes) -> None:
        """Adds what fits of the current chunk, and moves on."""
        assert self.at is not None
        room = builder.limit_bytes - builder.size
        limit = room if self._left is None else min(room, self._left)
        start = self.at - chunk.offset
        stream = self._spec.stream
        cut = cut_stream(raw, self._ranges, start, limit) if stream else cut_range(raw, start, limit)
        frames = NO_FRAMES
        if self._frames is not None and self._spec.with_frames:
            frames = cut_frames(
                self._frames, chunk.offset, chunk.first_time_ns, start=start, end=cut.end, stream=stream
            )
        builder.add(chunk, start, cut, frames)
        if self._left is not None:
            self._left -= cut.size
        self._given_bytes += cut.size
        self.at = chunk.offset + cut.end
        if self.at >= chunk.end:
            self._chunk = None

    def _gap_piece(self, chunk: Opened) -> Piece:
        self.at = chunk.end
        self._chunk = None
        return Piece(chunk.offset, chunk.end, chunk.lines_before + 1, gap=chunk.gap())

    def _news(self) -> Piece | None:
        """An empty piece when there are events or a state that were not told yet."""
        assert self.at is not None and self.record is not None
        if not self.limit_reached:
            told = self._state_told == self.record.state
            if told and not any(event.offset <= self.at for event in self._events):
                return None
        elif self._state_told is not None:
            return None
        line = self.record.newlines + 1 if self.at == self.record.next_offset else 0
        return Piece(self.at, self.at, line)

    def _finish(self, piece: Piece | None) -> Piece | None:
        """Adds the log's state, and the events that belong to the piece."""
        record = self.record
        if piece is None or record is None:
            return None
        # What lies at the very end is told once there is nothing more: bytes that follow it may already be here.
        until = piece.next_offset + (piece.next_offset == piece.offset)
        told = [event for event in self._events if event.offset < until]
        if told:
            self._events = [event for event in self._events if event.offset >= until]
            self._events_told.update(map(_key, told))
            piece.events = told
        piece.state = record.state
        piece.tier = self._tier if piece.next_offset > piece.offset else record.tier or types_pb2.TIER_BUFFER
        piece.first_offset = first_offset(record)
        self._state_told = record.state
        return piece


def _key(event: types_pb2.Event) -> tuple[int, int, str]:
    return event.offset, event.time_ns, event.kind
