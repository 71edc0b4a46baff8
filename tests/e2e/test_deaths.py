"""Deaths of tasks, through real processes: what `joblog up` prints, what `joblog stat` and the run's log say."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.client import Client
from joblog.identity import parse_log_path
from tests.e2e.looking import text_of
from tests.e2e.machine import Machine, until


@pytest.fixture
def machine(data_dir: Path) -> Iterator[Machine]:
    machine = Machine(data_dir)
    yield machine
    machine.close()


def printed(machine: Machine) -> list[dict[str, Any]]:
    lines = machine.messages.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"type": "death_report"')]


def supervisor_of(machine: Machine, spool_task: str) -> int:
    """The process that supervises a task."""
    for lock in machine.data_dir.glob("worker/spool/*/lock"):
        task = json.loads((lock.parent / "task.json").read_text())
        said = lock.read_text()
        if task["task"] == spool_task and said:
            return int(json.loads(said)["supervisor"])
    return 0


def test_a_task_that_is_killed_is_reported_once_over_restarts(machine: Machine) -> None:
    machine.environment["JOBLOG_DEATH_REPORTS_EXIT_CODES"] = "7"
    machine.start_up()
    machine.run("r/killed", "echo last words; kill -SEGV $$")
    machine.run("r/clean", "echo fine")
    machine.run("r/seven", "echo out; exit 7")
    until(lambda: len(printed(machine)) == 2, "two deaths are printed")
    by_task = {said["task"]: said for said in printed(machine)}
    assert (by_task["killed"]["reason"], by_task["killed"]["signal"]) == ("signal", signal.SIGSEGV)
    assert (by_task["seven"]["reason"], by_task["seven"]["exit_code"]) == ("exit_code", 7)
    # Text stays where it is encrypted, unless it is asked for.
    assert "last words" not in machine.messages.read_text()
    shown = machine.call("stat", "r/killed").stdout.decode()
    assert "died         signal (on " in shown
    assert f"signal {signal.SIGSEGV:d}" in shown
    assert "died" not in machine.call("stat", "r/clean").stdout.decode()
    with Client(data_dir=machine.data_dir) as client:
        runs = [client.log(parse_log_path(f"r/@run/{log.id.attempt}", "default")).log for log in client.logs("r")]
        attempts = [log.id.attempt for log in runs if log.id.task == "@run"]
    told = "".join(text_of(machine, f"r/@run/{attempt}").decode() for attempt in set(attempts))
    assert told.count(" died task=") == 2
    assert 'tail task=killed attempt=1 text="last words"' in told
    machine.stop_up()
    machine.start_up()
    machine.run("other/clean", "true")
    assert len(printed(machine)) == 2


def test_a_task_whose_supervisor_is_killed_is_reported(machine: Machine) -> None:
    machine.environment["JOBLOG_DEATH_REPORTS_STDOUT"] = "on"
    machine.start_up()
    run = machine.start("run", "--quiet", "--run", "r", "--task", "t", "--", "sh", "-c", "echo begun; exec sleep 600")
    until(lambda: text_of(machine, "r/t") == b"begun\n", "the task has begun")
    os.kill(supervisor_of(machine, "t"), signal.SIGKILL)
    run.wait(20)
    until(lambda: printed(machine), "the death is printed")
    (said,) = printed(machine)
    assert (said["reason"], said["tail"]) == ("supervisor_died", "begun\n")
