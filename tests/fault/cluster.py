"""A leader and a worker as real processes on data folders of their own, tasks whose output is known, and readers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zstandard

from joblog.client import Client
from joblog.errors import JoblogError, NotFound
from joblog.identity import LogName
from joblog.paths import DataFolder
from joblog.v1 import logs_pb2, types_pb2
from joblog.worker.spool.reader import list_spools
from tests.e2e.machine import JOBLOG, is_alive, until
from tests.fault import generator
from tests.fault.generator import MARKER, STDERR, STDOUT
from tests.https import open_url

RUN = "chaos"
SETTLE_SECONDS = 90.0
SETTINGS = {
    "JOBLOG_INGEST_HEARTBEAT_SECONDS": "0.5",
    "JOBLOG_INGEST_LOST_AFTER_SECONDS": "2",
    "JOBLOG_SHIP_BACKOFF_MAX_SECONDS": "0.5",
    "JOBLOG_CAPTURE_EXIT_WAIT_SECONDS": "2",
    # Half a megabyte a segment: acked ones go while the task still runs.
    "JOBLOG_SPOOL_MAX_TASK_BYTES": "4MiB",
    "JOBLOG_SPOOL_SEGMENT_BYTES": "2MiB",
}


class Process:
    """One process that faults happen to; its messages go to a file."""

    def __init__(self, command: list[str], environment: dict[str, str], messages: Path) -> None:
        with messages.open("ab") as file:
            self.popen = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def send(self, number: signal.Signals) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.popen.wait(30)

    def terminate(self) -> int:
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        return self.popen.wait(30)


class Task:
    """A generator that runs under `joblog run`; `run` is its supervisor."""

    def __init__(self, cluster: Cluster, name: str, seed: int, count: int, flags: tuple[str, ...]) -> None:
        self.log = LogName("default", RUN, name, 1)
        self._seed = seed
        self._progress = cluster.folder / f"{name}.progress"
        self._progress.write_bytes(bytes(generator.PROGRESS.size))
        command = [sys.executable, "-I", "-S", generator.__file__, str(seed), str(self._progress), str(count)]
        self.run = Process(
            [*JOBLOG, "run", "--quiet", "--run", RUN, "--task", name, *flags, "--", *command],
            cluster.environment
            | {"JOBLOG_DATA_DIR": str(cluster.worker_dir)}
            | (cluster.token if "--leader" in flags else {}),
            cluster.messages("run"),
        )

    def progress(self) -> tuple[int, int, int]:
        """Bytes that it has written to stdout and stderr, and its process id (0 before it begins)."""
        stdout, stderr, pid = generator.PROGRESS.unpack(self._progress.read_bytes())
        return stdout, stderr, pid

    @property
    def bytes_written(self) -> int:
        return sum(self.progress()[:2])

    def wait_begun(self) -> Self:
        until(lambda: self.bytes_written or self.run.popen.poll() is not None, f"{self.log.task} has written something")
        assert self.bytes_written, f"`joblog run` ended with {self.run.popen.returncode}"
        return self

    def finish(self) -> int:
        """Tells it to end, and waits until its supervisor has ended too; that one's exit code."""
        Path(f"{self._progress}.stop").touch()
        return self.run.popen.wait(SETTLE_SECONDS)

    def kill(self) -> None:
        """Kills the task, not its supervisor."""
        os.kill(self.progress()[2], signal.SIGKILL)
        self.run.popen.wait(SETTLE_SECONDS)

    def expected(self) -> dict[int, bytes]:
        """What it has written of each stream."""
        stdout, stderr, _ = self.progress()
        return generator.written(self._seed, stdout, stderr)

    def expected_at_most(self) -> dict[int, bytes]:
        """The same, with the bytes that it may have written and not have noted when it was killed."""
        stdout, stderr, _ = self.progress()
        more = generator.MAX_PIECE_BYTES * 2
        return generator.written(self._seed, stdout + more, stderr + more)


class Cluster:
    """Leader in folder/l, worker and tasks in folder/w."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.leader_dir = folder / "l"
        self.worker_dir = folder / "w"
        self.environment = {**os.environ, **SETTINGS, **settings}
        self.leader: Process | None = None
        self.worker: Process | None = None
        self._address = ""
        self.tasks: list[Task] = []

    def messages(self, who: str) -> Path:
        return self.folder / f"{who}.messages"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [self.leader, self.worker, *(task.run for task in self.tasks)]:
            if process is not None:
                process.kill()
        for task in self.tasks:
            Path(f"{task._progress}.stop").touch()
            pid = task.progress()[2]
            if pid and is_alive(pid):
                until(lambda pid=pid: not is_alive(pid), "a task has ended")  # type: ignore[misc]
        if kind is not None:
            for who in ("leader", "worker", "run"):
                if self.messages(who).exists():
                    print(f"--- {who}\n{self.messages(who).read_text(errors='replace')[-6000:]}")

    # Processes

    def start_leader(self, *flags: str, address: str = "127.0.0.1:0") -> Process:
        """Starts a leader, on any free port unless told one; returns when it is ready."""
        command = [*JOBLOG, "leader", "--data-dir", str(self.leader_dir), *flags]
        command += ["--grpc-listen", address, "--http-listen", "127.0.0.1:0"]
        leader = self.leader = Process(command, self.environment, self.messages("leader"))
        until(
            lambda: leader.popen.poll() is not None or self.leader_file().get("pid") == leader.pid, "the leader is up"
        )
        assert leader.popen.poll() is None, self.messages("leader").read_text()[-4000:]
        self._address = str(self.leader_file()["grpc_address"])
        return leader

    def behind(self, proxy: str) -> None:
        """Workers are told to connect to a proxy once they have joined, by leaders that start from now on."""
        self.environment["JOBLOG_GRPC_WORKERS_ADDRESS"] = proxy

    @property
    def token(self) -> dict[str, str]:
        """Variables for who has another data folder than the leader, and is to join it."""
        return {"JOBLOG_TOKEN_FILE": str(DataFolder(self.leader_dir).admin_token)}

    def start_worker(self, leader: str | None = None) -> Process:
        """Starts a worker daemon that joins the leader at an address; does not wait."""
        command = [*JOBLOG, "worker", "--data-dir", str(self.worker_dir), "--leader", leader or self.grpc_address]
        self.worker = Process(command, self.environment | self.token, self.messages("worker"))
        return self.worker

    def wait_worker(self) -> None:
        """Waits until the worker daemon takes tasks."""
        until(DataFolder(self.worker_dir).worker_socket.exists, "the worker is up")

    def leader_file(self) -> dict[str, Any]:
        """What the leader says of itself in its folder; {} where it says nothing."""
        try:
            found: dict[str, Any] = json.loads(DataFolder(self.leader_dir).leader_file.read_text())
        except FileNotFoundError:
            return {}
        return found

    @property
    def grpc_address(self) -> str:
        self._address = str(self.leader_file().get("grpc_address", self._address))
        assert self._address, "no leader has run yet"
        return self._address

    def target(self) -> tuple[str, int] | None:
        """Where a proxy finds the leader's listener for workers now."""
        host, _, port = str(self.leader_file().get("workers_address", "")).rpartition(":")
        return (host, int(port)) if port else None

    def task(self, name: str, seed: int, *flags: str, count: int = -1) -> Task:
        """Starts a task; count: how many pieces it writes, -1 is until it is told to end."""
        task = Task(self, name, seed, count, flags)
        self.tasks.append(task)
        return task

    def joblog(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command against the leader."""
        environment = self.environment | {"JOBLOG_DATA_DIR": str(self.leader_dir)}
        return subprocess.run(
            [*JOBLOG, *arguments],
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    # What came of it

    def records(self) -> list[types_pb2.LogRecord]:
        """The records of all logs of the run; [] while the leader does not answer."""
        try:
            with Client(data_dir=self.leader_dir) as client:
                return list(client.logs(RUN))
        except JoblogError:
            return []

    def wait_settled(self, seconds: float = SETTLE_SECONDS) -> None:
        """Waits until nothing is left in the spool and every log is completed."""
        until(lambda: not list_spools(DataFolder(self.worker_dir).spools), "the spool is empty", seconds)
        assert not (DataFolder(self.worker_dir).worker / "refused").exists(), "a spool was refused for good"
        # The leader writes logs of its own, of deaths, once it knows of them.
        until(self._are_completed, "every log is completed", seconds)

    def _are_completed(self) -> bool:
        states = {record.state for record in self.records()}
        return states == {types_pb2.LOG_STATE_COMPLETED}

    def read(self, task: Task, stream: int = 0) -> bytes:
        """A log's bytes; asserts that each comes at its offset."""
        found = b""
        with Client(data_dir=self.leader_dir) as client:
            for part in client.read(task.log, stream=stream):  # type: ignore[arg-type]
                assert not part.HasField("gap"), part.gap
                assert stream or part.offset == len(found)
                found += part.data
        return found

    def record(self, task: Task) -> logs_pb2.GetLogResponse:
        with Client(data_dir=self.leader_dir) as client:
            return client.log(task.log)

    def assert_whole(self, task: Task) -> None:
        """The log is what the task wrote: per stream, in order, nothing missing, nothing twice."""
        expected = task.expected()
        for stream in (STDOUT, STDERR):
            assert_same(self.read(task, stream), expected[stream], f"{task.log.task}, stream {stream}")
        assert len(self.read(task)) == sum(map(len, expected.values()))

    def assert_prefix(self, task: Task) -> int:
        """The log is what the task wrote up to some point of each stream; how many bytes that are."""
        expected = task.expected_at_most()
        length = 0
        for stream in (STDOUT, STDERR):
            found = self.read(task, stream)
            assert_same(found, expected[stream][: len(found)], f"{task.log.task}, stream {stream}")
            length += len(found)
        assert len(self.read(task)) == length
        return length

    def assert_verified(self) -> None:
        """`joblog verify` finds every log of the run complete."""
        done = self.joblog("verify", RUN)
        assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())

    def assert_nothing_in_clear(self) -> None:
        """No byte of a task below the leader's folder, neither as it is nor merely compressed."""
        for path in self.leader_dir.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert MARKER not in content, path
                assert not any(MARKER in raw for raw in _inflated(content)), path

    def assert_no_crash(self) -> None:
        """No process has come upon something that it did not expect."""
        for who in ("leader", "worker", "run"):
            if self.messages(who).exists():
                said = self.messages(who).read_text(errors="replace")
                assert "Traceback" not in said, said[-6000:]


def assert_same(found: bytes, expected: bytes, what: str) -> None:
    """Compares without printing megabytes."""
    if found != expected:
        pairs = enumerate(zip(found, expected, strict=False))
        common = next((at for at, (one, other) in pairs if one != other), min(len(found), len(expected)))
        raise AssertionError(
            f"{what}: {len(found)} bytes instead of {len(expected)}, the same up to {common}: "
            f"{found[common : common + 60]!r} instead of {expected[common : common + 60]!r}"
        )


def _inflated(content: bytes) -> Iterator[bytes]:
    at = -1
    while (at := content.find(b"\x28\xb5\x2f\xfd", at + 1)) >= 0:
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(content[at : at + (1 << 20)])
        except zstandard.ZstdError:
            continue


class Follower:
    """Follows a log over gRPC from its first byte to its end, in a thread."""

    def __init__(self, cluster: Cluster, task: Task) -> None:
        self._cluster = cluster
        self._log = task.log
        self.data = bytearray()
        self.breaks = 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:
            self._failure = error

    def _follow(self) -> None:
        with Client(data_dir=self._cluster.leader_dir) as client:
            for part in client.read(self._log, offset=0, follow=True, on_retry=self._broke):
                assert part.offset == len(self.data), (part.offset, len(self.data))
                assert not part.HasField("gap")
                self.data += part.data

    def wait_begun(self) -> None:
        """Waits for its first bytes: a reader who has got nothing yet is told when the leader is away."""
        until(lambda: self.data or self._failure, "the follower has seen something")

    def _broke(self, _error: JoblogError) -> None:
        self.breaks += 1

    def finish(self) -> bytes:
        """What it has seen, once the log is completed."""
        self._thread.join(SETTLE_SECONDS)
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), f"{type(self).__name__} of {self._log.task} does not end"
        return bytes(self.data)


class HttpFollower(Follower):
    """The same by long polls over HTTP."""

    def _follow(self) -> None:
        state = ""
        while state != "completed":
            try:
                state = self._poll()
            except (OSError, urllib.error.URLError, NotFound) as error:
                if isinstance(error, urllib.error.HTTPError) and error.code not in (502, 503):
                    raise
                self.breaks += 1
                time.sleep(0.1)

    def _poll(self) -> str:
        name = self._log
        place = f"namespaces/{name.namespace}/runs/{name.run}/tasks/{name.task}/attempts/{name.attempt}"
        path = f"/api/v1/{place}/bytes?offset={len(self.data)}&wait=2"
        with open_url(self._cluster.leader_dir, path, timeout_seconds=20) as reply:
            page = reply.read()
            assert int(reply.headers["Joblog-Offset"]) == len(self.data)
            assert int(reply.headers["Joblog-Next-Offset"]) == len(self.data) + len(page)
            self.data += page
            state = str(reply.headers["Joblog-State"])
        # Completed, and yet a page: what follows it is still to come.
        return state if not page else ""


@contextmanager
def paused(process: Process) -> Iterator[None]:
    """Stops a process (SIGSTOP) and lets it go on."""
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)
