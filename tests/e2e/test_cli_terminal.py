"""What `joblog` prints when a terminal is at the other end: logs, names and messages that someone else chose."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import DEADLINE_SECONDS, JOBLOG, Machine, until

HOSTILE = b"a\x1b[2Jb\x1b]52;c;eA==\x07\x1b[31mred\x9b1A\xc2\x9d0;t\x1b[8mz\n10%\r20%\n"
SHOWN = b"a^[[2Jb^[]52;c;eA==^G\x1b[31mred\\x9b1A<U+009D>0;t^[[8mz\r\n10%\r\r\n20%\r\n\x1b[0m"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="joblog.") as folder:
        made = Machine(Path(folder, "d"))
        made.start_up()
        Path(folder, "hostile").write_bytes(HOSTILE)
        # A command line is recorded as it is.
        made.run("demo/hostile", f"cat {folder}/hostile # \x1b]0;x\x07\x9b2J")
        yield made
        made.close()


class Screen:
    """A command that runs with a terminal, and what came to that."""

    def __init__(self, machine: Machine, *arguments: str) -> None:
        self.master, slave = os.openpty()
        self.seen = b""
        environment = {**machine.environment, "TERM": "xterm"}
        self.process = subprocess.Popen(
            [*JOBLOG, *arguments], env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)

    def read(self) -> bool:
        """Takes what comes next; False when the terminal is closed."""
        ready, _, _ = select.select([self.master], [], [], DEADLINE_SECONDS)
        assert ready, f"nothing came after {self.seen!r}"
        try:
            piece = os.read(self.master, 1 << 16)
        except OSError:
            return False
        self.seen += piece
        return bool(piece)

    def sees(self, text: bytes) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline and self.read(), self.seen

    def end(self) -> bytes:
        while self.read():
            pass
        self.process.wait(DEADLINE_SECONDS)
        os.close(self.master)
        return self.seen


@pytest.mark.parametrize("options", [(), ("-f",), ("--from", "0")])
def test_a_log_can_not_steer_the_terminal(machine: Machine, options: tuple[str, ...]) -> None:
    # The terminal's line discipline makes CR LF of each newline.
    assert Screen(machine, "logs", *options, "demo/hostile").end() == SHOWN


def test_raw_and_pipes_get_the_bytes(machine: Machine) -> None:
    assert Screen(machine, "logs", "--raw", "demo/hostile").end() == HOSTILE.replace(b"\n", b"\r\n")
    assert machine.call("logs", "demo/hostile").stdout == HOSTILE


@pytest.mark.parametrize("options", [("--timestamps",), ("--format", "cri"), ("--format", "json"), ("--split",)])
def test_no_format_lets_controls_through(machine: Machine, options: tuple[str, ...]) -> None:
    seen = Screen(machine, "logs", *options, "demo/hostile").end()
    assert b"20%" in seen
    assert re.sub(rb"\x1b\[\d*m", b"", seen).decode().replace("\r\n", "").replace("\r", "").isprintable()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_record_of_a_task_can_not_either(machine: Machine, options: tuple[str, ...]) -> None:
    seen = Screen(machine, "stat", "demo/hostile", *options).end()
    assert b"0;x" in seen
    assert re.sub(rb"\x1b\[[\d;]*m", b"", seen).decode().replace("\r\n", "").isprintable()


def test_colours_end_when_following_is_interrupted(machine: Machine) -> None:
    task = machine.start(
        "run",
        "--quiet",
        "--run",
        "demo",
        "--task",
        "slow",
        "--",
        "sh",
        "-c",
        "printf '\\033[31mred\\n'; read x",
        stdin=subprocess.PIPE,
    )
    until(lambda: machine.record("demo/slow")["state"] == "live", "the log is live")
    screen = Screen(machine, "logs", "-f", "demo/slow")
    try:
        screen.sees(b"red\r\n")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end().endswith(b"\x1b[31mred\r\n\x1b[0m")
    finally:
        task.communicate(b"\n", DEADLINE_SECONDS)
