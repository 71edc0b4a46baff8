"""Folders in the spool that are no spools, or not whole, harm no other one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.worker.spool.format import TASK_FILE
from tests.e2e.machine import Machine, until
from tests.unit.spool.spool_building import append, make_writer


@pytest.fixture
def machine(data_dir: Path) -> Iterator[Machine]:
    made = Machine(data_dir)
    yield made
    made.close()


def _plant(spools: Path) -> None:
    contents = {
        "empty": b"",
        "cut": b'{"version": 1',
        "binary": os.urandom(1000),
        "null": b"null",
        "deep": b"[" * 100_000,
        "version": b'{"version": 99}',
        "types": json.dumps({"version": 1, "writer_id": 5, "namespace": [], "run": {}, "task": None}).encode(),
        "names": json.dumps({"version": 1, "writer_id": "00" * 16, "namespace": [], "run": 7, "task": None}).encode(),
        "\udcff\udcfe": b"{}",
    }
    for name, content in contents.items():
        (spools / name).mkdir()
        (spools / name / TASK_FILE).write_bytes(content)
        (spools / name / "lock").touch()
        (spools / name / "control").write_bytes(bytes(4096))
    (spools / "folder").mkdir()
    (spools / "folder" / TASK_FILE).mkdir()
    (spools / "pipe").mkdir()
    os.mkfifo(spools / "pipe" / TASK_FILE)
    (spools / "file").write_bytes(b"x")
    (spools / "dangling").symlink_to("/nonexistent")


def test_garbage_in_the_spool_folder_does_not_stop_the_worker(machine: Machine, data_dir: Path) -> None:
    machine.start_up()
    _plant(data_dir / "worker" / "spool")
    worker = machine.status()["worker"]["pid"]
    until(lambda: "spool deep can't be shipped" in machine.messages.read_text(), "the worker has seen them")
    machine.run("after/garbage", "echo fine")
    assert machine.call("logs", "after/garbage").stdout == b"fine\n"
    until(lambda: "trying every" in machine.messages.read_text(), "one with bad names is put off")
    assert machine.status()["worker"]["pid"] == worker
    said = [line for line in machine.messages.read_text().splitlines() if "spool cut can't be shipped" in line]
    assert len(said) == 1
    # Nothing waits for a writer of the pipe.
    assert machine.stop_up() == 0


def test_a_spool_whose_end_makes_no_sense_is_put_off_and_others_go_on(machine: Machine, data_dir: Path) -> None:
    machine.start_up()
    writer = make_writer(data_dir, name="odd")
    append(writer, b"bytes\n")
    writer.end({"kind": "no such kind", "no_such_field": 1})
    worker = machine.status()["worker"]["pid"]
    until(lambda: "r/t/1: its spool can't be shipped" in machine.messages.read_text(), "the spool is put off")
    machine.run("after/odd", "echo fine")
    assert machine.call("logs", "after/odd").stdout == b"fine\n"
    assert machine.call("logs", "r/t").stdout == b"bytes\n"
    assert machine.status()["worker"]["pid"] == worker
    # What is put off for longer than that is nothing to wait for.
    assert machine.stop_up() == 0
    assert "bytes of 1 logs are not delivered; they stay in" in machine.messages.read_text()
    assert "not drained in time" not in machine.messages.read_text()
