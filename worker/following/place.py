"""Where a follower stands, said in such a way that it leads back to the same byte after a restart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from joblog.worker.following.files import FileKey, Head, LogFile, head_of

_NOTHING = head_of(b"")


class DoneFile(NamedTuple):
    """A file that was read to its end: its start, the bytes that it had, and the digest of the last ones."""

    head: Head
    size: int
    tail: Head = _NOTHING


class Place(NamedTuple):
    """Up to where a log was read: byte `at` of the file with this start, behind the bytes with digest `tail`."""

    key: FileKey
    head: Head
    at: int
    tail: Head
    done: tuple[DoneFile, ...]

    def encode(self) -> dict[str, object]:
        """As JSON values."""
        return self._asdict()


def decode_place(fields: Mapping[str, Any]) -> Place:
    """The reverse of Place.encode, after JSON. Raises KeyError, TypeError, ValueError."""
    return Place(
        FileKey(*fields["key"]),
        Head(*fields["head"]),
        int(fields["at"]),
        Head(*fields["tail"]),
        tuple(
            DoneFile(Head(*head), int(size), *(Head(*tail) for tail in rest)) for head, size, *rest in fields["done"]
        ),
    )


def is_at(file: LogFile, head: Head, at: int, tail: Head) -> bool:
    """Whether the file begins so, and has these bytes before byte `at`."""
    try:
        if not file.begins_with(head):
            return False
        data = file.read(at - tail.length, tail.length)
    except (OSError, ValueError):
        return False
    return head_of(data) == tail


def has_grown(file: LogFile, done: DoneFile) -> bool:
    """Whether it is that file with more in it."""
    return done.tail.length > 0 and not _holds(file, done.size) and is_at(file, done.head, done.size, done.tail)


def is_whole(file: LogFile, done: DoneFile) -> bool:
    """Whether it is that file with nothing more in it."""
    return file.begins_with(done.head) and _holds(file, done.size)


def _holds(file: LogFile, size: int) -> bool:
    """Whether a file has so many bytes; of a compressed one, what its last 4 bytes say."""
    if not file.compressed:
        return file.size() == size
    trailer = os.pread(file.fd, 4, max(0, file.size() - 4))
    return int.from_bytes(trailer, "little") == size % 2**32
