"""What `make run` does: a leader and a worker as processes of their own, real tasks through them, their output live.

Usage: python -m joblog.cli.demo [--data-dir DIR]. Completed logs go to an archive, a folder beside the rest. A second
task of the same run goes on for some minutes, to be looked at in a browser. Ctrl-C stops it all. With DEMO_EXIT=1 in
the environment there is no second task, and it stops by itself once the first one's log is verified.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from joblog.address import LeaderFile, read_leader_file
from joblog.cli.browsing import sign_in_link
from joblog.client import Client
from joblog.errors import Interrupted, JoblogError, Unavailable
from joblog.identity import new_run_id

READY_SECONDS = 60.0
TASK_SECONDS = 300.0
STOP_SECONDS = 40.0
DEFAULT_LISTEN = {"--grpc-listen": "127.0.0.1:7080", "--http-listen": "127.0.0.1:7081"}
# Parts of the standard library that the task compiles: a few hundred files, a line of output for each.
COMPILED = ("asyncio", "collections", "concurrent", "ctypes", "email", "encodings", "html", "http", "importlib", "json")


def main(arguments: list[str]) -> int:
    """Runs the demonstration; returns the exit code."""
    data_dir = Path(arguments[1] if arguments[:1] == ["--data-dir"] else ".data").absolute()
    signal.signal(signal.SIGTERM, _interrupt)
    up: subprocess.Popen[bytes] | None = None
    long: subprocess.Popen[bytes] | None = None
    run = f"demo-{new_run_id()}"
    # Not that of the user's own settings: what is tried here belongs together.
    environment = {"JOBLOG_ARCHIVE_URL": f"file://{data_dir}/archive"} | os.environ
    try:
        up = subprocess.Popen([*_joblog("up", data_dir), *_listen_flags()], process_group=0, env=environment)
        leader = _wait_until_up(up, data_dir)
        if not os.environ.get("DEMO_EXIT"):
            long = _start_long_task(data_dir, run)
        code = _show_task(data_dir, run)
        if code == 0 and long is not None:
            _say_where_to_look(data_dir, leader, run)
            code = up.wait()
    except KeyboardInterrupt:
        code = 0 if up is not None else Interrupted.exit_code
    except JoblogError as error:
        print(f"joblog: {error}", file=sys.stderr)
        code = error.exit_code
    if long is not None and long.poll() is None:
        # Its log is to be complete: the worker still carries what it writes at its end.
        long.terminate()
        long.wait()
    if up is not None:
        stopped = _stop(up)
        code = code or stopped
    return code


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _joblog(command: str, data_dir: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "joblog.cli.main", command, "--data-dir", str(data_dir)]


def _listen_flags() -> list[str]:
    """The usual ports, or any free ones where those are in use."""
    flags = []
    for flag, address in DEFAULT_LISTEN.items():
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, int(port)))
            except OSError:
                flags += [flag, f"{host}:0"]
    return flags


def _wait_until_up(up: subprocess.Popen[bytes], data_dir: Path) -> LeaderFile:
    deadline = time.monotonic() + READY_SECONDS
    while up.poll() is None:
        status = subprocess.run([*_joblog("status", data_dir), "--json"], capture_output=True, check=False)
        if status.returncode == 0:
            return read_leader_file(data_dir)
        if time.monotonic() > deadline:
            raise Unavailable(f"leader and worker were not ready after {READY_SECONDS:g} s; their messages say why")
        time.sleep(0.1)
    raise Unavailable(f"`joblog up` ended with exit code {up.returncode}; its messages say why")


def _start_long_task(data_dir: Path, run: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "joblog.cli.demo_task"]
    flags = ["--quiet", "--run", run, "--task", "check", "--label", "demo=yes"]
    # Out of reach of Ctrl-C: it is told to end while the daemons still run.
    return subprocess.Popen(
        [*_joblog("run", data_dir), *flags, "--", *command], stdin=subprocess.DEVNULL, process_group=0
    )


def _show_task(data_dir: Path, run: str) -> int:
    """Runs a task with its own output turned off, follows its log from another process, then verifies it."""
    log = f"{run}/compile"
    with tempfile.TemporaryDirectory() as folder:
        library = sysconfig.get_path("stdlib")
        command = [sys.executable, "-m", "compileall", "-f", *(f"{library}/{package}" for package in COMPILED)]
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONUNBUFFERED": "1"}
        _print_step(f"joblog run --run {run} --task compile -- python -m compileall ... (the standard library)")
        task = subprocess.Popen(
            [*_joblog("run", data_dir), "--quiet", "--run", run, "--task", "compile", "--", *command], env=environment
        )
        try:
            _print_step(f"joblog logs -f {log}")
            code = _follow(data_dir, log, task)
            code = task.wait(TASK_SECONDS) or code
        finally:
            if task.poll() is None:
                task.terminate()
                task.wait()
    if code:
        return code
    _print_step(f"joblog verify {log}")
    return subprocess.run([*_joblog("verify", data_dir), log], check=False).returncode


def _follow(data_dir: Path, log: str, task: subprocess.Popen[bytes]) -> int:
    """Follows the log to its end; waits for it to exist first."""
    deadline = time.monotonic() + READY_SECONDS
    while subprocess.run([*_joblog("stat", data_dir), log], capture_output=True, check=False).returncode:
        if time.monotonic() > deadline or task.poll():
            raise Unavailable(f"the log {log} did not reach the leader; messages above say why")
        time.sleep(0.05)
    try:
        return subprocess.run([*_joblog("logs", data_dir), "-f", log], check=False, timeout=TASK_SECONDS).returncode
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the log {log} did not end within {TASK_SECONDS:g} s") from None


def _say_where_to_look(data_dir: Path, leader: LeaderFile, run: str) -> None:
    joblog = shlex.join([str(Path(sys.executable).with_name("joblog"))])
    where = f"--data-dir {shlex.quote(str(data_dir))}"
    lines = ["joblog is running. Look around from another terminal:"]
    if leader.http_url:
        with Client(data_dir=data_dir) as client:
            link = sign_in_link(client)
        lines += [f"  {link}", f"    in a browser, within two minutes; `{joblog} ui {where}` makes another link"]
        lines.append(f"    the run {run} is in progress there, for some three minutes")
        lines.append(f"  {leader.http_url}/api/v1/openapi.json describes the API")
    lines += [
        f"  {joblog} ls {where}",
        f"  {joblog} run {where} --run mine --task build -- make -j2",
        f"  {joblog} logs {where} -f mine/build",
        "Ctrl-C stops it; the logs stay.",
    ]
    print("\n" + "\n".join(lines), flush=True)


def _print_step(text: str) -> None:
    print(f"\n$ {text}", flush=True)


def _stop(up: subprocess.Popen[bytes]) -> int:
    if up.poll() is None:
        up.terminate()
    try:
        return up.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        up.kill()
        up.wait()
        print("joblog: leader and worker did not stop in time and were killed", file=sys.stderr)
        return Interrupted.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
