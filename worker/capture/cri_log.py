"""A copy of a task's output in CRI format, for other collectors. Best effort: no disk can stop the task with it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from queue import SimpleQueue

from joblog.worker.capture.cri_files import CriFiles, remove_old
from joblog.worker.capture.cri_lines import cri_lines, line_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.capture.cri_place import CriPlace

# What may wait to be written. Who puts more waits, but not for a disk that hangs: one that takes longer than
# HANG_SECONDS for _WRITE_BYTES. What comes meanwhile is left out.
QUEUE_BYTES = 8 << 20
HANG_SECONDS = 0.25
_NAP_SECONDS = 0.001
_LOOK_SECONDS = 0.05
_WRITE_BYTES = 256 << 10
_HANGS = "the disk hangs"


class CriLog:
    """Takes a task's output, and writes it from a thread of its own, which the first bytes start.

    What can't be written is left out by whole lines: a file holds lines of the task alone, each of them whole or, where
    bytes before its end are missing, cut there. lost_bytes: so many are left out. Methods are for one thread.
    """

    def __init__(self, place: CriPlace, pod: str, task: str, number: int) -> None:
        self._place = place
        self._files = CriFiles(place, pod, task, number)
        # Small files are not to be outgrown by one write.
        self._write_bytes = min(_WRITE_BYTES, place.max_file_bytes // 4)
        self._queue: SimpleQueue[tuple[int, int, bytes] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Since when the disk has been asked for something; 0: it is not. As all of these, changed by one thread only.
        self._asked_at = 0.0
        self._put_bytes = 0
        self._taken_bytes = 0
        self._dropped_bytes = 0
        self._failed_bytes = 0
        # By stream, how what was left out since the last bytes that were put ends.
        self._dropped: dict[int, bytes] = {}
        self._news = ""
        self._told = False
        # By stream: the last line in the file is a fragment; bytes are missing behind it; they end within a line.
        self._open = {1: False, 2: False}
        self._missing = {1: False, 2: False}
        self._torn = {1: False, 2: False}

    @property
    def lost_bytes(self) -> int:
        """Bytes of the task that are in no file."""
        return self._dropped_bytes + self._failed_bytes

    @property
    def path(self) -> str:
        """The newest file."""
        return self._files.path

    def put(self, stream: int, time_ns: int, data: bytes) -> None:
        """Takes bytes of a stream that were read at that time."""
        if not self._has_room(len(data)):
            self._dropped[stream] = data[-1:]
            self._dropped_bytes += len(data)
            self._note(_HANGS)
            return
        for torn, end in self._dropped.items():
            self._queue.put((torn, 0, end))
        self._dropped.clear()
        self._put_bytes += len(data)
        self._queue.put((stream, time_ns, data))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="cri", daemon=True)
            self._thread.start()

    def _has_room(self, length: int) -> bool:
        """Whether so much can be put, after a wait for the other thread where it is the slower one."""
        while self._put_bytes - self._taken_bytes + length > QUEUE_BYTES:
            if self._hangs():
                return False
            time.sleep(_NAP_SECONDS)
        return True

    def _hangs(self) -> bool:
        asked_at = self._asked_at
        is_over = self._thread is not None and not self._thread.is_alive()
        return is_over or (asked_at > 0 and time.monotonic() - asked_at > HANG_SECONDS)

    def news(self) -> str:
        """Why something is missing in the files, once; empty when nothing is, or it was said."""
        news, self._news = self._news, ""
        return news

    def close(self) -> None:
        """Ends the file when what was taken is in it. A disk that hangs is not waited for."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(_LOOK_SECONDS)
        while self._thread.is_alive() and not self._hangs():
            self._thread.join(_LOOK_SECONDS)
        if left := self._put_bytes - self._taken_bytes:
            self._dropped_bytes += left
            self._note(_HANGS)

    def _note(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._news = f"{self.path}: {why}: lines are left out there; the task and its log are whole"

    def _run(self) -> None:
        # They are for the main thread, which waits for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._asked_at = time.monotonic()
        # There may be no such folder yet.
        with contextlib.suppress(OSError):
            remove_old(self._place, time.time())
        self._asked_at = 0.0
        while (item := self._queue.get()) is not None:
            stream, time_ns, data = item
            if time_ns:
                self._write(stream, time_ns, data)
                self._taken_bytes += len(data)
            else:
                self._miss(stream, data)
        with contextlib.suppress(OSError):
            self._files.close()

    def _miss(self, stream: int, data: bytes) -> None:
        self._missing[stream] = True
        self._torn[stream] = not data.endswith(b"\n")

    def _write(self, stream: int, time_ns: int, data: bytes) -> None:
        blocks: list[bytes] = []
        if self._missing[stream]:
            begin = data.find(b"\n") + 1 if self._torn[stream] else 0
            self._failed_bytes += begin or (len(data) if self._torn[stream] else 0)
            if self._torn[stream] and not begin:
                return
            data, self._torn[stream] = data[begin:], False
            if not data:
                return
            if self._open[stream]:
                blocks.append(line_head(stream, time_ns) + b"F \n")
        size = taken = done = 0
        try:
            for raw_bytes, block in cri_lines(stream, time_ns, data):
                blocks.append(block)
                taken += raw_bytes
                size += len(block)
                if size >= self._write_bytes:
                    self._append(blocks, stream, data[taken - 1 : taken])
                    blocks.clear()
                    size, done = 0, taken
            if blocks:
                self._append(blocks, stream, data[-1:])
                done = taken
        except OSError as error:
            self._asked_at = 0.0
            self._note(error.strerror or str(error))
            self._failed_bytes += len(data) - done
            self._miss(stream, data)

    def _append(self, blocks: list[bytes], stream: int, last: bytes) -> None:
        """Writes lines, of which the last one's last byte is this one."""
        self._asked_at = time.monotonic()
        self._files.write(b"".join(blocks))
        self._asked_at = 0.0
        self._missing[stream] = False
        self._open[stream] = last != b"\n"
