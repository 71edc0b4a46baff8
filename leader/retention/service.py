"""Passes over all runs at an interval, which delete what is due: a bounded number of logs per second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Protocol, TypeVar

from joblog.errors import JoblogError
from joblog.leader.access.audit import AuditEvent, Auditor, NoAudit
from joblog.leader.archive import failpoints
from joblog.leader.buffer.expiry import Expired
from joblog.leader.buffer.store import Store
from joblog.leader.metrics import RetentionMetrics
from joblog.leader.retention.policy import ENDED, Policies
from joblog.leader.retention.sweep import Due, Sweep
from joblog.service import Service
from joblog.v1.types_pb2 import RunRecord

log = logging.getLogger(__name__)

T = TypeVar("T")

SLICE = 500
# In one write, which holds up other writes of records.
LOGS_AT_ONCE = 200
# So long somebody who has set new policies can look at a preview of them.
_FIRST_PAUSE_SECONDS = 600.0
_RETRY_SECONDS = 60.0
# A pass takes this share of a core at most while nothing is due.
_SHARE = 0.2
_MAX_PAUSE_SECONDS = 1.0
# Keys of deleted logs leave the store's files, and what others remember of the logs goes, so often during a pass.
_TELL_SECONDS = 120.0


class Fence(Protocol):
    """What ingest does about a log that is deleted; see leader/deletion.py."""

    def forget(self, number: int) -> None:
        """Nothing is accepted or committed for it any more. Any thread."""
        ...

    def forgotten(self, number: int) -> None:
        """Those who tail it are woken. In the event loop."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """What a pass did so far, or what one would do. held_runs: due, and kept by a hold."""

    runs_looked_at: int = 0
    runs: int = 0
    logs: int = 0
    bytes: int = 0
    held_runs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RetentionState:
    """How it does. Times: 0 for never."""

    next_pass_ns: int = 0
    passed_ns: int = 0
    last: Done = field(default_factory=Done)


class Retention(Service):
    """Deletes runs that no policy keeps. Where no policy is set, it only ends what an earlier leader had begun.

    logs_per_second: that are deleted at most; 0: as fast as it goes. on_deleted: told now and then, and after each pass
    that deleted something. forget_reader: LogReader.forget.
    """

    name = "retention"

    def __init__(
        self,
        store: Store,
        policies: Policies,
        fence: Fence,
        *,
        forget_reader: Callable[[int], None],
        pool: Executor,
        metrics: RetentionMetrics,
        interval_seconds: float = 3600.0,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
        logs_per_second: float = 500.0,
        auditor: Callable[[], Auditor] = NoAudit,
        on_deleted: Callable[[], None] = lambda: None,
        locked_objects: Callable[[], int] = lambda: 0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.policies = policies
        # How many objects of the archive are to be deleted, and are kept from it by their lock.
        self.locked_objects = locked_objects
        self.state = RetentionState()
        self.progress = Done()
        self.store = store
        self._fence = fence
        self._forget_reader = forget_reader
        self._pool = pool
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._first_pause_seconds = min(first_pause_seconds, interval_seconds)
        self._logs_per_second = logs_per_second
        self._auditor = auditor
        self._on_deleted = on_deleted
        self._clock_ns = clock_ns
        self._woken = asyncio.Event()
        self._waiting: list[asyncio.Future[Done]] = []
        self._told_at = 0.0
        self._untold = False
        self._problem = ""
        self._problems: list[str] = []
        # Of the pass that is under way.
        self._broken: list[str] = []

    def warnings(self) -> list[str]:
        """What is wrong now, for people."""
        found = [f"retention: {self._problem}"] if self._problem else []
        unreadable = self.store.holds.present.unreadable
        return [*found, *(f"retention: {one}" for one in self._problems), *([unreadable] if unreadable else [])]

    # Passes

    async def run(self) -> None:
        """Makes a pass at each interval."""
        pause = self._first_pause_seconds
        while True:
            self.state = replace(self.state, next_pass_ns=self._clock_ns() + int(pause * 1e9))
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            waiting, self._waiting = self._waiting, []
            try:
                done = await self._pass()
            except JoblogError as error:
                self._failed(error, waiting)
                pause = min(_RETRY_SECONDS, self._interval_seconds)
                continue
            except BaseException:
                for one in [*waiting, *self._waiting]:
                    one.cancel()
                raise
            self._problem = ""
            for one in waiting:
                if not one.done():
                    one.set_result(done)
            pause = self._interval_seconds

    def _failed(self, error: JoblogError, waiting: Iterable[asyncio.Future[Done]]) -> None:
        if str(error) != self._problem:
            log.warning("what is due can't be deleted now, tried again: %s", error)
        self._problem = str(error)
        self._metrics.failures.inc()
        for one in waiting:
            if not one.done():
                one.set_exception(error)

    async def run_now(self) -> AsyncGenerator[tuple[Done, bool], None]:
        """A pass that begins after the call: how far it is, each second, and at last what it did, with True.

        Raises what the pass does.
        """
        asked: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting.append(asked)
        self._woken.set()
        try:
            while not (await asyncio.wait([asked], timeout=1.0))[0]:
                yield self.progress, False
            yield asked.result(), True
        finally:
            asked.cancel()

    async def _pass(self) -> Done:
        began = time.monotonic()
        self.progress = Done()
        self._broken = []
        self._told_at = began
        try:
            await self._go_on()
            sweep = Sweep(self.store, self.policies, self._clock_ns())
            slices = sweep.slices(SLICE) if self.policies else iter(())
            while (found := await self._timed(partial(next, slices, None))) is not None:
                await self._delete(found)
                self.progress = replace(self.progress, runs_looked_at=sweep.looked_at, seconds=time.monotonic() - began)
            self._take_problems(sweep.problems)
        finally:
            self._tell()
        done = self.progress
        self._metrics.passes.inc()
        self._metrics.pass_seconds.set(done.seconds)
        self._metrics.held_runs.set(done.held_runs)
        self.state = replace(self.state, passed_ns=self._clock_ns(), last=done)
        if done.runs:
            log.info("%d runs were due: %d logs are deleted, %d bytes", done.runs, done.logs, done.bytes)
        return done

    def _take_problems(self, found: list[str]) -> None:
        """Notes what the pass could not do; what the one before had told is not logged again."""
        if broken := self._broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            said = (
                f"run {broken[0]}{more}: due, and not deleted, as records of its logs are missing or are others than "
                "it counts. The store is damaged: restore a backup, or delete the run with `joblog delete`"
            )
            found = [*found, said]
        for one in found:
            if one not in self._problems:
                log.warning("%s", one)
        self._problems = found

    async def _timed(self, work: Callable[[], T]) -> T:
        """Does it in the pool, and then pauses, so that it takes no more than its share of a core."""
        began = time.monotonic()
        result = await self._run(work)
        took = time.monotonic() - began
        await asyncio.sleep(min(took * (1 / _SHARE - 1), _MAX_PAUSE_SECONDS))
        return result

    async def _run(self, work: Callable[[], T]) -> T:
        """What was begun is always waited for: the store must not be closed under it."""
        working = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._pool, work))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            raise

    async def _go_on(self) -> None:
        """Ends what was begun and not ended: runs of which some logs are gone."""
        while begun := await self._run(self.store.expiry.begun):
            for run in begun:
                # An interrupted one may be alive; where it is not, its policy finds it again.
                if run.state in ENDED:
                    await self._expire([run])
                left = await self._run(partial(self.store.get_run, run.namespace, run.run))
                if left is not None:
                    await self._run(partial(self.store.expiry.leave, run))

    async def _delete(self, found: list[Due]) -> None:
        held = sum(due.is_held for due in found)
        if held:
            self.progress = replace(self.progress, held_runs=self.progress.held_runs + held)
        free = [due for due in found if not due.is_held]
        for why, dues in groupby(free, key=lambda due: (due.run.namespace, due.why)):
            runs = [due.run for due in dues]
            await self._note(*why, runs)
            failpoints.reach("retention.noted")
            await self._expire(runs)

    async def _note(self, namespace: str, why: str, runs: list[RunRecord]) -> None:
        """Tells the audit log, before anything is deleted. Raises Unavailable."""
        detail = {
            "policy": why,
            "runs": str(len(runs)),
            "logs": str(sum(run.logs_completed + run.logs_interrupted for run in runs)),
            "first": runs[0].run,
            "last": runs[-1].run,
        }
        await self._auditor().record(AuditEvent("retention.delete", None, "ok", f"{namespace}:", "", detail))

    async def _expire(self, runs: list[RunRecord]) -> None:
        left: Iterable[RunRecord] = runs
        while left:
            began = time.monotonic()
            done = await self._run(partial(self._expire_some, left))
            left = done.left
            if self._logs_per_second and done.logs:
                took = time.monotonic() - began
                await asyncio.sleep(max(0.0, done.logs / self._logs_per_second - took))

    def _expire_some(self, runs: Iterable[RunRecord]) -> Expired:
        """In a thread of the pool."""
        numbers: list[int] = []

        def deleting(number: int) -> None:
            numbers.append(number)
            self._fence.forget(number)

        loop = self._loop
        try:
            done = self.store.expiry.expire(runs, LOGS_AT_ONCE, deleting)
            failpoints.reach("retention.deleted")
        finally:
            loop.call_soon_threadsafe(self._gone, numbers)
        return self._count(done)

    async def start(self) -> None:
        """Takes note of the event loop."""
        self._loop = asyncio.get_running_loop()

    def _gone(self, numbers: list[int]) -> None:
        for number in numbers:
            self._forget_reader(number)
            self._fence.forgotten(number)
        self._untold = self._untold or bool(numbers)
        if time.monotonic() - self._told_at > _TELL_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        if self._untold:
            self._untold = False
            self._on_deleted()

    def _count(self, done: Expired) -> Expired:
        self._broken += (f"{run.namespace}:{run.run}" for run in done.broken)
        before = self.progress
        self.progress = replace(
            before,
            runs=before.runs + done.runs,
            logs=before.logs + done.logs,
            bytes=before.bytes + done.bytes,
            held_runs=before.held_runs + done.held,
        )
        self._metrics.runs.inc(done.runs)
        self._metrics.logs.inc(done.logs)
        self._metrics.bytes.inc(done.bytes)
        return done

    # Looking ahead

    async def preview(
        self, namespace: str = "", ahead_seconds: int = 0
    ) -> AsyncGenerator[tuple[list[Due], Done], None]:
        """What a pass would delete now, or so much later if nothing more came; with what was counted so far."""
        sweep = Sweep(self.store, self.policies, self._clock_ns() + ahead_seconds * 10**9, namespace=namespace)
        began, done = time.monotonic(), Done()
        slices: Iterator[list[Due]] = sweep.slices(SLICE) if self.policies else iter(())
        while (found := await self._timed(partial(next, slices, None))) is not None:
            freed = [due.run for due in found if not due.is_held]
            done = Done(
                sweep.looked_at,
                done.runs + len(freed),
                done.logs + sum(run.logs_completed + run.logs_interrupted for run in freed),
                done.bytes + sum(run.stored_bytes for run in freed),
                done.held_runs + len(found) - len(freed),
                time.monotonic() - began,
            )
            yield found, done
