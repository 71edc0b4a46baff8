"""The segment files of one spool as its writer sees them: appended to, rolled, dropped, never over the bounds."""

from __future__ import annotations

import errno
import os
import time
from itertools import pairwise

from joblog.worker.spool.bound import LOOK_SECONDS, SpoolBounds, segment_sizes
from joblog.worker.spool.control import Control
from joblog.worker.spool.format import (
    CONTROL_DROPPED,
    CONTROL_RELEASED,
    FILE_MODE,
    RESERVE_FILE,
    encode_segment_header,
    segment_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What a file system answers when it can't take more: all are handled as a spool that is full.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
# The worker's spools are added up when a log has so many bytes, and then with each new segment.
_FIRST_LOOK_BYTES = 1 << 20
# Freed to write the end of a log, or to let go of a segment, where a full disk has no room for that.
_RESERVE_BYTES = 8 << 10
# What a spool leaves of the disk: a worker that starts only then writes down who it is before it can send anything.
_LEFT_BYTES = 128 << 10


class Segments:
    """Appends records to the newest segment; `append` answers False where a bound or the disk does not allow it.

    preamble: what each segment begins with, behind its header; written with it at once. first_offsets: those of
    segments that are there already, which are not written to any more.
    """

    def __init__(
        self,
        folder: str,
        bounds: SpoolBounds,
        control: Control,
        *,
        may_drop: bool,
        sealed: bool = False,
        preamble: Callable[[], bytes] = bytes,
        first_offsets: Mapping[int, int] | None = None,
    ) -> None:
        self._folder = folder
        self._bounds = bounds
        self._control = control
        self._may_drop = may_drop
        self._sealed = sealed
        self._preamble = preamble
        self._fd = -1
        self._first_offsets: dict[int, int] = dict(first_offsets or {})
        self._number = max(self._first_offsets, default=0)
        self._size = 0
        # Of the newest segment, when nothing but header and preamble is in it.
        self._empty_size = 0
        there = segment_sizes(folder) if self._first_offsets else {}
        self._sizes: dict[int, int] = {number: there.get(number, 0) for number in self._first_offsets}
        self._others_bytes = sum(self._sizes.values())
        self._head_bytes = 0
        self._head_last = 0
        self._worker_full = False
        self._next_look_bytes = _FIRST_LOOK_BYTES
        self._written_bytes = 0
        self._looked = 0.0
        self.dropped = False
        # Somebody has removed the folder: nothing that is written arrives anywhere, and the task goes on.
        self._gone = False

    def append(self, parts: Sequence[bytes | bytearray | memoryview], offset: int, *, force: bool = False) -> bool:
        """Appends one record whose first byte has `offset`; all of it or nothing. force: the bounds do not count."""
        need = sum(map(len, parts))
        if not force and not self._within(need) and not self._make_room(need, offset):
            return False
        for _ in range(2):
            rolled = self._fd < 0 or (self._size > self._empty_size and self._size + need > self._bounds.segment_bytes)
            if (not rolled or self._roll(offset)) and (force or self._leaves_room(need)) and self._write(parts, need):
                return True
            if self._gone:
                return True
            if not self._make_room(need, offset, disk_full=True):
                return False
        return False

    def has_room(self, need: int, offset: int) -> bool:
        """Whether `need` bytes at `offset` fit within the bounds now, after what the leader has was let go."""
        return self._within(need) or self._make_room(need, offset)

    def _within(self, need: int) -> bool:
        if self._written_bytes >= self._next_look_bytes:
            self._look_at_worker()
        return not self._worker_full and self._others_bytes + self._size + need <= self._bounds.task_bytes

    def _look_at_worker(self) -> None:
        now = time.monotonic()
        if self._worker_full and now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._next_look_bytes = self._written_bytes + self._bounds.segment_bytes
        self._worker_full = self._bounds.taken_bytes(os.path.dirname(self._folder)) >= self._bounds.worker_bytes

    def _make_room(self, need: int, offset: int, *, disk_full: bool = False) -> bool:
        """Lets go of what the leader has and, where that is the policy, of the middle. True: it is worth a try now."""
        self._forget_missing()
        freed = self._unlink_released(offset)
        if self._worker_full:
            self._look_at_worker()
        while self._may_drop and (disk_full or not self._within(need)):
            if not self._drop_oldest(disk_full=disk_full):
                break
            freed = True
            if self._worker_full:
                self._look_at_worker()
            if disk_full:
                break
        return freed if disk_full else self._within(need)

    def _forget_missing(self) -> None:
        """The shipper unlinks segments as well."""
        there = segment_sizes(self._folder)
        for number in [number for number in self._first_offsets if number not in there and number != self._number]:
            self._forget(number)

    def _forget(self, number: int) -> None:
        del self._first_offsets[number]
        self._others_bytes -= self._sizes.pop(number)

    def _unlink_released(self, offset: int) -> bool:
        """Unlinks what the shipper has released. The newest segment is only released by a newer one: rolls for that."""
        released = self._control.get(CONTROL_RELEASED)
        if released >= offset and self._size > self._empty_size and not self._roll(offset):
            self.free_reserve()
            if not self._roll(offset):
                return False
        numbers = sorted(self._first_offsets)
        freed = False
        for number, following in pairwise(numbers):
            if self._first_offsets[following] > released:
                break
            # The shipper may have it open still, and would keep its space for as long as nothing new comes.
            self._unlink(number, emptied=True)
            freed = True
        if freed:
            self.keep_reserve()
        return freed

    def keep_reserve(self) -> bool:
        """Sets some of the disk aside, unless that is done already; False where there is no room."""
        path = f"{self._folder}/{RESERVE_FILE}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        except FileExistsError:
            return True
        except OSError:
            return False
        try:
            kept = os.write(fd, b"\0" * _RESERVE_BYTES) == _RESERVE_BYTES
        except OSError:
            kept = False
        os.close(fd)
        if not kept:
            self.free_reserve()
        return kept

    def free_reserve(self) -> None:
        """Gives the disk back what keep_reserve set aside."""
        try:
            os.unlink(f"{self._folder}/{RESERVE_FILE}")
        except OSError:
            return

    def _drop_oldest(self, *, disk_full: bool) -> bool:
        """Drops the oldest segment that is neither in the log's head nor the newest; False when there is none."""
        numbers = sorted(self._first_offsets)
        if disk_full and len(numbers) > 2 and numbers[-2] <= self._head_last:
            # The disk has less room than the bound: the head has to be smaller too.
            self._head_last = numbers[(len(numbers) - 3) // 2]
        for number, following in pairwise(numbers):
            if number > self._head_last:
                end = self._first_offsets[following]
                self._control.put(CONTROL_DROPPED, end)
                self._unlink(number)
                self.dropped = True
                return True
        return False

    def _unlink(self, number: int, *, emptied: bool = False) -> None:
        self._forget(number)
        path = f"{self._folder}/{segment_name(number)}"
        try:
            if emptied:
                os.truncate(path, 0)
            os.unlink(path)
        except FileNotFoundError:
            return

    def _roll(self, offset: int) -> bool:
        """Begins a new segment; False when the disk is full."""
        path = f"{self._folder}/{segment_name(self._number + 1)}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            self._gone = error.errno == errno.ENOENT
            if self._gone or error.errno in _FULL:
                return False
            raise
        begin = encode_segment_header(offset, sealed=self._sealed) + self._preamble()
        try:
            written = os.write(fd, begin)
        except OSError as error:
            if error.errno not in _FULL:
                os.close(fd)
                raise
            written = 0
        if written != len(begin):
            os.close(fd)
            os.unlink(path)
            return False
        if self._fd >= 0:
            self._sizes[self._number] = self._size
            self._others_bytes += self._size
            if self._head_last == self._number - 1 and self._head_bytes + self._size <= self._bounds.task_bytes // 2:
                self._head_last = self._number
                self._head_bytes += self._size
            os.close(self._fd)
        self._fd = fd
        self._number += 1
        self._size = self._empty_size = written
        self._first_offsets[self._number] = offset
        return True

    def _leaves_room(self, need: int) -> bool:
        status = os.fstatvfs(self._fd)
        free = status.f_bavail if os.geteuid() else status.f_bfree
        return free * status.f_frsize >= need + _LEFT_BYTES

    def _write(self, parts: Sequence[bytes | bytearray | memoryview], need: int) -> bool:
        """Writes a record; when the disk takes only a part of it, cuts the file back and answers False."""
        try:
            done = os.writev(self._fd, parts)
            while done < need:
                done += os.write(self._fd, b"".join(parts)[done:])
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            if error.errno in _FULL:
                return False
            raise
        self._size += need
        self._written_bytes += need
        return True

    def sync(self) -> None:
        """Makes the newest segment and the folder's entries durable."""
        if self._fd >= 0:
            os.fsync(self._fd)
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # the shipper saw the end, and the leader has all of it already
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Closes the newest segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
