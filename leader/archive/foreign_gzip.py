"""The text in a gzip file that is read by ranges: inflated from the begin, or from a place where it was left before."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from joblog.errors import Corrupt

# fetch(position, length): bytes of the file.
Fetch = Callable[[int, int], bytes]

_READ_BYTES = 1 << 20
_OUT_BYTES = 1 << 20
# A gzip member with its header and its checksum.
_GZIP_WINDOW = 31
_MAGIC = b"\x1f\x8b"


class Inflater:
    """Inflates a gzip file of several members, from the front. A copy goes on by itself; about 40 KiB each.

    position: how much text it has given.
    """

    __slots__ = ("_engine", "_fed", "_pending", "_size", "position")

    def __init__(self, size: int) -> None:
        """size: of the file."""
        self._size = size
        self._fed = 0
        self._pending = b""
        self._engine = zlib.decompressobj(_GZIP_WINDOW)
        self.position = 0

    def copy(self) -> Inflater:
        """Another one at the same place."""
        other = Inflater(self._size)
        other._fed, other._pending, other.position = self._fed, self._pending, self.position
        other._engine = self._engine.copy()
        return other

    def read(self, fetch: Fetch, limit: int = _OUT_BYTES) -> bytes:
        """The next text, at most `limit` bytes; b"" at its end. Raises Corrupt for a file that is no good."""
        while True:
            if self._engine.eof:
                # Another member may follow, and zeros may fill the file up.
                self._pending = self._pending.lstrip(b"\0")
                if self._pending:
                    self._engine = zlib.decompressobj(_GZIP_WINDOW)
                elif self._fed == self._size:
                    return b""
            if not self._pending:
                length = min(_READ_BYTES, self._size - self._fed)
                if not length:
                    raise Corrupt("the gzip file ends in the middle")
                self._pending = fetch(self._fed, length)
                self._fed += length
                continue
            text = self._inflate(limit)
            if text:
                self.position += len(text)
                return text

    def _inflate(self, limit: int) -> bytes:
        try:
            text = self._engine.decompress(self._pending, limit)
        except zlib.error as error:
            raise Corrupt(f"it is no gzip file, or a damaged one: {error}") from None
        self._pending = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
        return text


def read_pieces(fetch: Fetch, size: int, *, gzip: bool, piece_bytes: int) -> Iterator[bytes]:
    """The text of a whole file, piece by piece, none empty. Raises Corrupt for a gzip file that is no good."""
    if not gzip:
        for at in range(0, size, piece_bytes):
            yield fetch(at, min(piece_bytes, size - at))
        return
    if size < len(_MAGIC) or fetch(0, len(_MAGIC)) != _MAGIC:
        raise Corrupt("it is named as a gzip file, and is none")
    inflater = Inflater(size)
    while text := inflater.read(fetch):
        yield text
