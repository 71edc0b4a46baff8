"""Signals as bytes on a descriptor that can be polled, for as long as a task is supervised."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Passed on to the task's process group.
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# After one of these the task has its grace to end.
ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_WATCHED = (*PASSED_ON, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH)


def _noted(number: int, frame: object) -> None:
    """The number is in the wakeup descriptor already."""


class Signals:
    """Between start and stop, signals that arrive are read from `fd`. What was ignored before stays ignored (nohup).

    Outside of the main thread nothing can be caught: `caught` is empty then.
    """

    def __init__(self) -> None:
        self.fd, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.caught: list[int] = []
        self._before: dict[int, Any] = {}
        self._before_fd: int | None = None
        try:
            self._before_fd = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        except ValueError:
            return
        for number in _WATCHED:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number not in PASSED_ON:
                self._before[number] = before
                signal.signal(number, _noted)
                self.caught.append(number)
        self._before[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def read(self) -> bytes:
        """The signals that have arrived, a byte each."""
        try:
            return os.read(self.fd, 4096)
        except BlockingIOError:
            return b""

    def stop(self) -> None:
        """Puts everything back as it was."""
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        if self._before_fd is not None:
            signal.set_wakeup_fd(self._before_fd)
        os.close(self.fd)
        os.close(self._writing)
