"""`joblog logs`, `ls`, `stat`, `verify`, `delete`, `doctor` against a leader and a worker that run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import joblog
from joblog.identity import parse_log_path
from tests.e2e.machine import DEADLINE_SECONDS, Machine, until

SCRIPT = """
printf 'one\\ntwo'; sleep 0.1; printf 'oops\\n' >&2; sleep 0.1; printf ' more\\n\\000\\377\\r\\nend'
"""
WHOLE = b"one\ntwooops\n more\n\0\xff\r\nend"
TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="joblog.") as folder:
        made = Machine(Path(folder, "d"))
        made.start_up()
        made.run("demo/mixed", SCRIPT, "--label", "team=a")
        yield made
        made.close()


def read(process: subprocess.Popen[bytes], count: int) -> bytes:
    """The next `count` bytes that a process prints."""
    assert process.stdout is not None
    got = b""
    while len(got) < count:
        ready, _, _ = select.select([process.stdout], [], [], DEADLINE_SECONDS)
        assert ready, f"only {got!r} came"
        piece = os.read(process.stdout.fileno(), count - len(got))
        assert piece, f"only {got!r} came"
        got += piece
    return got


def test_raw_is_what_the_task_wrote(machine: Machine) -> None:
    done = machine.call("logs", "demo/mixed")
    assert (done.stdout, done.stderr) == (WHOLE, b"")
    assert machine.call("logs", "-f", "demo/mixed/1").stdout == WHOLE


def test_a_run_log_is_that_of_all_who_wrote_to_it(machine: Machine) -> None:
    for task in ("first", "second", "third"):
        machine.run(f"chain/{task}", "true")
    until(lambda: machine.call("logs", "chain/@run").stdout.count(b"finished") == 3, "all have finished")
    lines = machine.call("logs", "chain/@run").stdout.splitlines()
    assert [re.search(rb"task=(\w+)", line)[1] for line in lines] == [  # type: ignore[index]
        task for task in (b"first", b"second", b"third") for _ in range(2)
    ]
    assert lines == sorted(lines)
    assert len(machine.call("logs", "chain/@run/1").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--from", "4"], WHOLE[4:]),
        (["--from", str(len(WHOLE))], b""),
        (["--line", "2"], b"twooops\n more\n\0\xff\r\nend"),
        (["--tail", "1"], b"end"),
        (["--tail", "2"], b"\0\xff\r\nend"),
        (["--tail", "0"], b""),
        (["--tail", "99"], WHOLE),
        (["--stream", "stderr"], b"oops\n"),
        (["--stream", "stdout"], b"one\ntwo more\n\0\xff\r\nend"),
    ],
)
def test_parts_of_a_log(machine: Machine, flags: list[str], found: bytes) -> None:
    assert machine.call("logs", "demo/mixed", *flags).stdout == found


def test_split_puts_each_stream_where_it_belongs(machine: Machine) -> None:
    done = machine.call("logs", "demo/mixed", "--split")
    assert (done.stdout, done.stderr) == (b"one\ntwo more\n\0\xff\r\nend", b"oops\n")


def test_timestamps(machine: Machine) -> None:
    text = machine.call("logs", "demo/mixed", "--timestamps").stdout
    assert re.sub(rb"(?m)^" + TIME + rb" ", b"", text) == WHOLE
    assert len(re.findall(rb"(?m)^" + TIME, text)) == 5


def test_cri(machine: Machine) -> None:
    lines = machine.call("logs", "demo/mixed", "--format", "cri").stdout.split(b"\n")
    assert all(re.match(TIME + rb" std(out|err) [PF] ", line) for line in lines[:-1])
    assert [line.partition(b" ")[2] for line in lines] == [
        b"stdout F one",
        b"stderr F oops",
        b"stdout F two more",
        b"stdout F \0\xff\r",
        b"stdout P end",
        b"",
    ]


def test_json_lines(machine: Machine) -> None:
    found = [json.loads(line) for line in machine.call("logs", "demo/mixed", "--format", "json").stdout.splitlines()]
    assert [(one["offset"], one["stream"], one["line"], one.get("text")) for one in found] == [
        (0, "stdout", 1, "one"),
        (7, "stderr", 2, "oops"),
        (4, "stdout", 2, "two more"),
        (18, "stdout", 4, None),
        (22, "stdout", 5, "end"),
    ]


def test_an_offset_beyond_the_end(machine: Machine) -> None:
    done = machine.call("logs", "demo/mixed", "--from", "1000", check=False)
    assert done.returncode == 2
    assert b"1000" in done.stderr


def test_two_places_to_start_at(machine: Machine) -> None:
    done = machine.call("logs", "demo/mixed", "--from", "1", "--tail", "2", check=False)
    assert done.returncode == 2
    assert b"--from and --tail are given together" in done.stderr


def test_tables_are_never_cut_off(machine: Machine) -> None:
    task = "a-task-with-a-name-that-is-" + "long-" * 20
    machine.run(f"wide/{task}", "true")
    shown = machine.call("ls", "wide").stdout.decode()
    assert task in shown
    assert "completed" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_a_log_that_is_not_there(machine: Machine) -> None:
    done = machine.call("logs", "demo/nothing", check=False)
    assert done.returncode == 3
    assert b"demo/nothing" in done.stderr


def test_follow_shows_output_as_it_comes_and_ends_with_the_log(machine: Machine, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"exec 3<>{go}; for i in 1 2 3; do echo line $i; read x <&3; done"
    task = machine.start("run", "--quiet", "--run", "live", "--task", "t", "--", "sh", "-c", script)
    until(lambda: machine.record("live/t")["state"] == "live", "the log is live")
    follower = machine.start("logs", "-f", "live/t")
    for number in (1, 2, 3):
        assert read(follower, 7) == f"line {number}\n".encode()
        go.write_text("\n")
    assert follower.communicate(timeout=DEADLINE_SECONDS) == (b"", b"")
    assert follower.returncode == 0
    assert task.wait(DEADLINE_SECONDS) == 0
    task.communicate()


def test_ctrl_c_and_a_reader_that_goes_away_end_it_quietly(machine: Machine) -> None:
    task = machine.start("run", "--quiet", "--run", "quiet", "--task", "t", "--", "sh", "-c", "echo on; sleep 600")
    until(lambda: machine.record("quiet/t")["state"] == "live", "the log is live")
    follower = machine.start("logs", "-f", "quiet/t")
    assert read(follower, 3) == b"on\n"
    follower.send_signal(signal.SIGINT)
    assert follower.communicate(timeout=DEADLINE_SECONDS) == (b"", b"")
    assert follower.returncode == 130

    # The task says nothing more: only a look at the pipe itself can tell that its reader is gone.
    follower = machine.start("logs", "-f", "quiet/t")
    assert read(follower, 3) == b"on\n"
    assert follower.stdout is not None and follower.stderr is not None
    follower.stdout.close()
    assert follower.wait(DEADLINE_SECONDS) == 141
    assert follower.stderr.read() == b""
    follower.stderr.close()
    task.send_signal(signal.SIGTERM)
    task.communicate(timeout=DEADLINE_SECONDS)


def test_a_reader_that_takes_only_the_beginning(machine: Machine) -> None:
    machine.run("demo/many", "seq 1 300000")
    reader = machine.start("logs", "demo/many")
    assert read(reader, 4) == b"1\n2\n"
    assert reader.stdout is not None and reader.stderr is not None
    reader.stdout.close()
    assert reader.wait(DEADLINE_SECONDS) == 141
    assert reader.stderr.read() == b""
    reader.stderr.close()


def test_verify_proves_length_hash_and_lines(machine: Machine) -> None:
    assert "verified" not in machine.call("stat", "demo/mixed").stdout.decode()
    done = machine.call("verify", "demo/mixed")
    text = done.stdout.decode()
    assert "default:demo/mixed/1: complete" in text
    assert f"{len(WHOLE)} bytes, 4 lines, 0 gaps, sha256 {hashlib.sha256(WHOLE).hexdigest()}" in text
    (verdict,) = machine.json("verify", "demo/mixed")
    assert verdict["complete"] is True
    assert verdict["found"]["sha256"] == verdict["expected"]["sha256"] == hashlib.sha256(WHOLE).hexdigest()
    assert machine.call("verify", "demo").returncode == 0
    said = machine.call("stat", "demo/mixed").stdout.decode()
    assert re.search(r"^verified +20\S+ \S+, \S+s ago: complete, as it was written$", said, re.MULTILINE), said
    assert machine.json("stat", "demo/mixed")["verified"]["complete"] is True


def test_verify_of_a_live_log_is_not_yet_complete(machine: Machine) -> None:
    task = machine.start("run", "--quiet", "--run", "open", "--task", "t", "--", "sh", "-c", "echo on; sleep 600")
    until(lambda: machine.record("open/t")["state"] == "live", "the log is live")
    assert machine.call("verify", "open/t", check=False).returncode == 1
    assert machine.call("verify", "--all").returncode == 0
    task.send_signal(signal.SIGTERM)
    task.communicate(timeout=DEADLINE_SECONDS)
    assert machine.call("verify", "open/nothing", check=False).returncode == 3


def test_ls_and_stat(machine: Machine) -> None:
    runs = {run["run"]: run for run in machine.json("ls")}
    assert runs["demo"]["labels"] == {"team": "a"}
    assert [run["run"] for run in machine.json("ls", "--label", "team=a")] == ["demo"]
    assert machine.json("ls", "--label", "team=b") == []
    logs = {log["id"]["task"]: log for log in machine.json("ls", "demo")}
    assert {"mixed", "@run"} <= set(logs)
    assert logs["mixed"]["next_offset"] == len(WHOLE)
    assert "default" in machine.json("ls", "--namespaces")
    assert b"mixed" in machine.call("ls", "demo").stdout
    assert b"succeeded" in machine.call("ls").stdout

    text = machine.call("stat", "demo/mixed").stdout.decode()
    for expected in ("demo/mixed/1", "completed", "exit 0", "team=a", hashlib.sha256(WHOLE).hexdigest()):
        assert expected in text
    found = machine.json("stat", "demo/mixed")
    assert found["log"]["outcome"]["exit_code"] == 0
    assert found["log"]["seal"]["length"] == len(WHOLE)
    assert machine.call("ls", "nothing", check=False).returncode == 3
    assert machine.call("ls", "demo/nothing", check=False).returncode == 3


def test_a_failed_task(machine: Machine) -> None:
    machine.run("bad/t", "echo no >&2; exit 3")
    failed = [run["run"] for run in machine.json("ls", "--state", "failed")]
    assert failed[0] == "bad"
    assert "demo" not in failed
    assert b"exit 3" in machine.call("ls", "bad").stdout


def test_delete(machine: Machine) -> None:
    machine.run("gone/a", "echo a")
    machine.run("gone/b", "echo b")
    refused = machine.call("delete", "gone", check=False)
    assert refused.returncode == 2
    assert b"--yes" in refused.stderr
    assert machine.json("delete", "gone/a", "--yes")["logs_deleted"] == 1
    assert machine.call("logs", "gone/a", check=False).returncode == 3
    assert machine.call("logs", "gone/b").stdout == b"b\n"
    machine.call("delete", "gone", "--yes")
    assert machine.call("ls", "gone", check=False).returncode == 3


def test_namespaces_are_apart(machine: Machine) -> None:
    machine.call("run", "--quiet", "--namespace", "other", "--run", "demo", "--task", "mixed", "--", "echo", "other")
    until(lambda: machine.call("logs", "-n", "other", "demo/mixed", check=False).stdout == b"other\n", "it is there")
    assert machine.call("logs", "demo/mixed").stdout == WHOLE


def test_run_log_and_handler_of_a_program(machine: Machine) -> None:
    with joblog.RunLog("prog", data_dir=machine.data_dir) as log:
        log.dispatched("t", 1, command=["x"])
    until(lambda: machine.record("prog/@run")["state"] == "completed", "the run log is completed")
    assert re.fullmatch(rb"\S+Z dispatched task=t attempt=1 command=x\n", machine.call("logs", "prog/@run").stdout)


def test_client_library(machine: Machine) -> None:
    with joblog.Client(data_dir=machine.data_dir) as client:
        assert b"".join(part.data for part in client.read(parse_log_path("demo/mixed"))) == WHOLE
        assert client.run("demo").run == "demo"
        assert client.status().version == joblog.__version__


def test_doctor_finds_no_problem(machine: Machine) -> None:
    done = machine.call("doctor", "--json")
    assert {one["level"] for one in json.loads(done.stdout)} <= {"ok", "warning"}
