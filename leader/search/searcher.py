"""Searches for any number of callers: one log, a run, or the runs of a namespace, the newest first."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from joblog.errors import InvalidInput, NotFound, Unavailable
from joblog.identity import LogName, check_name
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.buffer.catalog import EVERY_RUN, RunFilter
from joblog.leader.buffer.opening import SourceUnreachable
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.search.lines import MAX_CONTEXT_LINES, Hit
from joblog.leader.search.log_search import LogSearch, SearchSpec, Step
from joblog.priority import step_aside
from joblog.service import Service
from joblog.v1 import types_pb2

T = TypeVar("T")

MAX_HITS = 10_000
MAX_SECONDS = 600.0
# Searches at once; each takes turns with the others on the threads.
MAX_SEARCHES = 32
_THREADS = 2
_PAGE = 100
_REPORT_SECONDS = 0.25


class Scope(NamedTuple):
    """Where to search: a namespace's runs that `where` lets through; with run, that one; with task, attempt those."""

    namespace: str
    run: str = ""
    task: str = ""
    attempt: int = 0
    where: RunFilter = EVERY_RUN

    def check(self) -> Scope:
        """Returns itself; raises InvalidInput."""
        check_name("namespace", self.namespace, reserved=self.namespace.startswith("@"))
        if self.run:
            check_name("run", self.run)
        if self.task:
            check_name("task", self.task, reserved=True)
        if (self.task and not self.run) or (self.attempt and not self.task):
            raise InvalidInput("a task is searched in a run, an attempt in a task: name the whole path")
        return self


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """When a search ends before its end. hits: in all; hits_per_log: then it goes on with the next log."""

    hits: int = 1000
    hits_per_log: int = 1000
    seconds: float = 60.0

    def check(self) -> SearchLimits:
        """Returns itself; raises InvalidInput."""
        for name in ("hits", "hits_per_log"):
            if not 1 <= getattr(self, name) <= MAX_HITS:
                raise InvalidInput(f"{name} {getattr(self, name)} is out of range: 1 to {MAX_HITS}")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise InvalidInput(f"seconds {self.seconds:g} is out of range: more than 0, at most {MAX_SECONDS:g}")
        return self


@dataclass(slots=True)
class Report:
    """How far a search is, and what it found since the last report, all in the log `name`.

    at, length: of that log, in bytes. skipped: offsets in it that are missing. logs_done, runs_done, bytes_done: in
    all. done: it has ended. stopped: why it ended before its end: "hits", "time", else "".
    """

    name: LogName | None = None
    hits: list[Hit] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    at: int = 0
    length: int = 0
    log_truncated: bool = False
    logs_done: int = 0
    runs_done: int = 0
    bytes_done: int = 0
    done: bool = False
    stopped: str = ""


class Searcher(Service):
    """Searches logs. Memory per search: two chunks and what was found since the last report."""

    name = "search"

    def __init__(
        self, store: Store, open_cipher: Callable[[int], LogCipher], archive: ExtentReader | None = None
    ) -> None:
        self._store = store
        self._open_cipher = open_cipher
        self._archive = archive
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="search", initializer=step_aside)
        self._turns = asyncio.Semaphore(_THREADS)
        self._open = 0

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
        until = time.monotonic() + limits.seconds
        total = Report()
        left = limits.hits
        run = ""
        async for record in self._logs(scope):
            if run and run != record.id.run:
                total.runs_done += 1
            run = record.id.run
            name = LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)
            of_log = spec._replace(max_hits=min(left, limits.hits_per_log))
            search = LogSearch(self._store, record.number, of_log, self._open_cipher, self._archive)
            async with contextlib.aclosing(self._steps(search, missing_is_fine=not scope.attempt)) as steps:
                before = spec.from_offset
                async for step in steps:
                    left -= len(step.hits)
                    total.bytes_done += step.at - before
                    before = step.at
                    total.logs_done += step.done
                    if not step.done and time.monotonic() > until:
                        total.stopped = "time"
                    yield _report(total, name, step)
                    if total.stopped:
                        break
            if left <= 0 or total.stopped or time.monotonic() > until:
                total.stopped = total.stopped or ("hits" if left <= 0 else "time")
                break
        else:
            total.runs_done += bool(run)
        total.done = True
        yield total

    async def _steps(self, search: LogSearch, *, missing_is_fine: bool) -> AsyncGenerator[Step, None]:
        """A log's steps, those that found nothing joined."""
        told = time.monotonic()
        while True:
            async with self._turns:
                try:
                    step = await self._run(search.step)
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

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))

    async def _logs(self, scope: Scope) -> AsyncIterator[types_pb2.LogRecord]:
        if scope.attempt:
            name = LogName(scope.namespace, scope.run, scope.task, scope.attempt)
            number = await self._run(functools.partial(self._store.find_log, name))
            record = None if number is None else await self._run(functools.partial(self._store.get_log, number))
            if record is None:
                raise NotFound(f"there is no log {name}")
            yield record
            return
        if scope.run:
            found = False
            async for record in self._logs_of_run(scope, scope.run):
                found = True
                yield record
            if not found:
                raise NotFound(f"there is no run {scope.namespace}:{scope.run}, or it has no such task")
            return
        token = ""
        while True:
            runs, token = await self._run(
                functools.partial(self._store.list_runs, scope.namespace, scope.where, token, _PAGE)
            )
            for run in runs:
                async for record in self._logs_of_run(scope, run.run):
                    yield record
            if not token:
                return

    async def _logs_of_run(self, scope: Scope, run: str) -> AsyncIterator[types_pb2.LogRecord]:
        token = ""
        while True:
            work = functools.partial(self._store.list_logs, scope.namespace, run, scope.task, token, _PAGE)
            logs: Sequence[types_pb2.LogRecord]
            logs, token = await self._run(work)
            for record in logs:
                yield record
            if not token:
                return


def _report(total: Report, name: LogName, step: Step) -> Report:
    return Report(
        name,
        step.hits,
        step.skipped,
        step.at,
        step.length,
        step.truncated,
        total.logs_done,
        total.runs_done,
        total.bytes_done,
    )
