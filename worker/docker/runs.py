"""The runs of a container, as they show in what dockerd writes one after another.

All runs of a container print to the same files. dockerd writes down that a run has ended after it has closed the run's
log (moby: handleContainerExit calls Reset, then CheckpointTo), and before it starts another one: so what is in the log
by then is the run's own, and no more of it comes. That is how two runs are told apart, however fast a container is
started again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from joblog.worker.docker.container import DockerContainer, DockerState
from joblog.worker.following.source import ContainerRun
from joblog.worker.kubernetes.pods import ContainerEnd

# What the kernel gives as a file's time may be a tick older than what was written before it; dockerd waits for longer
# than this (100 ms) before it starts a container again.
_MARGIN_NS = 50_000_000
# Of a container that is started again and again; those before are with the log of the one after them.
MAX_RUNS = 200


@dataclass(slots=True)
class _Known:
    started_ns: int
    restarts: int
    until_ns: int = 0
    end: ContainerEnd | None = None


@dataclass(slots=True)
class Runs:
    """Those that were seen, the oldest first."""

    _runs: list[_Known] = field(default_factory=list)

    def see(self, container: DockerContainer, written_ns: int) -> None:
        """What dockerd's file says now. written_ns: when it was written."""
        state = container.state
        if not state.started_ns:
            return
        last = self._runs[-1] if self._runs else None
        if last is None or state.started_ns > last.started_ns:
            if last is not None:
                self._succeed(last, state)
            # The restart that comes is counted before it happens.
            last = _Known(state.started_ns, max(0, container.restarts - state.restarting))
            self._runs = [*self._runs[1 - MAX_RUNS :], last]
        if state.is_over and state.started_ns == last.started_ns:
            last.until_ns = max(last.until_ns, written_ns + _MARGIN_NS)
            if last.end is None or state.oom_killed:
                last.end = _end_of(state)

    @staticmethod
    def _succeed(run: _Known, state: DockerState) -> None:
        """The run after it has begun."""
        run.until_ns = min(run.until_ns or state.started_ns, state.started_ns)
        if run.end is None:
            known = run.started_ns < state.finished_ns < state.started_ns
            message = "the container was started again before its end was seen"
            run.end = ContainerEnd(
                None, 0, "", message, run.started_ns, state.finished_ns if known else state.started_ns
            )

    def all(self) -> tuple[ContainerRun, ...]:
        """As who follows the files needs them."""
        return tuple(ContainerRun(run.started_ns, run.until_ns) for run in self._runs)

    def end_of(self, run_ns: int) -> ContainerEnd | None:
        """How a run ended; None: it goes on, or is not known."""
        return next((run.end for run in self._runs if run.started_ns == run_ns), None)

    def restarts(self, run_ns: int) -> int:
        """How often the container had been restarted when the run began."""
        return next((run.restarts for run in self._runs if run.started_ns == run_ns), 0)


def _end_of(state: DockerState) -> ContainerEnd:
    reason = "OOMKilled" if state.oom_killed else ""
    return ContainerEnd(state.exit_code, 0, reason, state.error, state.started_ns, state.finished_ns)
