"""What one worker's stream has to say to it: gathered, and sent as it comes."""

from __future__ import annotations

import asyncio

import grpc.aio

from joblog.leader.buffer.holes import Hole
from joblog.leader.ingest.live_log import LiveLog, Refused
from joblog.leader.metrics import Metrics
from joblog.v1 import ingest_pb2, types_pb2

PushContext = grpc.aio.ServicerContext[ingest_pb2.PushRequest, ingest_pb2.PushResponse]

MAX_UNSENT = 5000


class Outbox:
    """Belongs to the event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.ingest
        self._message = ingest_pb2.PushResponse()
        # By handle: (durable, archived) offset.
        self._acks: dict[int, tuple[int, int]] = {}
        self._outgoing = asyncio.Event()
        self._flushed = asyncio.Event()
        # gRPC takes one write at a time, and one that is cancelled is not over.
        self._one_write = asyncio.Lock()

    async def until_room(self) -> None:
        """Waits for a worker that sends what must be answered and does not read the answers."""
        while self._unsent() > MAX_UNSENT:
            self._flushed.clear()
            await self._flushed.wait()

    def _unsent(self) -> int:
        message = self._message
        return len(message.refusals) + len(message.opened) + len(message.steers) + len(message.resends)

    def opened(self, handle: int) -> ingest_pb2.Opened:
        """Tells the worker that a log is open, and what the caller fills in before anything else is done."""
        self._outgoing.set()
        return self._message.opened.add(handle=handle)

    def closed(self, handle: int, seal: types_pb2.Seal) -> None:
        """Tells the worker that a log is completed."""
        self._message.closed.append(ingest_pb2.Closed(handle=handle, seal=seal))
        self._outgoing.set()

    def ack(self, live: LiveLog) -> None:
        """Tells the worker how far the log is durable."""
        self._acks[live.handle] = live.durable_offset, live.archived_offset
        self._outgoing.set()

    def sealed(self, handle: int, length: int) -> None:
        """Tells the worker that a closed log is sealed in the archive."""
        self._message.acks.add(handle=handle, stored_offset=length, archived_offset=length, sealed=True)
        self._outgoing.set()

    def refuse(self, handle: int, refused: Refused) -> None:
        """Tells the worker that something was not taken."""
        reason = ingest_pb2.RefusalCode.Name(refused.code).removeprefix("REFUSAL_CODE_").lower()
        self._metrics.refused.labels(reason).inc()
        self._message.refusals.add(
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
        self._message.steers.add(handle=handle, watched=watched)
        self._outgoing.set()

    def ask_again(self, handle: int, hole: Hole) -> None:
        """Asks the worker for bytes that it was acked."""
        self._message.resends.add(handle=handle, offset=hole.begin, length=hole.end - hole.begin)
        self._outgoing.set()

    async def write_all(self, context: PushContext) -> None:
        """Sends what there is to say, as it comes; many acks in one message. Runs until cancelled."""
        while True:
            await self._outgoing.wait()
            await self.flush(context)

    async def flush(self, context: PushContext) -> None:
        """Sends what there is to say now, after what is being sent."""
        async with self._one_write:
            await self._flush(context)

    async def _flush(self, context: PushContext) -> None:
        self._outgoing.clear()
        self._flushed.clear()
        message, self._message = self._message, ingest_pb2.PushResponse()
        acks, self._acks = self._acks, {}
        for handle, (stored, archived) in acks.items():
            message.acks.add(handle=handle, stored_offset=stored, archived_offset=archived)
        if message.ByteSize():
            self._metrics.acks.inc(len(acks))
            await context.write(message)
        self._flushed.set()
