"""Searches for any number of callers: one log, a run, or the runs of a namespace, the newest first."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from prometheus_client import Gauge

from joblog.errors import InvalidInput, NotFound, Unavailable
from joblog.identity import LogName
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.buffer.opening import SourceUnreachable
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.search.lines import MAX_CONTEXT_LINES, Hit
from joblog.leader.search.log_search import LogSearch, SearchSpec, Step
from joblog.leader.search.places import Places
from joblog.leader.search.scope import Scope, SearchLimits
from joblog.priority import step_aside
from joblog.service import Service
from joblog.v1 import types_pb2

T = TypeVar("T")

# Searches at once; each takes turns with the others on the threads.
MAX_SEARCHES = 32
_THREADS = 2
_REPORT_SECONDS = 0.25


@dataclass(slots=True)
class Report:
    """How far a search is, and what it found since the last report, all in the log `name`.

    name: None where nothing was found since. at, length: of that log, in bytes. skipped: offsets in it that are
    missing. logs_done, runs_done, bytes_done: in all. runs_total: runs to search, 0 as long as they are not counted.
    done: it has ended. stopped: why it ended before its end: "hits", "time", else "".
    """

    name: LogName | None = None
    hits: list[Hit] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0
    length: int = 0
    log_truncated: bool = False
    logs_done: int = 0
    runs_done: int = 0
    runs_total: int = 0
    bytes_done: int = 0
    done: bool = False
    stopped: str = ""


class _Course:
    """How far a search is, and what is left of its limits."""

    def __init__(self, limits: SearchLimits) -> None:
        self._until = time.monotonic() + limits.seconds
        self._told = time.monotonic()
        self.hits_left = limits.hits
        self.total = Report()

    def is_over(self) -> bool:
        """Whether a limit is reached; the report has which."""
        if not self.total.stopped:
            self.total.stopped = "hits" if self.hits_left <= 0 else "time" if time.monotonic() > self._until else ""
        return bool(self.total.stopped)

    def report(self, name: LogName, step: Step) -> Report:
        """With what a step in a log has found."""
        self._told = time.monotonic()
        return replace(
            self.total,
            name=name,
            hits=step.hits,
            skipped=step.skipped,
            at=step.at,
            length=step.length,
            log_truncated=step.truncated,
            stopped="",
        )

    def is_due(self) -> bool:
        """Nothing was told for a while."""
        return time.monotonic() - self._told > _REPORT_SECONDS

    def plain(self) -> Report:
        """How far it is, without hits."""
        self._told = time.monotonic()
        return replace(self.total)

    def end(self) -> Report:
        """The last one."""
        self.total.done = True
        if not self.total.stopped:
            self.total.runs_total = self.total.runs_done
        return self.total


class Searcher(Service):
    """Searches logs. Memory per search: two chunks and what was found since the last report."""

    name = "search"

    def __init__(
        self,
        store: Store,
        open_cipher: Callable[[int], LogCipher],
        archive: ExtentReader | None = None,
        active: Gauge | None = None,
    ) -> None:
        """active: shows how many searches are under way."""
        self._store = store
        self._open_cipher = open_cipher
        self._archive = archive
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="search", initializer=step_aside)
        self._turns = asyncio.Semaphore(_THREADS)
        self._open = 0
        if active is not None:
            active.set_function(lambda: self._open)

    async def stop(self) -> None:
        """Ends the threads; searches that are open fail."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    async def search(self, scope: Scope, spec: SearchSpec, limits: SearchLimits) -> AsyncGenerator[Report, None]:
        """Reports until the search has ended; close the generator to end it early. Each step waits for its turn.

        Raises InvalidInput; NotFound when the run or log that was named is not there; Unavailable when too many search.
        """
        scope.check()
        limits.check()
        if not 0 <= spec.context_lines <= MAX_CONTEXT_LINES:
            raise InvalidInput(f"context {spec.context_lines} is out of range: 0 to {MAX_CONTEXT_LINES} lines")
        if self._open >= MAX_SEARCHES:
            raise Unavailable(f"{MAX_SEARCHES} searches are under way already: try again later")
        self._open += 1
        try:
            async with contextlib.aclosing(self._search(scope, spec, limits)) as reports:
                async for report in reports:
                    yield report
        finally:
            self._open -= 1

    async def _search(self, scope: Scope, spec: SearchSpec, limits: SearchLimits) -> AsyncGenerator[Report, None]:
        course = _Course(limits)
        places = Places(self._store, scope, self._in_turn)
        counting = asyncio.ensure_future(self._count(places, course))
        # What is wrong with the scope is told by the search itself.
        counting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with contextlib.aclosing(places.runs()) as pages:
                async for runs in pages:
                    for run in runs:
                        async with contextlib.aclosing(self._run(places, run, spec, limits, course)) as reports:
                            async for report in reports:
                                yield report
                        if course.is_over():
                            break
                        course.total.runs_done += 1
                        if course.is_due():
                            yield course.plain()
                    if course.is_over():
                        break
                    if course.is_due():
                        yield course.plain()
            yield course.end()
        finally:
            counting.cancel()

    async def _count(self, places: Places, course: _Course) -> None:
        course.total.runs_total = await places.count()

    async def _run(
        self, places: Places, run: str, spec: SearchSpec, limits: SearchLimits, course: _Course
    ) -> AsyncGenerator[Report, None]:
        """Searches the logs of a run, until a limit is reached."""
        async with contextlib.aclosing(places.logs(run)) as logs:
            async for record in logs:
                of_log = spec._replace(max_hits=min(course.hits_left, limits.hits_per_log))
                async with contextlib.aclosing(self._log(record, of_log, course, named=places.is_one_log)) as reports:
                    async for report in reports:
                        yield report
                if course.is_over():
                    return

    async def _log(
        self, record: types_pb2.LogRecord, spec: SearchSpec, course: _Course, *, named: bool
    ) -> AsyncGenerator[Report, None]:
        """Searches one log. named: nothing else is searched."""
        name = LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)
        search = LogSearch(self._store, record.number, spec, self._open_cipher, self._archive)
        total = course.total
        before = spec.from_offset
        async with contextlib.aclosing(self._steps(search, missing_is_fine=not named)) as steps:
            async for step in steps:
                course.hits_left -= len(step.hits)
                total.bytes_done += step.at - before
                before = step.at
                total.logs_done += step.done
                if step.hits or step.skipped or not step.done or named or course.is_due():
                    yield course.report(name, step)
                if not step.done and course.is_over():
                    return

    async def _steps(self, search: LogSearch, *, missing_is_fine: bool) -> AsyncGenerator[Step, None]:
        """A log's steps, those that found nothing joined."""
        told = time.monotonic()
        while True:
            try:
                step = await self._in_turn(search.step)
            except NotFound:
                if missing_is_fine:
                    return
                raise
            except SourceUnreachable:
                # Of an adopted log; the others can be searched.
                if not missing_is_fine:
                    raise
                yield search.give_up()
                return
            now = time.monotonic()
            if step.hits or step.skipped or step.done or now - told > _REPORT_SECONDS:
                told = now
                yield step
            if step.done:
                return

    async def _in_turn(self, work: Callable[[], T]) -> T:
        async with self._turns:
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))
