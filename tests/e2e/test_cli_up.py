"""`joblog up` and `joblog status`."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from joblog.paths import DataFolder
from joblog.worker.control.client import ControlClient
from tests.e2e.machine import Machine, has_ended, is_alive, kill, until
from tests.https import open_url


@pytest.fixture
def machine(data_dir: Path) -> Iterator[Machine]:
    made = Machine(data_dir)
    yield made
    made.close()


def test_up_runs_both_says_where_and_stops_both(machine: Machine) -> None:
    up = machine.start_up()
    status = machine.status()
    pids = [status["leader"]["pid"], status["worker"]["pid"]]
    assert status["leader"]["running"] and status["worker"]["running"]
    assert len({up.pid, *pids}) == 3
    host, _, port = status["grpc_address"].rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    with open_url(machine.data_dir, "/healthz") as reply:
        assert reply.status == 200
    until(lambda: machine.status()["leader"]["workers"], "the leader knows the worker")

    assert machine.stop_up() == 0
    assert not any(map(is_alive, pids))
    after = machine.call("status", "--json", check=False)
    assert after.returncode == 3
    assert json.loads(after.stdout)["grpc_address"] is None


def test_nothing_of_it_is_for_others(machine: Machine, data_dir: Path) -> None:
    umask = os.umask(0)
    try:
        machine.start_up()
        machine.run("r/t", "umask")
    finally:
        os.umask(umask)
    assert machine.call("logs", "r/t").stdout == b"0000\n", "a task has the umask that it would have without joblog"
    found = [path for path in (data_dir, *data_dir.rglob("*")) if path.lstat().st_mode & 0o077]
    assert not found


def test_a_second_up_on_the_folder_is_refused(machine: Machine) -> None:
    machine.start_up()
    second = machine.call("up", "--grpc-listen", "127.0.0.1:0", check=False)
    assert second.returncode == 4
    assert b"already" in second.stderr
    assert machine.status()["leader"]["running"]


@pytest.mark.parametrize("name", ["leader", "worker"])
def test_when_one_dies_it_says_so_and_stops_the_other(machine: Machine, name: str) -> None:
    up = machine.start_up()
    status = machine.status()
    kill(status[name]["pid"])
    assert up.wait(40) == 1
    other = status["worker" if name == "leader" else "leader"]["pid"]
    assert not is_alive(other)
    said = machine.messages.read_text()
    assert f"the {name} (process {status[name]['pid']}) ended by signal 9" in said


def test_when_up_is_killed_both_end(machine: Machine) -> None:
    up = machine.start_up()
    status = machine.status()
    kill(up.pid)
    for name in ("leader", "worker"):
        until(partial(has_ended, status[name]["pid"]), f"the {name} has ended")
    machine.start_up()
    assert machine.status()["leader"]["running"]


def test_ctrl_c_reaches_up_alone(machine: Machine) -> None:
    up = machine.start_up()
    status = machine.status()
    assert os.getpgid(status["leader"]["pid"]) != os.getpgid(up.pid)
    up.send_signal(signal.SIGINT)
    assert up.wait(40) == 0
    assert not is_alive(status["leader"]["pid"]) and not is_alive(status["worker"]["pid"])


def test_one_that_does_not_stop_is_killed(machine: Machine) -> None:
    up = machine.start_up("--stop-timeout", "1")
    status = machine.status()
    os.kill(status["worker"]["pid"], signal.SIGSTOP)
    up.terminate()
    assert up.wait(40) == 0
    assert has_ended(status["worker"]["pid"]) and has_ended(status["leader"]["pid"])
    assert f"killing the worker (process {status['worker']['pid']})" in machine.messages.read_text()


def test_a_second_signal_kills_at_once(machine: Machine) -> None:
    up = machine.start_up("--stop-timeout", "600")
    status = machine.status()
    os.kill(status["worker"]["pid"], signal.SIGSTOP)
    up.terminate()
    until(lambda: "stopping" in machine.messages.read_text(), "up is stopping")
    up.terminate()
    assert up.wait(40) == 0
    assert has_ended(status["worker"]["pid"]) and has_ended(status["leader"]["pid"])


def test_a_port_in_use_ends_it_with_the_reason(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = machine.call("up", "--grpc-listen", address, "--http-listen", "127.0.0.1:0", check=False)
    assert done.returncode == 1
    assert address.encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_worker_alone_takes_the_leader_that_is_given(machine: Machine, tmp_path: Path) -> None:
    machine.start_up()
    other = Machine(tmp_path / "o")
    other.environment["JOBLOG_LEADER"] = machine.status()["grpc_address"]
    other.environment["JOBLOG_TOKEN_FILE"] = str(DataFolder(machine.data_dir).admin_token)
    other.call("run", "--quiet", "--run", "far", "--task", "t", "--", "echo", "hello")
    until(lambda: machine.record("far/t")["state"] == "completed", "the log is completed")
    assert other.call("logs", "far/t").stdout == b"hello\n"


def test_what_the_worker_starts_sees_none_of_the_leaders_secrets(machine: Machine) -> None:
    secrets = {
        "JOBLOG_KEYS_PASSPHRASE": "of the store 4711",
        "JOBLOG_ARCHIVE_S3_ACCESS_KEY": "who opens the bucket 4711",
        "JOBLOG_ARCHIVE_S3_SECRET_KEY": "of the bucket 4711",
        "AWS_SECRET_ACCESS_KEY": "of the cloud 4711",
        "VAULT_TOKEN": "of the vault 4711",
        "JOBLOG_OTLP_EXPORT_HEADERS": "authorization=4711",
    }
    machine.environment |= {"JOBLOG_KEYS_KIND": "passphrase", "ORDINARY": "as it was", **secrets}
    machine.start_up()
    order = {"namespace": "default", "run": "r", "task": "t", "attempt": 1, "kind": "command", "command": ["env"]}
    ControlClient(str(DataFolder(machine.data_dir).worker_socket), 30.0).start({**order, "cwd": "/"})
    until(lambda: machine.record("r/t")["state"] == "completed", "the task has ended")
    seen = machine.call("logs", "r/t").stdout.decode().splitlines()
    assert "ORDINARY=as it was" in seen
    assert not [line for line in seen if "4711" in line or line.startswith("JOBLOG_KEYS_")]
    # What the user gives to a task by starting it is the task's.
    machine.run("r/own", "env")
    assert b"VAULT_TOKEN=of the vault 4711" in machine.call("logs", "r/own").stdout
