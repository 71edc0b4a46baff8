"""The text of a token: who shows it, the secret, whom to trust, and where the leader is.

::

    jl1.<id>.<secret>.<fingerprint>.<address>

id: 12 characters of base32 in lower case. secret: 32 random bytes, base64url. fingerprint: SHA-256 of the DER of the
leader's CA certificate, base64url, or `-` where the system's CAs vouch for the leader. address: HOST:PORT of the
leader's gRPC listener, base64url, or `-` where it is known otherwise. base64url is without padding.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import ClassVar

from joblog.errors import InvalidInput

SECRET_BYTES = 32
FINGERPRINT_BYTES = 32
MAX_TOKEN_LENGTH = 1000

_ID = re.compile(r"[a-z2-7]{12}\Z")
_ID_BYTES = 8
_ID_LENGTH = 12
_NONE = "-"


def new_token_id() -> str:
    """A random id, which is no secret."""
    return base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()[:_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its holder has it. Its repr does not show the secret; `text` does.

    fingerprint: empty where the system's CAs vouch for the leader. address: empty where it is known otherwise.
    """

    PREFIX: ClassVar[str] = "jl1"

    id: str
    secret: bytes = field(repr=False)
    fingerprint: bytes = b""
    address: str = ""

    @classmethod
    def parse(cls, text: str) -> Token:
        """Reads a token; white space around it does not count. Raises InvalidInput, which does not show it."""
        parts = text.strip().split(".") if len(text) <= MAX_TOKEN_LENGTH else []
        if len(parts) != 5 or parts[0] != cls.PREFIX:
            raise InvalidInput(f"the token is none: it must read {cls.PREFIX}.ID.SECRET.FINGERPRINT.ADDRESS")
        _, token_id, secret_text, fingerprint_text, address_text = parts
        secret, fingerprint, address = (_decode(part) for part in (secret_text, fingerprint_text, address_text))
        if not _ID.match(token_id) or len(secret) != SECRET_BYTES:
            raise InvalidInput("the token is none: it was cut off or changed; copy it again")
        if len(fingerprint) not in (0, FINGERPRINT_BYTES) or not address.isascii():
            raise InvalidInput("the token is none: it was cut off or changed; copy it again")
        return cls(token_id, secret, fingerprint, address.decode())

    @property
    def text(self) -> str:
        """The whole token, the secret too."""
        parts = (self.secret, self.fingerprint, self.address.encode())
        return ".".join([self.PREFIX, self.id, *(_encode(part) or _NONE for part in parts)])

    def __str__(self) -> str:
        return f"{self.PREFIX}.{self.id}.***"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises InvalidInput for what _encode() would not have written."""
    if text == _NONE:
        return b""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        data = b""
    if not data or _encode(data) != text:
        raise InvalidInput("the token is none: it was cut off or changed; copy it again")
    return data
