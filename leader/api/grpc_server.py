"""The gRPC server as a service of the daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio

from joblog.channel import server_options
from joblog.errors import Conflict
from joblog.leader.api.grpc_admin import AdminService
from joblog.leader.api.grpc_logs import LogsService
from joblog.service import Service
from joblog.v1 import admin_pb2_grpc, logs_pb2_grpc

log = logging.getLogger(__name__)

_GRACE_SHARE = 0.8


class GrpcServer(Service):
    """Serves gRPC on host:port (0: a free one; `address` says which, once started).

    max_message_bytes: of a message from a client; a larger one is refused with RESOURCE_EXHAUSTED.
    more: each adds a further service, such as ingest, to the server. ends: each, given the seconds it may take, ends
    streams of those that would not end by themselves; called once no new ones are taken.
    """

    name = "grpc"

    def __init__(
        self,
        logs: LogsService,
        admin: AdminService,
        *,
        host: str,
        port: int,
        max_message_bytes: int,
        more: Sequence[Callable[[grpc.aio.Server], None]] = (),
        ends: Sequence[Callable[[float], Awaitable[None]]] = (),
    ) -> None:
        self._logs = logs
        self._admin = admin
        self._host = f"[{host}]" if ":" in host else host
        self._port = port
        self._max_message_bytes = max_message_bytes
        self._more = more
        self._ends = ends
        self._server: grpc.aio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before it is started where any was asked for."""
        return self._port

    @property
    def address(self) -> str:
        """host:port, for clients."""
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(self._host, self._host)  # noqa: S104
        return f"{host}:{self._port}"

    async def start(self) -> None:
        """Listens and serves. Raises Conflict when the address is in use."""
        server = grpc.aio.server(options=server_options(self._max_message_bytes))
        logs_pb2_grpc.add_LogsServicer_to_server(self._logs, server)  # type: ignore[no-untyped-call]
        admin_pb2_grpc.add_AdminServicer_to_server(self._admin, server)  # type: ignore[no-untyped-call]
        for add in self._more:
            add(server)
        where = f"{self._host}:{self._port}"
        try:
            bound = server.add_insecure_port(where)
        except RuntimeError:
            bound = 0
        if not bound:
            await server.stop(None)
            raise Conflict(f"grpc address {where} can't be listened on: stop what has it, or set another one")
        self._port = bound
        await server.start()
        self._server = server
        log.info("gRPC at %s", self.address)

    async def drain(self, deadline_seconds: float) -> None:
        """Takes no new calls, ends tails and workers' streams, and lets the others finish."""
        self._logs.drain()
        if self._server is not None:
            grace = deadline_seconds * _GRACE_SHARE
            stopping = asyncio.ensure_future(self._server.stop(grace))
            await asyncio.gather(stopping, *(end(grace) for end in self._ends))

    async def stop(self) -> None:
        """Ends what is still open."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
