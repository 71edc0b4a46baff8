"""What answers requests: gRPC, HTTP, and the file that says where they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from joblog import __version__
from joblog.identity import AUDIT_NAMESPACE
from joblog.leader.access.issuing import Issuer
from joblog.leader.admission import AdminTokenFile, open_oidc
from joblog.leader.api.bounds import raise_open_files
from joblog.leader.api.grpc_access import AccessService
from joblog.leader.api.grpc_admin import AdminService
from joblog.leader.api.grpc_adoption import AdoptionService
from joblog.leader.api.grpc_backups import BackupsService
from joblog.leader.api.grpc_ingest import IngestService
from joblog.leader.api.grpc_keys import KeysService
from joblog.leader.api.grpc_logs import LogsService
from joblog.leader.api.grpc_retention import RetentionService
from joblog.leader.api.grpc_server import GrpcServer
from joblog.leader.api.http.context import ApiContext, Operated
from joblog.leader.api.http.turns import Turns
from joblog.leader.api.http_server import HttpServer
from joblog.leader.api.peer_sweep import PeerSweep
from joblog.leader.api.signing_in import SignIn
from joblog.leader.api.status import LeaderStatus
from joblog.leader.daemon.core import Core
from joblog.leader.daemon.parts import Parts
from joblog.leader.retention.keeping import Keeping
from joblog.leader.start_note import write_leader_file
from joblog.leader.transport import CertificateWatch
from joblog.service import Service
from joblog.v1 import (
    access_pb2_grpc,
    adoption_pb2_grpc,
    backup_pb2_grpc,
    ingest_pb2_grpc,
    keys_pb2_grpc,
    retention_pb2_grpc,
)

log = logging.getLogger(__name__)


class AddressFile(Service):
    """Says in the data folder where this leader is, for as long as it runs."""

    name = "address file"

    def __init__(self, path: Path, addresses: Callable[[], dict[str, object]]) -> None:
        self._path = path
        self._addresses = addresses

    async def start(self) -> None:
        """Writes the file."""
        write_leader_file(self._path, self._addresses())
        log.info("leader %s is ready", __version__)

    async def stop(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)


class Serving:
    """gRPC and HTTP of a leader, which tell of each other. http: None where it is turned off."""

    def __init__(self, core: Core, parts: Parts) -> None:
        self._core = core
        self._parts = parts
        self._transport, self._gate = core.transport, core.admission.gate
        self._bounds = core.settings.limits.bounds(raise_open_files())
        self._sign_in = SignIn(
            core.admission.store, self._gate, session_seconds=core.settings.access.session_hours * 3600
        )
        known = core.settings.oidc.options()
        self._oidc = open_oidc(known, self._sign_in, self._gate) if known else None
        self._issuer = Issuer(
            core.admission.store,
            address=self._advertised,
            fingerprint=lambda: self._transport.fingerprint,
            use=core.ingest.quotas.use_of_token,
        )
        self._status = self._open_status()
        self.http = self._open_http() if core.settings.http.listen else None
        self.grpc = self._open_grpc()

    def services(self) -> list[Service]:
        """In the order of their start; the file with the addresses is the last."""
        core, transport = self._core, self._transport
        watch = [CertificateWatch(transport.server)] if transport.server else []
        refused = core.metrics.api.connections_refused.labels("grpc", "peer")
        ports = self.grpc
        sweep = PeerSweep(lambda: {ports.port, ports.workers_port} - {0}, self._bounds.peer_grpc, refused.inc)
        admin = AdminTokenFile(core.admission, lambda: ports.address, lambda: transport.fingerprint)
        oidc = [self._oidc] if self._oidc is not None else []
        http = [self.http] if self.http is not None else []
        address = AddressFile(
            core.folder.leader_file, lambda: {**transport.said(self.grpc), "http_url": self._http_url()}
        )
        return [self._gate, *watch, self.grpc, sweep, admin, *oidc, *http, address]

    def _advertised(self) -> str:
        return self._transport.advertised(self.grpc)

    def _http_url(self) -> str:
        return self.http.url if self.http is not None else ""

    def _page(self) -> str:
        """Where a browser finds the UI."""
        return self.http.page(self._advertised().rpartition(":")[0]) if self.http is not None else ""

    def _open_status(self) -> LeaderStatus:
        core, ingest = self._core, self._core.ingest
        return LeaderStatus(
            leader_id=core.store.store_id,
            version=__version__,
            started_ns=time.time_ns(),
            store=core.store,
            http_url=self._http_url,
            workers=ingest.seen.all,
            logs_live=lambda: sum(live.record.id.namespace != AUDIT_NAMESPACE for live in ingest.registry.all()),
            not_ready=ingest.not_ready,
            warnings=lambda: [*core.keys.warnings(), *ingest.quotas.warnings(), *self._parts.warnings()],
        )

    def _open_http(self) -> HttpServer:
        core, parts = self._core, self._parts
        archiver = parts.archive.archiver if parts.archive else None
        context = ApiContext(
            core.store,
            parts.reader,
            parts.searcher,
            parts.deleter,
            self._status,
            core.metrics,
            self._gate,
            self._issuer,
            self._sign_in,
            Operated(core.keys, archiver, parts.backups, parts.retention, parts.holding),
            oidc=self._oidc,
            turns=Turns(lambda: core.store.put_bytes),
            open_bytes=core.ingest.registry.open_bytes,
        )
        host, _, port = core.settings.http.listen.rpartition(":")
        return HttpServer(
            context,
            host=host.strip("[]"),
            port=int(port),
            names=core.settings.tls.names,
            place=core.settings.http.place(),
            tls=self._transport.server.context() if self._transport.server else None,
            bounds=self._bounds,
        )

    def _open_grpc(self) -> GrpcServer:
        core, parts = self._core, self._parts
        joining = self._transport.joining(core.admission.store, core.readers, lambda: self.grpc)
        access = AccessService(self._issuer, self._gate, self._sign_in, joining, url=self._page)
        workers = IngestService(core.ingest, core.spool_keys, core.readers, parts.reader)
        retention = RetentionService(parts.retention, parts.holding)
        host, _, port = core.settings.grpc.listen.rpartition(":")
        return GrpcServer(
            LogsService(core.store, parts.reader, parts.searcher, Keeping(core.store, parts.retention.policies)),
            AdminService(parts.reader, parts.deleter, self._status),
            self._gate,
            host=host.strip("[]"),
            port=int(port),
            max_message_bytes=core.settings.ingest.max_message_bytes,
            encryption=self._transport.encryption(),
            bounds=self._bounds,
            more=[
                partial(ingest_pb2_grpc.add_IngestServicer_to_server, workers),
                partial(access_pb2_grpc.add_AccessServicer_to_server, access),
                partial(keys_pb2_grpc.add_KeysServicer_to_server, KeysService(core.keys, core.readers)),
                partial(backup_pb2_grpc.add_BackupsServicer_to_server, BackupsService(parts.backups)),
                partial(retention_pb2_grpc.add_RetentionServicer_to_server, retention),
                partial(adoption_pb2_grpc.add_AdoptionServicer_to_server, AdoptionService(parts.adoption)),
            ],
            ends=[core.ingest.drain, *([parts.adoption.drain] if parts.adoption else [])],
        )
