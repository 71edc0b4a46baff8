"""A file that is followed: held open, so that it can be read to its end whatever becomes of its name."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Sequence
from typing import NamedTuple

# By so many bytes at its start a file is known again; each line of a container's log has a time of its own.
HEAD_BYTES = 256
# And by so many before it a place in it.
TAIL_BYTES = 64
COMPRESSED_SUFFIX = ".gz"

_GZIP = 16 + zlib.MAX_WBITS
_READ_BYTES = 256 << 10


class FileKey(NamedTuple):
    """What the file system calls a file. An inode's number may be given to another file once it is free."""

    device: int
    inode: int


class Head(NamedTuple):
    """The first bytes of a file: how many were looked at, and their digest."""

    length: int
    digest: str


def digest(data: bytes) -> str:
    """A short digest of bytes that are compared only with each other."""
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def head_of(data: bytes) -> Head:
    """Bytes as what they are known again by."""
    return Head(len(data), digest(data))


class NotAllowedError(Exception):
    """The path leads to what must not be read: no regular file, or one that lies elsewhere."""


class LogFile:
    """A file held open for reading; one that ends with .gz is read as what it holds.

    roots: folders, resolved, one of which the file must lie in, wherever links lead; empty: anywhere. Raises
    NotAllowedError, OSError.
    """

    def __init__(self, path: str, roots: Sequence[str] = ()) -> None:
        self.path = path
        self.compressed = path.endswith(COMPRESSED_SUFFIX)
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(self.fd)
            if not stat.S_ISREG(status.st_mode):
                raise NotAllowedError(f"{path} is no regular file")
            # Of the open file, not of its name: nobody can exchange it in between.
            where = os.readlink(f"/proc/self/fd/{self.fd}")
            if roots and not any(where.startswith(root.rstrip("/") + "/") for root in roots):
                raise NotAllowedError(f"{path} leads to {where}, which lies in none of {', '.join(roots)}")
        except BaseException:
            os.close(self.fd)
            raise
        self.key = FileKey(status.st_dev, status.st_ino)
        self._inflated = _Inflated(self.fd) if self.compressed else None
        self._start = b""

    def size(self) -> int:
        """Bytes that the file takes now; of a compressed one, compressed."""
        return os.fstat(self.fd).st_size

    def is_deleted(self) -> bool:
        """Whether it has no name any more: it is there as long as it is held."""
        return os.fstat(self.fd).st_nlink == 0

    def read(self, at: int, length: int) -> bytes:
        """Up to `length` bytes from byte `at` on; empty at the end. Raises OSError where a .gz is damaged."""
        if self._inflated is not None:
            return self._inflated.read(at, length)
        return os.pread(self.fd, length, at)

    def head(self, length: int = HEAD_BYTES) -> Head:
        """Its first bytes, as far as there are so many."""
        if not self.compressed:
            return head_of(self.read(0, min(length, HEAD_BYTES)))
        if len(self._start) < HEAD_BYTES:
            # It is asked for often, and reading it anew costs.
            self._start = self.read(0, HEAD_BYTES)
        return head_of(self._start[:length])

    def before(self, at: int) -> bytes:
        """The bytes before byte `at` by which that place is known again."""
        return self.read(max(0, at - TAIL_BYTES), min(at, TAIL_BYTES))

    def begins_with(self, head: Head) -> bool:
        """Whether its first bytes are these."""
        return head.length > 0 and self.head(head.length) == head

    def close(self) -> None:
        """Lets go of it."""
        os.close(self.fd)


class _Inflated:
    """What a gzip file holds, read forward; going back begins anew."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._begin()

    def _begin(self) -> None:
        self._stream = zlib.decompressobj(_GZIP)
        self._read_at = 0
        self._at = 0
        self._ready = b""

    def read(self, at: int, length: int) -> bytes:
        if at < self._at:
            self._begin()
        while at > self._at:
            skipped = self._next(min(at - self._at, _READ_BYTES))
            if not skipped:
                return b""
        parts: list[bytes] = []
        while length and (part := self._next(length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _next(self, length: int) -> bytes:
        while not self._ready:
            if self._stream.eof:
                rest = self._stream.unused_data
                # A gzip file may have several members.
                if not rest and not (rest := self._compressed()):
                    return b""
                self._stream = zlib.decompressobj(_GZIP)
            else:
                rest = self._stream.unconsumed_tail or self._compressed()
                if not rest:
                    return b""
            try:
                self._ready = self._stream.decompress(rest, _READ_BYTES)
            except zlib.error as error:
                raise OSError(f"is damaged: {error}") from None
        part, self._ready = self._ready[:length], self._ready[length:]
        self._at += len(part)
        return part

    def _compressed(self) -> bytes:
        data = os.pread(self._fd, _READ_BYTES, self._read_at)
        self._read_at += len(data)
        return data
