"""Retention and legal holds through real processes: what is held outlives policies, people and the leader's disk."""

from __future__ import annotations

import json
import shutil
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, until
from tests.https import open_url

POLICIES = "* outcome=failed: keep=1h, * label=kind=nightly: keep_last=2, *: keep=1s"
RUNS = "/api/v1/namespaces/default/runs"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    one = Machine(tmp_path / "data")
    one.environment |= {
        "JOBLOG_RETENTION_POLICIES": POLICIES,
        "JOBLOG_ARCHIVE_URL": (tmp_path / "archive").as_uri(),
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.2",
        "JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS": "0.3",
        "JOBLOG_KEYS_FILE": str(tmp_path / "kek.key"),
    }
    try:
        one.start_up()
        yield one
    finally:
        one.close()


def ask(machine: Machine, path: str, method: str = "GET") -> Any:
    with open_url(machine.data_dir, path, 60.0, method) as reply:
        return json.loads(reply.read())


def states(machine: Machine) -> dict[str, str]:
    return {run["run"]: run["state"] for run in ask(machine, RUNS)["runs"]}


def acts(machine: Machine) -> list[dict[str, Any]]:
    lines = machine.call("audit", "tail", "--json", "-n", "1000").stdout.splitlines()
    return [json.loads(line) for line in lines]


def refused(machine: Machine, path: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(machine, path, "DELETE")
    error.value.close()
    return error.value.code


def kept(machine: Machine, run: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(machine, f"{RUNS}/{run}")["kept"]
    return found


def test_what_is_held_outlives_policies_people_and_the_disk(machine: Machine) -> None:
    tasks = {
        "held": ("echo one",),
        "case": ("echo two", "--label", "case=4711"),
        "plain": ("echo three",),
        "broken": ("exit 3",),
        "nightly0": ("echo n", "--label", "kind=nightly"),
        "nightly1": ("echo n", "--label", "kind=nightly"),
        "nightly2": ("echo n", "--label", "kind=nightly"),
    }
    for run, (script, *flags) in tasks.items():
        machine.start("run", "--quiet", "--run", run, "--task", "t", *flags, "--", "sh", "-c", script)
        until(lambda run=run: run in states(machine), f"{run} is there")  # type: ignore[misc]
    everything = set(tasks)
    until(lambda: not {"live", "interrupted"} & set(states(machine).values()), "all runs have ended")

    done = machine.json("hold", "set", "held", "--reason", "case 12")
    assert (done["created"], done["archived"]) == (True, True)
    done = machine.json("hold", "set", "--label", "case=4711", "--all")
    assert (done["created"], done["runs"]) == (True, 1)
    assert machine.call("hold", "set", "hled", check=False).returncode == 3

    assert kept(machine, "broken")["policy"] == "* outcome=failed: keep=1h"
    assert kept(machine, "broken")["due_at"]
    assert (kept(machine, "held")["held_by"], kept(machine, "held")["due_at"]) == (["run"], None)
    assert kept(machine, "case")["held_by"] == ["label case=4711"]
    assert "newer runs have ended" in kept(machine, "nightly0")["says"]
    assert "due once 2 more have ended" in kept(machine, "nightly2")["says"]
    assert b"on hold      run" in machine.call("stat", "held/t").stdout

    until(lambda: ask(machine, "/api/v1/retention/preview")["total"]["runs"] == 2, "all that is to go is due")
    due = machine.json("retention", "preview")["due"]
    assert {one["run"] for one in due if not one["held"]} == {"plain", "nightly0"}
    assert {one["run"] for one in due if one["held"]} == {"held", "case"}
    assert set(states(machine)) == everything

    done = machine.json("retention", "run")
    assert (done["runs"], done["held_runs"]) == (2, 2)
    left = everything - {"plain", "nightly0"}
    assert set(states(machine)) == left

    denied = machine.call("delete", "held", "--yes", check=False)
    assert denied.returncode == 4
    assert b"legal hold" in denied.stderr
    for run in ("held", "case"):
        for path in (f"/{run}", f"/{run}/tasks/t", f"/{run}/tasks/t/attempts/1"):
            assert refused(machine, RUNS + path) == 409
    assert set(states(machine)) == left
    found = acts(machine)
    assert [act["subject"] for act in found if act["action"] == "hold.set"] == [
        "default:held",
        "label case=4711 in any namespace",
    ]
    deleted = [act["detail"] for act in found if act["action"] == "retention.delete"]
    assert {(one["policy"], one["runs"], one["first"]) for one in deleted} == {
        ("*: keep=1s", "1", "plain"),
        ("* label=kind=nightly: keep_last=2", "1", "nightly0"),
    }

    machine.stop_up()
    shutil.rmtree(machine.data_dir / "leader")
    machine.start_up()
    # What the archive still held for readers of a minute ago came back, and is as due as before.
    assert left <= set(states(machine)) <= everything
    assert refused(machine, f"{RUNS}/held") == 409
    ask(machine, "/api/v1/retention/run", "POST")
    assert set(states(machine)) == left
    assert {hold["reason"] for hold in ask(machine, "/api/v1/holds")["holds"]} == {"case 12", ""}

    machine.call("hold", "lift", "held")
    assert machine.call("hold", "lift", "held", check=False).returncode == 3
    assert ask(machine, "/api/v1/retention/run", "POST")["runs"] == 1
    assert set(states(machine)) == left - {"held"}
    assert ask(machine, "/api/v1/holds")["archived"]


def test_the_leader_deletes_by_itself_at_its_interval(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "data")
    machine.environment |= {"JOBLOG_RETENTION_POLICIES": "*: keep=1s", "JOBLOG_RETENTION_INTERVAL_SECONDS": "1"}
    try:
        machine.start_up()
        machine.call("run", "--quiet", "--run", "short", "--task", "t", "--", "echo", "x")

        def counted() -> bool:
            with open_url(machine.data_dir, "/metrics") as reply:
                return b"joblog_retention_runs_total 1.0" in reply.read()

        until(counted, "it is gone")
        assert not states(machine)
        assert machine.json("retention", "show")["policies"] == ["*: keep=1s"]
    finally:
        machine.close()
