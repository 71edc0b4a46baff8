"""Tasks with a terminal of their own, and tasks that use the user's."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.capture.supervised import Supervised, eventually, python, run, shell


class User:
    """A terminal with somebody who types and reads."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        self.seen = bytearray()

    def popen(self) -> dict[str, Any]:
        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        return {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, "preexec_fn": take_terminal}

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def sees(self, text: bytes) -> None:
        def there() -> bool:
            while select.select([self.master], [], [], 0)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    break
            return text in self.seen

        eventually(there, f"{text!r} seen")


@pytest.fixture
def user() -> Iterator[User]:
    user = User()
    yield user
    os.close(user.master)
    os.close(user.slave)


def test_a_task_has_a_terminal_and_one_stream(tmp_path: Path) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo yes; echo err >&2; cat < /dev/tty & kill $!; exit 6"
    got, code, _, _ = run(tmp_path, shell(script), pty=True)
    assert code == 6
    assert got.data.replace(b"^D\b\b", b"") == b"yes\r\nerr\r\n"
    assert bytes(got.streams[2]) == b""


def test_input_that_is_no_terminal_is_passed_on_with_its_end(tmp_path: Path) -> None:
    with (tmp_path / "input").open("w+b") as file:
        file.write(b"one\ntwo\n")
        file.seek(0)
        task = Supervised(tmp_path, shell("stty -echo; cat; echo end"), popen={"stdin": file}, pty=True)
        assert task.finish()[0] == 0
    lines = task.captured().data.replace(b"^D\b\b", b"").split()
    assert lines[-1] == b"end"
    assert lines.count(b"one") >= 1


def test_typing_resizing_and_a_terminal_as_it_was_afterwards(tmp_path: Path, user: User) -> None:
    before = termios.tcgetattr(user.slave)
    task = Supervised(
        tmp_path, shell("stty size; read a; echo got $a; read b; stty size"), popen=user.popen(), pty=True
    )
    user.sees(b"33 111")
    assert termios.tcgetattr(user.slave)[3] & termios.ECHO == 0
    user.type(b"hello\r")
    user.sees(b"got hello")
    fcntl.ioctl(user.master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 99, 0, 0))
    task.process.send_signal(signal.SIGWINCH)
    user.type(b"\r")
    user.sees(b"44 99")
    assert task.finish()[0] == 0, user.seen
    assert termios.tcgetattr(user.slave) == before


def test_ctrl_c_reaches_the_task_in_its_own_terminal(tmp_path: Path, user: User) -> None:
    program = """
import time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("caught")
"""
    task = Supervised(tmp_path, python(program), popen=user.popen(), pty=True)
    user.sees(b"ready")
    user.type(b"\x03")
    code = task.finish()[0]
    assert (code, task.captured().data.split()[-1][-6:]) == (0, b"caught")


def test_the_users_terminal_is_lent(tmp_path: Path, user: User) -> None:
    """Ctrl-C and Ctrl-Z act on the task as under a shell; its output goes through pipes."""
    program = """
import os, time
try:
    print("ready", os.isatty(0), os.isatty(1), flush=True)
    print("typed", open("/dev/tty").readline(), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("caught")
"""
    task = Supervised(tmp_path, python(program), popen=user.popen())
    user.sees(b"ready True False")
    user.type(b"words\n")
    user.sees(b"typed words")

    def state() -> str:
        with open(f"/proc/{task.process.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0]

    user.type(b"\x1a")
    eventually(lambda: state() == "T", "the supervisor stops with the task")
    task.process.send_signal(signal.SIGCONT)
    eventually(lambda: state() != "T", "it goes on")
    eventually(lambda: os.tcgetpgrp(user.master) == task.task_pid(), "the task has the terminal again")
    user.type(b"\x03")
    code = task.finish()[0]
    assert (code, task.captured().data.split()[-1][-6:]) == (0, b"caught")
