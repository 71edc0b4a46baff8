"""The interface to whatever keeps the KEK: a key file, a passphrase, a token, or a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from joblog.errors import InvalidInput

# What every service takes.
MAX_PLAIN_BYTES = 4096


class Kms(Protocol):
    """Wraps and unwraps short secrets under a key that never leaves it. Every implementation passes one test suite.

    The key may have versions: the newest one wraps, all of them unwrap. Threads may share an instance. All methods
    raise Unavailable when the KMS can't be reached or can't take it now, and Denied when it refuses.
    """

    @property
    def name(self) -> str:
        """What kind of KMS: "file", "passphrase", "aws", "vault", "pkcs11"."""
        ...

    @property
    def key_id(self) -> str:
        """Which of its keys, the same for all its versions; stored beside what it wrapped."""
        ...

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """`plain`, of 1 to MAX_PLAIN_BYTES bytes, sealed and bound to `context`, which unwrap() must be given again."""
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """What wrap() was given. Raises Denied when the key is another one, Corrupt for other bytes or context."""
        ...

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The same secret wrapped under the newest version; a service does it without giving the secret away.

        Raises as unwrap().
        """
        ...

    def version_of(self, wrapped: bytes) -> str:
        """The version of the key that wrapped it; "" where there are none, or it does not show. Asks no service.

        Raises Corrupt and WrongVersion for what no KMS of this kind has wrapped.
        """
        ...

    def current_version(self) -> str:
        """The version that wraps now, as the KMS says when it is asked; "" as in version_of()."""
        ...

    def rotate(self) -> str:
        """Makes a newer version, which wraps from now on; returns what current_version() does then.

        Raises Conflict where this KMS can't: then its key is changed by a move to another one.
        """
        ...


def check_plain(plain: bytes) -> None:
    """Raises InvalidInput when no KMS would wrap it."""
    if not 0 < len(plain) <= MAX_PLAIN_BYTES:
        raise InvalidInput(f"a KMS wraps 1 to {MAX_PLAIN_BYTES} bytes, not {len(plain)}")


def context_bytes(context: Mapping[str, str]) -> bytes:
    """`context` in one canonical form: keys sorted, every part with its length before it."""
    parts = [text.encode() for item in sorted(context.items()) for text in item]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
