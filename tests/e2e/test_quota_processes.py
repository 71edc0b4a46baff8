"""Quotas through real processes: a worker waits and says why, others go on, nothing is lost."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, until
from tests.https import open_url

# Each line is a batch of its own: what begins below a quota is taken whole.
LINES = "for i in 1 2 3 4 5 6; do head -c 9999 /dev/zero | tr '\\0' x; echo; sleep 0.6; done"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    one = Machine(tmp_path / "data")
    one.environment["JOBLOG_QUOTAS_NAMESPACES"] = "tight: bytes_per_day=25000, few-*: live_logs=1"
    try:
        one.start_up()
        yield one
    finally:
        one.close()


def refusals(machine: Machine) -> float:
    with open_url(machine.data_dir, "/metrics") as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("joblog_quota_refusals_total{"))


def test_a_worker_that_meets_a_quota(machine: Machine) -> None:
    for namespace in ("tight", "free"):
        command = ["run", "--quiet", "-n", namespace, "--run", "r", "--task", "t", "--", "sh", "-c", LINES]
        machine.start(*command)

    def waiting() -> list[dict[str, Any]]:
        tasks = json.loads(machine.call("tasks", "list", "--json").stdout)
        # The run's own log may wait as well.
        return [task for task in tasks if task["waits"] and task["task"] == "t"]

    [task] = until(waiting, "the log waits")
    assert (task["namespace"], task["task"]) == ("tight", "t")
    said = re.search(
        r"quota bytes_per_day of namespace tight, 25000 bytes, is used up \((\d+) bytes came", task["waits"]
    )
    assert said is not None, task["waits"]
    assert 25_000 <= int(said[1]) < 60_000
    met, began = refusals(machine), time.monotonic()
    assert "waits: quota bytes_per_day of namespace tight" in machine.call("tasks", "list").stderr.decode()
    warnings = machine.status()["leader"]["warnings"]
    assert [one for one in warnings if "quota bytes_per_day of namespace tight" in one]

    def ended() -> bool:
        done = machine.call("stat", "-n", "free", "r/t", "--json", check=False)
        return done.returncode == 0 and json.loads(done.stdout)["log"]["state"] == "completed"

    until(ended, "the other namespace's log is completed")
    # It is told to ask again after a minute.
    assert refusals(machine) - met <= 1 + (time.monotonic() - began) / 5
    [kept] = waiting()
    assert 20_000 <= kept["acked_bytes"] <= int(said[1])
    # Started again with more, it goes on where it was.
    machine.environment["JOBLOG_QUOTAS_NAMESPACES"] = "tight: bytes_per_day=1MiB"
    machine.start_up()
    assert until(lambda: machine.call("logs", "-n", "tight", "r/t", check=False).stdout.count(b"\n") == 6, "all of it")
    [token] = machine.json("token", "ls")
    # Both logs came through the worker, which joined with the leader's own token.
    assert 120_000 <= int(token["use"]["bytes_today"]) < 130_000
