"""The descriptors that a log's bytes come from: read as soon as something is there, and gathered under load."""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.capture.echo import Echo
    from joblog.worker.capture.recorder import Recorder

# Bytes that come this soon after the last record was written are gathered for a while: many tiny writes cost little.
_BUSY_SECONDS = 0.001
_NAP_SECONDS = 0.001
_GATHER_SECONDS = 0.004
# How often a full spool is asked for room.
STUCK_SECONDS = 0.03


class Intake:
    """Reads the sources that are ready, each turn into one record. Owns the sources' descriptors.

    left_open: a source was closed by `finish` while somebody could still write to it.
    paused: the spool is full, or nobody takes what is shown; the sources are left alone, and their writers wait.
    """

    def __init__(
        self, sources: list[tuple[int, int]], recorder: Recorder, echo: Echo | None, epoll: select.epoll
    ) -> None:
        self.sources = dict(sources)
        self.paused = False
        self.left_open = False
        self._recorder = recorder
        self._echo = echo
        self._epoll = epoll
        self._echo_fd = -1
        self._written = 0.0
        self._pollable = {fd: _register(epoll, fd) for fd in self.sources}

    @property
    def always_ready(self) -> bool:
        """Whether a source is a file: it can't be polled, and always has something to say."""
        return not self.paused and not all(self._pollable.values())

    @property
    def done(self) -> bool:
        """Whether all sources have ended and all their bytes are in the spool and shown."""
        return not self.sources and not self.paused

    def turn(self, ready: list[int]) -> None:
        """Reads what is ready, and for a few milliseconds on when it comes fast; writes it as one record."""
        if self.paused:
            self._settle()
            return
        fds = [fd for fd in self.sources if fd in ready or not self._pollable[fd]]
        if not fds:
            return
        began = time.monotonic()
        busy = began - self._written < _BUSY_SECONDS
        while self._read(fds) and busy and not self._recorder.full and time.monotonic() - began < _GATHER_SECONDS:
            time.sleep(_NAP_SECONDS)
            fds = list(self.sources)
        self._recorder.write()
        self._settle()
        self._written = time.monotonic()

    def _read(self, fds: list[int]) -> int:
        """One frame of each: how many bytes came."""
        total = 0
        for fd in fds:
            if fd not in self.sources or self._recorder.full:
                continue
            length = self._recorder.read(fd, self.sources[fd])
            if length == 0:
                self._end(fd)
            total += max(length, 0)
        return total

    def _end(self, fd: int) -> None:
        stream = self.sources.pop(fd)
        if self._pollable.pop(fd) and not self.paused:
            self._epoll.unregister(fd)
        os.close(fd)
        if stream not in self.sources.values():
            self._recorder.end_stream(stream)

    def _settle(self) -> None:
        """Pauses or goes on, as spool and echo allow."""
        if self._recorder.stuck:
            self._recorder.write()
        blocked_on = self._echo.blocked_on() if self._echo is not None else -1
        if blocked_on != self._echo_fd:
            if self._echo_fd >= 0:
                _unregister(self._epoll, self._echo_fd)
            if blocked_on >= 0:
                self._epoll.register(blocked_on, select.EPOLLOUT)
            self._echo_fd = blocked_on
        self._pause(self._recorder.stuck or blocked_on >= 0)

    def _pause(self, paused: bool) -> None:
        if paused == self.paused:
            return
        self.paused = paused
        for fd in self.sources:
            if self._pollable[fd]:
                if paused:
                    self._epoll.unregister(fd)
                else:
                    self._epoll.register(fd, select.EPOLLIN)

    @property
    def stuck(self) -> bool:
        """Whether the spool is full: nobody tells when it no longer is, so `turn` has to be called now and then."""
        return self._recorder.stuck

    def finish(self, *, patient: bool) -> bool:
        """Takes what is there now and closes the sources, with no regard to bounds. False: try again later.

        For a task that has ended. Not patient: what a full disk can't take becomes a gap, what nobody looks at is not
        shown.
        """
        if self._recorder.stuck and not self._recorder.write(force=True):
            if patient:
                return False
            self._recorder.discard()
        for fd in list(self.sources):
            self._drain(fd)
        self._recorder.write(force=True)
        if not patient:
            self._recorder.discard()
            return True
        self._settle()
        return self.done

    def _drain(self, fd: int) -> None:
        """Reads what is left in a pipe, and no more than fits in one: others may go on writing to it."""
        stream = self.sources[fd]
        left = 16
        while left and fd in self.sources:
            if self._recorder.full and not self._recorder.write(force=True):
                return
            length = self._recorder.read(fd, stream)
            if length <= 0:
                break
            left -= 1
        if fd in self.sources:
            self.left_open = True
            self._end(fd)

    def close(self) -> None:
        """Closes what is open."""
        for fd in list(self.sources):
            self.sources.pop(fd)
            os.close(fd)


def _register(epoll: select.epoll, fd: int) -> bool:
    try:
        epoll.register(fd, select.EPOLLIN)
    except PermissionError:
        return False
    return True


def _unregister(epoll: select.epoll, fd: int) -> None:
    """A descriptor that was closed since has left the epoll set by itself."""
    try:
        epoll.unregister(fd)
    except (OSError, ValueError):
        return
