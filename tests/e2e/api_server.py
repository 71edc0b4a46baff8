"""A leader's gRPC and HTTP servers over a real store, for tests of what they answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import grpc.aio
import httpx

from joblog.channel import MAX_MESSAGE_BYTES
from joblog.leader.access.issuing import Issuer
from joblog.leader.access.store import AccessStore
from joblog.leader.api.bounds import Bounds
from joblog.leader.api.gate import Gate
from joblog.leader.api.grpc_access import AccessService
from joblog.leader.api.grpc_admin import AdminService
from joblog.leader.api.grpc_logs import LogsService
from joblog.leader.api.grpc_retention import RetentionService
from joblog.leader.api.grpc_server import GrpcServer
from joblog.leader.api.http.context import ApiContext, Operated
from joblog.leader.api.http.place import Place
from joblog.leader.api.http_server import HttpServer
from joblog.leader.api.oidc_sign_in import OidcSignIn
from joblog.leader.api.signing_in import SignIn
from joblog.leader.api.status import LeaderStatus
from joblog.leader.deletion import Deleter
from joblog.leader.retention.holding import Holding
from joblog.leader.retention.keeping import Keeping
from joblog.leader.retention.policy import Policies
from joblog.leader.retention.service import Retention
from joblog.leader.search.searcher import Searcher
from joblog.v1 import access_pb2_grpc, admin_pb2, admin_pb2_grpc, logs_pb2_grpc, retention_pb2_grpc
from tests.stored_log import StoredLeader, stored_leader


@dataclass
class Fence:
    """Stands where ingest does, and notes what it is told."""

    leader: StoredLeader
    told: list[int] = field(default_factory=list)

    def forget(self, number: int) -> None:
        self.told.append(number)

    def forgotten(self, number: int) -> None:
        self.leader.live.changed(number, open_for_writing=False)


@dataclass
class Api:
    """Running servers and clients to them. not_ready: set it to make the leader say so."""

    stored: StoredLeader
    http_server: HttpServer
    grpc_server: GrpcServer
    http: httpx.AsyncClient
    channel: grpc.aio.Channel
    fence: Fence
    access_store: AccessStore
    gate: Gate
    not_ready: list[str] = field(default_factory=list)

    @property
    def logs(self) -> logs_pb2_grpc.LogsStub:
        return logs_pb2_grpc.LogsStub(self.channel)  # type: ignore[no-untyped-call]

    @property
    def access(self) -> access_pb2_grpc.AccessStub:
        return access_pb2_grpc.AccessStub(self.channel)  # type: ignore[no-untyped-call]

    @property
    def retention(self) -> retention_pb2_grpc.RetentionStub:
        return retention_pb2_grpc.RetentionStub(self.channel)  # type: ignore[no-untyped-call]

    @property
    def admin(self) -> admin_pb2_grpc.AdminStub:
        return admin_pb2_grpc.AdminStub(self.channel)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Web:
    """How the HTTP server is reached. verify: what the client trusts."""

    place: Place | None = None
    tls: ssl.SSLContext | None = None
    verify: ssl.SSLContext | bool = True
    bounds: Bounds | None = None
    oidc: Callable[[SignIn, Gate], OidcSignIn] | None = None


@asynccontextmanager
async def api_in(
    folder: Path,
    gate_on: Callable[[AccessStore], Gate] | None = None,
    more: Sequence[Callable[[grpc.aio.Server], None]] = (),
    web: Web | None = None,
    policies: Sequence[str] = (),
) -> AsyncIterator[Api]:
    """gate_on: makes the gate; the default lets everybody in. more: adds further services."""
    web = web or Web()
    with stored_leader(folder) as stored:
        fence = Fence(stored)
        not_ready: list[str] = []
        deleter = Deleter(stored.store, fence, stored.reader.forget, stored.pool)
        status = LeaderStatus(
            leader_id="leader-1",
            version="1.2.3",
            started_ns=1,
            store=stored.store,
            http_url=lambda: http_server.url,
            workers=lambda: [admin_pb2.WorkerStatus(worker_id="w1", connected=True, spool_bytes=5)],
            logs_live=lambda: 7,
            not_ready=lambda: not_ready[0] if not_ready else None,
        )
        retention = Retention(
            stored.store,
            Policies.parse(policies, ()),
            fence,
            forget_reader=stored.reader.forget,
            pool=stored.pool,
            metrics=stored.metrics.retention,
        )
        searcher = Searcher(stored.store, stored.reader.open_cipher)
        access = AccessStore(folder / "access.sqlite3")
        issuer = Issuer(access, address=lambda: grpc_server.address)
        gate = gate_on(access) if gate_on else Gate.open()
        sign_in = SignIn(access, gate)
        context = ApiContext(
            stored.store, stored.reader, searcher, deleter, status, stored.metrics, gate, issuer, sign_in
        )
        holding = Holding(stored.store, auditor=lambda: gate.auditor)
        context = replace(context, operated=Operated(retention=retention, holding=holding))
        if web.oidc is not None:
            context = replace(context, oidc=web.oidc(sign_in, gate))
        http_server = HttpServer(context, host="127.0.0.1", port=0, place=web.place, tls=web.tls, bounds=web.bounds)
        grpc_server = GrpcServer(
            LogsService(stored.store, stored.reader, searcher, Keeping(stored.store, retention.policies)),
            AdminService(stored.reader, deleter, status),
            gate,
            host="127.0.0.1",
            port=0,
            max_message_bytes=MAX_MESSAGE_BYTES,
            more=[
                partial(access_pb2_grpc.add_AccessServicer_to_server, AccessService(issuer, gate, sign_in)),
                partial(retention_pb2_grpc.add_RetentionServicer_to_server, RetentionService(retention, holding)),
                *more,
            ],
        )
        await gate.start()
        await retention.start()
        passing = asyncio.create_task(retention.run())
        await http_server.start()
        await grpc_server.start()
        running = asyncio.create_task(http_server.run())
        async with (
            httpx.AsyncClient(base_url=http_server.url, timeout=30, verify=web.verify) as client,
            grpc.aio.insecure_channel(grpc_server.address) as channel,
        ):
            yield Api(stored, http_server, grpc_server, client, channel, fence, access, gate, not_ready)
        await http_server.drain(5)
        await grpc_server.drain(1)
        await asyncio.wait_for(running, 5)
        passing.cancel()
        await asyncio.wait([passing])
        await http_server.stop()
        await grpc_server.stop()
        await searcher.stop()
        access.close()
