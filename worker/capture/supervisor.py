"""Runs one task and sees it to its end: its output goes to the spool, signals go to it, its outcome ends the log."""

from __future__ import annotations

import os
import select
import signal
import time

from joblog.worker.capture.echo import Echo
from joblog.worker.capture.ending import end_spool
from joblog.worker.capture.intake import STUCK_SECONDS, Intake
from joblog.worker.capture.oom import OomWatch
from joblog.worker.capture.recorder import Recorder
from joblog.worker.capture.signals import ENDING, PASSED_ON, Signals
from joblog.worker.capture.spawn import CannotStartError, Started, start
from joblog.worker.capture.spec import EXITED, NOT_STARTED, SIGNALED, TIMED_OUT, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from joblog.worker.capture.cri_log import CriLog
    from joblog.worker.capture.recorder import Mask
    from joblog.worker.capture.spec import TaskSpec
    from joblog.worker.capture.terminal import Loan, OwnTerminal
    from joblog.worker.spool.writer import SpoolWriter

# Where the kernel has no pidfd, the task's end is looked for so often.
_LOOK_SECONDS = 0.05
_NEVER = float("inf")


def supervise(
    spec: TaskSpec,
    spool: SpoolWriter,
    *,
    echo: bool,
    mask: Mask | None = None,
    cri: CriLog | None = None,
    started: Callable[[int], None] | None = None,
) -> Outcome:
    """Runs the task to its end and ends the spool with its outcome, which it returns.

    echo: the output is shown on this process's stdout and stderr as well, masked as in the spool. cri: gets it too, and
    is ended. started: called with the task's pid once it runs. A command that can't be run is an outcome too
    (NOT_STARTED, 126 or 127). For the main thread: signals are handled while it runs.
    """
    signals = Signals()
    shown = Echo({1: 1, 2: 2}) if echo else None
    try:
        supervision = _Supervision(spec, spool, signals, shown, Recorder(spool, shown, mask, cri=cri))
        outcome = supervision.run(started)
    finally:
        signals.stop()
        if shown is not None:
            shown.close()
    return outcome


def _has_terminal() -> bool:
    if not os.isatty(0):
        return False
    from joblog.worker.capture.terminal import is_ours

    return is_ours()


class _Supervision:
    """One task's life. Times that begin with _at are on the monotonic clock; infinity stands for never."""

    def __init__(
        self, spec: TaskSpec, spool: SpoolWriter, signals: Signals, echo: Echo | None, recorder: Recorder
    ) -> None:
        self._spec = spec
        self._spool = spool
        self._signals = signals
        self._echo = echo
        self._recorder = recorder
        self._oom = OomWatch()
        self._epoll = select.epoll()
        self._pidfd = -1
        self._loan: Loan | None = None
        self._terminal: OwnTerminal | None = None
        self._ended_ns = 0
        self._ended_at = _NEVER
        self._timeout_at = _NEVER
        self._kill_at = _NEVER
        self._timed_out = False
        self._told_to_end = False
        self._give_up = False
        self._task: Started
        self._intake: Intake

    def run(self, started: Callable[[int], None] | None) -> Outcome:
        """See supervise."""
        self._started_ns = time.time_ns()
        try:
            self._start()
        except CannotStartError as error:
            outcome = Outcome(NOT_STARTED, exit_code=error.exit_code, message=self._recorder.masked(str(error)))
            outcome.started_ns = outcome.ended_ns = self._started_ns
            self._epoll.close()
            end_spool(self._spool, outcome, self._signals)
            return outcome
        try:
            if started is not None:
                started(self._task.pid)
            self._loop()
        finally:
            self._let_go()
        outcome = self._reap()
        if self._told_to_end:
            self._clear_group()
        if self._intake.left_open:
            self._say_left_open()
        self._recorder.finish()
        end_spool(self._spool, outcome, self._signals)
        return outcome

    def _start(self) -> None:
        spec = self._spec
        lend = spec.stdin and not spec.pty and _has_terminal()
        self._task = start(spec, self._signals.caught, group_only=lend)
        pid = self._task.pid
        self._spool.note_processes(task=pid)
        if lend:
            from joblog.worker.capture.terminal import Loan

            self._loan = Loan(pid)
        if spec.timeout_seconds:
            self._timeout_at = time.monotonic() + spec.timeout_seconds
        self._intake = Intake(self._task.sources, self._recorder, self._echo, self._epoll)
        self._epoll.register(self._signals.fd, select.EPOLLIN)
        try:
            self._pidfd = os.pidfd_open(pid)
            self._epoll.register(self._pidfd, select.EPOLLIN)
        except OSError:
            self._pidfd = -1
        if self._task.master >= 0:
            from joblog.worker.capture.terminal import OwnTerminal

            self._terminal = OwnTerminal(self._task.master, self._epoll, use_stdin=spec.stdin)

    def _loop(self) -> None:
        while not self._is_over():
            ready = [fd for fd, _ in self._epoll.poll(self._wait_seconds())]
            # A terminal's new size comes before what was typed after it, also when both have come together.
            if self._terminal is not None or self._signals.fd in ready:
                for number in self._signals.read():
                    self._on_signal(number)
            if self._terminal is not None and (
                self._terminal.always_ready or any(fd in ready for fd in self._terminal.fds)
            ):
                self._terminal.move()
            self._intake.turn(ready)
            if self._ended_ns == 0 and (self._pidfd < 0 or self._pidfd in ready):
                self._look_for_end()
            self._on_time()

    def _wait_seconds(self) -> float:
        """How long the loop may sleep; negative for as long as nothing happens."""
        if self._intake.always_ready or (self._terminal is not None and self._terminal.always_ready):
            return 0
        wake_at = min(self._timeout_at, self._kill_at)
        now = time.monotonic()
        if self._ended_ns and now < self._ended_at + self._spec.exit_wait_seconds:
            wake_at = min(wake_at, self._ended_at + self._spec.exit_wait_seconds)
        seconds = wake_at - now
        if self._intake.stuck:
            seconds = min(seconds, STUCK_SECONDS)
        if self._pidfd < 0 and not self._ended_ns:
            seconds = min(seconds, _LOOK_SECONDS)
        return -1 if seconds == _NEVER else max(seconds, 0)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._terminal is not None:
                self._terminal.resize()
        elif number == signal.SIGCHLD:
            self._look_for_stop()
        elif number == signal.SIGCONT:
            if self._loan is not None:
                self._loan.resume()
        elif number in PASSED_ON:
            self._to_group(number)
            if number in ENDING:
                self._give_up |= self._ended_ns != 0
                self._begin_grace()

    def _look_for_stop(self) -> None:
        if self._loan is None or self._ended_ns:
            return
        try:
            stopped = os.waitid(os.P_PID, self._task.pid, os.WSTOPPED | os.WNOHANG) is not None
        except ChildProcessError:  # it has ended, and can't stop any more
            return
        if stopped:
            self._loan.stop_too()

    def _look_for_end(self) -> None:
        """The process stays a zombie until all is over, so that its group's number can't become somebody else's."""
        if os.waitid(os.P_PID, self._task.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        self._ended_ns = max(time.time_ns(), self._started_ns)
        self._ended_at = time.monotonic()
        self._timeout_at = _NEVER
        if self._pidfd >= 0:
            self._epoll.unregister(self._pidfd)
        if self._loan is not None:
            self._loan.take_back()

    def _to_group(self, number: int) -> None:
        try:
            os.killpg(self._task.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def _begin_grace(self) -> None:
        self._told_to_end = True
        if self._kill_at == _NEVER:
            self._kill_at = time.monotonic() + self._spec.grace_seconds

    def _on_time(self) -> None:
        now = time.monotonic()
        if now >= self._timeout_at:
            self._timeout_at = _NEVER
            self._timed_out = True
            self._to_group(signal.SIGTERM)
            self._begin_grace()
        if now >= self._kill_at:
            self._kill_at = _NEVER
            self._give_up |= self._ended_ns != 0
            self._to_group(signal.SIGKILL)

    def _is_over(self) -> bool:
        """Whether the task has ended and nobody writes any more, or was given the time to."""
        if not self._ended_ns:
            return False
        if self._intake.done:
            return True
        waited = time.monotonic() >= self._ended_at + self._spec.exit_wait_seconds
        if self._intake.sources and not waited and not self._give_up:
            return False
        return self._intake.finish(patient=not self._give_up)

    def _let_go(self) -> None:
        if self._terminal is not None:
            self._terminal.close()
        if self._loan is not None:
            self._loan.take_back()
        self._intake.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._epoll.close()

    def _clear_group(self) -> None:
        """After the task was told to end: what is left of its process group has the rest of the grace."""
        kill_at = self._kill_at if self._kill_at != _NEVER else 0.0
        while True:
            try:
                os.killpg(self._task.pid, signal.SIGKILL if time.monotonic() >= kill_at else 0)
            except (ProcessLookupError, PermissionError):
                return
            if time.monotonic() >= kill_at:
                return
            time.sleep(STUCK_SECONDS)

    def _reap(self) -> Outcome:
        _, status, usage = os.wait4(self._task.pid, 0)
        outcome = Outcome(
            EXITED,
            started_ns=self._started_ns,
            ended_ns=self._ended_ns,
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 6),
            peak_memory_bytes=usage.ru_maxrss * 1024,
        )
        if os.WIFSIGNALED(status):
            outcome.kind = SIGNALED
            outcome.signal = os.WTERMSIG(status)
            outcome.exit_code = 128 + outcome.signal
        else:
            outcome.exit_code = os.WEXITSTATUS(status)
        outcome.oom_killed = outcome.exit_code != 0 and self._oom.happened()
        if outcome.oom_killed:
            self._spool.append_event("oom_killed", "the kernel killed for lack of memory in the task's control group")
        if self._timed_out:
            outcome.kind = TIMED_OUT
            outcome.message = f"ended at its time limit of {self._spec.timeout_seconds:g} s"
        return outcome

    def _say_left_open(self) -> None:
        self._spool.append_event(
            "output_left",
            "processes that the task left behind still held its output "
            f"{self._spec.exit_wait_seconds:g} s after its end; what they write from now on is not collected",
        )
