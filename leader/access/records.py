"""What the access store holds: tokens, certificates, and what was revoked."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal

from joblog.leader.access.roles import Grant

Kind = Literal["token", "certificate", "session"]


@dataclass(frozen=True, slots=True)
class Quota:
    """What a token's holder may use; 0: no limit. requests_per_second: in the mean of ten seconds."""

    bytes_per_day: int = 0
    live_logs: int = 0
    stored_bytes: int = 0
    requests_per_second: int = 0


NO_QUOTA = Quota()


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token as the leader knows it. Times in nanoseconds; 0: never.

    secret_hash: SHA-256 of the secret. worker_id: the only worker that may use it; empty: not bound to one.
    created_by: the principal's name, or `leader` for what it made by itself.
    """

    id: str
    name: str
    secret_hash: bytes = field(repr=False)
    grants: tuple[Grant, ...]
    worker_id: str = ""
    created_ns: int = 0
    expires_ns: int = 0
    last_used_ns: int = 0
    revoked_ns: int = 0
    created_by: str = ""
    quota: Quota = NO_QUOTA

    def is_good(self, now_ns: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return not self.revoked_ns and not has_expired(self.expires_ns, now_ns)

    def has_secret(self, secret: bytes) -> bool:
        """Whether `secret` is its secret; takes the same time for each wrong one."""
        return constant_time_equal(hash_of(secret), self.secret_hash)


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A client certificate that the leader issued. serial: in hexadecimal, lower case, no leading zeros."""

    serial: str
    worker_id: str
    token_id: str
    issued_ns: int
    expires_ns: int
    revoked_ns: int = 0

    def is_good(self, now_ns: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return not self.revoked_ns and not has_expired(self.expires_ns, now_ns)


@dataclass(frozen=True, slots=True)
class Revoked:
    """What does not count any more from now on. id: the token's, the certificate's serial, the session's."""

    kind: Kind
    id: str


def hash_of(secret: bytes) -> bytes:
    """What is kept of a secret. Secrets are 32 random bytes: a slow hash would protect no better."""
    return hashlib.sha256(secret).digest()


def constant_time_equal(one: bytes, other: bytes) -> bool:
    """Whether they are alike; how long it takes does not tell how far."""
    return hmac.compare_digest(one, other)


def has_expired(expires_ns: int, now_ns: int) -> bool:
    """Whether a time of expiry is over; 0 never is."""
    return 0 < expires_ns <= now_ns


def serial_text(serial: int) -> str:
    """A certificate's serial number as it is written everywhere."""
    return format(serial, "x")
