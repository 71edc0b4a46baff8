"""`joblog logs -f` while leader and worker are killed, stopped and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import joblog
from tests.e2e.machine import DEADLINE_SECONDS, Machine, kill, until


class Daemons:
    """A leader and a worker, each started by itself."""

    def __init__(self, data_dir: Path) -> None:
        self.machine = Machine(data_dir)
        self.machine.environment |= {
            "JOBLOG_INGEST_HEARTBEAT_SECONDS": "0.2",
            "JOBLOG_INGEST_LOST_AFTER_SECONDS": "1",
            "JOBLOG_GRPC_LISTEN": "127.0.0.1:0",
            "JOBLOG_HTTP_LISTEN": "127.0.0.1:0",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Starts one, and waits until it answers."""
        with self.machine.messages.open("ab") as messages:
            self.processes[name] = self.machine.start(name, stdout=messages, stderr=messages)
        until(lambda: self.machine.status()[name]["running"], f"the {name} answers")

    def kill(self, name: str) -> None:
        """Kills one with signal 9."""
        kill(self.processes[name].pid)
        self.processes.pop(name).wait()


@pytest.fixture
def daemons(data_dir: Path) -> Iterator[Daemons]:
    made = Daemons(data_dir)
    try:
        made.start("leader")
        made.start("worker")
        yield made
    finally:
        made.machine.close()


class Stepped:
    """A task that prints the next line each time it is told to, and a follower of its log."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._go = folder / "go"
        os.mkfifo(self._go)
        # The pipe stays open in the task, so that no step is lost between two reads.
        script = (
            f'n=0; exec 3<>{self._go}; while read x <&3; do [ "$x" = end ] && exit; n=$((n+1)); echo "line $n"; done'
        )
        self._task = machine.start("run", "--quiet", "--run", "r", "--task", "t", "--", "sh", "-c", script)
        until(lambda: machine.record("r/t")["state"] == "live", "the log is live")
        self._printed = folder / "printed"
        self._said = folder / "said"
        with self._printed.open("wb") as printed, self._said.open("wb") as said:
            self._follower = machine.start("logs", "-f", "r/t", stdout=printed, stderr=said)

    def step(self) -> None:
        """Makes the task print its next line."""
        self._go.write_text("on\n")

    def printed(self) -> bytes:
        """What the follower printed so far."""
        return self._printed.read_bytes()

    def said(self) -> str:
        """What the follower said on stderr so far."""
        return self._said.read_text()

    def finish(self) -> None:
        """Ends the task; the follower ends by itself."""
        self._go.write_text("end\n")
        assert self._follower.wait(DEADLINE_SECONDS) == 0, self.said()
        self._task.communicate(timeout=DEADLINE_SECONDS)


def test_a_leader_that_is_killed_and_comes_back_elsewhere(daemons: Daemons, tmp_path: Path) -> None:
    task = Stepped(daemons.machine, tmp_path)
    task.step()
    until(lambda: task.printed() == b"line 1\n", "the first line is there")
    before = daemons.machine.status()["grpc_address"]
    daemons.kill("leader")
    until(lambda: "trying again" in task.said(), "the follower says that the leader is gone")
    task.step()
    daemons.start("leader")
    assert daemons.machine.status()["grpc_address"] != before
    until(lambda: task.printed() == b"line 1\nline 2\n", "the second line is there")
    task.step()
    task.finish()
    assert task.printed() == b"line 1\nline 2\nline 3\n"
    assert task.said().count("trying again") == task.said().count("connected again") == 1
    assert daemons.machine.call("verify", "r/t").returncode == 0


def test_a_worker_that_is_lost_and_comes_back(daemons: Daemons, tmp_path: Path) -> None:
    task = Stepped(daemons.machine, tmp_path)
    task.step()
    until(lambda: task.printed() == b"line 1\n", "the first line is there")
    daemons.processes["worker"].send_signal(signal.SIGSTOP)
    until(lambda: re.search(r"joblog: worker lost", task.said()), "the follower says that the worker is lost")
    assert daemons.machine.record("r/t")["state"] == "interrupted"
    task.step()
    daemons.processes["worker"].send_signal(signal.SIGCONT)
    until(lambda: task.printed() == b"line 1\nline 2\n", "the second line is there")
    task.finish()
    assert "worker back" in task.said()
    assert task.printed() == b"line 1\nline 2\n"


def test_a_worker_that_is_killed_and_comes_back(daemons: Daemons, tmp_path: Path) -> None:
    task = Stepped(daemons.machine, tmp_path)
    task.step()
    until(lambda: task.printed() == b"line 1\n", "the first line is there")
    daemons.kill("worker")
    task.step()
    daemons.start("worker")
    until(lambda: task.printed() == b"line 1\nline 2\n", "the second line is there")
    task.finish()
    assert daemons.machine.call("verify", "r/t").returncode == 0


def test_a_program_ships_its_own_log_where_no_worker_runs(data_dir: Path) -> None:
    daemons = Daemons(data_dir)
    try:
        daemons.start("leader")
        with joblog.RunLog("alone", data_dir=data_dir) as log:
            log.write("nobody else is here")
        assert daemons.machine.record("alone/@run")["state"] == "completed"
        assert daemons.machine.call("logs", "alone/@run").stdout.endswith(b" nobody else is here\n")
    finally:
        daemons.machine.close()
