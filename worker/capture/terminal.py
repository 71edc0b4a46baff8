"""The user's terminal: raw while a task has one of its own, or lent to the task's process group."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STDIN = 0
_INPUT_BYTES = 16 << 10


def is_ours() -> bool:
    """Whether standard input and output are a terminal that this process has the use of."""
    try:
        return os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def copy_window_size(master: int) -> None:
    """Gives a task's terminal the size of the user's, where there is one."""
    for fd in (0, 1, 2):
        try:
            fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
            return
        except OSError:
            continue


class Loan:
    """The terminal in the hands of a task's process group, as a shell does it: its keys go to the task, Ctrl-Z too."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._give()

    def _give(self) -> None:
        try:
            os.tcsetpgrp(_STDIN, self._group)
            os.killpg(self._group, signal.SIGCONT)  # it may have asked for the terminal before it had it
        except OSError:
            return

    def take_back(self) -> None:
        """The terminal is this process's again."""
        try:
            os.tcsetpgrp(_STDIN, os.getpgrp())
        except OSError:
            return

    def stop_too(self) -> None:
        """The task was stopped at the terminal: stops as well, so that the user's shell comes back."""
        self.take_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def resume(self) -> None:
        """This process goes on: so does the task, with the terminal where it is in the foreground."""
        if is_ours():
            self._give()
            return
        try:
            os.killpg(self._group, signal.SIGCONT)
        except OSError:
            return


class OwnTerminal:
    """The other side of a task's own terminal: what the user types goes in, the window's size is passed on.

    master: its descriptor, which stays the caller's.
    """

    def __init__(self, master: int, epoll: select.epoll, *, use_stdin: bool) -> None:
        self._master = os.dup(master)
        self._epoll = epoll
        self._pending = b""
        self._before: list[Any] | None = None
        self._open = use_stdin
        self._pollable = False
        if use_stdin:
            self._start_input()

    def _start_input(self) -> None:
        if os.isatty(_STDIN):
            self._before = termios.tcgetattr(_STDIN)
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, _raw(self._before))
        try:
            self._epoll.register(_STDIN, select.EPOLLIN)
            self._pollable = True
        except OSError:
            self._pollable = False

    @property
    def fds(self) -> tuple[int, int]:
        """Descriptors whose readiness `move` wants to hear of."""
        return _STDIN, self._master

    @property
    def always_ready(self) -> bool:
        """Whether standard input is a file, which can't be polled."""
        return self._open and not self._pollable and not self._pending

    def resize(self) -> None:
        """Gives the task's terminal the size of the user's."""
        copy_window_size(self._master)

    def move(self) -> None:
        """Moves what was typed to the task; at its end, the end-of-file character."""
        if not self._pending and self._open:
            try:
                data = os.read(_STDIN, _INPUT_BYTES)
            except OSError:
                data = b""
            if not data:
                self._end_input()
                data = b"\x04"
            self._pending = data
        self._push()

    def _push(self) -> None:
        had_pending = bool(self._pending)
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._master, self._pending) :]
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._pending = b""
        self._wait_for_room(bool(self._pending), had_pending=had_pending)

    def _wait_for_room(self, waiting: bool, *, had_pending: bool) -> None:
        try:
            if waiting:
                self._epoll.register(self._master, select.EPOLLOUT)
                if self._pollable and self._open:
                    self._epoll.unregister(_STDIN)
            elif had_pending:
                self._epoll.unregister(self._master)
                if self._pollable and self._open:
                    self._epoll.register(_STDIN, select.EPOLLIN)
        except OSError:
            return  # it is that way already

    def _end_input(self) -> None:
        self._open = False
        if self._pollable:
            self._epoll.unregister(_STDIN)

    def close(self) -> None:
        """Puts the user's terminal back as it was."""
        if self._before is not None:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._before)
        os.close(self._master)


def _raw(mode: list[Any]) -> list[Any]:
    """Every key goes through as it is, and nothing is changed on the way out."""
    iflag, oflag, cflag, lflag, *rest = mode
    iflag &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON | termios.INLCR)
    oflag &= ~termios.OPOST
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    lflag &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    return [iflag, oflag, cflag, lflag, *rest]
