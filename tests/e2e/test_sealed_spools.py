"""Sealed spools: real workers are killed, started again, and deliver every byte; none of it lies in clear here."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, kill, until

# It begins each line, and is in the task's command line, label and error.
SECRET = b"s3cr3t-of-the-task"
# Small records in the first part, compressed ones in the second.
SCRIPT = """
i=0; while [ $i -lt 300 ]; do echo "s3cr3t-of-the-task $i"; i=$((i+1)); done
head -c 300000 /dev/urandom > "$1/noise"; cat "$1/noise"; echo; echo ready > "$1/ready"
read go < "$1/go"; echo "s3cr3t-of-the-task again"; exit 3
"""


class Sealed:
    """A leader, and a worker with a data folder of its own, whose spools are sealed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = Machine(folder / "d")
        self.machine.environment |= {
            "JOBLOG_SPOOL_ENCRYPTION": "on",
            "JOBLOG_GRPC_LISTEN": "127.0.0.1:0",
            "JOBLOG_HTTP_LISTEN": "127.0.0.1:0",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.scripts = folder / "scripts"
        self.scripts.mkdir()
        for name in ("go",):
            subprocess.run(["mkfifo", str(self.scripts / name)], check=True)

    def start(self, name: str) -> None:
        with self.machine.messages.open("ab") as messages:
            process = self.processes[name] = self.machine.start(name, stdout=messages, stderr=messages)

        def answers() -> bool:
            assert process.poll() is None, (process.returncode, self.machine.messages.read_text()[-4000:])
            running: bool = self.machine.status()[name]["running"]
            return running

        until(answers, f"the {name} answers")

    def kill(self, name: str) -> None:
        kill(self.processes[name].pid)
        self.processes.pop(name).wait()

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    def task(self) -> subprocess.Popen[bytes]:
        arguments = ["--run", "r", "--task", "t", "--label", "of=s3cr3t-of-the-task", "--quiet", "--"]
        return self.machine.start("run", *arguments, "sh", "-c", SCRIPT, "sh", str(self.scripts))

    def go_on(self) -> None:
        (self.scripts / "go").write_bytes(b"\n")

    @property
    def spools(self) -> Path:
        return self.machine.data_dir / "worker" / "spool"

    def check_no_clear_byte(self) -> None:
        """Nothing of the task is in any file of the worker: text, noise, command, label."""
        noise = (self.scripts / "noise").read_bytes()
        pieces = [
            SECRET,
            SCRIPT.strip()[:40].encode(),
            *(noise[at : at + 32] for at in range(0, len(noise) - 32, 4096)),
        ]
        worker = self.machine.data_dir / "worker"

        def has_noise() -> bool:
            return any(path.stat().st_size > 300_000 for path in worker.rglob("*.seg"))

        until(has_noise, "what the task printed is in its spool")
        for path in worker.rglob("*"):
            if not path.is_file():
                continue
            content = path.read_bytes()
            for piece in pieces:
                assert piece not in content, path

    def expected(self) -> bytes:
        lines = b"".join(b"s3cr3t-of-the-task %d\n" % number for number in range(300))
        return lines + (self.scripts / "noise").read_bytes() + b"\ns3cr3t-of-the-task again\n"

    def check_delivered(self) -> None:
        until(lambda: self.machine.record("r/t")["state"] == "completed", "the log is completed")
        record = self.machine.record("r/t")
        assert (record["outcome"]["exit_code"], record["start"]["labels"]) == (3, {"of": SECRET.decode()})
        got = self.machine.call("logs", "r/t").stdout
        assert hashlib.sha256(got).digest() == hashlib.sha256(self.expected()).digest()
        assert self.machine.call("verify", "r/t").returncode == 0


@pytest.fixture
def sealed(data_dir: Path) -> Iterator[Sealed]:
    made = Sealed(data_dir)
    try:
        yield made
    finally:
        made.machine.close()


def test_a_killed_worker_delivers_every_byte_and_none_lay_in_clear(sealed: Sealed) -> None:
    sealed.start("leader")
    sealed.start("worker")
    sealed.machine.call("run", "--", "true")
    sealed.stop("leader")
    # The key is at hand: a task starts, and what it prints stays here.
    task = sealed.task()
    until((sealed.scripts / "ready").exists, "the task has printed")
    sealed.check_no_clear_byte()
    sealed.kill("worker")
    sealed.go_on()
    assert task.wait(30) == 3
    sealed.check_no_clear_byte()
    sealed.start("worker")
    # What can't be told without the key is not told; nothing is lost by looking.
    (listed, *_) = sealed.machine.json("tasks", "list")
    assert (listed["kind"], listed["run"]) == ("sealed", "")
    assert b"key is with the leader" in sealed.machine.call("tasks", "list").stdout
    assert b"2 spools with" in sealed.machine.call("doctor", check=False).stdout
    sealed.check_no_clear_byte()
    sealed.start("leader")
    sealed.check_delivered()
    until(lambda: not list(sealed.spools.iterdir()), "the spools are removed")


def test_without_a_daemon_the_key_comes_from_the_leader(sealed: Sealed) -> None:
    sealed.start("leader")
    task = sealed.task()
    until((sealed.scripts / "ready").exists, "the task has printed")
    sealed.go_on()
    assert task.wait(30) == 3
    sealed.check_delivered()
    assert list(sealed.spools.iterdir()) == []


def test_a_task_waits_for_a_leader_that_holds_its_key(sealed: Sealed) -> None:
    task = sealed.machine.start("run", "--run", "r", "--task", "w", "--", "echo", "started")
    assert task.stderr is not None
    assert task.stdout is not None
    said = task.stderr.readline()
    assert b"waiting: spool.encryption is on, and a task starts once the leader holds the key" in said
    assert not sealed.spools.exists() or not list(sealed.spools.iterdir())
    sealed.start("leader")
    assert task.stdout.readline() == b"started\n"
    assert task.wait(30) == 0
    sealed.start("worker")
    until(lambda: sealed.machine.record("r/w")["state"] == "completed", "the log is completed")


def test_another_workers_spool_stays_where_it_is(sealed: Sealed) -> None:
    sealed.start("leader")
    sealed.start("worker")
    sealed.machine.call("run", "--", "true")
    sealed.stop("leader")
    task = sealed.task()
    until((sealed.scripts / "ready").exists, "the task has printed")
    sealed.kill("worker")
    sealed.go_on()
    assert task.wait(30) == 3
    before = {path: path.read_bytes() for path in sealed.spools.rglob("*.seg")}
    worker_id = sealed.machine.data_dir / "worker" / "id"
    kept = sealed.folder / "kept"
    shutil.move(worker_id, kept)
    sealed.start("leader")
    sealed.start("worker")
    until(lambda: "is not at hand" in sealed.machine.messages.read_text(), "the worker says that it has no key")
    assert sealed.machine.record("r/t")["state"] == ""
    assert {path: path.read_bytes() for path in sealed.spools.rglob("*.seg")} == before
    sealed.stop("worker")
    shutil.move(kept, worker_id)
    sealed.start("worker")
    sealed.check_delivered()
