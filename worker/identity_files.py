"""What a worker is known by, on its disk: a key that never leaves it, the certificate for it, and who gave it."""

from __future__ import annotations

import json
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from joblog.errors import Corrupt, InvalidInput, NotFound, OutOfSpace
from joblog.paths import make_folder
from joblog.private_file import read_private, write_private
from joblog.token import Token

log = logging.getLogger(__name__)

_VERSION = 1
# The leader dates a certificate back so far at most, for clocks that are behind.
_BACKDATED = timedelta(seconds=300)


class Identity(NamedTuple):
    """chain, key, ca: PEM; ca empty where the system's CAs vouch for the leader. Times in seconds since 1970.

    leader: where the worker joined; workers_address: where it pushes. token: what it joined with.
    """

    chain: bytes
    key: bytes
    ca: bytes
    serial: str
    since: float
    expires: float
    worker_id: str
    leader: str
    workers_address: str
    token: str

    def __repr__(self) -> str:
        return f"Identity({self.worker_id!r}, {self.serial}, {self.leader!r})"

    def parsed_token(self) -> Token | None:
        """The token; None where that was not kept, or is none."""
        try:
            return Token.parse(self.token)
        except InvalidInput:
            return None

    @property
    def token_id(self) -> str:
        """Of the token that the worker joined with; empty where it is not known."""
        token = self.parsed_token()
        return token.id if token is not None else ""


class IdentityFiles:
    """The folder `identity`, 0700, of files 0600; changed only by who holds its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unwritten: Identity | None = None

    def exists(self) -> bool:
        """Whether a worker has joined with what is here."""
        return (self.folder / "join.json").exists()

    def read(self) -> Identity | None:
        """What is there; None when it is not whole, as before the first join or after a power cut in one.

        Raises Denied when others may read it.
        """
        if self._unwritten is not None:
            return self._unwritten
        try:
            chain, key = read_private(self.folder / "certificate.pem"), read_private(self.folder / "key.pem")
            ca = read_private(self.folder / "ca.pem")
            said = json.loads(read_private(self.folder / "join.json"))
            got = (self.folder / "certificate.pem").stat().st_mtime
        except (NotFound, Corrupt, OSError, ValueError):
            return None
        return _identity(chain, key, ca, said, got)

    def write(
        self, key: bytes, *, chain: bytes, ca: bytes, worker_id: str, leader: str, workers_address: str, token: str
    ) -> Identity:
        """Keeps an identity; the certificate comes last, and makes it whole. Raises JoblogError.

        On a full disk it is kept in memory alone: what lies in the spools can go nowhere else.
        """
        said = {
            "version": _VERSION,
            "worker_id": worker_id,
            "leader": leader,
            "workers_address": workers_address,
            "token": token,
        }
        found = _identity(chain, key, ca, said, time.time())
        if found is None:
            raise Corrupt("the leader's answer is no certificate for this worker's key")
        try:
            make_folder(self.folder)
            write_private(self.folder / "key.pem", key)
            write_private(self.folder / "ca.pem", ca)
            write_private(self.folder / "join.json", json.dumps(said, indent=1).encode())
            write_private(self.folder / "certificate.pem", chain)
        except OutOfSpace as error:
            log.warning("the worker's certificate is in memory alone: %s", error)
            self._unwritten = found
            return found
        self._unwritten = None
        return found


def _identity(chain: bytes, key: bytes, ca: bytes, said: Any, got: float) -> Identity | None:
    """What parts make together; None when they do not fit. got: when the certificate came, seconds since 1970."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        leaf = x509.load_pem_x509_certificate(chain)
        if said["version"] != _VERSION or load_pem_private_key(key, None).public_key() != leaf.public_key():
            return None
        begins = (leaf.not_valid_before_utc + _BACKDATED).timestamp()
        expires = leaf.not_valid_after_utc.timestamp()
        return Identity(
            chain,
            key,
            ca,
            format(leaf.serial_number, "x"),
            max(begins, got) if got < expires else begins,
            expires,
            *(str(said[name]) for name in ("worker_id", "leader", "workers_address", "token")),
        )
    except (ValueError, KeyError, TypeError):
        return None


def new_key() -> bytes:
    """A private key, PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def request_for(key: bytes) -> bytes:
    """A PKCS#10 request, DER, that proves that its sender has the key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(private, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)
