"""Standard input taken as a task's output, for `joblog pipe`."""

from __future__ import annotations

import os
import select
import signal
import stat
import time

from joblog.worker.capture.echo import Echo
from joblog.worker.capture.ending import end_spool
from joblog.worker.capture.intake import STUCK_SECONDS, Intake
from joblog.worker.capture.recorder import Recorder
from joblog.worker.capture.signals import ENDING, Signals
from joblog.worker.capture.spec import EXITED, SIGNALED, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.capture.cri_log import CriLog
    from joblog.worker.capture.recorder import Mask
    from joblog.worker.spool.writer import SpoolWriter

_STDOUT = 1


def _input_descriptor() -> int:
    """A descriptor on standard input that does not block, others' descriptors on it left as they are where possible."""
    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            return os.open("/proc/self/fd/0", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass
    fd = os.dup(0)
    if stat.S_ISSOCK(mode):
        os.set_blocking(fd, False)
    return fd


def record_stdin(
    spool: SpoolWriter,
    *,
    echo: bool,
    mask: Mask | None = None,
    cri: CriLog | None = None,
    grace_seconds: float = 10.0,
) -> Outcome:
    """Takes standard input to its end into the spool and ends that with the outcome, which it returns.

    echo: passes it through to standard output, masked as in the spool. cri: gets it too, and is ended. SIGINT, which
    the writer at the other end gets as well, leaves that grace_seconds to end; SIGTERM, SIGHUP and SIGQUIT end it with
    what is there.
    """
    started_ns = time.time_ns()
    signals = Signals()
    shown = Echo({_STDOUT: 1}) if echo else None
    spool.note_processes(task=0)
    try:
        with select.epoll() as epoll:
            recorder = Recorder(spool, shown, mask, cri=cri)
            intake = Intake([(_input_descriptor(), _STDOUT)], recorder, shown, epoll)
            epoll.register(signals.fd, select.EPOLLIN)
            ended_by = _collect(intake, epoll, signals, grace_seconds)
        outcome = Outcome(EXITED, started_ns=started_ns, ended_ns=max(time.time_ns(), started_ns))
        if ended_by:
            outcome.kind, outcome.signal, outcome.exit_code = SIGNALED, ended_by, 128 + ended_by
        recorder.finish()
        end_spool(spool, outcome, signals)
    finally:
        signals.stop()
        if shown is not None:
            shown.close()
    return outcome


def _collect(intake: Intake, epoll: select.epoll, signals: Signals, grace_seconds: float) -> int:
    """Reads to the end: 0, or the signal that ended it before."""
    ended_by = 0
    told = 0
    stop_at = float("inf")
    while not intake.done:
        if intake.always_ready:
            seconds = 0.0
        elif intake.stuck:
            seconds = STUCK_SECONDS
        else:
            seconds = stop_at - time.monotonic()
        ready = [fd for fd, _ in epoll.poll(-1 if seconds == float("inf") else max(seconds, 0))]
        if signals.fd in ready:
            for number in signals.read():
                if number in ENDING:
                    told += 1
                    ended_by = number
                    grace = grace_seconds if number == signal.SIGINT else 0.0
                    stop_at = min(stop_at, time.monotonic() + grace)
        intake.turn(ready)
        if time.monotonic() >= stop_at and intake.finish(patient=told < 2):
            return ended_by
        if not intake.sources and intake.stuck:
            intake.finish(patient=told < 2)
    return 0
