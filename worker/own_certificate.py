"""A worker whose certificate comes from elsewhere: it joins nobody, and shows what its files hold when it connects."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from joblog.address import KnownLeader, LeaderFile, check_address, read_leader_file
from joblog.errors import Corrupt, InvalidInput, InvalidSettings, JoblogError, NotFound
from joblog.paths import DataFolder
from joblog.private_file import read_private
from joblog.trust import Trust

log = logging.getLogger(__name__)


class OwnFiles(NamedTuple):
    """PEM. ca: of the leader's certificate; None: that of the leader in the data folder, else the system's CAs."""

    certificate: Path
    key: Path
    ca: Path | None = None

    def read(self) -> tuple[bytes, bytes]:
        """(chain, key), which fit together. Raises NotFound, Denied, Corrupt."""
        chain, key = _read(self.certificate), read_private(self.key)
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            public = x509.load_pem_x509_certificate(chain).public_key()
            is_pair = load_pem_private_key(key, None).public_key() == public
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Corrupt(f"{self.certificate} and {self.key}: are no certificate and key in PEM") from None
        if not is_pair:
            raise Corrupt(f"{self.key}: is not the key of the certificate in {self.certificate}")
        return chain, key

    def worker_id(self) -> str:
        """The certificate's common name. Raises as read(), InvalidSettings."""
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        chain, _ = self.read()
        subject = x509.load_pem_x509_certificate(chain).subject
        names = [str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if len(names) != 1 or not names[0] or not names[0].isprintable():
            raise InvalidSettings(f"{self.certificate}: must have one common name (CN), which is the worker's id")
        return names[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path}: does not exist") from None
    except OSError as error:
        raise Corrupt(f"{path}: can't be read: {error.strerror}") from None


class OwnCertificate:
    """In place of a Membership. Its methods block.

    address: of the leader's listener for workers; empty: that of the leader in the data folder.
    """

    def __init__(self, folder: DataFolder, worker_id: str, files: OwnFiles, address: str) -> None:
        self._folder = folder
        self._worker_id = worker_id
        self._files = files
        self._address = address
        self._shown = b""

    def leader(self) -> KnownLeader:
        """Where to push to, and what to show there. Raises NotFound, Denied, Corrupt."""
        local = self._local()
        address = self._address
        if local is not None and address in ("", local.grpc_address):
            # There workers join; here they show certificates.
            address = local.workers_address
        if not address:
            raise NotFound(
                f"no leader runs in {self._folder.root}: name the address where it listens for workers, its port 7082, "
                "with --leader"
            )
        chain, key = self._files.read()
        named = self._files.worker_id()
        if named != self._worker_id:
            raise Corrupt(
                f"{self._files.certificate}: is for worker {named!r} now, and this one runs as {self._worker_id!r}: "
                "start it anew"
            )
        self._shown = chain
        is_here = local is not None and address == local.workers_address
        ca = _read(self._files.ca) if self._files.ca is not None else local.ca.encode() if local and is_here else b""
        name = local.server_name if local is not None and is_here else ""
        return KnownLeader(check_address(address), Trust(ca=ca, server_name=name, certificate=chain, key=key))

    def _local(self) -> LeaderFile | None:
        try:
            return read_leader_file(self._folder.root)
        except (NotFound, InvalidInput):
            return None

    def failed(self, error: JoblogError) -> None:
        """There was no connection to what leader() gave."""

    def succeeded(self) -> None:
        """There was one."""

    def renew_in(self) -> float | None:
        """0 when another certificate lies there than was shown. None: nothing is to be done."""
        if not self._shown:
            return None
        try:
            chain, _ = self._files.read()
        except JoblogError as error:
            log.debug("the certificate can't be read now: %s", error)
            return None
        return None if chain == self._shown else 0.0

    def renew(self) -> bool:
        """The next connection shows the new one."""
        self._shown = b""
        return True
