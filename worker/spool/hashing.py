"""A running SHA-256 that leaves OpenSSL unloaded as long as a log is short: less memory, a quicker start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

SHORT_BYTES = 64 << 10


def _short_sha256(data: bytes | bytearray) -> bytes:
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256
    return bytes(sha256(data).digest())


class RunningHash:
    """SHA-256 of the bytes given so far, in order."""

    __slots__ = ("_hash", "_pending")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._hash: _Hash | None = None

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Takes in more bytes."""
        if self._hash is None:
            if len(self._pending) + len(data) <= SHORT_BYTES:
                self._pending += data
                return
            from hashlib import sha256

            self._hash = sha256(self._pending)
            self._pending = bytearray()
        self._hash.update(data)

    def digest(self) -> bytes:
        """The hash of what was taken in."""
        return self._hash.digest() if self._hash is not None else _short_sha256(self._pending)
