"""One lifecycle for everything that runs in the background of a daemon: start, supervise, drain, stop.

A daemon is a list of services, the lowest first (store, then ingest, then servers). `serve` owns them::

    class Committer(Service):
        name = "committer"

        async def start(self) -> None: ...                           # take what it needs; raise when that fails
        async def run(self) -> None: ...                             # work until cancelled
        async def drain(self, deadline_seconds: float) -> None: ...  # take nothing new, finish what is there
        async def stop(self) -> None: ...                            # give back what start() took

    exit_code = await serve([store, committer, server], drain_seconds=10.0)

What `serve` promises:

- `start` is called in the order of the list, one after the other; only then does any `run` begin.
- The first SIGINT or SIGTERM, or `stopping` being set, ends the daemon in reverse order: for each service `drain`,
  then its `run` is cancelled, then `stop`. What a service needs (those before it in the list) still runs meanwhile.
- All drains share `drain_seconds`; one that overruns is cancelled and said so. A second signal cancels the drains.
- A service whose `run` raises, or returns before it is asked to stop, ends the daemon: the others are drained and
  stopped, and the exit code is not 0.
- `stop` is called exactly once for each service whose `start` returned, whatever else fails, and gets `stop_seconds`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from joblog.errors import Interrupted, JoblogError
from joblog.memory import keep_memory

logger = logging.getLogger("joblog.service")

EXIT_CRASHED = JoblogError.exit_code
EXIT_ABORTED = Interrupted.exit_code


class Service:
    """A part of a daemon with a life of its own; see the module's description for who calls what, when."""

    name: str = "service"

    async def start(self) -> None:
        """Takes what the service needs. An error ends the daemon before anything runs; then `stop` is not called."""

    async def run(self) -> None:
        """Works until cancelled. The default has nothing to do."""
        await asyncio.Event().wait()

    async def drain(self, deadline_seconds: float) -> None:
        """Takes nothing new and finishes what is there; should return, and log what is left, before the deadline."""

    async def stop(self) -> None:
        """Gives back what `start` took; `run` has ended by then. Must not wait for others."""


class _Daemon:
    """The state of one `serve` call."""

    def __init__(self, services: Sequence[Service], drain_seconds: float, stop_seconds: float) -> None:
        self.services = services
        self.drain_seconds = drain_seconds
        self.stop_seconds = stop_seconds
        self.stopping = asyncio.Event()
        self.aborting = asyncio.Event()
        self.started: list[Service] = []
        self.runs: dict[Service, asyncio.Task[None]] = {}
        self.exit_code = 0

    def ask_to_stop(self, name: str) -> None:
        if not self.stopping.is_set():
            logger.info("%s: draining for up to %g s; the same again stops at once", name, self.drain_seconds)
            self.stopping.set()
        elif not self.aborting.is_set():
            logger.warning("%s again: stopping at once", name)
            self.aborting.set()

    def fail(self, service: Service, what: str, error: BaseException | None) -> None:
        """Records and logs the first cause of the daemon's end; a JoblogError speaks for itself, others get a trace."""
        expected = error is None or isinstance(error, JoblogError)
        logger.critical(
            "%s %s: %s", service.name, what, error or "no error given", exc_info=None if expected else error
        )
        if self.exit_code in (0, EXIT_ABORTED):
            self.exit_code = error.exit_code if isinstance(error, JoblogError) else EXIT_CRASHED

    async def start(self) -> bool:
        """Starts all; False when one failed or the daemon was told to stop meanwhile."""
        for service in self.services:
            starting = asyncio.ensure_future(service.start())
            if not await self._unless(self.stopping, starting) and starting.cancelled():
                return False
            error = starting.exception()
            if error is not None:
                self.fail(service, "did not start", error)
                return False
            self.started.append(service)
            if self.stopping.is_set():
                return False
        return True

    async def supervise(self) -> None:
        """Runs all that started; returns when one ends by itself or the daemon is told to stop."""
        for service in self.started:
            self.runs[service] = asyncio.create_task(service.run(), name=service.name)
        stop = asyncio.create_task(self.stopping.wait())
        try:
            ends: list[asyncio.Future[Any]] = [stop, *self.runs.values()]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        for service, run in self.runs.items():
            if run.done():
                self._report_end(service, run)

    def _report_end(self, service: Service, run: asyncio.Task[None]) -> None:
        error = asyncio.CancelledError("cancelled by itself") if run.cancelled() else run.exception()
        self.fail(service, "ended, and the daemon with it", error)

    async def shut_down(self) -> None:
        """Drains and stops all that started, the last first."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.drain_seconds
        for service in reversed(self.started):
            run = self.runs.get(service)
            if run is not None and not run.done():
                await self._drain(service, deadline - clock())
            if run is not None:
                await self._cancel(service, run)
            await self._stop(service)

    async def _drain(self, service: Service, seconds: float) -> None:
        if self.aborting.is_set():
            self.exit_code = self.exit_code or EXIT_ABORTED
            return
        draining = asyncio.ensure_future(service.drain(max(seconds, 0.0)))
        done = await self._unless(self.aborting, draining, max(seconds, 0.0))
        if not done and (draining.cancelled() or draining.exception() is None):
            logger.warning("%s: not drained in time, what is left stays for the next start", service.name)
            self.exit_code = self.exit_code or EXIT_ABORTED
        elif (error := draining.exception()) is not None:
            self.fail(service, "failed to drain", error)

    async def _cancel(self, service: Service, run: asyncio.Task[None]) -> None:
        if run.done():
            return
        run.cancel()
        await asyncio.wait([run], timeout=self.stop_seconds)
        if not run.done():
            self.fail(service, f"does not end within {self.stop_seconds:g} s of being cancelled", None)
        elif not run.cancelled() and (error := run.exception()) is not None:
            self.fail(service, "failed while it ended", error)

    async def _stop(self, service: Service) -> None:
        try:
            await asyncio.wait_for(service.stop(), self.stop_seconds)
        except TimeoutError:
            self.fail(service, f"did not stop within {self.stop_seconds:g} s", None)
        except Exception as error:  # noqa: BLE001 - one that fails to stop must not keep the others from it
            self.fail(service, "failed to stop", error)

    @staticmethod
    async def _unless(event: asyncio.Event, work: asyncio.Future[None], seconds: float | None = None) -> bool:
        """Waits until work is done, and cancels it when event or the deadline comes first; True when it was done."""
        waiting = asyncio.create_task(event.wait())
        both: list[asyncio.Future[Any]] = [work, waiting]
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            done = work.done()
            if not done:
                work.cancel()
        if not done:
            await asyncio.wait([work])
        return done


async def serve(
    services: Sequence[Service],
    *,
    drain_seconds: float,
    stop_seconds: float = 5.0,
    stopping: asyncio.Event | None = None,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> int:
    """Runs `services` until a signal, `stopping` or the end of one of them; returns the exit code of the process.

    0: stopped when asked to, all drained. 10: stopped before all was drained. Otherwise that of the JoblogError that
    ended it, 1 for any other error. Must be called in the main thread unless `signals` is empty.
    """
    loop = asyncio.get_running_loop()
    daemon = _Daemon(services, drain_seconds, stop_seconds)
    if stopping is not None:
        daemon.stopping = stopping
    for number in signals:
        loop.add_signal_handler(number, daemon.ask_to_stop, number.name)
    try:
        if await daemon.start():
            await daemon.supervise()
    except asyncio.CancelledError:
        daemon.aborting.set()
        raise
    finally:
        await daemon.shut_down()
        for number in signals:
            loop.remove_signal_handler(number)
    return daemon.exit_code


def run_loop(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Runs a daemon's `work` in an event loop of uvloop; returns the exit code that it returns."""
    import uvloop

    keep_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())
