"""One worker's stream: takes its messages in order, hands what fits to the committer, and answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc.aio

from joblog.death import EVENT_KIND
from joblog.errors import InvalidInput, JoblogError
from joblog.leader.access.principal import Principal
from joblog.leader.access.roles import Permission
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.holes import Hole
from joblog.leader.ingest.committer import Commit
from joblog.leader.ingest.live_log import Accepted, LiveLog, Refused
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.ingest import Ingest
    from joblog.leader.ingest.quotas import Account

log = logging.getLogger(__name__)

PushContext = grpc.aio.ServicerContext[ingest_pb2.PushRequest, ingest_pb2.PushResponse]

MAX_LOGS = 200_000
MAX_EVENT_BYTES = 4096
# On one stream: of a log's events the last 10,000 are archived.
MAX_EVENTS = 10_000
# What no worker may say: others rely on it.
OWN_EVENTS = frozenset({EVENT_KIND})
MAX_UNSENT = 5000
MAX_WORKER_ID_LENGTH = 250
PROTOCOL = 1


@dataclass(slots=True)
class _Processed:
    """What came of one message: work to commit, and answers."""

    accepted: list[Accepted] = field(default_factory=list)
    ends: dict[LiveLog, int] = field(default_factory=dict)
    events: list[tuple[LiveLog, types_pb2.Event]] = field(default_factory=list)
    opened: list[tuple[ingest_pb2.OpenLog, LiveLog | types_pb2.LogRecord]] = field(default_factory=list)
    closes: list[tuple[LiveLog, ingest_pb2.CloseLog]] = field(default_factory=list)
    counted: list[tuple[Account, int]] = field(default_factory=list)
    refusals: dict[int, Refused] = field(default_factory=dict)
    refilled: set[int] = field(default_factory=set)
    # When the oldest byte was read at its task; 0: there is none.
    first_time_ns: int = 0


class Session:
    """The state of one Push stream. Methods belong to the event loop, but for those that say otherwise."""

    def __init__(self, ingest: Ingest, hello: ingest_pb2.Hello, principal: Principal | None = None) -> None:
        """principal: whose stream it is; None for the leader itself."""
        self.ingest = ingest
        self.principal = principal
        self.worker_id: str = hello.worker_id
        self.host: str = hello.host
        self.version: str = hello.version
        self.stats = ingest_pb2.WorkerStats()
        self.last_heard = time.monotonic()
        self.taking = False
        self.broken = False
        self.failed: asyncio.Future[JoblogError] = asyncio.get_running_loop().create_future()
        self.logs: dict[int, LiveLog] = {}
        # Numbers of closed logs whose spool the worker keeps until they are sealed.
        self._kept: dict[int, int] = {}
        self._outbox = ingest_pb2.PushResponse()
        self._acks: dict[int, tuple[int, int]] = {}
        self._events: Counter[int] = Counter()
        self._outgoing = asyncio.Event()
        self._flushed = asyncio.Event()
        self._pending = 0
        self._idle = asyncio.Event()
        self._closings: set[asyncio.Task[None]] = set()

    @staticmethod
    def check_hello(request: ingest_pb2.PushRequest) -> ingest_pb2.Hello:
        """The hello of a stream's first message; raises InvalidInput."""
        if not request.HasField("hello"):
            raise InvalidInput("the first message of a Push stream must hold hello")
        hello = request.hello
        if hello.protocol != PROTOCOL:
            raise InvalidInput(f"hello.protocol {hello.protocol} is not known: this leader speaks {PROTOCOL}")
        if not 1 <= len(hello.worker_id) <= MAX_WORKER_ID_LENGTH or not hello.worker_id.isprintable():
            raise InvalidInput(f"hello.worker_id must be 1-{MAX_WORKER_ID_LENGTH} printable characters")
        return hello

    def check_may_open(self, namespace: str) -> None:
        """Raises Refused where the worker may not write in the namespace, whatever there is in it."""
        principal = self.principal
        if principal is not None and not principal.may(Permission.LOG_WRITE, namespace):
            refusal = principal.refusal(Permission.LOG_WRITE, namespace)
            raise Refused(ingest_pb2.REFUSAL_CODE_DENIED, str(refusal))

    # What the worker sends

    async def take(self, request: ingest_pb2.PushRequest) -> None:
        """Works through one message; returns when the next one may be read."""
        self.last_heard = time.monotonic()
        self.taking = True
        try:
            await self._take(request)
        finally:
            self.taking = False
            self.last_heard = time.monotonic()

    async def _take(self, request: ingest_pb2.PushRequest) -> None:
        while self._unsent() > MAX_UNSENT:
            # It sends what must be answered and does not read the answers.
            self._flushed.clear()
            await self._flushed.wait()
        if request.HasField("stats"):
            self.stats = request.stats
            self.ingest.seen.heard(self)
        batches = [append.batch for append in (*request.appends, *request.refills)]
        size = sum(len(batch.payload) + len(batch.frames) for batch in batches)
        if size:
            await self.ingest.archiving.until_open()
        await self.ingest.gate.acquire(size)
        self._pending += 1
        self._idle.clear()
        # Once begun it is seen through: what was accepted must also be submitted, even when the stream ends meanwhile.
        await asyncio.shield(asyncio.ensure_future(self._work(request, size)))

    def _unsent(self) -> int:
        outbox = self._outbox
        return len(outbox.refusals) + len(outbox.opened) + len(outbox.steers) + len(outbox.resends)

    async def _work(self, request: ingest_pb2.PushRequest, size: int) -> None:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self.ingest.pool, self._process, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this stream and no other
            # What was accepted before is not submitted any more: the logs must be agreed on again.
            self.broken = True
            self._done(size)
            self._fail(error)
            return
        self._answer(done)
        if done.accepted or done.events:
            self._submit(done, size)
        else:
            self._done(size)
        for live, close in done.closes:
            task = asyncio.create_task(self._close(live, close))
            self._closings.add(task)
            task.add_done_callback(self._closings.discard)

    def _done(self, size: int) -> None:
        """A message is worked through, and what it brought is committed or has failed."""
        self.ingest.gate.release(size)
        self._pending -= 1
        if self._pending == 0:
            self._idle.set()

    def _fail(self, error: Exception) -> None:
        """The stream must end, and why."""
        if not isinstance(error, JoblogError):
            log.error("worker %s: its stream ends after an unexpected failure", self.worker_id, exc_info=error)
            error = JoblogError(f"the leader failed unexpectedly ({type(error).__name__}); its log says more")
        if not self.failed.done():
            self.failed.set_result(error)

    def _process(self, request: ingest_pb2.PushRequest) -> _Processed:
        """In a thread of the pool: checks and seals."""
        done = _Processed()
        if request.opens:
            self._open(request.opens, done)
        for append in request.appends:
            if append.handle in done.refusals:
                continue
            try:
                live = self._log(append.handle)
                with live.lock:
                    if live.session is not self or live.gone:
                        raise self._fenced(live)
                    accepted = self._accept(live, append, done)
                    if accepted is not None:
                        done.accepted.append(accepted)
                        if accepted.gap is None:
                            read_ns = append.batch.first_time_ns
                            done.first_time_ns = min(done.first_time_ns or read_ns, read_ns)
                    done.ends[live] = live.next_offset
            except Refused as refused:
                done.refusals[append.handle] = refused
        self._process_ends(request, done)
        for append in request.refills:
            self._refill(append, done)
        return done

    def _refill(self, append: ingest_pb2.Append, done: _Processed) -> None:
        """What does not fit changes nothing: its range stays missing, as it was."""
        live = self.logs.get(append.handle)
        number = self._kept.get(append.handle) if live is None else live.number
        if number is None or (live is not None and live.session is not self and not live.gone):
            return
        try:
            cipher = self.ingest.registry.cipher(number) if live is None else live.cipher
            if self.ingest.archiving.refills.take(number, cipher, append, self.ingest.limits.max_batch_bytes):
                done.refilled.add(number)
        except JoblogError as error:
            log.warning("log %d: what came again for offset %d is not taken: %s", number, append.offset, error)

    def _accept(self, live: LiveLog, append: ingest_pb2.Append, done: _Processed) -> Accepted | None:
        """What quotas allow of it. A batch that begins below a quota is taken whole."""
        account = self._account(live.record.id.namespace)
        if live.is_new(append):
            try:
                if append.HasField("batch"):
                    account.check_bytes()
                (live.account or account).check_stored()
            except Refused as refused:
                refused.next_offset = live.next_offset
                raise
        accepted = live.accept(append, self.ingest.limits.max_batch_bytes)
        if accepted is None:
            return None
        if accepted.gap is None:
            account.came(accepted.raw_length)
            done.counted.append((account, accepted.raw_length))
        if live.account is not None:
            live.account.stored(accepted.stored_bytes)
            live.held_bytes += accepted.stored_bytes
        return accepted

    def _account(self, namespace: str) -> Account:
        return self.ingest.quotas.account(namespace, self.principal.token_id if self.principal else "")

    def _process_ends(self, request: ingest_pb2.PushRequest, done: _Processed) -> None:
        for report in request.events:
            try:
                live = self._own(report.handle)
                if report.event.ByteSize() > MAX_EVENT_BYTES:
                    raise Refused(
                        ingest_pb2.REFUSAL_CODE_INVALID,
                        f"an event has {report.event.ByteSize()} bytes, at most {MAX_EVENT_BYTES} are allowed",
                    )
                self._count_event(report.handle)
                if report.event.kind in OWN_EVENTS:
                    raise Refused(
                        ingest_pb2.REFUSAL_CODE_INVALID, f"events of kind {report.event.kind} are the leader's own"
                    )
                done.events.append((live, report.event))
            except Refused as refused:
                done.refusals.setdefault(report.handle, refused)
        for close in request.closes:
            if close.handle not in done.refusals:
                try:
                    done.closes.append((self._own(close.handle), close))
                except Refused as refused:
                    done.refusals[close.handle] = refused

    def _count_event(self, handle: int) -> None:
        self._events[handle] += 1
        if self._events[handle] > MAX_EVENTS:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_INVALID, f"the log has more than {MAX_EVENTS} events from this stream"
            )

    def _open(self, opens: Sequence[ingest_pb2.OpenLog], done: _Processed) -> None:
        good: list[ingest_pb2.OpenLog] = []
        for request in opens:
            if request.handle in self.logs or len(self.logs) + len(good) >= MAX_LOGS:
                done.refusals[request.handle] = Refused(
                    ingest_pb2.REFUSAL_CODE_INVALID,
                    f"handle {request.handle} is in use on this stream, or it has more than {MAX_LOGS} logs",
                )
            else:
                good.append(request)
        for request, result in self.ingest.registry.open(self, good):
            if isinstance(result, Refused):
                done.refusals[request.handle] = result
                continue
            if isinstance(result, LiveLog):
                self.logs[request.handle] = result
            done.opened.append((request, result))

    def _log(self, handle: int) -> LiveLog:
        try:
            return self.logs[handle]
        except KeyError:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_UNKNOWN_HANDLE, f"handle {handle} names no open log on this stream"
            ) from None

    def _own(self, handle: int) -> LiveLog:
        """The log, which this stream must be the one to write. One that is gone is left to the caller."""
        live = self._log(handle)
        with live.lock:
            if live.session is not self and not live.gone:
                raise self._fenced(live)
        return live

    @staticmethod
    def _fenced(live: LiveLog) -> Refused:
        if live.gone and live.record.state == types_pb2.LOG_STATE_COMPLETED:
            return Refused(ingest_pb2.REFUSAL_CODE_COMPLETED, f"{live.record.id.task}: the log is completed")
        if live.gone:
            return Refused(ingest_pb2.REFUSAL_CODE_DELETED, f"{live.record.id.task}: the log was deleted")
        return Refused(
            ingest_pb2.REFUSAL_CODE_OTHER_WRITER, f"{live.record.id.task}: a newer stream has taken the log over"
        )

    # What is committed

    def _submit(self, done: _Processed, size: int) -> None:
        loop = asyncio.get_running_loop()

        def apply(changes: Changes) -> None:
            for accepted in done.accepted:
                accepted.apply(changes)
            for live, event in done.events:
                if not live.gone:
                    changes.put_event(live.number, event)

        def committed(error: JoblogError | None) -> None:
            loop.call_soon_threadsafe(self._committed, done, size, error)

        self.ingest.committer.submit(
            Commit(
                self, apply, size, committed, len(done.accepted), sum(accepted.raw_length for accepted in done.accepted)
            )
        )

    def _committed(self, done: _Processed, size: int, error: JoblogError | None) -> None:
        if error is not None:
            for account, count in done.counted:
                account.came(-count)
            self._done(size)
            self._fail(error)
            return
        if done.first_time_ns:
            size_taken = sum(accepted.raw_length for accepted in done.accepted if accepted.gap is None)
            self.ingest.seen.took(self, size_taken, done.first_time_ns)
        for live, end in done.ends.items():
            if live.gone:
                continue
            live.durable_offset = max(live.durable_offset, end)
            self.ingest.live.advance(live.number, live.durable_offset)
            if (owner := live.session) is not None:
                owner.ack(live)
        for live, _event in done.events:
            self.ingest.live.changed(live.number, open_for_writing=not live.gone)
        self._done(size)

    async def _close(self, live: LiveLog, close: ingest_pb2.CloseLog) -> None:
        try:
            seal = await self.ingest.close(self, live, close)
        except Refused as refused:
            self.refuse(close.handle, refused)
        except JoblogError as error:
            self._fail(error)
        else:
            self._kept[close.handle] = live.number
            self.logs.pop(close.handle, None)
            self._outbox.closed.append(ingest_pb2.Closed(handle=close.handle, seal=seal))
            self._outgoing.set()
            # It may be sealed by now, or have been closed on another stream.
            await self.ingest.archiving.await_seal(live.number, self, close.handle)

    # What the worker gets

    def _answer(self, done: _Processed) -> None:
        # Of what is new or sealed nothing can be missing.
        missable: dict[int, int] = {}
        for request, result in done.opened:
            opened = self._outbox.opened.add(handle=request.handle)
            if isinstance(result, LiveLog):
                opened.id.CopyFrom(result.record.id)
                opened.next_offset = result.next_offset
                opened.newlines = result.accepted_lines
                opened.watched = self.ingest.live.watched(result.number)
                if not result.gone:
                    self.ingest.live.advance(result.number, result.durable_offset)
                self.ack(result)
            else:
                opened.id.CopyFrom(result.id)
                opened.next_offset = result.seal.length
                opened.completed = True
                opened.sealed = result.tier == types_pb2.TIER_ARCHIVE
                if not opened.sealed:
                    self._await_seal(result.number, request.handle)
            opened.number = result.number if isinstance(result, types_pb2.LogRecord) else result.record.number
            if opened.next_offset and not opened.sealed:
                missable[request.handle] = opened.number
        for handle, refused in done.refusals.items():
            self.refuse(handle, refused)
        for live in done.ends:
            if live.session is self:
                self.ack(live)
        for number in done.refilled:
            self.ingest.refilled(number)
        if done.opened:
            self._outgoing.set()
            self.ingest.archiving.refills.opened(self, missable)

    def _await_seal(self, number: int, handle: int) -> None:
        """Completed, as a worker says again that has kept its spool: it is told when the log is sealed."""
        self._kept[handle] = number
        if self.ingest.archiving.keep_until_archived:
            task = asyncio.create_task(self.ingest.archiving.await_seal(number, self, handle))
            self._closings.add(task)
            task.add_done_callback(self._closings.discard)

    def ack(self, live: LiveLog) -> None:
        """Tells the worker how far the log is durable."""
        self._acks[live.handle] = live.durable_offset, live.archived_offset
        self._outgoing.set()

    def sealed(self, handle: int, length: int) -> None:
        """Tells the worker that a closed log is sealed in the archive."""
        self._kept.pop(handle, None)
        self._outbox.acks.add(handle=handle, stored_offset=length, archived_offset=length, sealed=True)
        self._outgoing.set()

    def refuse(self, handle: int, refused: Refused) -> None:
        """Tells the worker that something was not taken."""
        reason = ingest_pb2.RefusalCode.Name(refused.code).removeprefix("REFUSAL_CODE_").lower()
        self.ingest.metrics.ingest.refused.labels(reason).inc()
        self._outbox.refusals.add(
            handle=handle,
            code=refused.code,
            message=str(refused),
            next_offset=refused.next_offset,
            permanent=not refused.retry,
            retry_seconds=refused.retry_seconds,
        )
        self._outgoing.set()

    def steer(self, handle: int, watched: bool) -> None:
        """Tells the worker that somebody watches the log now, or nobody any more."""
        self._outbox.steers.add(handle=handle, watched=watched)
        self._outgoing.set()

    def ask_again(self, handle: int, hole: Hole) -> None:
        """Asks the worker for bytes that it was acked."""
        self._outbox.resends.add(handle=handle, offset=hole.begin, length=hole.end - hole.begin)
        self._outgoing.set()

    async def write_all(self, context: PushContext) -> None:
        """Sends what there is to say, as it comes; many acks in one message. Runs until cancelled."""
        while True:
            await self._outgoing.wait()
            await self.flush(context)

    async def flush(self, context: PushContext) -> None:
        """Sends what there is to say now."""
        self._outgoing.clear()
        self._flushed.clear()
        message, self._outbox = self._outbox, ingest_pb2.PushResponse()
        acks, self._acks = self._acks, {}
        for handle, (stored, archived) in acks.items():
            message.acks.add(handle=handle, stored_offset=stored, archived_offset=archived)
        if message.ByteSize():
            self.ingest.metrics.ingest.acks.inc(len(acks))
            await context.write(message)
        self._flushed.set()

    async def finish(self) -> None:
        """Waits until everything that was taken is committed and answered."""
        while self._pending or self._closings:
            if self._closings:
                await asyncio.wait(self._closings)
            else:
                await self._idle.wait()

    async def settled(self) -> None:
        """Returns when all that was taken is committed or has failed."""
        while self._pending:
            await self._idle.wait()

    def end(self) -> None:
        """The stream is over: lets go of its logs, whose `lost_after` begins now."""
        for live in self.logs.values():
            with live.lock:
                if live.session is self:
                    live.session = None
                    live.last_heard = self.last_heard
