"""Signals go to the task's whole process group; then there is grace, then SIGKILL; nothing captured is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.unit.capture.supervised import Supervised, eventually, python, run, shell

STUBBORN = (
    "import os, signal, time\nfor n in (1, 2, 3, 15): signal.signal(n, lambda *a: os.write(1, b'got %d\\n' % a[0]))\n"
)


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_passed_on_and_the_exit_code_says_so(tmp_path: Path, number: signal.Signals) -> None:
    task = Supervised(tmp_path, shell("ulimit -c 0; echo ready; exec sleep 60"))
    task.until_captured(b"ready")
    task.process.send_signal(number)
    assert task.finish()[0] == 128 + number
    outcome = task.captured().outcome
    assert (outcome["kind"], outcome["signal"], outcome["exit_code"]) == (2, number, 128 + number)


def test_usr1_is_passed_on_and_ends_nothing(tmp_path: Path) -> None:
    program = (
        "import signal, time\nsignal.signal(10, lambda *a: print('got it', flush=True))\nprint('ready', flush=True)\n"
    )
    task = Supervised(tmp_path, python(program + "signal.sigtimedwait([], 1)"), grace_seconds=0.05)
    task.until_captured(b"ready")
    task.process.send_signal(signal.SIGUSR1)
    assert task.finish()[0] == 0
    assert task.captured().data == b"ready\ngot it\n"


def test_the_whole_group_gets_it(tmp_path: Path) -> None:
    script = "sleep 60 & echo $!; trap 'echo bye; exit 9' TERM; echo ready; wait"
    task = Supervised(tmp_path, shell(script))
    task.until_captured(b"ready")
    child = int(task.captured().data.split()[0])
    task.process.send_signal(signal.SIGTERM)
    assert task.finish()[0] == 9
    assert task.captured().data.endswith(b"bye\n")
    eventually(lambda: not runs(child), "the background process has ended")


def test_grace_then_kill_for_all_of_the_group(tmp_path: Path) -> None:
    program = "import os\nos.fork()\n" + STUBBORN + "print('ready', os.getpid(), flush=True)\nwhile True: time.sleep(1)"
    task = Supervised(tmp_path, python(program), grace_seconds=0.4)
    eventually(lambda: task.so_far().count(b"ready") == 2, "both run")
    pids = [int(line.split()[1]) for line in task.captured().data.splitlines()]
    began = time.monotonic()
    task.process.send_signal(signal.SIGTERM)
    assert task.finish()[0] == 128 + signal.SIGKILL
    assert 0.3 < time.monotonic() - began < 10
    got = task.captured()
    assert got.data.count(b"got 15") == 2
    assert got.outcome["signal"] == signal.SIGKILL
    eventually(lambda: not any(map(runs, pids)), "all have ended")


def test_what_outlives_the_task_has_the_grace_too(tmp_path: Path) -> None:
    script = "(trap '' TERM; exec >&- 2>&-; sleep 60) & echo $!; trap 'exit 0' TERM; echo ready; wait"
    task = Supervised(tmp_path, shell(script), grace_seconds=0.5)
    task.until_captured(b"ready")
    child = int(task.captured().data.split()[0])
    began = time.monotonic()
    task.process.send_signal(signal.SIGTERM)
    assert task.finish()[0] == 0
    assert time.monotonic() - began > 0.4
    eventually(lambda: not runs(child), "the background process was killed")


def test_ignored_from_the_start_stays_ignored(tmp_path: Path) -> None:
    task = Supervised(
        tmp_path,
        shell("echo ready; sleep 0.5; exit 4"),
        popen={"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)},
    )
    task.until_captured(b"ready")
    task.process.send_signal(signal.SIGHUP)
    assert task.finish()[0] == 4


def test_time_limit(tmp_path: Path) -> None:
    began = time.monotonic()
    got, code, _, _ = run(tmp_path, shell("echo working; exec sleep 60"), timeout_seconds=0.3)
    assert time.monotonic() - began < 10
    assert code == 128 + signal.SIGTERM
    assert got.outcome["kind"] == 5
    assert got.outcome["signal"] == signal.SIGTERM
    assert "0.3 s" in got.outcome["message"]
    assert got.data == b"working\n"


def test_time_limit_of_a_task_that_does_not_want_to_end(tmp_path: Path) -> None:
    program = STUBBORN + "print('ready', flush=True)\nwhile True: time.sleep(1)"
    got, code, _, _ = run(tmp_path, python(program), timeout_seconds=0.5, grace_seconds=0.3)
    assert code == 128 + signal.SIGKILL
    assert got.outcome["kind"] == 5


def test_a_killed_task(tmp_path: Path) -> None:
    task = Supervised(tmp_path, shell("echo ready; exec sleep 60"))
    task.until_captured(b"ready")
    os.kill(task.task_pid(), signal.SIGKILL)
    assert task.finish()[0] == 137
    assert task.captured().outcome["signal"] == 9


def test_a_killed_supervisor_leaves_what_it_had_written(tmp_path: Path) -> None:
    program = "import itertools\nfor n in itertools.count(): print(n, flush=True)"
    task = Supervised(tmp_path, python(program), echo=False)
    eventually(lambda: len(task.so_far()) > 1_000_000, "a megabyte captured")
    pid = task.task_pid()
    task.process.kill()
    task.finish()
    got = task.captured()
    assert not got.alive
    assert got.end is None
    numbers = got.data.splitlines(keepends=True)
    whole = numbers if numbers[-1].endswith(b"\n") else numbers[:-1]
    assert [int(number) for number in whole] == list(range(len(whole)))
    eventually(lambda: not runs(pid), "the task ends, since nobody reads it any more")


class TestFull:
    def test_block_makes_the_task_wait_until_the_leader_has_it(self, tmp_path: Path) -> None:
        from joblog.worker.spool.reader import SpoolReader

        program = "import random, sys; sys.stdout.buffer.write(random.Random(5).randbytes(9_000_000)); print('end')"
        task = Supervised(tmp_path, python(program), echo=False, task_bytes=2 << 20)
        eventually(lambda: len(task.so_far()) > 1_000_000, "the spool is filled")
        assert task.process.poll() is None
        reader = SpoolReader(task.folder)
        data = bytearray()

        def drained() -> bool:
            for record in reader.read(1 << 20):
                assert record.offset == len(data)
                data.extend(record.payload)
            reader.release(reader.offset)
            return reader.ended is not None

        assert reader.disk_bytes() <= 2 << 20
        eventually(drained, "all read")
        assert task.finish()[0] == 0
        assert len(data) == 9_000_004
        assert reader.ended is not None
        assert reader.ended.sha256
        reader.close()

    def test_a_full_spool_can_be_told_to_end(self, tmp_path: Path) -> None:
        task = Supervised(tmp_path, shell("echo $$; cat /dev/urandom"), echo=False, task_bytes=2 << 20)
        eventually(lambda: len(task.so_far()) > 1_000_000, "the spool is filled")
        task.process.send_signal(signal.SIGTERM)
        assert task.finish()[0] == 128 + signal.SIGTERM
        got = task.captured()
        assert got.end is not None
        assert got.end.sha256
        assert got.end.length == len(got.data)

    def test_truncate_never_waits(self, tmp_path: Path) -> None:
        program = "import random, sys; sys.stdout.buffer.write(random.Random(5).randbytes(30_000_000)); print('end')"
        task = Supervised(tmp_path, python(program), echo=False, task_bytes=4 << 20, policy="truncate")
        assert task.finish()[0] == 0
        got = task.captured()
        assert got.data.endswith(b"end\n")
        assert got.end is not None
        assert got.end.length == 30_000_004
        assert got.end.sha256 == b""
        assert 2 << 20 < len(got.data) < 5 << 20
