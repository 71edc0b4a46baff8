"""Sends lines of logs to a collector, and notes for each log how far it has come: none is missing, some may come twice.

It reads as any reader does, and nobody waits for it: what is deleted before it was sent is counted. While the collector
takes nothing, nothing is kept in memory: what was read is read again then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from joblog.errors import JoblogError, NotFound
from joblog.formats import gap_reason
from joblog.leader.access.audit import AuditEvent, Auditor, NoAudit
from joblog.leader.access.roles import matches
from joblog.leader.buffer.exports import Exported
from joblog.leader.buffer.store import Store
from joblog.leader.export.lines import Cutter, Lines
from joblog.leader.export.metrics import ExportMetrics
from joblog.leader.export.records import Request
from joblog.leader.export.sender import Answer, NotTaken, Sender
from joblog.leader.reading.piece import Piece, ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LiveLogs, LogReader
from joblog.priority import step_aside
from joblog.service import Service
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

# Of one log at a time.
READ_BYTES = 256 << 10
MAX_LINES = 4096
PAGE = 1000
# After so many logs that can't be read, the others of a look are left for the next one.
MAX_FAILED = 3
LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# A collector that asks for a longer pause is asked again all the same.
LONGEST_ASKED_SECONDS = 600.0
# A look at all logs that finds nothing takes this share of the time at most.
_LOOK_SHARE = 0.2
# It rests for so many times as long as it has computed; more while logs come in at this rate.
_REST, _BUSY_REST = 0.25, 2.0
_BUSY_BYTES_PER_SECOND = 1e6
_MAX_REST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """endpoint: for words. namespaces: globs. batch_bytes: about the size of a request. partial_seconds: how long the
    end of a line is waited for.
    """

    endpoint: str
    namespaces: Sequence[str]
    batch_bytes: int = 1 << 20
    partial_seconds: float = 5.0

    def wants(self, record: types_pb2.LogRecord) -> bool:
        """Whether the log is to be exported."""
        return any(matches(glob, record.id.namespace) for glob in self.namespaces)


class _Waiting(NamedTuple):
    """For the end of a line: how far the log was exported, and how long it was then; since when (monotonic)."""

    exported: Exported
    length: int
    since: float


class _Batch:
    """A request, and how far logs are exported once it was taken."""

    def __init__(self) -> None:
        self.request = Request()
        self.exported: dict[int, Exported | None] = {}

    def __bool__(self) -> bool:
        return bool(self.exported)


class Exporter(Service):
    """Starts after ingest and the audit log. live: the logs that are open for writing."""

    name = "otlp export"

    def __init__(
        self,
        store: Store,
        reader: LogReader,
        live: LiveLogs,
        sender: Sender,
        *,
        plan: ExportPlan,
        metrics: ExportMetrics,
        auditor: Callable[[], Auditor] = NoAudit,
    ) -> None:
        self._store = store
        self._reader = reader
        self._live = live
        self._sender = sender
        self._plan = plan
        self._metrics = metrics
        self._auditor = auditor
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="otlp export", initializer=step_aside)
        self._sending = asyncio.Lock()
        self._ending = False
        self._computed_seconds = 0.0
        self._sent_at, self._put_bytes = 0.0, 0
        self._waiting: dict[int, _Waiting] = {}
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._problem = ""
        self._refusal = ""
        store.exports.wanted = plan.wants
        store.exports.on_deleted = self._deleted

    def warnings(self) -> list[str]:
        """What is wrong now, for people."""
        return [f"otlp export: {self._problem}"] if self._problem else []

    def _deleted(self, size_bytes: int) -> None:
        self._metrics.deleted_logs.inc()
        self._metrics.deleted_bytes.inc(size_bytes)

    # Lifecycle

    async def start(self) -> None:
        """Takes up the logs that are open, from their beginning where they were not exported before."""
        fresh = await self._reader.run(lambda: self._store.exports.begin(self._store.live_logs()))
        plan = self._plan
        log.warning(
            "lines of logs of %s are sent to %s, where joblog neither encrypts nor guards them (%d open logs were not "
            "before)",
            ", ".join(plan.namespaces),
            plan.endpoint,
            fresh,
        )

    async def run(self) -> None:
        """Sends what there is."""
        announced = False
        while True:
            began = time.monotonic()
            try:
                if not announced:
                    # Not a line before it is written down that lines go there.
                    await self._announce()
                    announced = True
                has_sent = await self._pass()
                self._problem, self._pause_seconds = "", FIRST_PAUSE_SECONDS
                if not has_sent:
                    took = time.monotonic() - began
                    await asyncio.sleep(max(LOOK_SECONDS, took * (1 / _LOOK_SHARE - 1)))
            except NotTaken as why:
                self._metrics.failures.labels(why.code).inc()
                await asyncio.sleep(self._fail(f"{self._plan.endpoint} takes nothing: {why}", None, why.after_seconds))
            except JoblogError as error:
                await asyncio.sleep(self._fail(str(error), None))
            except Exception as error:  # noqa: BLE001 - it is said, and the leader goes on without an export
                await asyncio.sleep(self._fail(str(error) or type(error).__name__, error))

    def _fail(self, what: str, error: Exception | None, after_seconds: float = 0.0) -> float:
        """Says it once; how long to wait."""
        if what != self._problem:
            log.warning("otlp export: %s; it is tried again", what, exc_info=error)
        self._problem = what
        pause = self._pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        return max(pause, min(after_seconds, LONGEST_ASKED_SECONDS))

    async def _announce(self) -> None:
        plan = self._plan
        detail = {"namespaces": " ".join(plan.namespaces)}
        await self._auditor().record(AuditEvent("export.start", None, "ok", plan.endpoint, "", detail))

    async def drain(self, deadline_seconds: float) -> None:
        """Waits for the answer to what was sent; what is left waits for the next start."""
        self._ending = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds), self._sending:
                pass

    async def stop(self) -> None:
        """Closes the connection."""
        await self._sender.close()
        self._thread.shutdown(wait=True)

    # One look at all logs

    async def _pass(self) -> bool:
        """Whether anything was sent."""
        exports, after, count, has_sent = self._store.exports, 0, 0, False
        batch, failed = _Batch(), list[JoblogError]()
        waiting, self._waiting = self._waiting, {}
        while page := await self._reader.run(partial(exports.pending, after, PAGE)):
            for number, exported in page:
                try:
                    await self._visit(number, exported, batch, waiting.get(number))
                except NotFound:
                    # It was deleted meanwhile.
                    continue
                except JoblogError as error:
                    # As of a log in an archive out of reach: others may be in the buffer.
                    failed.append(error)
                    if len(failed) == MAX_FAILED:
                        break
                if self._is_full(batch):
                    await self._send(batch)
                    batch, has_sent = _Batch(), True
            after, count = page[-1][0], count + len(page)
            if len(page) < PAGE or len(failed) == MAX_FAILED:
                break
        self._metrics.pending_logs.set(count)
        if batch:
            await self._send(batch)
            has_sent = True
        if failed:
            raise failed[0]
        return has_sent

    def _is_full(self, batch: _Batch) -> bool:
        request = batch.request
        return (
            request.size_bytes >= self._plan.batch_bytes or request.records >= MAX_LINES or len(batch.exported) >= PAGE
        )

    async def _visit(self, number: int, exported: Exported, batch: _Batch, waiting: _Waiting | None) -> None:
        """Adds to the batch what is new in a log, as far as there is room. Raises NotFound."""
        length = self._live.length(number)
        if length is not None and self._has_nothing(length, exported, waiting):
            self._go_on_waiting(number, waiting, exported)
            return
        record = await self._reader.run(lambda: self._store.get_log(number))
        if record is None or not self._plan.wants(record):
            batch.exported[number] = None
            return
        length, ended = record.next_offset, record.state == types_pb2.LOG_STATE_COMPLETED
        if not ended and self._has_nothing(length, exported, waiting):
            self._go_on_waiting(number, waiting, exported)
            return
        while exported.offset < length and not self._is_full(batch):
            patient = not ended and not self._is_over(waiting, exported)
            pieces = await self._read(number, exported.offset)
            work = partial(_cut, pieces, exported, length, batch, record, patient=patient)
            found, at = await self._compute(work)
            if found.exported == exported and not found.lines:
                self._waiting[number] = _Waiting(exported, length, self._since(waiting, exported))
                return
            exported = batch.exported[number] = found.exported
            if at >= length and found.waits:
                self._waiting[number] = _Waiting(exported, length, time.monotonic())
                return
        if ended and exported.offset >= length:
            batch.exported[number] = None

    def _has_nothing(self, length: int, exported: Exported, waiting: _Waiting | None) -> bool:
        if length <= exported.offset:
            return True
        return waiting is not None and waiting.length == length and not self._is_over(waiting, exported)

    def _is_over(self, waiting: _Waiting | None, exported: Exported) -> bool:
        """Whether the end of a line was waited for long enough."""
        if waiting is None or waiting.exported != exported:
            return False
        return time.monotonic() - waiting.since >= self._plan.partial_seconds

    def _since(self, waiting: _Waiting | None, exported: Exported) -> float:
        return waiting.since if waiting is not None and waiting.exported == exported else time.monotonic()

    def _go_on_waiting(self, number: int, waiting: _Waiting | None, exported: Exported) -> None:
        if waiting is not None and waiting.exported == exported:
            self._waiting[number] = waiting

    async def _read(self, number: int, offset: int) -> list[Piece]:
        spec = ReadSpec(Start(StartKind.OFFSET, offset), limit_bytes=READ_BYTES, with_frames=True)
        async with contextlib.aclosing(self._reader.read(number, spec)) as pieces:
            return [piece async for piece in pieces]

    async def _compute(self, work: Callable[[], tuple[Lines, int]]) -> tuple[Lines, int]:
        began = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._computed_seconds += time.monotonic() - began

    # One request

    async def _send(self, batch: _Batch) -> None:
        """Raises NotTaken, and what the store raises: how far logs are is as before then."""
        async with self._sending:
            if self._ending:
                # It is about to be cancelled.
                await asyncio.Event().wait()
            request = batch.request
            if request.records:
                loop = asyncio.get_running_loop()
                encoded = await loop.run_in_executor(self._thread, request.encode)
                answer = await self._sender.send(encoded, request.records)
                self._count(request, answer)
            await self._reader.run(lambda: self._store.exports.advance(batch.exported))
        await self._rest()

    def _count(self, request: Request, answer: Answer) -> None:
        metrics = self._metrics
        if answer.rejected:
            metrics.rejected.labels(answer.code or "PARTIAL").inc(answer.rejected)
        if answer.message and answer.message != self._refusal:
            log.warning("otlp export: the collector refused %d records: %s", answer.rejected, answer.message)
        self._refusal = answer.message
        if taken := request.records - answer.rejected:
            metrics.records.inc(taken)
            metrics.bytes.inc(request.log_bytes)
            metrics.missing_bytes.inc(request.missing_bytes)
        if request.newest_ns:
            metrics.delay_seconds.set(max(0.0, time.time() - request.newest_ns / 1e9))

    async def _rest(self) -> None:
        """Leaves the processor to others, most of it while logs come in."""
        now, put_bytes = time.monotonic(), self._store.put_bytes
        busy = put_bytes - self._put_bytes > _BUSY_BYTES_PER_SECOND * (now - self._sent_at)
        self._sent_at, self._put_bytes = now, put_bytes
        rest = self._computed_seconds * (_BUSY_REST if busy else _REST)
        self._computed_seconds = 0.0
        await asyncio.sleep(min(rest, _MAX_REST_SECONDS))


def _cut(
    pieces: Sequence[Piece],
    exported: Exported,
    length: int,
    batch: _Batch,
    record: types_pb2.LogRecord,
    *,
    patient: bool,
) -> tuple[Lines, int]:
    """Cuts pieces up, and adds what comes of it to a batch; up to which offset it has looked."""
    cutter = Cutter(exported, MAX_LINES)
    for piece in pieces:
        cutter.add(piece, gap_reason(piece.gap.reason) if piece.gap is not None else "")
    found = cutter.finish(patient=patient or cutter.at < length)
    if found.lines:
        batch.request.add(record, found.lines)
    return found, cutter.at
