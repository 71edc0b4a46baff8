"""Sends death reports out: lines in the run's log, and one line of JSON on the leader's standard output.

A report is an event of its log, written with the log's end in one write, which also notes that it is still to be sent
out. The write of the run log's lines takes that note away: so a leader that was killed goes on where it was, and says
nothing twice. Nobody waits for this service; while it can't work, notes wait on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from prometheus_client import CollectorRegistry, Counter

from joblog.death import Death, last_death
from joblog.errors import JoblogError
from joblog.formats import rfc3339_nano
from joblog.identity import RUN_LOG_TASK, LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.live_log import Refused
from joblog.leader.ingest.own_log import OWN_WORKER_ID, OwnLog
from joblog.leader.reading.reader import LogReader
from joblog.leader.reading.tail import read_tail
from joblog.runline import run_line
from joblog.service import Service
from joblog.v1 import ingest_pb2, types_pb2

log = logging.getLogger(__name__)

# What dies together comes to be in one attempt of the run's log.
GATHER_SECONDS = 0.5
READ_SECONDS = 20.0
_AT_ONCE = 100
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 60.0
_MAX_WAITING_LINES = 256


class Output:
    """Writes lines to a descriptor in a thread of its own; what has no room while nobody reads is left out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes] = queue.Queue(_MAX_WAITING_LINES)
        self._started = False

    def write(self, line: bytes) -> bool:
        """Whether the line will be written. Never waits."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="death reports", daemon=True).start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while True:
            line = self._lines.get()
            with contextlib.suppress(OSError):
                while line:
                    line = line[os.write(self._descriptor, line) :]
            self._lines.task_done()

    async def flush(self, seconds: float) -> None:
        """Waits so long at most until all is written."""
        if self._lines.unfinished_tasks:
            waiting = threading.Thread(target=self._lines.join, daemon=True)
            waiting.start()
            await asyncio.to_thread(waiting.join, seconds)


@dataclass(frozen=True, slots=True)
class Report:
    """One log's death, with the last bytes of the log before it."""

    record: types_pb2.LogRecord
    event: types_pb2.Event
    death: Death
    tail: bytes

    def line(self, *, with_tail: bool) -> bytes:
        """As it goes to standard output: printable ASCII, whatever the log says."""
        name = self.record.id
        said: dict[str, object] = {
            "type": "death_report",
            "time": rfc3339_nano(self.event.time_ns),
            "namespace": name.namespace,
            "run": name.run,
            "task": name.task,
            "attempt": name.attempt,
            "uid": self.record.uid.hex(),
            "length": self.event.offset,
            **self.death.known(),
        }
        if with_tail:
            said["tail"] = self.tail.decode(errors="replace")
        return json.dumps(said).encode() + b"\n"

    def run_lines(self) -> list[bytes]:
        """As the run's log tells it."""
        name, time_ns = self.record.id, self.event.time_ns
        said = {"task": name.task, "attempt": name.attempt, **self.death.known()}
        texts = self.tail.decode(errors="replace").removesuffix("\n").split("\n") if self.tail else []
        lines = [run_line(time_ns, "died", said)]
        # Each as a value, so that no line of a log looks like one of the run's.
        lines += [
            run_line(time_ns, "tail", {"task": name.task, "attempt": name.attempt, "text": text}) for text in texts
        ]
        return [line.encode() for line in lines]


class DeathReports(Service):
    """Starts after ingest and ends before it."""

    name = "death reports"

    def __init__(
        self,
        ingest: Ingest,
        store: Store,
        reader: LogReader,
        registry: CollectorRegistry,
        *,
        stdout: str,
        descriptor: int = 1,
    ) -> None:
        """stdout: on, without_tail or off, as in the settings."""
        self._ingest = ingest
        self._store = store
        self._reader = reader
        self._stdout = stdout
        self._output = Output(descriptor)
        self._woken = asyncio.Event()
        self._sending = asyncio.Lock()
        self._sent = Counter("joblog_death_reports", "Death reports that were sent out", ["reason"], registry=registry)
        self._left_out = Counter(
            "joblog_death_reports_not_printed",
            "Death reports that standard output took too slowly; they are with their logs all the same",
            registry=registry,
        )

    async def start(self) -> None:
        """Looks for what an earlier life of the leader has left."""
        self._ingest.on_death(self._woken.set)
        self._woken.set()

    async def run(self) -> None:
        """Sends out what there is."""
        pause, failure = _FIRST_PAUSE_SECONDS, ""
        left = True
        while True:
            await self._woken.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._woken.clear()
            try:
                async with self._sending:
                    if left:
                        await self._complete_left()
                        left = False
                    while numbers := await self._reader.run(lambda: self._store.deaths(_AT_ONCE)):
                        await self._send(numbers)
                pause, failure = _FIRST_PAUSE_SECONDS, ""
            except Exception as error:
                if str(error) != failure:
                    failure = str(error)
                    trace = None if isinstance(error, JoblogError) else error
                    log.error("death reports can't be sent out, which is tried again: %s", error, exc_info=trace)
                left = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                self._woken.set()

    async def drain(self, deadline_seconds: float) -> None:
        """Sends out what was begun, and lets standard output take it; what is left waits for the next start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds), self._sending:
                pass
        await self._output.flush(min(deadline_seconds, 1.0))

    async def _complete_left(self) -> None:
        """Attempts of run logs that were begun here and not ended."""
        for live in self._ingest.registry.all():
            record = live.record
            if record.id.task == RUN_LOG_TASK and record.start.worker_id == OWN_WORKER_ID:
                own = OwnLog(self._ingest)
                if await own.take_up(live.number) is not None:
                    await own.complete(_ended())

    async def _send(self, numbers: list[int]) -> None:
        reports = [report for number in numbers if (report := await self._report(number)) is not None]
        known = {report.record.number for report in reports}
        if missing := [number for number in numbers if number not in known]:
            await self._reader.run(lambda: self._forget(missing))
        by_run: dict[tuple[str, str], list[Report]] = defaultdict(list)
        for report in reports:
            by_run[report.record.id.namespace, report.record.id.run].append(report)
        failures: list[JoblogError] = []
        for (namespace, run), together in by_run.items():
            try:
                await self._tell_run(namespace, run, together)
            except JoblogError as error:
                # What is wrong with one run must not keep the others from being told.
                failures.append(error)
        if failures:
            raise failures[0]

    async def _tell_run(self, namespace: str, run: str, together: list[Report]) -> None:
        own = OwnLog(self._ingest)
        try:
            await own.open(LogName(namespace, run, RUN_LOG_TASK, 0))
        except Refused as refused:
            if refused.code != ingest_pb2.REFUSAL_CODE_INVALID:
                raise
            # It will never be taken: whoever may write to the run has seen to that.
            log.warning("the run's log takes no death report: %s", refused)
            await self._reader.run(lambda: self._forget([report.record.number for report in together]))
            for report in together:
                self._print(report)
            return
        for report in together:
            await self._tell(own, report)
        await own.complete(_ended())

    async def _tell(self, own: OwnLog, report: Report) -> None:
        lines = report.run_lines()
        number = report.record.number

        def told(changes: Changes) -> None:
            changes.death_told(number)

        # An append is one batch: the first holds what the event says, and the note that goes.
        limit = self._ingest.limits.max_batch_bytes // 2
        also: Callable[[Changes], None] = told
        for part in _parts(lines, limit):
            await own.append(part, [report.event.time_ns] * len(part), also=also)
            also = _nothing
        self._print(report)

    def _print(self, report: Report) -> None:
        self._sent.labels(report.death.reason).inc()
        if self._stdout != "off" and not self._output.write(report.line(with_tail=self._stdout == "on")):
            self._left_out.inc()

    async def _report(self, number: int) -> Report | None:
        """None where the log, or what it says of its death, is gone."""
        record = await self._reader.run(lambda: self._store.get_log(number))
        if record is None:
            return None
        found = last_death(await self._reader.run(lambda: self._store.events(number)))
        if found is None:
            return None
        event, death = found
        try:
            async with asyncio.timeout(READ_SECONDS):
                tail = await read_tail(self._reader, number, event.offset)
        except (JoblogError, TimeoutError) as error:
            log.warning("the last lines of %s/%s can't be read: %s", record.id.run, record.id.task, error)
            tail = b""
        return Report(record, event, death, tail)

    def _forget(self, numbers: list[int]) -> None:
        changes = Changes()
        for number in numbers:
            changes.death_told(number)
        self._store.write(changes)


def _parts(lines: list[bytes], limit: int) -> list[list[bytes]]:
    """The lines in groups of so many bytes; one that is longer is cut."""
    pieces = [line[at : at + limit] for line in lines for at in range(0, len(line), limit)]
    sizes, total = [], 0
    for piece in pieces:
        total += len(piece)
        sizes.append(total // limit)
    return [[piece for piece, _ in group] for _, group in groupby(zip(pieces, sizes, strict=True), lambda one: one[1])]


def _nothing(_changes: Changes) -> None:
    pass


def _ended() -> types_pb2.Outcome:
    return types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_EXITED, ended_ns=time.time_ns())
