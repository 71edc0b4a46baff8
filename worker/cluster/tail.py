"""Asks the leader where a log stands that another watcher may have written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc.aio

from joblog.address import KnownLeader
from joblog.channel import open_async_channel
from joblog.errors import JoblogError
from joblog.handshake import resolved
from joblog.identity import LogName
from joblog.replies import error_from
from joblog.v1 import ingest_pb2, ingest_pb2_grpc, types_pb2

CALL_SECONDS = 20.0
TAIL_BYTES = 256 << 10


class LeaderTails:
    """leader: where it is; blocks, may raise JoblogError."""

    def __init__(self, leader: Callable[[], KnownLeader]) -> None:
        self._leader = leader
        self._known: KnownLeader | None = None
        self._channel: grpc.aio.Channel | None = None
        self._opening = asyncio.Lock()

    async def get(self, name: LogName, writer_id: bytes) -> ingest_pb2.GetLogTailResponse:
        """Where the log of that writer stands. Raises Unavailable, Denied, Conflict for one that was deleted."""
        async with self._opening:
            if self._channel is None:
                known = await asyncio.to_thread(self._leader)
                self._known = known._replace(trust=await asyncio.to_thread(resolved, *known))
                self._channel = open_async_channel(*self._known)
            channel, leader = self._channel, self._known
        assert leader is not None
        request = ingest_pb2.GetLogTailRequest(
            id=types_pb2.LogId(namespace=name.namespace, run=name.run, task=name.task),
            writer_id=writer_id,
            limit_bytes=TAIL_BYTES,
        )
        stub = ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
        try:
            reply: ingest_pb2.GetLogTailResponse = await stub.GetLogTail(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            found: JoblogError = await asyncio.to_thread(error_from, error, leader)
            await self.close()
            raise found from None
        return reply

    async def close(self) -> None:
        """Ends the connection; the next call opens one anew."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)
