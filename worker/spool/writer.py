"""Writes one task's spool. The process that holds a SpoolWriter is the log's only source of bytes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time

from joblog.worker.spool.control import Control, create_control
from joblog.worker.spool.format import (
    BLOCK,
    CODEC_NONE,
    CODEC_ZSTD,
    CONTROL_ENDED,
    CONTROL_LENGTH,
    CONTROL_WAKE_AT,
    DATA,
    END,
    EVENT,
    FILE_MODE,
    FOLDER_MODE,
    GAP,
    LOCK_FILE,
    MAX_RAW_BYTES,
    NEVER,
    NOTIFY_SOCKET,
    SPOOL_FULL,
    TASK_FILE,
    encode_header,
)
from joblog.worker.spool.hashing import RunningHash
from joblog.worker.spool.segments import Segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from joblog.worker.spool.bound import SpoolBounds
    from joblog.worker.spool.format import SpoolTask
    from joblog.worker.spool.sealing import SpoolCipher, SpoolKey

# From here on a record is compressed; shorter ones are left to the shipper, which joins them first.
COMPRESS_BYTES = 64 << 10
_ZSTD_LEVEL = 1


class SpoolWriter:
    """A new spool in `folder`, which must not exist; its parent is made where needed.

    task.json is written last, so whoever sees it sees a spool whose lock is held. Raises OutOfSpace when the disk has
    no room for it, Conflict when the folder exists. key: seals the spool; None: it lies in clear. `length` and `lines`
    count the log so far, dropped bytes included.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        task: SpoolTask,
        bounds: SpoolBounds,
        clock: Callable[[], int] = time.time_ns,
        *,
        key: SpoolKey | None = None,
    ) -> None:
        self.folder = os.fspath(folder)
        self.spool_id = os.path.basename(self.folder)
        self.task = task
        self._cipher: SpoolCipher | None = None
        self._prepare(bounds, clock)
        try:
            self._create(bounds, key)
        except FileExistsError as error:
            from joblog.errors import Conflict

            raise Conflict(f"{error.filename}: exists already; a spool is made once, give it a new id") from None
        except OSError as error:
            from joblog.errors import OutOfSpace

            raise OutOfSpace(
                f"{self.folder}: can't make a spool: {error.strerror}; free space or give another place"
            ) from error

    def _prepare(self, bounds: SpoolBounds, clock: Callable[[], int]) -> None:
        self.length = 0
        self.lines = 0
        self.dropped_bytes = 0
        # The most raw bytes that one append_data may hold.
        self.record_bytes = min(MAX_RAW_BYTES, bounds.segment_bytes)
        self._clock = clock
        # None: bytes were written before this process, so there is no hash of all of them.
        self._hash: RunningHash | None = RunningHash()
        self._gap_from: tuple[int, int] | None = None
        self._compressor: object = None
        self._notify_path = f"{os.path.dirname(os.path.dirname(self.folder))}/{NOTIFY_SOCKET}"

    def _open_segments(self, bounds: SpoolBounds, first_offsets: Mapping[int, int] | None = None) -> Segments:
        return Segments(
            self.folder,
            bounds,
            self._control,
            may_drop=self.task.policy != BLOCK,
            sealed=self._cipher is not None,
            preamble=self._preamble,
            first_offsets=first_offsets,
        )

    def _preamble(self) -> bytes:
        """What each segment begins with."""
        return b""

    def _create(self, bounds: SpoolBounds, key: SpoolKey | None) -> None:
        root = os.path.dirname(self.folder)
        for folder in (os.path.dirname(root), root):
            # Of what it makes on the way, makedirs gives the mode to the last folder only.
            os.makedirs(folder, FOLDER_MODE, exist_ok=True)
        os.mkdir(self.folder, FOLDER_MODE)
        self._lock = os.open(f"{self.folder}/{LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        create_control(self.folder)
        self._control = Control(self.folder)
        if key is None:
            content = self.task.encode()
        else:
            from joblog.worker.spool.sealing import begin_sealed

            self._cipher, content = begin_sealed(key, self.spool_id, self.task)
        self._segments = self._open_segments(bounds)
        if not self._segments.keep_reserve():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write_file(TASK_FILE + ".new", content)
        os.rename(f"{self.folder}/{TASK_FILE}.new", f"{self.folder}/{TASK_FILE}")

    def _write_file(self, name: str, content: bytes) -> None:
        fd = os.open(f"{self.folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            if os.write(fd, content) != len(content):
                os.write(fd, content)  # raises what the short write meant
        finally:
            os.close(fd)

    def note_processes(self, *, task: int) -> None:
        """Writes who supervises and who is supervised (its process group too) to the lock file, as JSON."""
        content = json.dumps({"supervisor": os.getpid(), "task": task}).encode()
        try:
            os.pwrite(self._lock, content, 0)
        except OSError:
            return

    def append_data(
        self,
        raw: bytearray,
        length: int,
        streams: bytes | bytearray,
        times_ns: Sequence[int],
        lengths: Sequence[int],
        *,
        force: bool = False,
    ) -> bool:
        """Appends raw[:length], at most record_bytes, with its frames: one entry of the columns per frame, in order.

        False: the spool is full and its policy is to block; nothing was taken, offer it again when 20 to 50 ms have
        passed. With the policy to truncate it is always taken, at the cost of what lies in the middle.
        force: the bounds do not count (the disk still does): for what a task left in its pipes when it ended.
        """
        newlines = raw.count(b"\n", 0, length)
        frames = _pack_frames(streams, times_ns, lengths)
        with memoryview(raw)[:length] as view:
            return self._append_packed(view, newlines, frames, times_ns[0], force=force)

    def _append_packed(
        self,
        view: memoryview,
        newlines: int,
        frames: bytes,
        first_time_ns: int,
        behind: tuple[bytes | bytearray | memoryview, ...] = (),
        *,
        force: bool = False,
    ) -> bool:
        length = len(view)
        codec, payload, crc32c = self._pack(view)
        parts = self._record(
            DATA,
            (frames, payload),
            codec=codec,
            offset=self.length,
            raw_length=length,
            lines_before=self.lines,
            first_time_ns=first_time_ns,
            newlines=newlines,
            frames_length=len(frames),
            raw_crc32c=crc32c,
        )
        if self._append((*parts, *behind), force=force):
            if self._hash is not None:
                self._hash.update(view)
        elif self.task.policy == BLOCK:
            return False
        else:
            self._drop(length)
        self.lines += newlines
        self.length += length
        self._said()
        return True

    def has_room(self, length: int) -> bool:
        """Whether so many bytes fit within the bounds now; the disk may still be full."""
        return self._segments.has_room(length, self.length)

    def discard(self, raw: bytes | bytearray, length: int) -> None:
        """Counts raw[:length] as a gap: for a disk that stays full when the task has ended and nobody can wait more."""
        self._drop(length)
        self.lines += raw.count(b"\n", 0, length)
        self.length += length

    def _drop(self, length: int) -> None:
        self.dropped_bytes += length
        if self._gap_from is None:
            self._gap_from = (self.length, self.lines)

    def _pack(self, view: memoryview) -> tuple[int, bytes | memoryview, int]:
        if len(view) < COMPRESS_BYTES:
            return CODEC_NONE, view, 0
        import zstandard

        from joblog.memory import keep_memory

        if self._compressor is None:
            self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
            keep_memory(2 * MAX_RAW_BYTES)
        return self._packed(view, self._compressor.compress(view))  # type: ignore[attr-defined]

    @staticmethod
    def _packed(view: memoryview, payload: bytes) -> tuple[int, bytes | memoryview, int]:
        import google_crc32c

        crc32c = google_crc32c.value(view.tobytes())
        return (CODEC_ZSTD, payload, crc32c) if len(payload) < len(view) else (CODEC_NONE, view, crc32c)

    def _record(
        self, kind: int, body: tuple[bytes | bytearray | memoryview, ...], **fields: int
    ) -> tuple[bytes | bytearray | memoryview, ...]:
        """A record as it is written, in parts."""
        if self._cipher is None:
            return encode_header(kind, body, **fields), *body
        from joblog.worker.spool.sealing import encode_sealed

        return encode_sealed(self._cipher, kind, body, **fields)

    def _here(self, kind: int, body: bytes) -> tuple[bytes | bytearray | memoryview, ...]:
        """A record without bytes of the log, at its end."""
        return self._record(kind, (body,), offset=self.length, lines_before=self.lines, first_time_ns=self._clock())

    def _append(self, parts: Sequence[bytes | bytearray | memoryview], *, force: bool = False) -> bool:
        """Appends a record, and before it the gap that is open, if any."""
        if self._gap_from is None:
            return self._segments.append(parts, self.length, force=force)
        offset, lines = self._gap_from
        body = json.dumps({"reason": SPOOL_FULL}).encode()
        gap = self._record(
            GAP,
            (body,),
            offset=offset,
            raw_length=self.length - offset,
            lines_before=lines,
            first_time_ns=self._clock(),
            newlines=self.lines - lines,
        )
        if not self._segments.append((*gap, *parts), offset, force=force):
            return False
        self._gap_from = None
        return True

    def append_event(self, kind: str, message: str, *, force: bool = True) -> bool:
        """Appends what joblog has to say at this offset; False when the disk is full. Small, so the bounds give way."""
        # Names of files may be no text, which an event's message has to be.
        said = message.encode(errors="backslashreplace").decode()
        body = json.dumps({"kind": kind, "message": said}).encode()
        return self._append(self._here(EVENT, body), force=force)

    def end(self, outcome: Mapping[str, object]) -> bool:
        """Ends the log, makes it durable and lets the spool go. False: the disk is full, try again later.

        outcome: the fields of proto Outcome by name, the kind as a number.
        """
        complete = not (self._segments.dropped or self.dropped_bytes)
        body = json.dumps(
            {
                "length": self.length,
                "sha256": self._hash.digest().hex() if self._hash is not None and complete else "",
                "newlines": self.lines,
                "outcome": dict(outcome),
            }
        ).encode()
        end = self._here(END, body)
        if not self._append(end, force=True):
            self._segments.free_reserve()
            if not self._append(end, force=True):
                return False
        self._segments.free_reserve()
        self._segments.sync()
        self._control.put(CONTROL_ENDED, 1)
        self._said(ended=True)
        self.close()
        return True

    def _said(self, *, ended: bool = False) -> None:
        """Tells the shipper how long the log is, and wakes it where it asked for that."""
        self._control.put(CONTROL_LENGTH, self.length)
        if self._control.get(CONTROL_WAKE_AT) <= self.length or ended:
            self._control.put(CONTROL_WAKE_AT, NEVER)
            self._send_wake()

    def _send_wake(self) -> None:
        # Loaded with the first notification: a spool that nobody ships needs no sockets.
        from joblog.worker.spool.notification import send_datagram

        send_datagram(self._notify_path, self.spool_id.encode())

    def close(self) -> None:
        """Lets go of files and lock. Without `end` before it, the log counts as one whose supervisor died."""
        self._segments.close()
        self._control.close()
        os.close(self._lock)


def _pack_frames(streams: bytes | bytearray, times_ns: Sequence[int], lengths: Sequence[int]) -> bytes:
    from joblog.batch import Frames, pack_frames

    first = times_ns[0]
    return pack_frames(Frames(bytes(streams), [(time_ns - first) // 1000 for time_ns in times_ns], lengths))
