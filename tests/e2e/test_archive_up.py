"""`joblog up` with an archive in a folder: what a user sees of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, until
from tests.https import open_url


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "data")
    made.environment |= {
        "JOBLOG_ARCHIVE_URL": f"file://{tmp_path}/archive",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
        "JOBLOG_ARCHIVE_ACK": "archived",
        "JOBLOG_ARCHIVE_RETRY_SECONDS": "0.2",
    }
    yield made
    made.close()


def objects(tmp_path: Path) -> set[str]:
    archive = tmp_path / "archive"
    return {str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file() and path.name[0] != "."}


def test_logs_go_to_the_archive_and_read_as_one(machine: Machine, tmp_path: Path) -> None:
    machine.start_up()
    task = machine.start("run", "--run", "r", "--task", "slow", "--", "sh", "-c", "echo one; read line; echo two",
                         stdin=-1)  # fmt: skip
    until(lambda: any(key.endswith(".pack") for key in objects(tmp_path)), "a pack is put")
    assert machine.call("logs", "r/slow").stdout == b"one\n"
    assert task.stdin is not None
    task.stdin.write(b"go\n")
    task.stdin.flush()
    until(lambda: machine.record("r/slow")["state"] == "completed", "it is completed")
    until(lambda: machine.record("r/slow")["tier"] == "archive", "it is sealed")
    assert "default/r/slow/1/metadata.json" in objects(tmp_path)
    assert machine.call("logs", "r/slow").stdout == b"one\ntwo\n"
    assert b"complete" in machine.call("verify", "r/slow").stdout
    spool = machine.data_dir / "worker" / "spool"
    until(lambda: not [one for one in spool.iterdir() if (one / "task.json").exists()], "the spools are gone")
    assert machine.stop_up() == 0
    machine.start_up()
    assert machine.call("logs", "r/slow").stdout == b"one\ntwo\n"


def test_cost_tells_what_the_leader_has_counted(machine: Machine) -> None:
    assert "a_month_as_counted" not in machine.json("archive", "cost")
    machine.start_up()
    machine.run("r/t", "echo text")
    until(lambda: machine.record("r/t")["tier"] == "archive", "it is sealed")
    cost = machine.json("archive", "cost")
    month, tasks = cost["a_month_as_counted"], cost["a_million_tasks_as_counted"]
    # A log of the task and one of the run, two objects each, and what else there was: rosters, packs, claims.
    assert tasks["puts"] >= 2_000_000
    assert month["puts"] > 1000
    assert tasks["money"] > 10
    assert b"a month as counted" in machine.call("archive", "cost").stdout


def test_an_archive_out_of_reach_is_a_warning_and_holds_up_nothing(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("not a folder")
    machine.start_up()
    machine.run("r/t", "echo text")
    assert machine.call("logs", "r/t").stdout == b"text\n"
    until(lambda: '"archive: ' in json.dumps(machine.status()), "it is shown")
    with open_url(machine.data_dir, "/metrics") as answer:
        assert b'joblog_archive_failures_total{reason="' in answer.read()
    (tmp_path / "archive").unlink()
    until(lambda: machine.record("r/t")["tier"] == "archive", "it is sealed once the archive is back")
