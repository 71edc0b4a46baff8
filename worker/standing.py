"""What a worker is to its leader: it has joined it, or has a certificate from elsewhere."""

from __future__ import annotations

from typing import Protocol

from joblog.address import KnownLeader
from joblog.errors import JoblogError
from joblog.paths import DataFolder
from joblog.worker.identity import worker_id
from joblog.worker.membership import Membership
from joblog.worker.own_certificate import OwnCertificate, OwnFiles
from joblog.worker.settings import WorkerSettings
from joblog.worker.source import JoinSource


class Standing(Protocol):
    """How a worker gets at its leader. Its methods block."""

    def leader(self) -> KnownLeader:
        """Where to push to, and what to show there. Raises JoblogError."""
        ...

    def failed(self, error: JoblogError) -> None:
        """There was no connection to what leader() gave."""
        ...

    def succeeded(self) -> None:
        """There was one."""
        ...

    def renew_in(self) -> float | None:
        """Seconds until renew() is to be called. None: not yet known."""
        ...

    def renew(self) -> bool:
        """Has the next connection show the next certificate; False when that was done. Raises JoblogError."""
        ...


def open_standing(folder: DataFolder, settings: WorkerSettings, source: JoinSource) -> tuple[str, Standing]:
    """(worker's id, standing). Raises what reading raises, InvalidSettings for a certificate that names no worker."""
    own = settings.identity
    if own.certificate is None or own.key is None:
        found = worker_id(folder.worker_id)
        return found, Membership(folder, found, source)
    files = OwnFiles(own.certificate, own.key, own.ca)
    named = files.worker_id()
    return named, OwnCertificate(folder, named, files, source.leader)
