"""How a task's spools get to the leader: by the daemon of this machine, or by a shipper that serves this task alone."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time

from joblog.printable import printable
from joblog.worker.isolated import isolated_command
from joblog.worker.spool import format as layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SHIPPER = "joblog.worker.shipper.standalone"
SHIPPER_LOG = "shipper.log"
# Held by the process that ships a spool.
CLAIM_FILE = "ship.lock"
# How long the shipper may go on with what it took along, before it is stopped for good.
_STOP_SECONDS = 1.0
_LOOK_SECONDS = 0.01
_MAX_LEFT_BEHIND = 64


def tell_daemon(daemon: int, spool_ids: Sequence[str]) -> None:
    """Asks the daemon at the other end of a descriptor to ship spools, and closes it.

    No answer is waited for: a daemon that dies now finds the spools when it starts again.
    """
    line = json.dumps({"version": 1, "op": "adopt", "spool_ids": list(spool_ids)}).encode() + b"\n"
    try:
        os.write(daemon, line)
    except OSError:
        return
    finally:
        os.close(daemon)


class Shipper:
    """A child process that ships some spools while they are written and a while after.

    also: spools that it takes along, and that nobody waits for.
    """

    def __init__(self, data_dir: str, leader: str, folders: Sequence[str], also: Sequence[str] = ()) -> None:
        self._folders = folders
        spools = [argument for folder in (*folders, *also) for argument in ("--spool", folder)]
        command = isolated_command(SHIPPER, *spools, "--data-dir", data_dir, "--leader", leader)
        log = f"{folders[0]}/{SHIPPER_LOG}"
        self.pid = os.posix_spawn(
            sys.executable,
            command,
            # The library's own words do not belong into a log of ours.
            {"GRPC_VERBOSITY": "NONE", **os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, layout.FILE_MODE),
            ],
            # Out of the terminal's process group: what ends the task must not end its delivery.
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
        self._process = os.pidfd_open(self.pid)

    def finish(self, seconds: float) -> None:
        """Waits until `folders` are delivered, at most so long, and then ends it. Can be repeated when interrupted."""
        if not self._wait_delivered(seconds):
            # The second one ends the shipper's own wait.
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                self._send(number)
                if self._wait(_STOP_SECONDS):
                    break
        os.waitpid(self.pid, 0)
        os.close(self._process)

    def _wait_delivered(self, seconds: float) -> bool:
        """Waits for the shipper's end, or for that of what it is here for; True when it has ended."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and undelivered(self._folders):
            if self._wait(min(left, _LOOK_SECONDS)):
                return True
        return self._wait(0)

    def _send(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self._process, number)
        except ProcessLookupError:
            return

    def _wait(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def left_behind(spool_root: str) -> list[str]:
    """Spools, the oldest first, whose tasks have ended, and that nobody ships now."""
    left: list[str] = []
    for name in sorted(os.listdir(spool_root)):
        folder = f"{spool_root}/{name}"
        if len(left) == _MAX_LEFT_BEHIND:
            break
        if os.path.exists(f"{folder}/{layout.TASK_FILE}") and not (
            _is_locked(f"{folder}/{layout.LOCK_FILE}") or _is_locked(f"{folder}/{CLAIM_FILE}")
        ):
            left.append(folder)
    return left


def _is_locked(path: str) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def undelivered(folders: Sequence[str]) -> str:
    """What of some spools the leader does not have yet, in words; empty when it has all of it."""
    left = [folder for folder in folders if os.path.exists(f"{folder}/{layout.TASK_FILE}")]
    if not left:
        return ""
    count = sum(_undelivered_bytes(folder) for folder in left)
    return f"{count} bytes of output" if count else "the result"


def refused(folders: Sequence[str]) -> tuple[str, str] | None:
    """The first of some spools that the leader refuses for good: where it lies now, and why it was refused."""
    for folder in folders:
        root, spool_id = os.path.split(folder)
        aside = f"{os.path.dirname(root)}/{layout.REFUSED_FOLDER}/{spool_id}"
        try:
            with open(f"{aside}/{layout.REFUSAL_FILE}", errors="replace") as file:
                return aside, file.read()
        except FileNotFoundError:
            continue
    return None


def _undelivered_bytes(folder: str) -> int:
    try:
        with open(f"{folder}/{layout.CONTROL_FILE}", "rb") as file:
            page = file.read(layout.CONTROL_BYTES)
    except FileNotFoundError:
        return 0
    if len(page) < layout.CONTROL_BYTES:
        return 0
    return max(0, layout.u64_at(page, layout.CONTROL_LENGTH) - layout.u64_at(page, layout.CONTROL_ACKED))


def say(message: str) -> None:
    """Tells the user something, beside the task's own output."""
    try:
        # It may quote the leader.
        os.write(2, f"joblog: {printable(message)}\n".encode(errors="backslashreplace"))
    except OSError:
        return
