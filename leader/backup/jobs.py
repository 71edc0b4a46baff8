"""What the leader does with backups, one at a time: a job runs in a thread, and whoever likes watches it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from joblog.errors import Conflict, Interrupted, JoblogError

log = logging.getLogger(__name__)

_TELL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job is. kind: "backup", "verify" or "restore"; finished_ns 0: it runs.

    total_bytes 0: not known yet. logs: verified or restored ones. problems: for people.
    """

    kind: str
    backup_id: str
    reason: str
    started_ns: int
    finished_ns: int = 0
    done_bytes: int = 0
    total_bytes: int = 0
    sent_bytes: int = 0
    logs: int = 0
    error: str = ""
    problems: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What it is, for people. The id of a backup comes when it has begun."""
        return f"{self.kind} {self.backup_id}".rstrip() if self.kind == "backup" else f"{self.kind} of {self.backup_id}"


class Job:
    """One of them. failure: what it raised."""

    def __init__(self, kind: str, backup_id: str, reason: str) -> None:
        self.state = JobState(kind, backup_id, reason, time.time_ns())
        self.failure: JoblogError | None = None
        self._stop: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._ended = asyncio.Event()

    def stops_by(self, stop: Callable[[], None]) -> None:
        """How the work is ended from now on; at once when it is to end already. Any thread."""
        self._stop = stop
        if self._stopping.is_set():
            stop()

    def stop(self) -> None:
        """Has the work end soon."""
        self._stopping.set()
        self._stop()

    async def ended(self) -> None:
        """Returns at the end, whatever it is."""
        await self._ended.wait()

    def tell(self, **changes: object) -> None:
        """Notes how far it is. Any thread."""
        self.state = dataclasses.replace(self.state, **changes)  # type: ignore[arg-type]

    async def watch(self) -> AsyncIterator[JobState]:
        """How far it is, a few times a second when that changes, and the end. Raises what it failed with."""
        told = None
        while not self._ended.is_set():
            if self.state is not told:
                told = self.state
                yield told
            try:
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                continue
        yield self.state
        if self.failure is not None:
            raise self.failure

    async def run(self, work: Callable[[Job], None]) -> None:
        """Does the work in a thread of its own. What it raises is kept, and logged."""
        try:
            await asyncio.to_thread(work, self)
        except Exception as error:  # noqa: BLE001 - kept for those who watch, whatever it is
            self._failed(error)
        finally:
            self.tell(finished_ns=time.time_ns())
            self._ended.set()

    def _failed(self, error: Exception) -> None:
        state = self.state
        if isinstance(error, Interrupted):
            log.info("%s was stopped", state.words)
        elif isinstance(error, JoblogError):
            log.error("%s failed: %s", state.words, error)
        else:
            log.error("%s failed unexpectedly", state.words, exc_info=error)
            error = JoblogError(f"the leader failed unexpectedly ({type(error).__name__}); its log says more")
        self.failure = error
        self.tell(error=str(error))


class Jobs:
    """At most one runs. Belongs to the event loop."""

    def __init__(self) -> None:
        self.last: Job | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, job: Job, work: Callable[[Job], None]) -> Job:
        """Begins it. Raises Conflict while another one runs."""
        if self._closed:
            raise Interrupted("the leader is stopping")
        if self.running is not None:
            state = self.running.state
            seconds = (time.time_ns() - state.started_ns) // 10**9
            raise Conflict(f"{state.words} is under way since {seconds} s: wait for its end")
        self.last = job
        self._task = asyncio.create_task(job.run(work))
        return job

    @property
    def running(self) -> Job | None:
        """The one that runs."""
        return self.last if self.last is not None and not self.last.state.finished_ns else None

    async def close(self) -> None:
        """Ends the one that runs, and lets no other begin."""
        self._closed = True
        if self._task is not None and self.last is not None:
            self.last.stop()
            await asyncio.wait([self._task])
