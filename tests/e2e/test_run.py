"""`joblog run`: what the user sees, what the exit code is, what lies in the spool. None of it needs a leader."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from joblog.errors import Unavailable
from joblog.worker.control.client import ControlClient, socket_path
from joblog.worker.tasks import list_tasks
from tests.e2e.worker_side import COMMAND, environment, joblog, spools, until, worker

NAMED = ("run", "--run", "r1", "--task", "t1")


@pytest.fixture(autouse=True)
def no_task_is_left(data_dir: Path) -> Iterator[None]:
    """Ends detached tasks of a test that failed before their end."""
    yield
    for state in list_tasks(str(data_dir / "worker" / "spool")):
        if state.running and state.task_pid:
            with suppress(ProcessLookupError):
                os.killpg(state.task_pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("script", "code", "outcome"),
    [
        ("exit 0", 0, {"kind": 1, "exit_code": 0}),
        ("exit 3", 3, {"kind": 1, "exit_code": 3}),
        ("kill -9 $$", 137, {"kind": 2, "signal": 9}),
    ],
)
def test_the_exit_code_is_the_commands(data_dir: Path, script: str, code: int, outcome: dict[str, int]) -> None:
    assert joblog(data_dir, *NAMED, "--", "sh", "-c", script).returncode == code
    (spool,) = spools(data_dir)
    assert outcome.items() <= spool.outcome.items()


def test_a_command_that_is_not_there(data_dir: Path) -> None:
    done = joblog(data_dir, *NAMED, "--quiet", "--", "/not/there")
    assert done.returncode == 127
    assert b"joblog: '/not/there' can't be run" in done.stderr
    (spool,) = spools(data_dir)
    assert spool.outcome["kind"] == 3


def test_all_folders_are_private(data_dir: Path) -> None:
    joblog(data_dir, *NAMED, "--", "true")
    found = [path for path in (data_dir, *data_dir.rglob("*")) if path.lstat().st_mode & 0o077]
    assert not found


def test_output_is_shown_and_kept(data_dir: Path, tmp_path: Path) -> None:
    script = "printf 'out\\000\\377'; printf 'err\\r' >&2"
    done = joblog(
        data_dir, *NAMED, "--namespace", "n1", "--attempt", "4", "--label", "team=core", "--cwd", str(tmp_path), "--",
        "sh", "-c", script,
    )  # fmt: skip
    assert done.stdout == b"out\0\xff"
    assert done.stderr.startswith(b"err\r")
    (spool,) = spools(data_dir)
    assert spool.by_stream == {1: b"out\0\xff", 2: b"err\r"}
    task = spool.task
    assert (task.namespace, task.run, task.task, task.attempt) == ("n1", "r1", "t1", 4)
    assert (list(task.command), task.cwd, task.labels) == (["sh", "-c", script], str(tmp_path), {"team": "core"})
    assert task.host == os.uname().nodename


def test_quiet_shows_nothing_and_keeps_all(data_dir: Path) -> None:
    done = joblog(data_dir, "run", "--quiet", "--", "sh", "-c", "echo one; echo two >&2")
    assert done.stdout == b""
    assert b"two" not in done.stderr
    assert spools(data_dir)[0].by_stream == {1: b"one\n", 2: b"two\n"}


def test_a_run_without_a_name_says_which_it_became(data_dir: Path) -> None:
    done = joblog(data_dir, "run", "--", "/bin/echo", "hello")
    (spool,) = spools(data_dir)
    assert (spool.task.task, spool.task.attempt) == ("echo", 0)
    assert re.fullmatch("[0-9a-z]{20}", spool.task.run)
    assert f"watch: joblog logs -f {spool.task.run}/echo\n" in done.stderr.decode()
    assert b"watch:" not in joblog(data_dir, *NAMED, "--", "true").stderr


def test_the_run_log_says_what_was_dispatched_and_how_it_ended(data_dir: Path) -> None:
    joblog(data_dir, *NAMED, "--", "sh", "-c", "exit 7")
    (lines,) = spools(data_dir, "runlog")
    assert (lines.task.run, lines.task.task) == ("r1", "@run")
    dispatched, finished = lines.data.decode().splitlines()
    assert re.search(r'Z dispatched task=t1 host=\S+ command="sh -c exit 7"$', dispatched)
    assert re.search(r"Z finished task=t1 exit_code=7 seconds=[0-9.]+$", finished)
    assert lines.outcome["exit_code"] == 0


def test_standard_input_reaches_the_task(data_dir: Path) -> None:
    assert joblog(data_dir, *NAMED, "--", "cat", stdin=b"through").stdout == b"through"


def test_without_a_leader_it_says_where_the_output_lies(data_dir: Path) -> None:
    done = joblog(data_dir, *NAMED, "--", "echo", "kept")
    assert done.returncode == 0
    (spool,) = spools(data_dir)
    assert "no leader is known" in done.stderr.decode()
    assert str(data_dir / "worker" / "spool" / spool.spool_id) in done.stderr.decode()


def test_a_leader_that_does_not_answer_changes_nothing_but_the_end(data_dir: Path) -> None:
    done = joblog(data_dir, *NAMED, "--leader", "127.0.0.1:1", "--drain", "0.2", "--", "sh", "-c", "echo kept; exit 5")
    assert done.returncode == 5
    assert "the leader has not taken all yet" in done.stderr.decode()
    assert spools(data_dir)[0].data == b"kept\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "no command given"),
        (["run", "--"], "no command given"),
        (["run", "--run", "a/b", "--", "true"], "run 'a/b' (3 characters) is not a valid name"),
        (["run", "--run", "..", "--", "true"], "run '..'"),
        (["run", "--run", "", "--", "true"], "run ''"),
        (["run", "--task", "a\nb", "--", "true"], "task 'a\\nb'"),
        (["run", "--task", "@run", "--", "true"], "task '@run'"),
        (["run", "--task", "x" * 100_000, "--", "true"], "(100000 characters)"),
        (["run", "--namespace", "@x", "--", "true"], "namespace '@x'"),
        (["run", "--attempt", "0", "--", "true"], "attempt 0 is out of range"),
        (["run", "--attempt", "4294967296", "--", "true"], "attempt 4294967296 is out of range"),
        (["run", "--attempt", "one", "--", "true"], "argument --attempt: invalid int value: 'one'"),
        (["run", "--label", "novalue", "--", "true"], "label 'novalue' has no value"),
        (["run", "--label", "a b=1", "--", "true"], "label 'a b'"),
        (["run", "--label", "a=1", "--label", "a=2", "--", "true"], "label 'a' is given twice"),
        (["run", "--cwd", "/not/there", "--", "true"], "folder '/not/there' does not exist"),
        (["run", "--timeout", "-1", "--", "true"], "'-1' is not a number of seconds"),
        (["run", "--timeout", "inf", "--", "true"], "'inf' is not a number of seconds"),
        (["run", "--drain", "nan", "--", "true"], "'nan' is not a number of seconds"),
        (["run", "--leader", "nowhere", "--", "true"], "'nowhere' is not HOST:PORT"),
        (["run", "--config", "/not/there", "--", "true"], "/not/there: can't be read"),
        (["run", "--mask-env", "NOT_SET", "--", "true"], "--mask-env NOT_SET: no such variable"),
        (["run", "--mask-env", "SHORT", "--", "true"], "--mask-env SHORT: a value of 5 bytes can't be masked"),
        (["run", "--mask-file", "/not/there", "--", "true"], "--mask-file /not/there: can't be read"),
        (["run", "--unknown", "--", "true"], "unrecognized arguments: --unknown"),
        (["run", "stray", "--", "true"], "'stray' is not an option"),
        (["pipe", "--attempt", "0"], "attempt 0 is out of range"),
        (["pipe", "--task", "a/b"], "task 'a/b'"),
    ],
)
def test_bad_input(data_dir: Path, arguments: list[str], message: str) -> None:
    done = joblog(data_dir, *arguments, variables={"SHORT": "12345"})
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert done.stderr.startswith(b"joblog: ")
    assert not (data_dir / "worker").exists()


SECRET = 'k3y/with "quotes" & more'


def files_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_secrets_reach_neither_the_spool_nor_the_terminal(data_dir: Path, tmp_path: Path) -> None:
    program = (
        "import base64, json, os, sys\ns, w = os.environ['TOKEN'], lambda data: os.write(1, data)\n"
        "for c in s.encode(): w(bytes([c])); os.sched_yield()\n"
        "w(b'\\n' + json.dumps({'token': s}).encode() + b'\\n' + base64.b64encode(b'user:' + s.encode()) + b'\\n')\n"
        "print(s, 'second value', file=sys.stderr)"
    )
    values = tmp_path / "values"
    values.write_text("second value\n")
    done = joblog(
        data_dir, *NAMED, "--mask-env", "TOKEN", "--mask-file", str(values), "--label", f"note={SECRET}", "--",
        sys.executable, "-c", program, SECRET, "plain", variables={"TOKEN": SECRET},
    )  # fmt: skip
    assert done.returncode == 0
    first, second, third = done.stdout.splitlines()
    assert (first, second) == (b"***", b'{"token": "***"}')
    assert third.startswith(base64.b64encode(b"user:")[:6])
    assert b"***" in third
    assert b"*** ***\n" in done.stderr
    assert b"others on this machine can read it" in done.stderr
    (spool,) = spools(data_dir)
    assert spool.by_stream[1] == done.stdout
    assert list(spool.task.command[-2:]) == ["***", "plain"]
    assert spool.task.labels == {"note": "***"}
    kept = files_below(data_dir)
    for form in (SECRET, json.dumps(SECRET)[1:-1], "second value"):
        assert form.encode() not in kept


def test_arguments_can_be_left_out(data_dir: Path) -> None:
    joblog(data_dir, *NAMED, "--mask-arguments", "--", "echo", "hidden-from-records")
    assert list(spools(data_dir)[0].task.command) == ["echo", "***"]
    assert b"hidden" not in spools(data_dir, "runlog")[0].data


def test_masks_of_the_settings(data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text('[mask]\nenv = ["TOKEN", "NOT_SET_HERE"]\n')
    done = joblog(
        data_dir, *NAMED, "--config", str(config), "--", "sh", "-c", "echo $TOKEN", variables={"TOKEN": SECRET}
    )
    assert done.stdout == b"***\n"


def test_what_lies_around_the_task_is_not_loaded(data_dir: Path, tmp_path: Path) -> None:
    for module in ("json", "joblog", "select"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('loaded from the folder of the task')")
    command = [str(Path(sys.executable).parent / "joblog"), *NAMED, "--", "sh", "-c", "echo $PYTHONPATH"]
    variables = environment(data_dir, {"PYTHONSTARTUP": "x", "PYTHONHASHSEED": "0"})
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"\n")


def test_detach_needs_a_daemon(data_dir: Path) -> None:
    done = joblog(data_dir, *NAMED, "--detach", "--", "true")
    assert done.returncode == Unavailable.exit_code
    assert "start one with `joblog worker`" in done.stderr.decode()


def test_a_detached_task_outlives_the_daemon(data_dir: Path, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    script = f"echo started $COLOUR; read line < {go_on}; echo $line; echo $TOKEN; exit 6"
    with worker(data_dir) as daemon:
        done = joblog(
            data_dir, *NAMED, "--detach", "--mask-env", "TOKEN", "--", "sh", "-c", script,
            cwd=tmp_path, variables={"COLOUR": "green", "TOKEN": SECRET},
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, b"r1/t1\n")
        until(lambda: spools(data_dir)[0].data == b"started green\n", "the task has started")
        client = ControlClient(socket_path(data_dir))
        task = next(state for state in client.list() if state["kind"] == "command")
        assert task["running"]
        assert SECRET.encode() not in Path(f"/proc/{task['supervisor_pid']}/cmdline").read_bytes()
        assert os.getsid(task["supervisor_pid"]) not in (os.getsid(0), daemon.pid)
        bad = joblog(data_dir, "run", "--run", "r2", "--detach", "--leader", "127.0.0.1:1", "--", "/not/there")
        assert bad.returncode == 0
        until(lambda: any(spool.outcome.get("kind") == 3 for spool in spools(data_dir)), "the other one has ended")
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    os.kill(task["supervisor_pid"], 0)
    go_on.write_text("went on\n")
    until(lambda: spools(data_dir)[0].outcome != {}, "the task has ended")
    spool = spools(data_dir)[0]
    assert spool.data == b"started green\nwent on\n***\n"
    assert spool.outcome["exit_code"] == 6


def test_a_detached_task_can_be_signalled_and_watched(data_dir: Path) -> None:
    with worker(data_dir):
        joblog(
            data_dir,
            *NAMED,
            "--detach",
            "--",
            "sh",
            "-c",
            "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done",
        )
        client = ControlClient(socket_path(data_dir))
        until(lambda: any(state["length_bytes"] == 3 for state in client.list()), "the task is up")
        spool_id = next(state["spool_id"] for state in client.list() if state["kind"] == "command")
        messages = client.attach(spool_id)
        assert base64.b64decode(next(messages)["frame"]["data"]) == b"up\n"
        client.signal(spool_id, signal.SIGTERM)
        rest = list(messages)
        frames = [message["frame"] for message in rest if "frame" in message]
        assert [base64.b64decode(frame["data"]) for frame in frames if frame["stream"] == 1] == [b"bye\n"]
        assert rest[-1]["end"]["outcome"]["exit_code"] == 9


def test_tasks_are_listed_signalled_and_attached_to_from_the_command_line(data_dir: Path) -> None:
    script = "trap 'echo caught; exit 11' USR1; echo up; echo err >&2; while :; do sleep 0.1; done"
    with worker(data_dir):
        joblog(data_dir, *NAMED, "--detach", "--", "sh", "-c", script)
        until(lambda: spools(data_dir)[0].by_stream == {1: b"up\n", 2: b"err\n"}, "the task is up")
        listed = joblog(data_dir, "tasks", "list").stdout.decode()
        assert re.search(r"r1/t1 +live ", listed)
        (task,) = (each for each in json.loads(joblog(data_dir, "tasks", "list", "--json").stdout) if each["command"])
        assert joblog(data_dir, "tasks", "signal", "r1/t1", "FOO").returncode == 2
        assert joblog(data_dir, "tasks", "signal", "r1/t2", "USR1").returncode == 3
        assert joblog(data_dir, "tasks", "signal", "r1/t1", "USR1").returncode == 0
        done = joblog(data_dir, "tasks", "attach", task["spool_id"])
        assert (done.returncode, done.stdout) == (11, b"up\ncaught\n")
        assert done.stderr.startswith(b"err\n")
        assert joblog(data_dir, "tasks", "attach", "r1/t1", "--from", "1").stdout == b"p\ncaught\n"
        assert joblog(data_dir, "tasks", "signal", "r1/t1").returncode == 4


def test_with_a_daemon_nothing_is_said_about_delivery(data_dir: Path) -> None:
    with worker(data_dir):
        done = joblog(data_dir, *NAMED, "--", "echo", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")


def test_pipe_takes_standard_input_and_passes_it_on(data_dir: Path) -> None:
    sent = b"one\n\0\xff" + b"x" * 300_000
    done = joblog(data_dir, "pipe", "--run", "r1", "--task", "p", stdin=sent)
    assert (done.returncode, done.stdout) == (0, sent)
    (spool,) = spools(data_dir, "stdin")
    assert (spool.data, spool.task.task) == (sent, "p")
    assert spool.outcome["exit_code"] == 0
    assert joblog(data_dir, "pipe", "--run", "r1", "--task", "p", "--quiet", stdin=sent).stdout == b""


def test_interrupting_run_interrupts_the_task(data_dir: Path) -> None:
    command = [
        *COMMAND,
        *NAMED,
        "--",
        "sh",
        "-c",
        "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.1; done",
    ]
    with subprocess.Popen(
        command, env=environment(data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"caught\n"
        assert process.wait(30) == 4
