"""The control page: a few numbers that a spool's supervisor and its shipper tell each other without a message."""

from __future__ import annotations

import mmap
import os

from joblog.worker.spool.format import (
    CONTROL_BYTES,
    CONTROL_FILE,
    CONTROL_WAKE_AT,
    FILE_MODE,
    NEVER,
    u64_at,
    u64_bytes,
)


def create_control(folder: str) -> None:
    """Writes a fresh control page: nothing captured, nobody to wake.

    The whole page is written, not only sized: a store to a hole of a file on a full disk would kill the process.
    """
    fd = os.open(f"{folder}/{CONTROL_FILE}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        page = bytearray(CONTROL_BYTES)
        page[CONTROL_WAKE_AT : CONTROL_WAKE_AT + 8] = u64_bytes(NEVER)
        if os.write(fd, page) != CONTROL_BYTES:
            import errno

            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)


class Control:
    """The control page of a spool, mapped.

    Numbers are written by a system call and read from the mapping. The call orders this side's write before its next
    read, which a plain store would not: without it, each side could miss the other's.
    """

    __slots__ = ("_fd", "_page")

    def __init__(self, folder: str) -> None:
        self._fd = os.open(f"{folder}/{CONTROL_FILE}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(self._fd).st_size < CONTROL_BYTES:
                raise ValueError(f"{folder}/{CONTROL_FILE} is shorter than {CONTROL_BYTES} bytes")
            self._page = mmap.mmap(self._fd, CONTROL_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        except BaseException:
            os.close(self._fd)
            raise

    def get(self, at: int) -> int:
        """The number at byte `at` (CONTROL_...)."""
        return u64_at(self._page, at)

    def put(self, at: int, value: int) -> None:
        """Sets the number at byte `at`. A disk that can't take it leaves the old one."""
        try:
            os.pwrite(self._fd, u64_bytes(value), at)
        except OSError:
            return

    def close(self) -> None:
        """Unmaps the page."""
        self._page.close()
        os.close(self._fd)
