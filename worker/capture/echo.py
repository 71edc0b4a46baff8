"""Shows a task's output on this process's own stdout and stderr, without ever losing a byte or hanging in a write."""

from __future__ import annotations

import os
import stat

_SIZE = 256 << 10


def _own_descriptor(fd: int) -> int:
    """A descriptor to where `fd` leads on which a write does not block, others' descriptors left as they are."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass
    return os.dup(fd)


class Echo:
    """Writes in order. What the other end does not take yet stays pending; one that has gone is skipped."""

    def __init__(self, targets: dict[int, int]) -> None:
        """targets: stream → descriptor."""
        self._fds = {stream: _own_descriptor(fd) for stream, fd in targets.items()}
        self._pending: list[tuple[int, memoryview]] = []

    def show(self, stream: int, data: bytes) -> None:
        """Takes bytes to be written."""
        if stream in self._fds:
            self._pending.append((stream, memoryview(data)))

    def blocked_on(self) -> int:
        """Writes what can be written: -1, or the descriptor that has to become writable for the rest."""
        while self._pending:
            stream, data = self._pending[0]
            fd = self._fds.get(stream, -1)
            try:
                while data and fd >= 0:
                    data = data[os.write(fd, data[:_SIZE]) :]
            except BlockingIOError:
                self._pending[0] = (stream, data)
                return fd
            except OSError:  # nobody reads it any more
                os.close(self._fds.pop(stream))
            self._pending.pop(0)
        return -1

    def close(self) -> None:
        """Closes the descriptors; what is pending is not written."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        self._pending.clear()
