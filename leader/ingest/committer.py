"""Group commit: many logs' changes, one write, one sync, then the acks.

One thread writes. While a write is under way the next group gathers, so groups grow with the load by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from joblog.errors import Conflict, JoblogError, Unavailable
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.metrics import Metrics

log = logging.getLogger(__name__)


class Source(Protocol):
    """Whose commit it is: once one of its commits has failed, those behind it must fail too, as they follow on."""

    broken: bool


@dataclass(slots=True, eq=False)
class Commit:
    """Work for one atomic write: `apply` adds it, `done` is called, in the committer's thread."""

    source: Source
    apply: Callable[[Changes], None]
    size_bytes: int
    done: Callable[[JoblogError | None], None]
    batches: int = 0
    raw_bytes: int = 0
    arrived: float = field(default_factory=time.monotonic)


class Committer:
    """Writes commits in the order of their submission, in groups. Thread-safe."""

    def __init__(
        self, store: Store, metrics: Metrics, *, max_bytes: int = 16 << 20, max_delay_seconds: float = 0
    ) -> None:
        """max_bytes: of one group. max_delay_seconds: how long a group waits for more to come."""
        self._max_bytes = max_bytes
        self._max_delay_seconds = max_delay_seconds
        self._store = store
        self._metrics = metrics
        self._queue: queue.SimpleQueue[Commit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._stopped = False
        self.failure: JoblogError | None = None
        self.crashed: Future[None] = Future()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, commit: Commit) -> None:
        """Queues a commit; its `done` will be called."""
        if self._stopped:
            commit.done(Unavailable("the leader is stopping: send again when it is back"))
        else:
            self._queue.put(commit)

    def stop(self) -> None:
        """Commits what is queued, then ends the thread."""
        if not self._stopped:
            self._stopped = True
            self._queue.put(None)
            if self._thread.is_alive():
                self._thread.join()

    def _run(self) -> None:
        try:
            while (first := self._queue.get()) is not None:
                group, more = self._gather(first)
                self._write(group)
                if not more:
                    break
            self.crashed.set_result(None)
        except Exception as error:  # noqa: BLE001 - handed to the service, which ends the daemon with it
            self._stopped = True
            self.crashed.set_exception(error)

    def _gather(self, first: Commit) -> tuple[list[Commit], bool]:
        group, size = [first], first.size_bytes
        until = time.monotonic() + self._max_delay_seconds
        while size < self._max_bytes:
            try:
                wait = until - time.monotonic()
                commit = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if commit is None:
                return group, False
            group.append(commit)
            size += commit.size_bytes
        return group, True

    def _write(self, group: list[Commit]) -> None:
        behind = Unavailable("an earlier commit of this stream failed: open the logs again and go on where they say")
        good: list[Commit] = []
        for commit in group:
            if commit.source.broken:
                commit.done(behind)
            else:
                good.append(commit)
        if not good:
            return
        began = time.monotonic()
        try:
            self._write_once(good)
        except JoblogError as error:
            self._fail(good, error)
            if self._store.needs_restart:
                raise
            return
        self.failure = None
        if not good:
            return
        self._count(good, began)
        for commit in good:
            commit.done(None)

    def _write_once(self, group: list[Commit]) -> None:
        for last_try in (False, True):
            changes = self._apply(group)
            try:
                if changes:
                    self._store.write(changes, sync=True)
                return
            except Conflict:
                # A log was deleted between apply and write; applied again, its commits leave it out.
                if last_try:
                    raise

    def _apply(self, group: list[Commit]) -> Changes:
        """What the group does, without those that can't be applied: they fail alone, and are taken out of it."""
        while True:
            changes = Changes()
            failed = next((commit for commit in group if not _applied(commit, changes)), None)
            if failed is None:
                return changes
            self._leave_out(group, failed.source)

    @staticmethod
    def _leave_out(group: list[Commit], source: Source) -> None:
        source.broken = True
        failed = [commit for commit in group if commit.source is source]
        group[:] = [commit for commit in group if commit.source is not source]
        for commit in failed:
            commit.done(JoblogError("what was sent can't be stored; the leader's log says more"))

    def _fail(self, group: Sequence[Commit], error: JoblogError) -> None:
        log.error("commit of %d items failed, nothing of it is acked: %s", len(group), error)
        self.failure = error
        for commit in group:
            commit.source.broken = True
        for commit in group:
            commit.done(error)

    def _count(self, group: Sequence[Commit], began: float) -> None:
        ingest = self._metrics.ingest
        now = time.monotonic()
        ingest.commits.inc()
        ingest.commit_seconds.observe(now - began)
        ingest.ack_lag_seconds.observe(now - group[0].arrived)
        ingest.batches.inc(sum(commit.batches for commit in group))
        ingest.raw_bytes.inc(sum(commit.raw_bytes for commit in group))
        ingest.payload_bytes.inc(sum(commit.size_bytes for commit in group))


def _applied(commit: Commit, changes: Changes) -> bool:
    try:
        commit.apply(changes)
    except Exception as error:
        log.error("a commit can't be applied, nothing of it is acked", exc_info=error)
        return False
    return True


async def commit(
    committer: Committer,
    source: Source,
    apply: Callable[[Changes], None],
    size_bytes: int,
    *,
    batches: int = 0,
    raw_bytes: int = 0,
) -> None:
    """Submits a commit; it is on disk when this returns. In an event loop. Raises what the commit failed with."""
    loop = asyncio.get_running_loop()
    committed: asyncio.Future[None] = loop.create_future()

    def done(error: JoblogError | None) -> None:
        loop.call_soon_threadsafe(_settle, committed, error)

    committer.submit(Commit(source, apply, size_bytes, done, batches, raw_bytes))
    await committed


def _settle(future: asyncio.Future[None], error: JoblogError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
