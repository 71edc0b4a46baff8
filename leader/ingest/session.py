"""One worker's stream: takes its messages in order, hands what fits to the committer, and answers."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from joblog.errors import InvalidInput, JoblogError
from joblog.leader.access.principal import Principal
from joblog.leader.access.roles import Permission
from joblog.leader.buffer.changes import Changes
from joblog.leader.ingest.committer import Commit
from joblog.leader.ingest.live_log import LiveLog, Refused
from joblog.leader.ingest.outbox import Outbox
from joblog.leader.ingest.processing import Processed, Processing
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.ingest import Ingest

log = logging.getLogger(__name__)

MAX_WORKER_ID_LENGTH = 250
PROTOCOL = 1


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
        # Numbers of closed logs whose spool the worker keeps until they are sealed, by handle.
        self.kept: dict[int, int] = {}
        self.outbox = Outbox(ingest.metrics)
        self._processing = Processing(self)
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
        await self.outbox.until_room()
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

    async def _work(self, request: ingest_pb2.PushRequest, size: int) -> None:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self.ingest.pool, self._processing.process, request)
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

    # What is committed

    def _submit(self, done: Processed, size: int) -> None:
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

    def _committed(self, done: Processed, size: int, error: JoblogError | None) -> None:
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
                owner.outbox.ack(live)
        for live, _event in done.events:
            self.ingest.live.changed(live.number, open_for_writing=not live.gone)
        self._done(size)

    async def _close(self, live: LiveLog, close: ingest_pb2.CloseLog) -> None:
        try:
            seal = await self.ingest.close(self, live, close)
        except Refused as refused:
            self.outbox.refuse(close.handle, refused)
        except JoblogError as error:
            self._fail(error)
        else:
            if self.ingest.archiving.keep_until_archived:
                self.kept[close.handle] = live.number
            self.logs.pop(close.handle, None)
            self._processing.closed(close.handle)
            self.outbox.closed(close.handle, seal)
            # It may be sealed by now, or have been closed on another stream.
            await self.ingest.archiving.await_seal(live.number, self, close.handle)

    # What the worker gets

    def sealed(self, handle: int, length: int) -> None:
        """Tells the worker that a closed log is sealed in the archive."""
        self.kept.pop(handle, None)
        self.outbox.sealed(handle, length)

    def _answer(self, done: Processed) -> None:
        # Of what is new or sealed nothing can be missing.
        missable: dict[int, int] = {}
        for request, result in done.opened:
            opened = self.outbox.opened(request.handle)
            if isinstance(result, LiveLog):
                opened.id.CopyFrom(result.record.id)
                opened.next_offset = result.next_offset
                opened.newlines = result.accepted_lines
                opened.watched = self.ingest.live.watched(result.number)
                if not result.gone:
                    self.ingest.live.advance(result.number, result.durable_offset)
                self.outbox.ack(result)
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
            self.outbox.refuse(handle, refused)
        for live in done.ends:
            if live.session is self:
                self.outbox.ack(live)
        for number in done.refilled:
            self.ingest.refilled(number)
        if done.opened:
            self.ingest.archiving.refills.opened(self, missable)

    def _await_seal(self, number: int, handle: int) -> None:
        """Completed, as a worker says again that has kept its spool: it is told when the log is sealed."""
        if self.ingest.archiving.keep_until_archived:
            self.kept[handle] = number
            task = asyncio.create_task(self.ingest.archiving.await_seal(number, self, handle))
            self._closings.add(task)
            task.add_done_callback(self._closings.discard)

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
