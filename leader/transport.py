"""How connections to this leader are encrypted: its CA, its certificate, and the two kept fresh while it runs."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from joblog.leader.access.authority import Authority
from joblog.leader.access.host_names import host_names
from joblog.leader.access.shown import GivenFiles, ServerCertificate
from joblog.service import Service

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """names: under which the leader is reached, besides those of this machine. plaintext: nothing is encrypted."""

    plaintext: bool = False
    names: tuple[str, ...] = ()
    given: GivenFiles = field(default_factory=GivenFiles)
    server_seconds: float = 30 * 86_400.0


class Transport(NamedTuple):
    """server: None where the leader speaks plaintext."""

    authority: Authority
    server: ServerCertificate | None

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
        return Transport(authority, None)
    server = ServerCertificate(
        folder,
        authority,
        lambda: host_names(options.names),
        given=options.given,
        lifetime_seconds=options.server_seconds,
    )
    return Transport(authority, server)


def fingerprint_text(fingerprint: bytes) -> str:
    """A CA's fingerprint as people compare it, and as it stands in tokens."""
    return base64.urlsafe_b64encode(fingerprint).rstrip(b"=").decode()


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


def listened_hosts(addresses: Collection[str]) -> list[str]:
    """The hosts of HOST:PORT addresses."""
    return [address.rpartition(":")[0].strip("[]") for address in addresses if address]
