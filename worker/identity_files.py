"""What a worker is known by, on its disk: a key that never leaves it, the certificate for it, and who gave it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Corrupt, InvalidInput, NotFound
from joblog.paths import make_folder
from joblog.private_file import read_private, write_private
from joblog.token import Token

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

    def exists(self) -> bool:
        """Whether a worker has joined with what is here."""
        return (self.folder / "join.json").exists()

    def read(self) -> Identity | None:
        """What is there; None when it is not whole, as before the first join or after a power cut in one.

        Raises Denied when others may read it.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            chain, key = read_private(self.folder / "certificate.pem"), read_private(self.folder / "key.pem")
            ca = read_private(self.folder / "ca.pem")
            said = json.loads(read_private(self.folder / "join.json"))
            leaf = x509.load_pem_x509_certificate(chain)
            if said["version"] != _VERSION or load_pem_private_key(key, None).public_key() != leaf.public_key():
                return None
            got = (self.folder / "certificate.pem").stat().st_mtime
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
        except (NotFound, Corrupt, OSError, ValueError, KeyError, TypeError):
            return None

    def write(
        self, key: bytes, *, chain: bytes, ca: bytes, worker_id: str, leader: str, workers_address: str, token: str
    ) -> Identity:
        """Keeps an identity; the certificate comes last, and makes it whole. Raises JoblogError."""
        make_folder(self.folder)
        said = {
            "version": _VERSION,
            "worker_id": worker_id,
            "leader": leader,
            "workers_address": workers_address,
            "token": token,
        }
        write_private(self.folder / "key.pem", key)
        write_private(self.folder / "ca.pem", ca)
        write_private(self.folder / "join.json", json.dumps(said, indent=1).encode())
        write_private(self.folder / "certificate.pem", chain)
        found = self.read()
        if found is None:
            raise Corrupt(f"{self.folder}: the leader's answer is no certificate for this worker's key")
        return found


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
