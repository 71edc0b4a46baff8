"""Writes a log from within a Python program, through this machine's spool: nothing is lost while no leader is there.

The only module outside the worker that imports it, inside one function: a spool's format is the worker's own, and a
program that writes a log is a small worker. It is here, and not there, because drivers and tasks use it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from joblog import paths
from joblog.errors import Conflict, JoblogError
from joblog.identity import LogName, check_labels, check_writable_name, new_run_id

DEFAULT_SPOOL_BYTES = 64 << 20
DEFAULT_DRAIN_SECONDS = 10.0
_STREAM_STDOUT = 1
_OUTCOME_EXITED = 1
_DAEMON_TIMEOUT_SECONDS = 2.0
_KEY_SECONDS = 30.0
_END_TIMEOUT_SECONDS = 5.0
_END_PAUSE_SECONDS = 0.05


class LogWriter:
    """A log that this process writes; its only writer. Safe to use from several threads, not across a fork.

    name: its attempt may be 0, for the next free one. kind: "runlog" for a run's own log, else "stdin". The spool never
    makes the program wait: when max_spool_bytes are reached, head and tail are kept, and what lies between becomes a
    gap. What is written is delivered by the worker daemon of the data folder; where none runs and a leader is known, by
    a process of its own, which close() waits drain_seconds for; else by the daemon when it starts. Raises InvalidInput
    for a name that is not allowed, OutOfSpace where the disk has no room, Unavailable where the worker's settings ask
    for sealed spools and no leader has their key after 30 s.
    """

    def __init__(
        self,
        name: LogName,
        *,
        data_dir: Path | None = None,
        labels: Mapping[str, str] | None = None,
        kind: str = "stdin",
        command: Sequence[str] = (),
        max_spool_bytes: int = DEFAULT_SPOOL_BYTES,
        drain_seconds: float = DEFAULT_DRAIN_SECONDS,
    ) -> None:
        check_writable_name(name)
        folder = paths.DataFolder(paths.data_dir(data_dir, os.environ))
        paths.make_folder(folder.root)
        paths.make_folder(folder.worker)
        paths.make_folder(folder.spools)
        self.name = name
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._started_ns = time.time_ns()
        self._drain_seconds = drain_seconds
        self._writer: Any = None
        self._shipper: Any = None
        task = {
            "writer_id": os.urandom(16),
            "namespace": name.namespace,
            "run": name.run,
            "task": name.task,
            "attempt": name.attempt,
            "command": tuple(command),
            "host": os.uname().nodename,
            "cwd": _folder(),
            "labels": check_labels(dict(labels or {})),
            "started_ns": self._started_ns,
            "max_spool_bytes": max_spool_bytes,
            "kind": kind,
        }
        self._open(folder, task, max_spool_bytes)

    def _open(self, folder: paths.DataFolder, task: dict[str, Any], max_spool_bytes: int) -> None:
        from joblog.worker.control.client import ControlClient
        from joblog.worker.spool.bound import SpoolBounds
        from joblog.worker.spool.format import TRUNCATE, SpoolTask
        from joblog.worker.spool.writer import SpoolWriter

        spool_id = new_run_id()
        bounds = SpoolBounds(max_spool_bytes)
        key = _spool_key(folder)
        self._writer = SpoolWriter(folder.spools / spool_id, SpoolTask(policy=TRUNCATE, **task), bounds, key=key)
        try:
            ControlClient(str(folder.worker_socket), _DAEMON_TIMEOUT_SECONDS).adopt(spool_id)
        except JoblogError:
            self._shipper = _start_shipper(folder, spool_id)

    @property
    def closed(self) -> bool:
        """Whether the log has its end."""
        return self._writer is None

    def write(self, data: bytes) -> None:
        """Appends bytes to the log; they are in the spool when it returns. Raises Conflict once it is closed."""
        with self._lock:
            writer = self._checked()
            now_ns = time.time_ns()
            for start in range(0, len(data), writer.record_bytes):
                piece = bytearray(data[start : start + writer.record_bytes])
                writer.append_data(piece, len(piece), bytes([_STREAM_STDOUT]), [now_ns], [len(piece)])

    def _checked(self) -> Any:
        if self._writer is None:
            raise Conflict(f"log {self.name} is closed: nothing can be added to it; open a new attempt")
        if self._pid != os.getpid():
            raise Conflict(f"log {self.name} belongs to process {self._pid}: a forked process opens a log of its own")
        return self._writer

    def close(self, exit_code: int = 0, message: str = "") -> None:
        """Ends the log with a result; in a forked process, and when it is closed already, does nothing."""
        with self._lock:
            writer = self._writer
            if writer is None or self._pid != os.getpid():
                return
            self._writer = None
            outcome = {
                "kind": _OUTCOME_EXITED,
                "exit_code": exit_code,
                "started_ns": self._started_ns,
                "ended_ns": time.time_ns(),
                "message": message,
            }
            deadline = time.monotonic() + _END_TIMEOUT_SECONDS
            while not writer.end(outcome):
                if time.monotonic() > deadline:
                    # The log then counts as one whose supervisor died, which is what it looks like.
                    writer.close()
                    return
                time.sleep(_END_PAUSE_SECONDS)
        if self._shipper is not None:
            self._shipper.finish(self._drain_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        else:
            self.close(1, f"{type(error).__name__}: {error}")


def _spool_key(folder: paths.DataFolder) -> Any:
    """What seals the spool; None where the worker's settings do not ask for that."""
    from joblog.address import LEADER_VARIABLE
    from joblog.settings import load
    from joblog.worker.settings import WorkerSettings

    file = paths.config_file("worker", None, os.environ)
    settings = load(WorkerSettings, file=file, environ=os.environ).values
    if settings.spool.encryption != "on":
        return None
    from joblog.worker.keyhand import with_key
    from joblog.worker.order import place_from_settings

    leader = os.environ.get(LEADER_VARIABLE) or settings.leader
    return with_key(place_from_settings(settings, folder.root, leader), _KEY_SECONDS).key()


def _start_shipper(folder: paths.DataFolder, spool_id: str) -> Any:
    """A process that ships one spool; None where no leader is known, so that there is nothing to wait for."""
    from joblog.address import LEADER_VARIABLE
    from joblog.worker.delivery import Shipper
    from joblog.worker.source import join_source, known_address

    try:
        leader = known_address(folder, join_source(os.environ.get(LEADER_VARIABLE, ""), os.environ))
    except JoblogError:
        leader = ""
    if not leader:
        return None
    return Shipper(str(folder.root), leader, [str(folder.spools / spool_id)])


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""
