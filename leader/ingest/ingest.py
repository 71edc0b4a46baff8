"""The ingest service: takes workers' streams, completes logs, and notices workers that are gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc.aio

from joblog import __version__
from joblog.errors import Denied, InvalidInput, JoblogError, Unavailable
from joblog.leader.access.principal import Principal, current
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.absences import Absences
from joblog.leader.ingest.archiving import Archiving
from joblog.leader.ingest.closing import Closing
from joblog.leader.ingest.committer import Committer
from joblog.leader.ingest.deaths import DeathRules
from joblog.leader.ingest.live import Live
from joblog.leader.ingest.live_log import LiveLog
from joblog.leader.ingest.memory import MemoryGate
from joblog.leader.ingest.outbox import PushContext
from joblog.leader.ingest.quotas import Quotas
from joblog.leader.ingest.records import Records
from joblog.leader.ingest.registry import Registry
from joblog.leader.ingest.session import Session
from joblog.leader.ingest.workers import Workers
from joblog.leader.metrics import Metrics
from joblog.service import Service
from joblog.v1 import ingest_pb2, ingest_pb2_grpc, types_pb2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """What workers are told to keep to, and what the leader holds them to. Sizes in bytes, times in seconds."""

    window_bytes: int = 32 << 20
    max_batch_bytes: int = 1 << 20
    max_message_bytes: int = 8 << 20
    total_memory_bytes: int = 256 << 20
    heartbeat_seconds: float = 5.0
    lost_after_seconds: float = 30.0
    gather_seconds: float = 0.25
    gather_bytes: int = 256 << 10
    max_log_bytes: int = 0
    commit_max_bytes: int = 16 << 20
    commit_max_delay_seconds: float = 0.0


def writer_for(principal: Principal, worker_id: str) -> Principal:
    """The principal, when it may push as this worker; raises Denied."""
    if principal.worker_id and principal.worker_id != worker_id:
        raise Denied(
            f"{principal.kind} {principal.name!r} is worker {principal.worker_id!r}, not {worker_id[:60]!r}: a worker "
            "pushes as itself"
        )
    return principal


class Ingest(Service, ingest_pb2_grpc.IngestServicer):
    """Takes what workers push. `live` is what readers wait on."""

    name = "ingest"

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        metrics: Metrics,
        limits: IngestLimits,
        *,
        threads: int = 4,
        keep_until_archived: bool = False,
        quotas: Quotas | None = None,
        deaths: DeathRules | None = None,
    ) -> None:
        """keep_until_archived: see Archiving. quotas, deaths: None where there are none."""
        self.store = store
        self.deaths = deaths
        self.limits = limits
        self.metrics = metrics
        self.live = Live()
        self.quotas = quotas or Quotas()
        self._has_quotas = quotas is not None
        self.registry = Registry(store, keyring, max_log_bytes=limits.max_log_bytes, quotas=self.quotas)
        self.gate = MemoryGate(limits.total_memory_bytes)
        self.committer = Committer(
            store,
            metrics,
            max_bytes=limits.commit_max_bytes,
            max_delay_seconds=limits.commit_max_delay_seconds,
        )
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="ingest")
        self.records = Records(store, self.committer, self.pool)
        self._closing = Closing(self)
        self._absences = Absences(
            self.registry,
            self.records,
            self.live,
            metrics,
            lost_after_seconds=limits.lost_after_seconds,
            deaths=deaths,
        )
        self.archiving = Archiving(self.registry, self.pool, keep_until_archived=keep_until_archived)
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self.seen = Workers(metrics)
        self._partings: set[asyncio.Task[None]] = set()
        self._draining = False
        # Which life of the store this is.
        self.incarnation = 0
        self.completed: Callable[[], None] = lambda: None

    # Lifecycle

    async def start(self) -> None:
        """Takes up the logs that were live, and starts to commit."""
        loop = asyncio.get_running_loop()
        for live in await loop.run_in_executor(self.pool, self.registry.load):
            self.live.advance(live.number, live.durable_offset)
        if self._has_quotas:
            self.quotas.follow(self.store, self.registry.measure)
        self.live.on_watch(self._steer)
        self.archiving.refills.start()
        self.committer.start()

    async def run(self) -> None:
        """Watches the workers and the committer."""
        watchdog = asyncio.create_task(self._watch_workers())
        crashed = asyncio.wrap_future(self.committer.crashed)
        try:
            await asyncio.wait([watchdog, crashed], return_when=asyncio.FIRST_COMPLETED)
            for task in (crashed, watchdog):
                if task.done():
                    task.result()
        finally:
            watchdog.cancel()

    async def drain(self, deadline_seconds: float) -> None:
        """Ends the streams; what they brought is committed."""
        self._draining = True
        streams = list(self._sessions.values())
        for stream in streams:
            stream.cancel()
        if streams:
            await asyncio.wait(streams, timeout=deadline_seconds)

    async def stop(self) -> None:
        """Commits what is queued."""
        await asyncio.get_running_loop().run_in_executor(None, self.committer.stop)
        self.pool.shutdown(wait=True)

    def on_completed(self, callback: Callable[[], None]) -> None:
        """`callback()` is called whenever a log was completed, in the event loop."""
        self.completed = callback

    def on_death(self, callback: Callable[[], None]) -> None:
        """`callback()` is called whenever there is a death report to send out, in the event loop."""
        self.records.on_death = callback

    # Streams

    async def Push(self, _requests: object, context: PushContext) -> None:  # noqa: N802 - the name in ingest.proto
        """The gRPC method; see ingest.proto."""
        if self._draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the leader is stopping: try again when it is back")
        first = await self._first_message(context)
        if first is None:
            return
        try:
            hello = Session.check_hello(first)
            session = Session(self, hello, writer_for(current(), hello.worker_id))
        except (InvalidInput, Denied) as error:
            await context.abort(grpc.StatusCode[error.grpc_status], str(error))
        await context.write(ingest_pb2.PushResponse(welcome=self._welcome()))
        failure = await self._serve(session, first, context)
        if failure is not None:
            await context.abort(grpc.StatusCode[failure.grpc_status], str(failure))

    async def _first_message(self, context: PushContext) -> ingest_pb2.PushRequest | None:
        """None when the stream ended without one."""
        try:
            async with asyncio.timeout(self.limits.lost_after_seconds):
                first: object = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "no hello came: say who you are first")
        return first if isinstance(first, ingest_pb2.PushRequest) else None

    async def _serve(self, session: Session, first: ingest_pb2.PushRequest, context: PushContext) -> JoblogError | None:
        """Works for one stream until it ends; what ended it, if it was not the worker."""
        reading = asyncio.create_task(self._read(session, first, context))
        writing = asyncio.create_task(session.outbox.write_all(context))
        self._sessions[session] = reading
        self.seen.came(session)
        log.info("worker %s (%s) connected", session.worker_id, session.host)
        try:
            ends: set[asyncio.Future[Any]] = {reading, writing, session.failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if session.failed.done():
                return session.failed.result()
            if reading.cancelled():
                return Unavailable("the leader is stopping, or heard nothing for too long: connect again")
            if reading.done():
                reading.result()
                await session.finish()
                await session.outbox.flush(context)
            return None
        except (grpc.aio.AbortError, asyncio.InvalidStateError, grpc.RpcError):
            return None
        finally:
            for task in (reading, writing):
                task.cancel()
                # What ended the stream may have ended it too, and nobody asks it any more.
                task.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._part(session)

    async def _read(self, session: Session, first: ingest_pb2.PushRequest, context: PushContext) -> None:
        request: object = first
        while isinstance(request, ingest_pb2.PushRequest):
            await session.take(request)
            request = await context.read()

    def _part(self, session: Session) -> None:
        self._sessions.pop(session, None)
        self.archiving.part(session)
        session.end()
        self.seen.went(session)
        log.info("worker %s (%s) disconnected", session.worker_id, session.host)
        # Not for the stream's handler to wait for, which may be cancelled at any moment.
        parting = asyncio.create_task(self._settle(session))
        self._partings.add(parting)
        parting.add_done_callback(self._partings.discard)

    async def _settle(self, session: Session) -> None:
        """Once all that the stream brought is committed or has failed: where it failed, what is on disk counts."""
        await session.settled()
        if session.broken:
            loop = asyncio.get_running_loop()
            logs = [live for live in session.logs.values() if live.next_offset != live.durable_offset]
            for live in await loop.run_in_executor(self.pool, self.registry.reload, logs):
                self.live.advance(live.number, live.durable_offset)

    def _welcome(self) -> ingest_pb2.Welcome:
        limits = self.limits
        return ingest_pb2.Welcome(
            leader_id=self.store.store_id,
            version=__version__,
            window_bytes=limits.window_bytes,
            max_batch_bytes=limits.max_batch_bytes,
            max_message_bytes=limits.max_message_bytes,
            heartbeat_seconds=limits.heartbeat_seconds,
            lost_after_seconds=limits.lost_after_seconds,
            gather_seconds=limits.gather_seconds,
            gather_bytes=limits.gather_bytes,
            keep_until_archived=self.archiving.keep_until_archived,
            incarnation=self.incarnation,
        )

    def _steer(self, number: int, watched: bool) -> None:
        live = self.registry.get(number)
        if live is not None and (session := live.session) is not None:
            session.outbox.steer(live.handle, watched)

    # Completing and deleting

    async def close(self, session: Session, live: LiveLog, close: ingest_pb2.CloseLog) -> types_pb2.Seal:
        """Completes a log once all its bytes are durable; raises Refused when they are not those of the close."""
        return await self._closing.close(session, live, close)

    def refilled(self, number: int) -> None:
        """What was missing of the log is there again: those who tail it are told, and it may be sealed."""
        live = self.registry.get(number)
        if live is not None:
            self.live.changed(number, open_for_writing=not live.gone)
            self.archiving.tell_again(number)
        else:
            self.completed()

    def forget(self, number: int) -> None:
        """The log is being deleted: nothing is accepted or committed for it any more. Any thread."""
        live = self.registry.remove(number)
        self.archiving.refills.forget(number)
        if live is not None:
            live.cipher.forget()

    def forgotten(self, number: int) -> None:
        """The log was deleted: those who tail it are woken."""
        # Once more: it may have been asked for while it was still there.
        self.archiving.refills.forget(number)
        self.live.changed(number, open_for_writing=False)

    def not_ready(self) -> str | None:
        """Why nothing can be taken now; None when it can."""
        if self._draining:
            return "the leader is stopping"
        failure = self.committer.failure
        return None if failure is None else str(failure)

    async def _watch_workers(self) -> None:
        lost_after = self.limits.lost_after_seconds
        while True:
            await asyncio.sleep(min(1.0, lost_after / 4))
            now = time.monotonic()
            for session, stream in list(self._sessions.items()):
                if not session.taking and now - session.last_heard > lost_after:
                    log.warning("worker %s: no sign of life for %.1f s", session.worker_id, now - session.last_heard)
                    stream.cancel()
            await self._absences.look(now)
