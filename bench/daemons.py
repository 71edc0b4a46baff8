"""A leader and a worker as processes of their own, in a data folder of their own, for one benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bench.measuring import Ended, run_and_measure
from joblog.address import LeaderFile, read_leader_file
from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import RUN_LOG_TASK
from joblog.paths import DataFolder
from joblog.v1 import types_pb2
from joblog.worker.control.client import ControlClient

JOBLOG = str(Path(sys.executable).with_name("joblog"))
_READY_SECONDS = 60.0

T = TypeVar("T")


class Daemons:
    """The two daemons while they run, and tasks under them."""

    def __init__(
        self,
        folder: DataFolder,
        *,
        with_worker: bool,
        leader_settings: Sequence[str] = (),
        worker_settings: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        settings = [part for setting in leader_settings for part in ("--set", setting)]
        worker = [part for setting in worker_settings for part in ("--set", setting)]
        self._log = (folder.root / "daemons.log").open("wb")
        listen = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        self.worker: subprocess.Popen[bytes] | None = None
        self.leader = self._start(["leader", *listen, *settings])
        try:
            file = wait_for(self._leader_file, "the leader")
            self.grpc_address, self.http_url = file.grpc_address, file.http_url
            if with_worker:
                self.worker = self._start(["worker", "--leader", self.grpc_address, *worker])
                wait_for(lambda: _or_none(self._ping), "the worker")
        except BaseException:
            self.stop()
            raise

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        command = [JOBLOG, *arguments, "--data-dir", str(self.folder.root)]
        # As daemons have it: where the kernel shares the CPU out by session, not one of all together.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=clean_environment(),
            start_new_session=True,
        )

    def _leader_file(self) -> LeaderFile | None:
        if self.leader.poll() is not None:
            raise RuntimeError(f"the leader ended with {self.leader.returncode}")
        return _or_none(lambda: read_leader_file(self.folder.root))

    def _ping(self) -> bool:
        ControlClient(str(self.folder.worker_socket), 1.0).ping()
        return True

    def pids(self) -> list[int]:
        """The processes of leader and worker."""
        return [process.pid for process in (self.leader, self.worker) if process is not None]

    def client(self) -> Client:
        """A client of the leader."""
        return Client(data_dir=self.folder.root)

    def run_command(self, run: str, task: str, command: Sequence[str]) -> list[str]:
        """The command line that runs a task quietly."""
        where = ["--data-dir", str(self.folder.root), "--run", run, "--task", task, "--quiet"]
        return [JOBLOG, "run", *where, "--", *command]

    def start_task(self, run: str, task: str, command: Sequence[str]) -> Task:
        """Starts a task."""
        return Task(self.run_command(run, task, command))

    def wait_completed(self, run: str, count: int, timeout_seconds: float = 600.0) -> None:
        """Returns when the logs of a run's `count` tasks, and its run logs, are completed: all bytes are acked."""
        with self.client() as client:

            def done() -> bool | None:
                record = _or_none(lambda: client.run(run))
                # Each `joblog run` writes a run log beside its task's.
                return True if record is not None and record.logs_completed >= 2 * count else None

            wait_for(done, f"{count} logs of {run}", timeout_seconds, pause_seconds=0.02)

    def length_bytes(self, run: str) -> int:
        """Bytes of a run's tasks together, all of them completed."""
        with self.client() as client:
            logs = [record for record in client.logs(run) if record.id.task != RUN_LOG_TASK]
        if any(record.state != types_pb2.LOG_STATE_COMPLETED for record in logs):
            raise RuntimeError(f"a log of {run} is not completed")
        return sum(record.seal.length for record in logs)

    def stop(self) -> None:
        """Ends both, the worker first."""
        for process in (self.worker, self.leader):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(60.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._log.close()


class Task:
    """A task under a supervisor that is this process's child."""

    def __init__(self, command: list[str]) -> None:
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=clean_environment()
        )

    def wait(self) -> Ended:
        """Waits for its end; the supervisor's CPU seconds are `cpu_seconds`, the task's `children_cpu_seconds`."""
        ended = run_and_measure(self.process, self._began)
        if ended.exit_code:
            raise RuntimeError(f"a task ended with {ended.exit_code}")
        return ended

    def end(self) -> None:
        """Tells it to end, and waits for that."""
        self.process.terminate()
        self.process.wait()


@contextlib.contextmanager
def daemons(
    *, with_worker: bool = True, leader_settings: Sequence[str] = (), worker_settings: Sequence[str] = ()
) -> Iterator[Daemons]:
    """Starts leader and worker in a new folder (in TMPDIR), stops them, deletes the folder; what they said is shown
    when the block fails.
    """
    folder = DataFolder(Path(tempfile.mkdtemp(prefix="joblog-bench-")))
    running: Daemons | None = None
    try:
        running = Daemons(
            folder, with_worker=with_worker, leader_settings=leader_settings, worker_settings=worker_settings
        )
        yield running
    except BaseException:
        sys.stderr.write((folder.root / "daemons.log").read_text(errors="replace")[-4000:])
        raise
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(folder.root, ignore_errors=True)


def wait_for(
    look: Callable[[], T | None], what: str, timeout_seconds: float = _READY_SECONDS, pause_seconds: float = 0.05
) -> T:
    """Looks until there is something, and returns it; raises TimeoutError."""
    deadline = time.monotonic() + timeout_seconds
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not there after {timeout_seconds:g} s")
        time.sleep(pause_seconds)
    return found


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except JoblogError:
        return None


def clean_environment() -> dict[str, str]:
    """This process's environment without joblog's own variables."""
    return {key: value for key, value in os.environ.items() if not key.startswith("JOBLOG_")}
