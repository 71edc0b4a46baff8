"""The spool of a log that is read from files: its writer notes how far it has come in them, and can be taken up."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable

from joblog.batch import compress
from joblog.errors import Conflict, Corrupt, NotFound, OutOfSpace
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.control import Control
from joblog.worker.spool.format import (
    CODEC_NONE,
    CONTROL_ENDED,
    CONTROL_LENGTH,
    LOCK_FILE,
    MAX_RAW_BYTES,
    POSITION,
    SpoolTask,
)
from joblog.worker.spool.recovery import Recovered, recover
from joblog.worker.spool.sealing import SpoolKey, no_keys, open_task
from joblog.worker.spool.writer import SpoolWriter

_COMPRESS_BYTES = 16 << 10


class FollowedWriter(SpoolWriter):
    """A SpoolWriter for logs of kind FOLLOWED: a new spool for `task`, or with none the one that is in `folder`.

    key: seals a new one. keys: finds the key of one that is there. recovered: what of the log was there; None for a new
    one. Raises besides what SpoolWriter raises, for one that is there: NotFound when it is no spool, Conflict when its
    writer lives or the log is ended, Unavailable when its key is not at hand, Corrupt, WrongVersion.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        bounds: SpoolBounds,
        task: SpoolTask | None = None,
        *,
        key: SpoolKey | None = None,
        keys: Callable[[str], SpoolKey | None] = no_keys,
    ) -> None:
        # What was noted last, and the log's length and newlines then.
        self._position: tuple[bytes, int, int] | None = None
        self.recovered: Recovered | None = None
        if task is not None:
            super().__init__(folder, task, bounds, key=key)
            return
        self.folder = os.fspath(folder)
        self.spool_id = os.path.basename(self.folder)
        try:
            self.task, self._cipher = open_task(self.folder, keys)
            self._lock = os.open(f"{self.folder}/{LOCK_FILE}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"{error.filename}: not there; {self.folder} is no spool, or not one yet") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_up(bounds)
        except BlockingIOError:
            os.close(self._lock)
            raise Conflict(f"{self.folder}: another process writes this spool") from None
        except ValueError as error:
            os.close(self._lock)
            raise Corrupt(f"{error}; move {self.folder} away to go on") from None
        except OSError as error:
            os.close(self._lock)
            raise OutOfSpace(f"{self.folder}: can't take the spool up: {error.strerror}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def _take_up(self, bounds: SpoolBounds) -> None:
        recovered = recover(self.folder, self._cipher)
        if recovered.ended:
            raise Conflict(f"{self.folder}: the log is ended")
        self.recovered = recovered
        self._control = Control(self.folder)
        self._prepare(bounds, time.time_ns)
        self.length, self.lines = recovered.length, recovered.lines
        if recovered.length:
            self._hash = None
        if recovered.position:
            self._position = (recovered.position, recovered.position_offset, recovered.lines)
        self._segments = self._open_segments(bounds, recovered.first_offsets)
        self._segments.keep_reserve()
        self._control.put(CONTROL_ENDED, 0)
        self._control.put(CONTROL_LENGTH, self.length)

    def begin_at(self, offset: int, lines: int) -> None:
        """The log goes on here where another one has come to: for a new spool, before anything is appended."""
        self.length, self.lines = offset, lines
        if offset:
            self._hash = None

    def append_decoded(self, raw: bytes, frames: bytes, first_time_ns: int, position: bytes) -> bool:
        """append_data for bytes that come with their columns packed, and with the position up to which they reach.

        All of it or nothing is written, so that whoever takes the spool up knows where to go on. raw may be empty.
        """
        assert len(raw) <= MAX_RAW_BYTES
        newlines = raw.count(b"\n")
        noted = (position, self.length + len(raw), self.lines + newlines)
        record = self._position_record(*noted)
        if raw:
            with memoryview(raw) as view:
                taken = self._append_packed(view, newlines, frames, first_time_ns, record)
        else:
            taken = self._append(record)
        # Not before: a segment that this append begins tells what was before it.
        if taken:
            self._position = noted
        return taken

    def discard_decoded(self, raw: bytes, position: bytes) -> None:
        """Counts bytes as a gap: for those that are lost unless they are read now, while there is no room for them."""
        self.discard(raw, len(raw))
        self._position = (position, self.length, self.lines)

    def note(self) -> bool:
        """Writes what was noted last and the gap that is open, whatever the bounds; False when the disk is full."""
        return self._position is None or self._append(self._position_record(*self._position), force=True)

    def _pack(self, view: memoryview) -> tuple[int, bytes | memoryview, int]:
        # Many writers share a thread, and its compressor; the shipper's thread has all of them to serve.
        if len(view) < _COMPRESS_BYTES:
            return CODEC_NONE, view, 0
        return self._packed(view, compress(view))

    def _preamble(self) -> bytes:
        """A segment may be the only one that is left: each begins with where the one before had come."""
        return b"" if self._position is None else b"".join(self._position_record(*self._position))

    def _position_record(self, body: bytes, offset: int, lines: int) -> tuple[bytes | bytearray | memoryview, ...]:
        return self._record(POSITION, (body,), offset=offset, lines_before=lines, first_time_ns=self._clock())
