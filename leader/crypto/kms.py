"""The interface to whatever keeps the KEK: a key file, a passphrase, or a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Kms(Protocol):
    """Wraps and unwraps short secrets under a key that never leaves it. Every implementation passes one test suite."""

    @property
    def name(self) -> str:
        """What kind of KMS: "file", "passphrase"."""
        ...

    @property
    def key_id(self) -> str:
        """Which of its keys; stored beside what it wrapped, so that a wrong key can be told from damage."""
        ...

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """`plain` sealed and bound to `context`, which unwrap() must be given again."""
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """What wrap() was given. Raises Denied when the key is another one, Corrupt for other bytes or context."""
        ...


def context_bytes(context: Mapping[str, str]) -> bytes:
    """`context` in one canonical form: keys sorted, every part with its length before it."""
    parts = [text.encode() for item in sorted(context.items()) for text in item]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
