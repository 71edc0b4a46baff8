"""Delivery by `joblog run` itself, where no daemon runs: to a real leader, to one that comes later, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.address import read_leader_file
from joblog.errors import JoblogError
from joblog.paths import DataFolder
from tests.e2e.worker_side import COMMAND, environment, joblog, spools, until


@pytest.fixture
def leader_dir(data_dir: Path) -> Path:
    """The data folder of a leader; the tasks of these tests have another one."""
    folder = data_dir / "of-leader"
    folder.mkdir()
    return folder


def start_leader(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A leader on free ports, and its address."""
    command = [*COMMAND, "leader", "--grpc-listen", "127.0.0.1:0", "--http-listen", ""]
    process = subprocess.Popen(command, env=environment(folder), stderr=subprocess.DEVNULL)
    until(lambda: process.poll() is not None or found_leader(folder) != "", "the leader is ready")
    return process, found_leader(folder)


def found_leader(folder: Path) -> str:
    try:
        return read_leader_file(folder).grpc_address
    except JoblogError:
        return ""


@pytest.fixture
def leader(leader_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    process, address = start_leader(leader_dir)
    # The machine of the tasks is another one.
    monkeypatch.setenv("JOBLOG_TOKEN_FILE", str(DataFolder(leader_dir).admin_token))
    yield address
    process.kill()
    process.wait()


def stored(leader: str, log: str) -> bytes:
    done = joblog(Path("/nowhere"), "logs", log, "--leader", leader)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(data_dir: Path, leader: str, task: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    return joblog(data_dir, "run", "--quiet", "--run", "r1", "--task", task, "--leader", leader, *more)


def test_all_is_at_the_leader_when_run_ends(data_dir: Path, leader: str) -> None:
    done = run(data_dir, leader, "t1", "--", "sh", "-c", "echo one; exit 3")
    assert (done.returncode, done.stderr) == (3, b"")
    assert os.listdir(data_dir / "worker" / "spool") == []
    assert stored(leader, "r1/t1") == b"one\n"
    assert b" finished task=t1 exit_code=3 " in stored(leader, "r1/@run")
    assert joblog(data_dir, "verify", "r1/t1", "--leader", leader).returncode == 0


def test_output_that_the_leader_refuses_is_set_aside_and_the_user_told(data_dir: Path, leader: str) -> None:
    assert run(data_dir, leader, "twice", "--attempt", "1", "--", "echo", "one").stderr == b""
    done = run(data_dir, leader, "twice", "--attempt", "1", "--", "echo", "two")
    assert done.returncode == 0
    assert b"does not take this output: default:r1/twice/1: the log has another writer" in done.stderr
    assert stored(leader, "r1/twice") == b"one\n"
    (spool,) = (data_dir / "worker" / "refused").iterdir()
    assert str(spool).encode() in done.stderr
    assert b"two\n" in b"".join(segment.read_bytes() for segment in spool.glob("*.seg"))
    assert b"1 spools in" in joblog(data_dir, "doctor", "--leader", leader).stdout


def test_a_command_line_of_any_length_does_not_keep_a_log_from_the_leader(data_dir: Path, leader: str) -> None:
    arguments = [*["\u00fc" * 500] * 1000, "x" * 100_000]
    assert run(data_dir, leader, "long", "--", "echo", *arguments).returncode == 0
    assert stored(leader, "r1/long") == (" ".join(arguments) + "\n").encode()


def test_a_long_task_can_be_watched_while_it_runs(data_dir: Path, leader: str, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    script = f"echo before; read line < {go_on}; echo after"
    command = [*COMMAND, "run", "--quiet", "--run", "r1", "--task", "t1", "--leader", leader, "--", "sh", "-c", script]
    with subprocess.Popen(command, env=environment(data_dir), stderr=subprocess.PIPE) as process:
        until(lambda: b"before\n" in joblog(data_dir, "logs", "r1/t1", "--leader", leader).stdout, "it can be watched")
        go_on.write_text("x\n")
        assert process.wait(30) == 0
    assert stored(leader, "r1/t1") == b"before\nafter\n"


def test_the_next_run_delivers_what_the_one_before_could_not(data_dir: Path, leader: str) -> None:
    first = run(data_dir, "127.0.0.1:1", "t1", "--drain", "0", "--", "echo", "kept")
    assert first.returncode == 0
    assert b"the leader has not taken all yet" in first.stderr
    assert run(data_dir, leader, "t2", "--", "true").returncode == 0

    def all_delivered() -> bool:
        return (
            os.listdir(data_dir / "worker" / "spool") == [] or run(data_dir, leader, "t3", "--", "true").returncode != 0
        )

    until(all_delivered, "what was left is delivered")
    assert stored(leader, "r1/t1") == b"kept\n"


def test_a_signal_ends_the_wait_for_delivery_and_changes_no_exit_code(data_dir: Path) -> None:
    command = [*COMMAND, "run", "--run", "r1", "--task", "t1", "--leader", "127.0.0.1:1", "--drain", "600", "--"]
    started = time.monotonic()
    script = "echo kept; exit 7"
    with subprocess.Popen(
        [*command, "sh", "-c", script], env=environment(data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until(lambda: bool(spools(data_dir, "runlog")) and spools(data_dir, "runlog")[0].outcome != {}, "it waits")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 7
        assert process.stderr is not None
        assert b"the leader has not taken all yet" in process.stderr.read()
    assert time.monotonic() - started < 60
    assert spools(data_dir)[0].data == b"kept\n"


def test_what_a_killed_run_had_captured_is_delivered_with_its_end(data_dir: Path, leader: str) -> None:
    command = [*COMMAND, "run", "--quiet", "--run", "r1", "--task", "t1", "--leader", leader, "--"]
    with subprocess.Popen([*command, "sh", "-c", "echo last; exec sleep 100"], env=environment(data_dir)) as process:
        until(lambda: bool(spools(data_dir)) and spools(data_dir)[0].data == b"last\n", "it has printed")
        process.kill()
    until(lambda: os.listdir(data_dir / "worker" / "spool") == [], "its shipper has delivered")
    assert stored(leader, "r1/t1") == b"last\n"
    said = joblog(data_dir, "stat", "r1/t1", "--leader", leader).stdout.decode()
    assert "supervisor" in said


MUCH = "head -c 9000000 /dev/urandom | base64; echo at the end"


@pytest.fixture
def small_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBLOG_SPOOL_MAX_TASK_BYTES", str(4 << 20))
    monkeypatch.setenv("JOBLOG_SPOOL_SEGMENT_BYTES", str(2 << 20))


@pytest.mark.usefixtures("small_spool")
def test_a_task_whose_log_is_refused_goes_on_to_its_end(data_dir: Path, leader: str) -> None:
    """It writes more than its spool may hold, which would wait for the leader for ever; the newest of it is kept."""
    assert run(data_dir, leader, "twice", "--attempt", "1", "--", "echo", "one").stderr == b""
    done = run(data_dir, leader, "twice", "--attempt", "1", "--drain", "20", "--", "sh", "-c", f"{MUCH}; exit 3")
    assert done.returncode == 3
    assert b"does not take this output: default:r1/twice/1: the log has another writer" in done.stderr
    assert b"Traceback" not in done.stderr
    (spool,) = (data_dir / "worker" / "refused").iterdir()
    assert b"at the end\n" in b"".join(segment.read_bytes() for segment in spool.glob("*.seg"))
    assert os.listdir(data_dir / "worker" / "spool") == []


@pytest.mark.usefixtures("small_spool")
def test_a_task_whose_log_is_deleted_goes_on_to_its_end(data_dir: Path, leader: str, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    script = f"echo one; while [ ! -e {go_on} ]; do sleep 0.05; done; {MUCH}; exit 3"
    options = ["--quiet", "--run", "r1", "--task", "t", "--drain", "20", "--leader", leader]
    process = subprocess.Popen(
        [*COMMAND, "run", *options, "--", "sh", "-c", script], env=environment(data_dir), stderr=subprocess.PIPE
    )
    here = Path("/nowhere")
    until(lambda: joblog(here, "logs", "r1/t", "--leader", leader).stdout == b"one\n", "the log has come")
    assert joblog(here, "delete", "--yes", "r1/t", "--leader", leader).returncode == 0
    go_on.touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert b"Traceback" not in said
    assert joblog(here, "stat", "r1/t", "--leader", leader).returncode == 3
    assert os.listdir(data_dir / "worker" / "spool") == []
