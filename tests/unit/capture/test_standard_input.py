"""Standard input as a task's output."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.unit.capture.supervised import Supervised


def feed(tmp_path: Path, data: bytes, **order: object) -> tuple[Supervised, bytes]:
    task = Supervised(tmp_path, [], stdin_log=True, popen={"stdin": subprocess.PIPE}, **order)
    stdout, _ = task.process.communicate(data, timeout=60)
    assert task.process.returncode == 0
    return task, stdout


def test_passes_through_and_is_kept(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    task, stdout = feed(tmp_path, data)
    assert stdout == data
    got = task.captured()
    assert got.data == data
    assert (got.outcome["kind"], got.outcome["exit_code"]) == (1, 0)


def test_quiet_masked_and_empty(tmp_path: Path) -> None:
    task, stdout = feed(tmp_path / "one", b"my password-123\n", echo=False, masks=["password-123"])
    assert (stdout, task.captured().data) == (b"", b"my ***\n")
    task, stdout = feed(tmp_path / "two", b"")
    assert task.captured().end is not None


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"line\n" * 500_000)
    with (tmp_path / "file").open("rb") as file:
        task = Supervised(tmp_path, [], stdin_log=True, popen={"stdin": file})
        _, stdout, _ = task.finish()
    assert stdout == task.captured().data == b"line\n" * 500_000


def test_interrupted_it_takes_what_the_writer_still_says(tmp_path: Path) -> None:
    task = Supervised(tmp_path, [], stdin_log=True, popen={"stdin": subprocess.PIPE})
    assert task.process.stdin is not None
    task.process.stdin.write(b"before\n")
    task.process.stdin.flush()
    task.until_captured(b"before")
    task.process.send_signal(signal.SIGINT)
    task.process.stdin.write(b"after\n")
    task.process.stdin.close()
    task.process.stdin = None
    task.finish()
    assert task.captured().data == b"before\nafter\n"
    assert task.captured().outcome["exit_code"] == 0


def test_told_to_end_it_ends_with_what_is_there(tmp_path: Path) -> None:
    task = Supervised(tmp_path, [], stdin_log=True, popen={"stdin": subprocess.PIPE})
    assert task.process.stdin is not None
    task.process.stdin.write(b"something\n")
    task.process.stdin.flush()
    task.until_captured(b"something")
    task.process.send_signal(signal.SIGTERM)
    assert task.process.wait(30) == 143
    got = task.captured()
    assert (got.data, got.outcome["signal"]) == (b"something\n", 15)
    task.finish()
