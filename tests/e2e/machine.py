"""A machine with `joblog up`: real processes, ports of their own, everything below one data folder."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from joblog.cli.options import open_client
from joblog.cli.status import collect
from joblog.cli.words import as_dict
from joblog.errors import NotFound, Unavailable
from joblog.identity import DEFAULT_NAMESPACE, parse_log_path

JOBLOG = [sys.executable, "-P", "-m", "joblog.cli.main"]
DEADLINE_SECONDS = 40.0


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """What condition() gives once it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs: there, and not one that has ended and was not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_ended(pid: int) -> bool:
    """Whether a process runs no more."""
    return not is_alive(pid)


class Machine:
    """Runs the command line on one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.environment = {**os.environ, "JOBLOG_DATA_DIR": str(data_dir)}
        self.messages = data_dir.parent / f"{data_dir.name}.messages"
        self._up: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    def start_up(self, *flags: str) -> subprocess.Popen[bytes]:
        """Starts `joblog up` on free ports, and waits until it says that both are ready."""
        self.stop_up()
        command = [*JOBLOG, "up", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", *flags]
        with self.messages.open("ab") as messages:
            up = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=messages)
        self._up = up
        assert up.stdout is not None
        ready, _, _ = select.select([up.stdout], [], [], DEADLINE_SECONDS)
        assert ready and up.stdout.readline() == b"joblog is up: a leader and a worker\n", self.messages.read_text()
        return up

    def stop_up(self) -> int:
        """Stops what start_up started, if it still runs; its exit code."""
        up = self._up
        if up is None:
            return 0
        up.terminate()
        try:
            code = up.wait(DEADLINE_SECONDS)
        finally:
            up.kill()
            up.wait()
            if up.stdout is not None:
                up.stdout.close()
            self._up = None
        return code

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command, with both streams to read."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*JOBLOG, *arguments], env=self.environment, **streams)
        self._started.append(process)
        return process

    def close(self) -> None:
        """Ends all that still runs."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._started:
            try:
                process.communicate(timeout=DEADLINE_SECONDS)
            except (subprocess.TimeoutExpired, ValueError):
                process.kill()
                process.wait()
        self.stop_up()
        self.messages.unlink(missing_ok=True)

    def call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Runs a command to its end."""
        done = subprocess.run(
            [*JOBLOG, *arguments],
            env=self.environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, (
            done.returncode,
            done.stderr.decode(),
            self.messages.read_text()[-4000:],
        )
        return done

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.call(*arguments, "--json").stdout)

    def status(self) -> dict[str, Any]:
        """What `joblog status` tells, whether or not a leader runs; asked in this process, as tests do it in loops."""
        with self._as_user():
            return collect(None, self.data_dir, self.data_dir)

    def run(self, log: str, script: str, *flags: str) -> None:
        """Runs a shell script as a task, and waits until its log is completed at the leader."""
        run, _, task = log.partition("/")
        self.call("run", "--quiet", "--run", run, "--task", task, *flags, "--", "sh", "-c", script, check=False)
        until(lambda: self.record(log)["state"] == "completed", f"{log} is completed")

    def record(self, log: str, namespace: str = DEFAULT_NAMESPACE) -> dict[str, Any]:
        """A log's record as `joblog stat` has it; of state "" where there is none yet. Asked in this process."""
        try:
            with self._as_user(), open_client(None, self.data_dir) as client:
                found: dict[str, Any] = as_dict(client.log(parse_log_path(log, namespace)).log)
        except (NotFound, Unavailable):
            return {"state": ""}
        return found

    @contextmanager
    def _as_user(self) -> Iterator[None]:
        """This process finds and trusts the leader as the machine's commands do."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                if name.startswith("JOBLOG_"):
                    patch.setenv(name, value)
            yield


def kill(pid: int) -> None:
    """Kills a process, and waits until it is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), f"process {pid} is gone")
