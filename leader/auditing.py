"""The audit log, as the leader keeps it: a log of its own under @audit, line after line in one chain of hashes.

A run for each month, an attempt for each start of the leader: so each log has one writer, which knows its hash, and
what a start left behind is completed, sealed and archived with the next one. The chain goes on from log to log.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter

from joblog import __version__
from joblog.errors import Corrupt, JoblogError, NotFound, Unavailable
from joblog.identity import AUDIT_NAMESPACE, AUDIT_TASK, LogName
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.audit_line import BEGIN, END, Head, chain_apart, chain_of, head_of, make_line
from joblog.leader.access.audit_queue import ALIKE_SECONDS, LEADER, MAX_WAITING, AuditQueue, Entry
from joblog.leader.buffer.every import runs_of
from joblog.leader.buffer.store import Store
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.live_log import LiveLog
from joblog.leader.ingest.own_log import Note, OwnLog
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.service import Service
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

# Kept beside the log in the same write as its lines: the head of the chain is known without reading an archive.
HEAD_EVENT = "audit_head"
# What is noted gathers for so long; what somebody waits for does not.
GATHER_SECONDS = 0.2
LOOK_SECONDS = 60.0
MAX_WRITE_BYTES = 512 << 10
MAX_WRITE_LINES = 1000
MAX_LOG_BYTES = 256 << 20
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_READS = frozenset({"log.read", "log.search", "log.verify"})
_HEAD = re.compile(r"sequence=(\d+) sha256=([0-9a-f]{64}) length=(\d+)")


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """reads: whether reads and searches that were allowed are written too. max_log_bytes: of one log of the chain."""

    reads: bool = True
    alike_seconds: float = ALIKE_SECONDS
    max_waiting: int = MAX_WAITING
    max_log_bytes: int = MAX_LOG_BYTES


class AuditMetrics:
    """What became of events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lines = Counter("joblog_audit_lines", "Lines of the audit log", registry=registry)
        self.lost = Counter(
            "joblog_audit_lost_events", "Events that the audit log had no room for, which it says", registry=registry
        )
        self.failures = Counter("joblog_audit_failures", "Writes of the audit log that failed", registry=registry)


class Auditing(Service):
    """The Auditor of a leader. Starts after ingest and before all that answers requests, and ends between them.

    While the log can't be written, record() raises Unavailable, and what is noted waits, up to a bound.
    """

    name = "audit log"

    def __init__(
        self,
        ingest: Ingest,
        store: Store,
        reader: LogReader,
        registry: CollectorRegistry,
        options: AuditOptions | None = None,
        *,
        is_apart: Callable[[], bool] = lambda: False,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """is_apart: whether there may be a chain, in an archive out of reach, that this store does not know of."""
        self._is_apart = is_apart
        self._chain = ""
        self._options = options or AuditOptions()
        self._ingest = ingest
        self._store = store
        self._reader = reader
        self._metrics = AuditMetrics(registry)
        self._clock_ns = clock_ns
        self._queue = AuditQueue(
            clock_ns, alike_seconds=self._options.alike_seconds, max_waiting=self._options.max_waiting
        )
        self._own: OwnLog | None = None
        self._run = ""
        self._head = Head()
        self._failure: JoblogError | None = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._rotate_after_ns = 0
        self._woken = asyncio.Event()
        self._urgent = asyncio.Event()
        self._ending = False
        self._ended = asyncio.Event()

    # What others call

    def note(self, event: AuditEvent) -> None:
        """See Auditor."""
        if self._ended.is_set():
            self._metrics.lost.inc()
            return
        if not self._options.reads and event.outcome == "ok" and event.action in _READS:
            return
        lost = self._queue.lost
        self._queue.note(event)
        self._metrics.lost.inc(max(0, self._queue.lost - lost))
        self._woken.set()

    async def record(self, event: AuditEvent) -> None:
        """See Auditor."""
        if self._ended.is_set():
            raise Unavailable("the audit log is closed: the leader is stopping")
        done = self._queue.record(event)
        self._urgent.set()
        self._woken.set()
        await done

    @property
    def head(self) -> Head:
        """Where the chain stands on disk."""
        return self._head

    def warnings(self) -> list[str]:
        """What a person should know."""
        return [f"the audit log can't be written: {self._failure}"] if self._failure is not None else []

    # Lifecycle

    async def start(self) -> None:
        """Goes on with the chain; when it can't, that is tried again, and acts that need it wait or fail."""
        try:
            await self._begin()
        except JoblogError as error:
            self._fail(error)

    async def run(self) -> None:
        """Writes what comes."""
        try:
            ending = False
            while not ending:
                await self._pause()
                ending = self._ending
                self._queue.ripen(self._clock_ns(), all_of_them=ending)
                try:
                    await self._write()
                except JoblogError as error:
                    self._fail(error)
            await self._end()
        finally:
            self._refuse_all()
            self._ended.set()

    async def drain(self, deadline_seconds: float) -> None:  # noqa: ARG002 - writes once more, and ends
        """Writes what has come, and completes the log."""
        self._ending = True
        self._urgent.set()
        self._woken.set()
        await self._ended.wait()

    async def _pause(self) -> None:
        """Returns when there is something to write, or to look at."""
        if self._failure is not None:
            await _until(self._urgent, self._pause_seconds)
        else:
            idle_seconds = min(LOOK_SECONDS, self._options.alike_seconds)
            await _until(self._woken, 0 if len(self._queue) else idle_seconds)
            if not self._urgent.is_set():
                await _until(self._urgent, GATHER_SECONDS)
        self._woken.clear()
        if not self._ending:
            self._urgent.clear()

    def _fail(self, error: JoblogError) -> None:
        """What is on disk counts, and is looked up before anything is written again."""
        if str(error) != str(self._failure):
            log.error("the audit log can't be written, which is tried again: %s", error)
        self._failure = error
        self._own = None
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
        self._metrics.failures.inc()
        self._refuse_all()

    def _refuse_all(self) -> None:
        """Nobody waits for what can't be written now."""
        why = self._failure or "the leader is stopping"
        notes = []
        for entry in self._queue.take(len(self._queue)):
            if entry.done is None:
                notes.append(entry)
            elif not entry.done.done():
                entry.done.set_exception(Unavailable(f"the audit log can't be written: {why}"))
        self._queue.put_back(notes)

    # Writing

    async def _write(self) -> None:
        if self._own is None:
            await self._begin()
        else:
            await self._rotate()
        while entries := self._queue.take(MAX_WRITE_LINES):
            try:
                entries = await self._append(entries)
            finally:
                self._queue.put_back([entry for entry in entries if entry.done is None or not entry.done.done()])
        self._failure = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def _append(self, entries: list[Entry]) -> list[Entry]:
        """Writes the first of them in one piece; those that are left."""
        assert self._own is not None
        head, lines, size = self._head, [], 0
        for entry in entries:
            line = make_line(entry.event, entry.time_ns, head, count=entry.count)
            head = head_of(line, head.log)
            lines.append(line)
            size += len(line)
            if size >= MAX_WRITE_BYTES:
                break
        written, left = entries[: len(lines)], entries[len(lines) :]
        length = self._own.live.next_offset + size
        note = Note(HEAD_EVENT, f"sequence={head.sequence} sha256={head.sha256} length={length}")
        await self._own.append(lines, [entry.time_ns for entry in written], note)
        self._head = head
        self._metrics.lines.inc(len(lines))
        for entry in written:
            if entry.done is not None and not entry.done.done():
                entry.done.set_result(None)
        return left

    async def _say(self, action: str, detail: dict[str, str]) -> None:
        await self._append([Entry(AuditEvent(action, LEADER, "ok", detail=detail), self._clock_ns())])

    # The logs of the chain

    def _period(self) -> str:
        """The run that lines belong to now: never one before that of the chain, also when the clock goes back."""
        month = time.strftime("%Y-%m", time.gmtime(self._clock_ns() // 10**9))
        return max(self._chain + month, self._run)

    async def _begin(self) -> None:
        """Finds the chain, completes what an earlier start has left open, and begins the next log."""
        loop = asyncio.get_running_loop()
        newest = await loop.run_in_executor(self._ingest.pool, self._newest)
        lost = ""
        self._head = Head()
        if newest is not None:
            self._run = max(self._run, newest.id.run)
            self._head, lost = await self._head_in(newest)
        outcome = types_pb2.Outcome(
            kind=types_pb2.OUTCOME_KIND_SUPERVISOR_DIED, message="the leader ended, or could not write, before its end"
        )
        for live in self._ingest.registry.all():
            if live.record.id.namespace == AUDIT_NAMESPACE:
                left = OwnLog(self._ingest)
                if await left.take_up(live.number) is not None:
                    await left.complete(outcome)
        own = OwnLog(self._ingest)
        self._run = self._period()
        await self._enter(own, await own.open(self._name()), lost)

    def _name(self) -> LogName:
        return LogName(AUDIT_NAMESPACE, self._run, AUDIT_TASK, 0)

    async def _enter(self, own: OwnLog, live: LiveLog, lost: str = "") -> None:
        """Writes the first line of a log, which says where the one before it lies."""
        path = _path(live.record)
        detail = {"log": path, "after": self._head.log, "leader": self._store.store_id, "version": __version__}
        if lost:
            detail["lost"] = lost
        self._own = own
        self._head = self._head._replace(log=path)
        await self._say(BEGIN, detail)

    async def _rotate(self) -> None:
        """A new month, or a log that is long: the next one is opened, then this one is completed."""
        assert self._own is not None
        run = self._period()
        full = self._own.live.next_offset >= self._options.max_log_bytes
        if (run == self._run and not full) or self._clock_ns() < self._rotate_after_ns:
            return
        before, self._run = self._run, run
        fresh = OwnLog(self._ingest)
        try:
            live = await fresh.open(self._name())
        except JoblogError as error:
            self._run = before
            # As without a KMS: this one goes on meanwhile.
            self._rotate_after_ns = self._clock_ns() + int(LOOK_SECONDS * 1e9)
            log.warning("the next audit log can't be opened, the one of %s goes on: %s", before, error)
            return
        await self._complete(f"goes on in {_path(live.record)}")
        await self._enter(fresh, live)

    async def _complete(self, why: str) -> None:
        assert self._own is not None
        await self._say(END, {"why": why})
        ended = types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_EXITED, ended_ns=self._clock_ns())
        await self._own.complete(ended)
        self._own = None

    async def _end(self) -> None:
        if self._own is not None:
            try:
                await self._complete("the leader stops")
            except JoblogError as error:
                log.warning("the audit log could not be completed, the next start does it: %s", error)

    # Where the chain stands

    def _newest(self) -> types_pb2.LogRecord | None:
        """The last log of the chain that holds anything."""
        runs = [record.run for record in runs_of(self._store, AUDIT_NAMESPACE)]
        is_known = any(chain_of(run) == "" for run in runs)
        self._chain = chain_apart(self._store.store_id) if self._is_apart() and not is_known else ""
        for run in sorted((run for run in runs if chain_of(run) == self._chain), reverse=True):
            for attempt in range(self._store.last_attempt(AUDIT_NAMESPACE, run, AUDIT_TASK), 0, -1):
                number = self._store.find_log(LogName(AUDIT_NAMESPACE, run, AUDIT_TASK, attempt))
                record = self._store.get_log(number) if number is not None else None
                if record is not None and record.next_offset:
                    return record
        return None

    async def _head_in(self, record: types_pb2.LogRecord) -> tuple[Head, str]:
        """The head of the chain as the log has it, and what is lost of it. Raises Unavailable."""
        path = _path(record)
        noted = Head(log=path)
        loop = asyncio.get_running_loop()
        for event in await loop.run_in_executor(self._ingest.pool, self._store.events, record.number):
            match = _HEAD.fullmatch(event.message) if event.kind == HEAD_EVENT else None
            if match is not None and int(match[1]) > noted.sequence:
                noted = Head(int(match[1]), match[2], path)
                if int(match[3]) == record.next_offset:
                    return noted, ""
        try:
            spec = ReadSpec(Start(StartKind.LAST_LINES, 1))
            data = b"".join([piece.data async for piece in self._reader.read(record.number, spec)])
            return head_of(data.rpartition(b"\n")[0].rpartition(b"\n")[2], path), ""
        except (Corrupt, NotFound) as error:
            log.error("the end of the audit log %s can't be read, the chain goes on beyond it: %s", path, error)
            return noted, f"the end of {path} can't be read"


def _path(record: types_pb2.LogRecord) -> str:
    return f"{record.id.run}/{record.id.task}/{record.id.attempt}"


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
