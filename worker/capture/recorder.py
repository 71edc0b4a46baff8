"""What is read from a task on its way to the spool: gathered in one buffer, written as one record, then shown."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from joblog.worker.capture.cri_log import CriLog
    from joblog.worker.capture.echo import Echo
    from joblog.worker.spool.writer import SpoolWriter

    class Mask(Protocol):
        """Replaces secret values; may hold back a tail that could be the start of one."""

        def feed(self, stream: int, data: bytes) -> bytes:
            """Masked bytes."""

        def flush(self, stream: int) -> bytes:
            """What was held back."""


# The buffer of a quiet task; it grows when a read fills it.
_QUIET_BYTES = 64 << 10
# Left free for what a mask held back and lets go at once, or makes longer.
_MASK_ROOM_BYTES = 16 << 10


class Recorder:
    """Reads frames into a buffer and hands the buffer to the spool as one record.

    `stuck`: the spool is full, and the buffer waits for `write` to be called again. Times of frames never fall.
    """

    def __init__(
        self,
        spool: SpoolWriter,
        echo: Echo | None,
        mask: Mask | None,
        clock: Callable[[], int] = time.time_ns,
        *,
        cri: CriLog | None = None,
    ) -> None:
        self._spool = spool
        self._echo = echo
        self._cri = cri
        self._mask = mask
        self._clock = clock
        self._buffer = bytearray(min(_QUIET_BYTES, spool.record_bytes))
        self._used = 0
        self._streams = bytearray()
        self._times_ns: list[int] = []
        self._lengths: list[int] = []
        self._last_ns = 0
        self._late: list[tuple[int, bytes]] = []
        self.stuck = False

    @property
    def full(self) -> bool:
        """Whether the buffer has no room for another frame."""
        room = _MASK_ROOM_BYTES if self._mask is not None else 1
        return bool(self._late) or self._spool.record_bytes - self._used < min(room, self._spool.record_bytes // 2)

    def read(self, fd: int, stream: int) -> int:
        """Reads one frame: its length, 0 at the end of the stream, -1 when nothing is there now."""
        if self._used == len(self._buffer) or (self._mask is not None and len(self._buffer) - self._used < 4096):
            self._grow()
        try:
            with memoryview(self._buffer) as view:
                length = os.readv(fd, [view[self._used :]])
        except BlockingIOError:
            return -1
        except OSError:  # a terminal whose last user has gone answers with EIO
            length = 0
        if length == 0:
            return 0
        if self._mask is None:
            self._note(stream, length)
        else:
            self._masked(stream, self._mask.feed(stream, bytes(self._buffer[self._used : self._used + length])))
        if self._used == len(self._buffer):
            self._grow()
        return length

    def _grow(self) -> None:
        size = self._spool.record_bytes
        if len(self._buffer) < size:
            self._buffer += bytes(size - len(self._buffer))

    def _note(self, stream: int, length: int) -> None:
        self._last_ns = max(self._last_ns, self._clock())
        self._streams.append(stream)
        self._times_ns.append(self._last_ns)
        self._lengths.append(length)
        self._used += length

    def _masked(self, stream: int, data: bytes) -> None:
        """Puts masked bytes in the buffer's place of those read; what has no room there waits for the next record."""
        if len(self._buffer) < self._used + len(data):
            self._grow()
        fits = data[: 0 if self._late else len(self._buffer) - self._used]
        if fits:
            self._buffer[self._used : self._used + len(fits)] = fits
            self._note(stream, len(fits))
        if len(fits) < len(data):
            self._late.append((stream, data[len(fits) :]))

    def masked(self, text: str) -> str:
        """A text of joblog's own that may quote the task, without secret values. Not while a stream is read."""
        if self._mask is None:
            return text
        data = self._mask.feed(0, os.fsencode(text)) + self._mask.flush(0)
        return os.fsdecode(data)

    def end_stream(self, stream: int) -> None:
        """Lets go of what the mask held back of a stream that has ended."""
        if self._mask is not None:
            self._masked(stream, self._mask.flush(stream))

    def write(self, *, force: bool = False) -> bool:
        """Writes what was read to the spool; False when that is full (`stuck`). force: only the disk's end counts."""
        self.stuck = False
        while self._used:
            if not self._spool.append_data(
                self._buffer, self._used, self._streams, self._times_ns, self._lengths, force=force
            ):
                self.stuck = True
                return False
            self._done()
        return True

    def discard(self) -> None:
        """Counts what can't be written as a gap: for a disk that stays full and a user who waits no more."""
        while self._used:
            self._spool.discard(self._buffer, self._used)
            self._done()
        self.stuck = False

    def _done(self) -> None:
        """The buffer's bytes are taken care of: shows them, and moves up those that had no room."""
        self._show()
        self._used = 0
        self._streams.clear()
        self._times_ns.clear()
        self._lengths.clear()
        late, self._late = self._late, []
        for stream, data in late:
            self._masked(stream, data)

    def _show(self) -> None:
        if self._echo is None and self._cri is None:
            return
        start = 0
        index, count = 0, len(self._lengths)
        while index < count:
            stream, time_ns, length = self._streams[index], self._times_ns[index], 0
            while index < count and self._streams[index] == stream:
                length += self._lengths[index]
                index += 1
            data = bytes(self._buffer[start : start + length])
            if self._echo is not None:
                self._echo.show(stream, data)
            if self._cri is not None:
                self._cri.put(stream, time_ns, data)
            start += length
        self._tell()

    def _tell(self) -> None:
        if self._cri is not None and (news := self._cri.news()):
            self._spool.append_event("cri_incomplete", news)

    def finish(self) -> None:
        """Ends what else is written of the output. For before the spool's end, when all was written or discarded."""
        if self._cri is not None:
            self._cri.close()
            self._tell()
