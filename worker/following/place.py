"""Where a follower stands, said in such a way that it leads back to the same byte after a restart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from joblog.worker.following.files import FileKey, Head, LogFile, digest


class DoneFile(NamedTuple):
    """A file that was read to its end, and the bytes that it had."""

    head: Head
    size: int


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
        tuple(DoneFile(Head(*head), int(size)) for head, size in fields["done"]),
    )


def is_at(file: LogFile, place: Place) -> bool:
    """Whether the file holds what was read up to the place."""
    try:
        if not file.begins_with(place.head):
            return False
        tail = file.read(place.at - place.tail.length, place.tail.length)
    except (OSError, ValueError):
        return False
    return Head(len(tail), digest(tail)) == place.tail


def holds(file: LogFile, size: int) -> bool:
    """Whether a file has so many bytes; of a compressed one, what its last 4 bytes say."""
    if not file.compressed:
        return file.size() == size
    trailer = os.pread(file.fd, 4, max(0, file.size() - 4))
    return int.from_bytes(trailer, "little") == size % 2**32
