"""The gRPC server as a service of the daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import grpc
import grpc.aio

from joblog.channel import server_options
from joblog.errors import Conflict
from joblog.leader.api.bounds import Bounds
from joblog.leader.api.gate import Gate
from joblog.leader.api.grpc_admin import AdminService
from joblog.leader.api.grpc_gate import GrpcGate
from joblog.leader.api.grpc_logs import LogsService
from joblog.service import Service
from joblog.v1 import admin_pb2_grpc, logs_pb2_grpc

log = logging.getLogger(__name__)

_GRACE_SHARE = 0.8


class Encryption(NamedTuple):
    """TLS of the two listeners. clients: server credentials; workers: those that ask for a client certificate.

    A worker must show one, and a client of another kind has none, so each has a listener of its own. host, port: where
    workers are listened for; is_fixed: no other port will do when this one is taken.
    """

    clients: grpc.ServerCredentials
    workers: grpc.ServerCredentials
    host: str
    port: int
    is_fixed: bool = True


class GrpcServer(Service):
    """Serves gRPC on host:port (0: a free one; `address` says which, once started).

    encryption: None for plaintext; then workers come to host:port too.

    max_message_bytes: of a message from a client; a larger one is refused with RESOURCE_EXHAUSTED.
    more: each adds a further service, such as ingest, to the server. ends: each, given the seconds it may take, ends
    streams of those that would not end by themselves; called once no new ones are taken.
    """

    name = "grpc"

    def __init__(
        self,
        logs: LogsService,
        admin: AdminService,
        gate: Gate,
        *,
        host: str,
        port: int,
        max_message_bytes: int,
        encryption: Encryption | None = None,
        bounds: Bounds | None = None,
        more: Sequence[Callable[[grpc.aio.Server], None]] = (),
        ends: Sequence[Callable[[float], Awaitable[None]]] = (),
    ) -> None:
        self._logs = logs
        self._admin = admin
        self._gate = gate
        self._host = _bracketed(host)
        self._port = port
        self._encryption = encryption
        self._workers_port = 0
        self._max_message_bytes = max_message_bytes
        self._bounds = bounds or Bounds()
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
        return f"{_reachable(self._host)}:{self._port}"

    @property
    def workers_port(self) -> int:
        """The port for workers with a certificate; 0 before it is started, and in plaintext."""
        return self._workers_port

    @property
    def workers_address(self) -> str:
        """host:port for them; empty where there is none."""
        if self._encryption is None or not self._workers_port:
            return ""
        return f"{_reachable(_bracketed(self._encryption.host))}:{self._workers_port}"

    async def start(self) -> None:
        """Listens and serves. Raises Conflict when the address is in use."""
        options = [*server_options(self._max_message_bytes), *self._bounds.grpc_options()]
        server = grpc.aio.server(interceptors=[GrpcGate(self._gate)], options=options)
        logs_pb2_grpc.add_LogsServicer_to_server(self._logs, server)  # type: ignore[no-untyped-call]
        admin_pb2_grpc.add_AdminServicer_to_server(self._admin, server)  # type: ignore[no-untyped-call]
        for add in self._more:
            add(server)
        try:
            self._listen(server)
        except BaseException:
            await server.stop(None)
            raise
        await server.start()
        self._server = server
        workers = f", for workers at {self.workers_address}" if self.workers_address else ""
        log.info("gRPC at %s%s", self.address, workers)

    def _listen(self, server: grpc.aio.Server) -> None:
        encryption = self._encryption
        self._port = _bind(server, f"{self._host}:{self._port}", encryption and encryption.clients)
        if encryption is None:
            return
        host = _bracketed(encryption.host)
        try:
            self._workers_port = _bind(server, f"{host}:{encryption.port}", encryption.workers)
        except Conflict:
            if encryption.is_fixed:
                raise
            self._workers_port = _bind(server, f"{host}:0", encryption.workers)

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


def _bind(server: grpc.aio.Server, where: str, credentials: grpc.ServerCredentials | None) -> int:
    """The port that is listened on. Raises Conflict."""
    try:
        bound = server.add_insecure_port(where) if credentials is None else server.add_secure_port(where, credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise Conflict(f"grpc address {where} can't be listened on: stop what has it, or set another one")
    return bound


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
