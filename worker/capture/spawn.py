"""Starts a task's process: pipes or a terminal, a session of its own, signals as if nobody stood in between."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat

from joblog.worker.capture.spec import NOT_FOUND_CODE, NOT_RUNNABLE_CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from joblog.worker.capture.spec import TaskSpec

_SHELL = "/bin/sh"
# What this interpreter or the supervisor changes; a task starts with the defaults.
_RESET = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGTTOU,
    signal.SIGWINCH,
)


class CannotStartError(Exception):
    """The command can't be run. exit_code: 127 when it was not found, 126 when it can't be executed, as in a shell."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Started:
    """A running task. sources: (descriptor to read from, not blocking; stream). master: the terminal's side, or -1."""

    __slots__ = ("master", "pid", "sources")

    def __init__(self, pid: int, sources: list[tuple[int, int]], master: int) -> None:
        self.pid = pid
        self.sources = sources
        self.master = master


def start(spec: TaskSpec, caught: Sequence[int], *, group_only: bool = False) -> Started:
    """Starts the task; raises CannotStartError.

    caught: signals that the supervisor handles, reset for the task. group_only: a process group of its own in this
    session, for a task that is to use this terminal; else a session of its own.
    """
    if spec.pty:
        return _start_on_terminal(spec, caught)
    ends = [_pipe(spec.pipe_bytes), _pipe(min(spec.pipe_bytes, 256 << 10))]
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_DUP2, ends[0][1], 1),
        (os.POSIX_SPAWN_DUP2, ends[1][1], 2),
    ]
    if not spec.stdin:
        actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
    try:
        pid = _spawn(spec, caught, actions, group_only=group_only)
    except BaseException:
        for reading, _ in ends:
            os.close(reading)
        raise
    finally:
        for _, writing in ends:
            os.close(writing)
    return Started(pid, [(ends[0][0], 1), (ends[1][0], 2)], -1)


def _start_on_terminal(spec: TaskSpec, caught: Sequence[int]) -> Started:
    from joblog.worker.capture.terminal import copy_window_size

    master, slave = os.openpty()
    os.set_blocking(master, False)
    copy_window_size(master)
    # Opened by a session's leader that has no terminal, it becomes that session's terminal.
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    try:
        pid = _spawn(spec, caught, actions, group_only=False)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return Started(pid, [(master, 1)], master)


def _pipe(size_bytes: int) -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    while size_bytes > 64 << 10:
        try:
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, size_bytes)
            break
        except OSError:  # over the limit of a user without privileges
            size_bytes //= 4
    return reading, writing


def _spawn(spec: TaskSpec, caught: Sequence[int], actions: Sequence[tuple[Any, ...]], *, group_only: bool) -> int:
    environment = os.environ if spec.environment is None else spec.environment
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if spec.cwd else -1
    try:
        if spec.cwd:
            os.chdir(spec.cwd)
        path = find_program(spec.command[0], environment)
        return _exec(path, spec.command, environment, caught, actions, group_only=group_only)
    except OSError as error:
        raise _cannot_start(spec, error) from None
    finally:
        if here >= 0:
            os.fchdir(here)
            os.close(here)


def _exec(
    path: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    caught: Sequence[int],
    actions: Sequence[tuple[Any, ...]],
    *,
    group_only: bool,
) -> int:
    place = {"setpgroup": 0} if group_only else {"setsid": True}
    reset = {int(number) for number in (*_RESET, *caught)}

    def run(program: str, arguments: Sequence[str]) -> int:
        return os.posix_spawn(
            program, list(arguments), dict(environment), file_actions=actions, setsigdef=reset, setsigmask=(), **place
        )

    try:
        return run(path, command)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return run(_SHELL, (_SHELL, path, *command[1:]))  # a script that does not name its interpreter


def _cannot_start(spec: TaskSpec, error: OSError) -> CannotStartError:
    where = f" in {spec.cwd!r}" if spec.cwd else ""
    code = NOT_FOUND_CODE if error.errno == errno.ENOENT else NOT_RUNNABLE_CODE
    reason = "not found" if error.errno == errno.ENOENT else error.strerror
    return CannotStartError(f"{spec.command[0]!r:.200} can't be run{where}: {reason}", code)


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """Path of the program that the task's own PATH leads to. Raises OSError with ENOENT or EACCES."""
    if "/" in name:
        return name
    found = errno.ENOENT
    for folder in environment.get("PATH", os.defpath).split(":"):
        path = f"{folder or '.'}/{name}"
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and os.access(path, os.X_OK):
            return path
        found = errno.EACCES
    raise OSError(found, os.strerror(found), name)
