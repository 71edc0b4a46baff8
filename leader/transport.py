"""How connections to this leader are encrypted: its CA, its certificate, and the two kept fresh while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from joblog.leader.access.authority import Authority
from joblog.leader.access.host_names import LOOPBACK, host_names, is_address
from joblog.leader.access.shown import GivenFiles, ServerCertificate
from joblog.leader.access.store import AccessStore
from joblog.leader.api.grpc_server import Encryption, GrpcServer
from joblog.leader.api.joining import Joining, WorkersListener
from joblog.service import Service
from joblog.trust import fingerprint_text

log = logging.getLogger(__name__)

WORKERS_PORT_OFFSET = 2
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - told apart, not listened on
MAX_PORT = 65535
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """names: under which the leader is reached, besides those of this machine. plaintext: nothing is encrypted.

    listen, workers_listen: HOST:PORT; the latter may be empty, for what follows from the former. workers_address: where
    workers are told to connect, in place of that. server_seconds, worker_seconds: how long certificates are good.
    """

    listen: str
    workers_listen: str = ""
    workers_address: str = ""
    plaintext: bool = False
    names: tuple[str, ...] = ()
    given: GivenFiles = field(default_factory=GivenFiles)
    server_seconds: float = 30 * 86_400.0
    worker_seconds: float = 86_400.0


class Transport(NamedTuple):
    """server: None where the leader speaks plaintext."""

    options: TransportOptions
    authority: Authority
    server: ServerCertificate | None

    def encryption(self) -> Encryption | None:
        """TLS of the gRPC listeners; None for plaintext."""
        if self.server is None:
            return None
        clients = self.server.credentials(for_workers=False)
        workers = self.server.credentials(for_workers=True)
        if self.options.workers_listen:
            host, port = _split(self.options.workers_listen)
            return Encryption(clients, workers, host, port)
        host, port = _split(self.options.listen)
        beside = port + WORKERS_PORT_OFFSET if 0 < port <= MAX_PORT - WORKERS_PORT_OFFSET else 0
        return Encryption(clients, workers, host, beside, is_fixed=False)

    def joining(self, store: AccessStore, pool: Executor, grpc: Callable[[], GrpcServer]) -> Joining:
        """What answers workers that join. grpc: the server, once it listens."""
        return Joining(
            store,
            self.authority,
            self.server,
            pool,
            lifetime_seconds=self.options.worker_seconds,
            listener=lambda: WorkersListener(grpc().workers_port, self.options.workers_address),
        )

    def advertised(self, grpc: GrpcServer) -> str:
        """HOST:PORT for tokens: where others find the leader, when it listens on all addresses, as far as it knows."""
        host = _split(self.options.listen)[0]
        if host not in _EVERYWHERE:
            return grpc.address
        found = self.options.names or [name for name in host_names() if name not in LOOPBACK and is_address(name)]
        host = next((name for name in found if not name.startswith("*")), "")
        return f"{f'[{host}]' if ':' in host else host}:{grpc.port}" if host else grpc.address

    def said(self, grpc: GrpcServer) -> dict[str, object]:
        """What the leader's address file says of all this, for clients and workers in the same data folder."""
        host = grpc.address.rpartition(":")[0].strip("[]")
        return {
            "grpc_address": grpc.address,
            "workers_address": grpc.workers_address,
            "plaintext": self.server is None,
            "ca": self.ca.decode(),
            "server_name": self.server.name_for(host) if self.server else "",
        }

    @property
    def ca(self) -> bytes:
        """PEM of who vouches for the leader; empty where the system's CAs do, and in plaintext."""
        return self.server.current().ca if self.server else b""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the CA's certificate, as join tokens carry it; empty as `ca`."""
        return self.server.current().fingerprint if self.server else b""


def open_transport(folder: Path, options: TransportOptions) -> Transport:
    """The CA and certificate in the leader's access folder, made where they are missing. Raises JoblogError."""
    authority = Authority.open(folder)
    if options.plaintext:
        log.warning(
            "tls.mode is off: everything between this leader, its workers and its clients can be read and changed by "
            "whoever is on the way, tokens too"
        )
        return Transport(options, authority, None)
    hosts = (options.listen, options.workers_listen, options.workers_address)
    listened = [_split(address)[0] for address in hosts if address]
    server = ServerCertificate(
        folder,
        authority,
        lambda: host_names([*options.names, *listened]),
        given=options.given,
        lifetime_seconds=options.server_seconds,
    )
    return Transport(options, authority, server)


class CertificateWatch(Service):
    """Looks for new certificate files, and at the age of the leader's own, so that HTTP shows the new one too."""

    name = "certificates"

    def __init__(self, server: ServerCertificate) -> None:
        self._server = server

    async def start(self) -> None:
        """Says whom clients are to trust."""
        shown = self._server.current()
        told = f"is SHA-256 {fingerprint_text(shown.fingerprint)}" if shown.fingerprint else "is one that systems know"
        log.info("the CA that vouches for this leader %s", told)

    async def run(self) -> None:
        """Looks each second."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self._server.current)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
