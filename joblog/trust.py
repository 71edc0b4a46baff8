"""Whom a client takes for the leader, and what it shows to it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from joblog.errors import Corrupt

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Trust:
    """plaintext: nothing is encrypted, and nobody is checked; only where that was asked for.

    ca: PEM of who vouches for the leader; empty, with an empty fingerprint: the system's CAs. fingerprint: SHA-256 of
    the CA's certificate, where that itself is not at hand. server_name: the name in the leader's certificate, where it
    is not the one of the address. token: shown to the leader; certificate and key: the same, in the TLS handshake.
    """

    plaintext: bool = False
    ca: bytes = b""
    fingerprint: bytes = b""
    server_name: str = ""
    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


PLAINTEXT = Trust(plaintext=True)


def fingerprint_of(pem: bytes) -> bytes:
    """SHA-256 of the first certificate in a PEM text; empty for an empty text. Raises Corrupt."""
    if not pem:
        return b""
    _, begin, rest = pem.decode("ascii", "replace").partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    try:
        if not begin or not end:
            raise ValueError
        return hashlib.sha256(base64.b64decode("".join(body.split()), validate=True)).digest()
    except (ValueError, binascii.Error):
        raise Corrupt("the leader's CA is no certificate in PEM") from None


def fingerprint_text(fingerprint: bytes) -> str:
    """A CA's fingerprint as people compare it, and as it stands in tokens."""
    return base64.urlsafe_b64encode(fingerprint).rstrip(b"=").decode()
