"""Reading from RocksDB by position: sources, cursors over the keys of a family, and moments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from rocksdict import RdictIter, ReadOptions

from joblog.errors import Corrupt, Unavailable
from joblog.leader.buffer.failures import Doing
from joblog.leader.buffer.keys import CHUNKS

READAHEAD_BYTES = 1 << 20


class Source(Protocol):
    """One state of the store to read from: the present one, or that of a moment."""

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value under `key`."""
        ...

    def cursor(self, family: str, before: bytes | None = None) -> Cursor:
        """A cursor over a family's keys, those less than `before`."""
        ...


class Place:
    """An iterator, and the token of the cursor that moved it last: not the cursor, as a cycle would live on."""

    __slots__ = ("iterator", "owner")

    def __init__(self, iterator: RdictIter) -> None:
        self.iterator = iterator
        self.owner: object = None


class Cursor:
    """A position among the keys of one column family. Raises Corrupt where the disk gave back damaged bytes.

    Cursors of one moment share its iterator; each goes back to its own key when another one has moved it.
    """

    __slots__ = ("_before", "_key", "_place", "_reading", "_token")

    def __init__(self, place: Place, before: bytes | None, reading: Doing) -> None:
        self._place = place
        # RocksDB reads the bound where it lies, inside these bytes; rocksdict does not keep them.
        self._before = before
        self._key: bytes | None = None
        self._reading = reading
        self._token = object()

    def seek(self, key: bytes) -> bytes | None:
        """Moves to the first key >= `key` and returns it."""
        self._place.owner = self._token
        return self._move(self._place.iterator.seek, key)

    def seek_back(self, key: bytes) -> bytes | None:
        """Moves to the last key <= `key` that is less than the cursor's bound, and returns it."""
        self._place.owner = self._token
        found = self._move(self._place.iterator.seek_for_prev, key)
        return self.previous() if found is None and self._before is not None and self._key is not None else found

    def next(self) -> bytes | None:
        """Moves to the following key and returns it."""
        self._return()
        return self._move(self._place.iterator.next)

    def previous(self) -> bytes | None:
        """Moves to the key before and returns it."""
        self._return()
        return self._move(self._place.iterator.prev)

    def value(self) -> bytes:
        """The value at the position, which must be at a key."""
        self._return()
        value: bytes | None = self._place.iterator.value()
        if value is None:
            raise Corrupt("the value is not to be had where a key was")
        return value

    def _return(self) -> None:
        if self._place.owner is not self._token and self._key is not None:
            self.seek(self._key)

    def _move(self, step: Callable[..., None], *target: bytes) -> bytes | None:
        iterator = self._place.iterator
        with self._reading:
            step(*target)
            if not iterator.valid():
                # The end of the keys, or damage, which must not pass for the end.
                iterator.status()
                self._key = None
                return None
            key: bytes = iterator.key()
            self._key = key
        return None if self._before is not None and key >= self._before else key


def scan(source: Source, family: str, begin: bytes, before: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of the keys from `begin` to less than `before`, in order."""
    cursor = source.cursor(family, before)
    key = cursor.seek(begin)
    while key is not None:
        yield key, cursor.value()
        key = cursor.next()


def scan_back(source: Source, family: str, begin: bytes, before: bytes) -> Iterator[tuple[bytes, bytes]]:
    """As scan(), the last key first."""
    cursor = source.cursor(family, before)
    key = cursor.seek_back(before)
    while key is not None and key >= begin:
        yield key, cursor.value()
        key = cursor.previous()


class Moment:
    """The store as it was when this was made, in some of its column families. One thread at a time.

    It holds an iterator per family, each of which sees one state for as long as it lives: rocksdict's Snapshot.iter()
    forgets its snapshot (0.3.29). Like any iterator it keeps memtables and files of its time alive: let go of it soon.
    """

    __slots__ = ("__weakref__", "_path", "_places", "_reading")

    def __init__(self, places: dict[str, Place], path: Path) -> None:
        self._places = places
        self._path = path
        self._reading = Doing(path, "read")

    def get(self, family: str, key: bytes) -> bytes | None:
        """As Source.get()."""
        cursor = self.cursor(family)
        return cursor.value() if cursor.seek(key) == key else None

    def cursor(self, family: str, before: bytes | None = None) -> Cursor:
        """As Source.cursor()."""
        place = self._places.get(family)
        if place is None:
            raise Unavailable(f"store {self._path}: this view is closed")
        return Cursor(place, before, self._reading)

    def release(self) -> None:
        """Lets RocksDB drop what only this moment still needed."""
        places, self._places = self._places, {}
        for place in places.values():
            del place.iterator


def read_options(family: str, before: bytes | None) -> ReadOptions:
    """How an iterator over a family reads, up to less than `before`."""
    options = ReadOptions()
    if family == CHUNKS:
        # Elsewhere most iterators are for a key or two, and RocksDB reads ahead by itself once one goes on.
        options.set_readahead_size(READAHEAD_BYTES)
        # Chunks carry a check of their own. A block that nobody has checked must not come into the cache: those who do
        # check, compactions among them, would take it from there as it is, and write it anew with a good checksum.
        options.set_verify_checksums(False)
        options.fill_cache(False)  # type: ignore[call-arg] # the stub forgets its argument
    if before is not None:
        options.set_iterate_upper_bound(before)
    return options
