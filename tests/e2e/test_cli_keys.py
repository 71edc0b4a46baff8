"""`joblog keys`, with a real leader: rotation, moves to another KMS under load and through kills, recovery files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.cli.words import as_dict
from joblog.client import Client
from joblog.leader.crypto.file_kms import FileKms
from joblog.v1 import keys_pb2, keys_pb2_grpc, types_pb2
from tests.e2e.looking import is_up, record_of, text_of
from tests.e2e.machine import Machine, until


@pytest.fixture
def machine(data_dir: Path) -> Iterator[Machine]:
    made = Machine(data_dir)
    yield made
    made.close()


def use_archive(machine: Machine, tmp_path: Path) -> None:
    machine.environment["JOBLOG_ARCHIVE_URL"] = f"file://{tmp_path / 'archive'}"
    machine.environment["JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS"] = "0.3"


def keys(machine: Machine, *flags: str) -> dict[str, Any]:
    with Client(data_dir=machine.data_dir) as client:
        request = keys_pb2.GetKeysRequest(count_logs="--count" in flags)
        return as_dict(client.stub(keys_pb2_grpc.KeysStub).GetKeys(request))


def start_leader(machine: Machine, *flags: str) -> int:
    """Starts a leader alone; its process id, once it is ready."""
    process = machine.start("leader", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *flags)
    until(lambda: is_up(machine), "the leader is up")
    return process.pid


def is_sealed(machine: Machine, log: str) -> bool:
    return record_of(machine, log).tier == types_pb2.TIER_ARCHIVE


def test_rotating_and_moving_under_load(machine: Machine, tmp_path: Path) -> None:
    use_archive(machine, tmp_path)
    machine.start_up()
    machine.call("run", "--quiet", "--run", "one", "--task", "task", "--", "echo", "first")
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.05; done"
    load = machine.start("run", "--quiet", "--run", "load", "--task", "task", "--", "sh", "-c", script)
    until(lambda: record_of(machine, "load/task").state, "the load runs")
    tail = machine.start("logs", "-f", "load/task")
    first = keys(machine, "--count")
    assert [key["current"] for key in first["store_keys"]] == [True]
    assert first["store_keys"][0]["logs"] >= 2
    assert (first["kms"], first["store_key_days"]) == ("file", 30)

    machine.call("keys", "rotate")
    version = machine.json("keys", "rotate", "--kek")["kms_key_version"]
    machine.call("run", "--quiet", "--run", "two", "--task", "task", "--", "echo", "second")
    assert b"older version" in machine.call("keys", "status").stdout
    machine.call("keys", "rewrap")
    assert {key["kms_key_version"] for key in keys(machine)["store_keys"]} == {version}

    old, new = FileKms(machine.data_dir / "leader" / "kek.key", create=False), FileKms(tmp_path / "new.key")
    until(lambda: is_sealed(machine, "one/task"), "the log is archived")
    moved = machine.call("keys", "rewrap", "--to", "file", "--set", f"keys.file={new.path}")
    assert f"keys.file = '{new.path}'".encode() in moved.stderr
    old.path.unlink()
    after = keys(machine)
    assert {(key["kms_key_id"], key["present"], key["archived"]) for key in after["store_keys"]} == {
        (new.key_id, True, True)
    }
    assert after["kms_calls"] >= 0
    machine.call("run", "--quiet", "--run", "three", "--task", "task", "--", "echo", "third")

    expected = b"".join(b"line %d\n" % n for n in range(3000))
    assert tail.communicate(timeout=60)[0] == expected
    assert load.wait(60) == 0
    until(lambda: record_of(machine, "load/task").state == types_pb2.LOG_STATE_COMPLETED, "the load has ended")
    texts = {"one/task": b"first\n", "two/task": b"second\n", "three/task": b"third\n", "load/task": expected}
    for log, text in texts.items():
        assert text_of(machine, log) == text
        until(lambda log=log: is_sealed(machine, log), "the log is archived")  # type: ignore[misc]
        assert machine.call("archive", "cat", log, f"--set=keys.file={new.path}").stdout == text
    machine.call("archive", "verify", f"--set=keys.file={new.path}")

    # With the settings from before the move it starts, and says what to set.
    machine.start_up()
    warnings = machine.status()["leader"]["warnings"]
    assert any(f"keys.file = '{new.path}'" in warning for warning in warnings), warnings
    assert text_of(machine, "one/task") == b"first\n"
    assert not old.path.exists(), "no new key is made in place of the one that was moved from"


def test_a_move_goes_on_after_the_leader_was_killed(machine: Machine, tmp_path: Path) -> None:
    pid = start_leader(machine)
    machine.call("run", "--quiet", "--run", "r", "--task", "t", "--", "echo", "text")
    with Client(data_dir=machine.data_dir) as client:
        stub = client.stub(keys_pb2_grpc.KeysStub)
        for _ in range(40):
            stub.RotateKeys(keys_pb2.RotateKeysRequest())
    new = FileKms(tmp_path / "new.key")
    for answers in (1, 8):
        with Client(data_dir=machine.data_dir) as client:
            to = {"kind": "file", "file": str(new.path)} if answers == 1 else {}
            steps = client.stub(keys_pb2_grpc.KeysStub).RewrapKeys(keys_pb2.RewrapKeysRequest(to=to))
            for _ in range(answers):
                next(steps)
            # However far it came, nothing is lost.
            os.kill(pid, signal.SIGKILL)
        pid = start_leader(machine)
        assert len(keys(machine)["store_keys"]) == 41
        assert text_of(machine, "r/t") == b"text\n"
    machine.call("keys", "rewrap")
    (machine.data_dir / "leader" / "kek.key").unlink()
    assert {key["kms_key_id"] for key in keys(machine)["store_keys"]} == {new.key_id}
    os.kill(pid, signal.SIGKILL)
    start_leader(machine)
    assert text_of(machine, "r/t") == b"text\n"


def test_recovery_files(machine: Machine, tmp_path: Path) -> None:
    use_archive(machine, tmp_path)
    machine.start_up()
    machine.call("run", "--quiet", "--run", "r", "--task", "t", "--", "echo", "text")
    until(lambda: is_sealed(machine, "r/t"), "the log is archived")
    plain, escrow = tmp_path / "plain.json", tmp_path / "escrow.json"
    assert machine.call("keys", "export", check=False).returncode == 2
    machine.call("keys", "export", "--out", str(plain))
    assert machine.call("keys", "export", "--out", str(plain), check=False).returncode == 4
    assert machine.call("keys", "export", "--out", str(escrow), "--passphrase", check=False).returncode == 2
    machine.environment["JOBLOG_RECOVERY_PASSPHRASE"] = "a passphrase of some length"
    machine.call("keys", "export", "--out", str(escrow), "--passphrase")
    for file in (plain, escrow):
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"passphrase of" not in file.read_bytes()
    machine.stop_up()

    # The KEK is lost, and all copies of it: the archive opens with the file that has a passphrase alone.
    (machine.data_dir / "leader" / "kek.key").unlink()
    assert machine.call("archive", "cat", "r/t", check=False).returncode == 3
    read = machine.call("archive", "cat", "r/t", "--keys", str(escrow))
    assert read.stdout == b"text\n"
    wrong = {**machine.environment, "JOBLOG_RECOVERY_PASSPHRASE": "another passphrase"}
    machine.environment, right = wrong, machine.environment
    assert machine.call("archive", "cat", "r/t", "--keys", str(escrow), check=False).returncode == 5
    machine.environment = right
    # A leader with its disk goes on under a new KEK.
    assert machine.call("leader", "--grpc-listen", "127.0.0.1:0", check=False).returncode == 3
    machine.call("keys", "import", str(escrow))
    machine.start_up()
    assert text_of(machine, "r/t") == b"text\n"
    machine.call("run", "--quiet", "--run", "r", "--task", "u", "--", "echo", "more")
    until(lambda: is_sealed(machine, "r/u"), "the log is archived")
    until(lambda: all(key["archived"] for key in keys(machine)["store_keys"]), "the archive has the new copies")
    machine.stop_up()
    assert machine.call("archive", "cat", "r/t").stdout == b"text\n"
    # One without its disk, too.
    other = Machine(tmp_path / "other")
    other.environment["JOBLOG_RECOVERY_PASSPHRASE"] = "a passphrase of some length"
    (machine.data_dir / "leader" / "kek.key").unlink()
    for found in (tmp_path / "archive" / "_keys").glob("*.json"):
        found.unlink()
    use_archive(other, tmp_path)
    other.call("archive", "rebuild", "--keys", str(escrow))
    del other.environment["JOBLOG_RECOVERY_PASSPHRASE"]
    start_leader(other)
    assert text_of(other, "r/t") == b"text\n"
    other.close()
