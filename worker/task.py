"""The process that supervises one task: spool, delivery, capture, result. Started by handover or by the daemon.

It loads as little as it can, since there is one of it per running task.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from joblog.dumps import refuse_dumps
from joblog.errors import JoblogError
from joblog.identity import new_run_id
from joblog.worker.capture.spec import NOT_STARTED
from joblog.worker.delivery import Shipper, left_behind, refused, say, tell_daemon, undelivered
from joblog.worker.order import JOIN_VARIABLE, STDIN, Order, Place, unpack
from joblog.worker.runlines import RunLines
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import SpoolTask
from joblog.worker.spool.writer import SpoolWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from joblog.worker.capture.cri_log import CriLog
    from joblog.worker.capture.spec import Outcome
    from joblog.worker.redaction import Masker

DETACHED = "--detached"
# So much of a command line is recorded; the leader does not take records without a bound.
MAX_COMMAND_BYTES = 64 << 10
# What an argument takes in a record beside its own bytes, at least.
_ARGUMENT_BYTES = 4
INTERRUPTED_EXIT_CODE = 130
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> NoReturn:
    """Carries out the order on the descriptor that sys.argv[1] names, or with `--detached` that on standard input.

    The process's exit code is the task's. Detached, the answer of ControlClient.start goes to standard output before
    the task begins, and this process ends with 0 at once: another one, which belongs to nobody, goes on.
    """
    # Nothing is buffered here that the interpreter would have to see to.
    os._exit(_main())


def _main() -> int:
    try:
        if sys.argv[1] == DETACHED:
            return _detached()
        source = int(sys.argv[1])
        with os.fdopen(source, "rb") as file:
            order, place, daemon = unpack(file.read())
        job = Job(order, place)
        job.begin_delivery(daemon)
        return job.carry_out()
    except JoblogError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE


def _detached() -> int:
    # What an event loop leaks into its children would keep the daemon waiting for this one's end.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    order, place, _ = unpack(sys.stdin.buffer.read())
    if os.fork():
        # Without a parent that waits for it, the other process is not the daemon's child.
        os._exit(0)
    os.setsid()
    import json

    try:
        job = Job(order, place)
        answer = {"ok": job.described()}
    except JoblogError as error:
        answer = {"error": {"kind": type(error).__name__, "message": str(error)}}
        os.write(1, json.dumps(answer).encode())
        return error.exit_code
    os.write(1, json.dumps(answer).encode())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return job.carry_out()


def _without_join_token(given: dict[str, str] | None) -> dict[str, str] | None:
    """A task's environment: the token with which its machine joins is none of its business."""
    environment = os.environ if given is None else given
    if JOIN_VARIABLE not in environment:
        return given
    return {name: value for name, value in environment.items() if name != JOIN_VARIABLE}


class Job:
    """An order being carried out; its spools exist when this is made. Raises InvalidInput, OutOfSpace, Denied."""

    def __init__(self, order: Order, place: Place) -> None:
        self.order = order
        self.place = place
        self.mask = _masker(order)
        command = _shown_command(order, self.mask)
        host = os.uname().nodename
        folder = f"{place.spool_root}/{new_run_id()}"
        task = SpoolTask(
            writer_id=os.urandom(16),
            namespace=order.namespace,
            run=order.run,
            task=order.task,
            attempt=order.attempt,
            command=command,
            host=host,
            cwd=_shown(order.cwd, self.mask),
            labels={key: _shown(value, self.mask) for key, value in order.labels.items()},
            started_ns=time.time_ns(),
            max_spool_bytes=place.task_bytes,
            policy=place.policy,
            kind=order.kind,
        )
        bounds = SpoolBounds(place.task_bytes, place.worker_bytes, place.segment_bytes)
        key = place.key()
        if key is not None or order.masks:
            # Others do without: it would add a tenth to their memory.
            refuse_dumps()
        self.writer = SpoolWriter(folder, task, bounds, key=key)
        self.lines = RunLines(order, place, command, host, key)
        self.folders = [folder, *self.lines.folders]
        self._shipper: Shipper | None = None
        self._daemon = False
        self._cri = self._cri_log()

    def _cri_log(self) -> CriLog | None:
        order = self.order
        place = self.place.cri._replace(dir=order.cri_dir or self.place.cri.dir)
        if not place.dir:
            return None
        from joblog.worker.capture.cri_log import CriLog
        from joblog.worker.capture.cri_place import pod_folder

        # An attempt that the leader gives is not known here.
        number = max(order.attempt - 1, 0)
        return CriLog(place, pod_folder(order.namespace, order.run, self.writer.spool_id), order.task, number)

    def described(self) -> dict[str, object]:
        """What ControlClient.start returns."""
        order = self.order
        return {
            "spool_ids": [os.path.basename(folder) for folder in self.folders],
            "pid": os.getpid(),
            "namespace": order.namespace,
            "run": order.run,
            "task": order.task,
            "attempt": order.attempt,
        }

    def begin_delivery(self, daemon: int) -> None:
        """Sees to it that the spools are shipped while the task runs: by the daemon at a descriptor, or a process."""
        if daemon >= 0:
            tell_daemon(daemon, [os.path.basename(folder) for folder in self.folders])
            self._daemon = True
        elif self.place.leader:
            also = left_behind(self.place.spool_root)
            self._shipper = Shipper(self.place.data_dir, self.place.leader, self.folders, also)

    def carry_out(self) -> int:
        """Runs the task to its end, waits a while for the delivery where nobody else does; the exit code.

        A signal that comes when the task is over ends that wait, and the exit code stays the task's.
        """
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        outcome: Outcome | None = None
        try:
            outcome = self._supervise()
            if outcome.kind == NOT_STARTED and self._is_foreground():
                say(outcome.message)
            self.lines.finish(outcome.exit_code, outcome.signal or None, _shown(outcome.message, self.mask))
            self._finish_delivery(self.place.drain_seconds)
        except KeyboardInterrupt:
            if outcome is None:
                raise
            for number in _ENDING:
                signal.signal(number, signal.SIG_IGN)
            self._finish_delivery(0)
        if self._is_foreground():
            if self._cri is not None and self._cri.lost_bytes:
                say(f"{self._cri.lost_bytes} bytes of the output are missing in {self._cri.path} and those before it")
            if not self._daemon:
                self._report()
        return outcome.exit_code

    def _finish_delivery(self, seconds: float) -> None:
        if self._shipper is not None:
            self._shipper.finish(seconds)

    def _is_foreground(self) -> bool:
        return sys.argv[1] != DETACHED

    def _supervise(self) -> Outcome:
        order, place = self.order, self.place
        echo = not order.quiet and self._is_foreground()
        if order.kind == STDIN:
            from joblog.worker.capture.stdin import record_stdin

            return record_stdin(self.writer, echo=echo, mask=self.mask, cri=self._cri)
        from joblog.worker.capture.spec import TaskSpec
        from joblog.worker.capture.supervisor import supervise

        spec = TaskSpec(
            order.command,
            environment=_without_join_token(order.environment),
            cwd=order.cwd,
            stdin=self._is_foreground(),
            pty=order.pty,
            timeout_seconds=order.timeout_seconds,
            grace_seconds=place.grace_seconds,
            exit_wait_seconds=place.exit_wait_seconds,
            pipe_bytes=place.pipe_bytes,
        )
        return supervise(spec, self.writer, echo=echo, mask=self.mask, cri=self._cri)

    def _report(self) -> None:
        if found := refused(self.folders):
            folder, why = found
            say(f"the leader does not take this output: {why}; it lies in {folder}")
        left = undelivered(self.folders)
        if not left:
            return
        why = "the leader has not taken all yet" if self.place.leader else "no leader is known here (--leader)"
        say(f"{why}: {left} in {self.folders[0]}; the next `joblog worker` or `joblog run` here delivers it")


def _masker(order: Order) -> Masker | None:
    if not order.masks:
        return None
    from joblog.worker.redaction import Masker

    return Masker(map(os.fsencode, order.masks))


def _shown(text: str, mask: Masker | None) -> str:
    """Text as a log's record may hold it: masked, and without bytes that are no text."""
    content = os.fsencode(text)
    return (content if mask is None else mask.mask(content)).decode(errors="replace")


def _shown_command(order: Order, mask: Masker | None) -> list[str]:
    if order.mask_arguments and len(order.command) > 1:
        return [_shown(order.command[0], mask), "***"]
    shown: list[str] = []
    room = MAX_COMMAND_BYTES
    for argument in order.command:
        content = _shown(argument, mask).encode()
        if room < len(content) + _ARGUMENT_BYTES:
            left_out = len(order.command) - len(shown)
            shown.append(f"{content[: max(room, 0)].decode(errors='ignore')}... ({left_out} arguments not whole)")
            break
        room -= len(content) + _ARGUMENT_BYTES
        shown.append(content.decode())
    return shown
