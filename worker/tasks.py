"""The tasks whose spools lie on this machine: what they are, how far they are, and signals for them.

Only looks: nothing in a spool is changed here, its shipper and its supervisor may work on it meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

from joblog.errors import Conflict, InvalidInput, JoblogError, NotFound, Unavailable
from joblog.worker.spool import format as layout
from joblog.worker.spool.sealing import SpoolKey, no_keys, open_task

# The kind of a task that can't be told.
SEALED = "sealed"


class TaskState(NamedTuple):
    """One task attempt. running: its supervisor lives. Pids are 0 where not known. acked_bytes: safe at the leader."""

    spool_id: str
    namespace: str
    run: str
    task: str
    attempt: int
    kind: str
    command: list[str]
    started_ns: int
    running: bool
    supervisor_pid: int
    task_pid: int
    length_bytes: int
    acked_bytes: int


def check_spool_id(value: object) -> str:
    """Returns `value` when it may be a spool's id; raises InvalidInput."""
    if not isinstance(value, str) or not value.isascii() or not value.isalnum() or len(value) > 64:
        raise InvalidInput(f"spool id {value!r:.60} is not one: `joblog tasks list` shows them")
    return value


def spool_folder(spool_root: str, spool_id: str) -> str:
    """The folder of a spool; raises InvalidInput, NotFound."""
    folder = os.path.join(spool_root, check_spool_id(spool_id))
    if not os.path.isfile(os.path.join(folder, layout.TASK_FILE)):
        raise NotFound(
            f"no task {spool_id} on this machine: it ended and was shipped, or never was; see `joblog tasks list`"
        )
    return folder


def is_running(folder: str) -> bool:
    """Whether the spool's supervisor lives."""
    return _look_at_lock(folder)[0]


def _look_at_lock(folder: str) -> tuple[bool, dict[str, int]]:
    """Whether the lock is held, and the processes that its holder wrote into it."""
    try:
        lock = os.open(os.path.join(folder, layout.LOCK_FILE), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, {}
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            processes = json.loads(os.read(lock, 1024))
        except ValueError:
            return True, {}
        return True, processes
    finally:
        os.close(lock)
    return False, {}


def read_state(folder: str, keys: Callable[[str], SpoolKey | None] = no_keys) -> TaskState:
    """The state of a spool's task. Of a sealed one whose key is not at hand, what lies in clear: no names.

    Raises OSError when the spool is gone or not yet there, Corrupt, WrongVersion.
    """
    try:
        task, _ = open_task(folder, keys)
    except Unavailable:
        task = layout.SpoolTask(writer_id=b"", namespace="", run="", task="", kind=SEALED)
    with open(os.path.join(folder, layout.CONTROL_FILE), "rb") as file:
        page = file.read(layout.CONTROL_BYTES).ljust(layout.CONTROL_BYTES, b"\0")
    running, processes = _look_at_lock(folder)
    return TaskState(
        spool_id=os.path.basename(folder),
        namespace=task.namespace,
        run=task.run,
        task=task.task,
        attempt=task.attempt,
        kind=task.kind,
        command=list(task.command),
        started_ns=task.started_ns,
        running=running,
        supervisor_pid=processes.get("supervisor", 0),
        task_pid=processes.get("task", 0),
        length_bytes=layout.u64_at(page, layout.CONTROL_LENGTH),
        acked_bytes=layout.u64_at(page, layout.CONTROL_ACKED),
    )


def list_tasks(spool_root: str, keys: Callable[[str], SpoolKey | None] = no_keys) -> list[TaskState]:
    """All tasks with a spool, the oldest first; spools that can't be read are left out."""
    states: list[TaskState] = []
    try:
        names = sorted(os.listdir(spool_root))
    except FileNotFoundError:
        return states
    for name in names:
        try:
            states.append(read_state(os.path.join(spool_root, name), keys))
        except (OSError, JoblogError):
            continue
    return states


def send_signal(spool_root: str, spool_id: str, number: object) -> None:
    """Sends a signal to a task.

    SIGINT, SIGTERM, SIGHUP and SIGQUIT go to its supervisor, which passes them on and sees to it that the task ends;
    others go to the task's process group. Raises InvalidInput, NotFound, Conflict when the task does not run.
    """
    folder = spool_folder(spool_root, spool_id)
    if not isinstance(number, int) or number not in signal.valid_signals():
        raise InvalidInput(f"signal {number!r:.20} is not one of this machine's: {', '.join(_names())}")
    state = read_state(folder)
    by_supervisor = number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    pid = state.supervisor_pid if by_supervisor else state.task_pid
    if not state.running or not pid:
        raise Conflict(f"task {state.run}/{state.task} ({spool_id}) does not run: it can't be sent a signal")
    try:
        if by_supervisor:
            _signal_supervisor(folder, pid, number)
        else:
            os.killpg(pid, number)
    except ProcessLookupError:
        raise Conflict(
            f"task {state.run}/{state.task} ({spool_id}) has just ended: it can't be sent a signal"
        ) from None


def _signal_supervisor(folder: str, pid: int, number: int) -> None:
    process = os.pidfd_open(pid)
    try:
        # While the lock is held the pid is still the supervisor's; the descriptor stays with that very process.
        if not is_running(folder):
            raise ProcessLookupError
        signal.pidfd_send_signal(process, number)
    finally:
        os.close(process)


def _names() -> list[str]:
    return [f"{each.name} ({each.value})" for each in signal.Signals]


def parse_signal(text: str) -> int:
    """The number of "TERM", "SIGTERM" or "15"; raises InvalidInput."""
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    found: Any = getattr(signal.Signals, name, None)
    if found is not None:
        return int(found)
    if text.isascii() and text.isdigit() and int(text) in signal.valid_signals():
        return int(text)
    raise InvalidInput(f"signal {text[:20]!r} is not one of this machine's: {', '.join(_names())}")
