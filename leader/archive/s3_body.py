"""What a request sends, as boto3 takes it: bytes, or a file over pieces that are not joined first."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from joblog.leader.archive.objects import Bytes, Data, pieces_of, size_of

# Up to here joining costs little, and what is sent is one buffer.
_JOINED_UP_TO_BYTES = 1 << 20
# Smaller pieces are sent together with their neighbours.
_SMALL_BYTES = 32 << 10
_RUN_BYTES = 256 << 10


class PiecesFile:
    """A file whose bytes are those of `pieces`, one behind the other.

    A read gives what is left of the piece at the position, however long that is: boto3 hashes and sends what comes. A
    copy of it all in one buffer would cost as much CPU as hashing does.
    """

    def __init__(self, pieces: list[Bytes]) -> None:
        self._pieces = pieces
        self._size = size_of(pieces)
        self._at = 0
        # Of the piece in which the position is, or behind all: which, and where it begins.
        self._index = self._begin = 0

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> Bytes:
        """The next bytes; b"" at the end. With a negative size all that is left. Else maybe more than `size`."""
        if size < 0:
            return b"".join(iter(self._next, b""))
        return self._next()

    def _next(self) -> Bytes:
        if self._index >= len(self._pieces):
            return b""
        piece = self._pieces[self._index]
        found = memoryview(piece)[self._at - self._begin :] if self._at > self._begin else piece
        self._index += 1
        self._at = self._begin = self._begin + memoryview(piece).nbytes
        return found

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position; it stays within the file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = min(max(base + offset, 0), self._size)
        self._index = self._begin = 0
        for piece in self._pieces:
            end = self._begin + memoryview(piece).nbytes
            if end > self._at:
                break
            self._index, self._begin = self._index + 1, end
        return self._at


def body_of(data: Data) -> bytes | PiecesFile:
    """The data as a request's body. As it is read, it belongs to one request at a time."""
    if isinstance(data, bytes):
        return data
    pieces = pieces_of(data)
    if size_of(pieces) <= _JOINED_UP_TO_BYTES:
        return b"".join(pieces)
    return PiecesFile(list(_runs(pieces)))


def _runs(pieces: Iterable[Bytes]) -> Iterator[Bytes]:
    run: list[Bytes] = []
    size = 0
    for piece in pieces:
        length = memoryview(piece).nbytes
        if not length:
            # It would pass for the file's end.
            continue
        if length < _SMALL_BYTES:
            run.append(piece)
            size += length
        if run and (length >= _SMALL_BYTES or size >= _RUN_BYTES):
            yield run[0] if len(run) == 1 else b"".join(run)
            run, size = [], 0
        if length >= _SMALL_BYTES:
            yield piece
    if run:
        yield b"".join(run)
