"""One read over extents of a log: ranged GETs of just the chunks needed, larger and in parallel as the read goes on."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import NamedTuple

from joblog.errors import Corrupt, Interrupted, WrongVersion
from joblog.leader.archive.container import Record, read_record
from joblog.leader.archive.fetch import ExtentReader, cache_key
from joblog.leader.archive.index import GAP_RECORD_BYTES, MAX_RECORD_BYTES
from joblog.v1.archive_pb2 import Extent

log = logging.getLogger(__name__)

# A read begins with a request of this size, and asks for more each time. An extent that is no larger needs no index.
FIRST_WINDOW_BYTES = 256 << 10
_GROWTH = 4
WINDOW_BYTES = 8 << 20
WINDOWS_AHEAD = 2
# A read that has come to windows of this size is taken to go on.
_AHEAD_FROM_BYTES = 1 << 20
# What a read takes beyond this is not kept: a long one would only push out what others come back for.
KEPT_BYTES_PER_READ = 8 << 20
# Small records are kept together.
_RUN_BYTES = 128 << 10
_TRIES_AGAIN = 3
_UNREADABLE = (Corrupt, WrongVersion)
_LENGTH_BYTES = 4

# lost(from_offset, to_offset, why): bytes of a log that the archive does not give back.
Lost = Callable[[int, int, str], None]


class Want(NamedTuple):
    """What a read is after.

    from_offset: the first byte. until_offset: nothing from there on is needed. expected_bytes: how many the reader is
    likely to take; None: all. sequential: it is known to go on, so that the first request is large already.
    """

    from_offset: int
    until_offset: int
    expected_bytes: int | None = None
    sequential: bool = False


class _Window(NamedTuple):
    """A request ahead: bytes [start, start + length) of the object of extent number `extent`."""

    extent: int
    start: int
    length: int
    coming: Future[bytes]


class ExtentRead:
    """Reads the chunks of log `uid` in `extents`, which are in order. Used once, by one thread.

    What can't be read is left out, and told to `lost`. Memory: a window, and WINDOWS_AHEAD of them ahead.
    """

    def __init__(self, reader: ExtentReader, extents: Sequence[Extent], uid: bytes, want: Want, lost: Lost) -> None:
        self._reader = reader
        self._extents = extents
        self._uid = uid
        self._want = want
        self._lost = lost
        self._grown = WINDOW_BYTES if want.sequential else FIRST_WINDOW_BYTES
        self._asked = 0
        self._ahead: deque[_Window] = deque()
        # Of the present extent: its number, where its readable bytes end, and up to where the index says to read.
        self._at_extent = 0
        self._end = 0
        self._exact_end = 0
        # Bytes at hand: they begin at this position; the cache's key when they come from there.
        self._bytes = b""
        self._position = 0
        self._key: bytes | None = None
        self._run: list[bytes] = []
        self._run_position, self._run_end = 0, -1
        self._kept = 0

    def records(self) -> Iterator[Record]:
        """The records with bytes of what is wanted. Raises ObjectGone, and what a store raises that is not at hand."""
        try:
            for number, extent in enumerate(self._extents):
                begin = max(self._want.from_offset, extent.offset)
                end = min(self._want.until_offset, extent.end_offset)
                if begin < end:
                    self._enter(number, extent)
                    yield from self._of_extent(extent, begin, end)
                    self._keep_run()
        finally:
            self._keep_run()
            self._drop_ahead()

    def _enter(self, number: int, extent: Extent) -> None:
        self._at_extent = number
        self._end = extent.position + extent.length
        self._exact_end = 0
        self._bytes, self._key = b"", None

    def _of_extent(self, extent: Extent, offset: int, end: int) -> Iterator[Record]:
        """The records with bytes of [offset, end)."""
        indexed = extent.length > FIRST_WINDOW_BYTES and offset > extent.offset
        at = self._seek(extent, offset) if indexed else extent.position
        failures = 0
        while at < self._end and offset < end:
            try:
                record, behind = self._record(at)
                _check_place(record, extent)
            except _UNREADABLE as error:
                self._forget()
                failures += 1
                # It may be the cache or the way here that changed the bytes, or the object is too short for the window.
                if failures <= _TRIES_AGAIN and (failures != 2 or self._readable(extent, at)):
                    continue
                at, found = self._behind(extent, at, end)
                if found > offset:
                    self._lost(offset, found, f"archive object {extent.object}: {error}")
                offset, indexed, failures = max(offset, found), True, 0
                continue
            failures = 0
            last = record.offset + record.header.raw_length
            if record.offset >= end:
                break
            if last <= offset:
                # A record that stands for nothing any more, or lies before what is wanted: its like are jumped over.
                if not indexed and extent.length > FIRST_WINDOW_BYTES:
                    indexed, at = True, self._seek(extent, offset)
                else:
                    at = behind
                continue
            if record.offset > offset:
                self._lost(offset, record.offset, f"archive object {extent.object} has no chunk for it")
            yield record
            at, offset = behind, last
        if offset < end:
            self._lost(offset, end, f"archive object {extent.object} has no chunk for it")

    def _seek(self, extent: Extent, offset: int) -> int:
        """Position of the record that holds `offset` or is the next one; the extent's begin without a good index."""
        try:
            entries = self._reader.entries(extent, self._uid)
        except _UNREADABLE as error:
            log.warning("%s; reading the records one after another instead", error)
            return extent.position
        first = entries.find(offset)
        if first == len(entries):
            return self._end
        expected = self._want.expected_bytes
        if expected is not None:
            last = entries[min(entries.find(offset + max(0, expected - 1)), len(entries) - 1)]
            self._exact_end = min(self._end, last.position + last.length)
        elif not self._want.sequential:
            self._exact_end = min(self._end, entries[first].position + entries[first].length)
        return min(self._end, max(extent.position, entries[first].position))

    def _behind(self, extent: Extent, at: int, end: int) -> tuple[int, int]:
        """(position, offset) of the first record behind the one at position `at`, as the index has it."""
        try:
            entries = self._reader.entries(extent, self._uid)
        except _UNREADABLE:
            return self._end, end
        for entry in entries:
            if entry.position > at and entry.offset < end and entry.position < self._end:
                return entry.position, max(entry.offset, extent.offset)
        return self._end, end

    def _readable(self, extent: Extent, at: int) -> bool:
        """Whether the object has bytes at `at`; nothing is read beyond its end when that comes too early."""
        info = self._reader.store.head(extent.object)
        if info is not None:
            self._end = min(self._end, info.size)
        return at < self._end

    def _record(self, at: int) -> tuple[Record, int]:
        """The record at position `at`, and where the next one begins. Raises Corrupt, WrongVersion."""
        if self._end - at < GAP_RECORD_BYTES:
            raise Corrupt(f"{self._end - at} bytes at position {at} are too few for a record")
        here = at - self._position
        if not 0 <= here <= len(self._bytes) - _LENGTH_BYTES:
            self._join(at, _LENGTH_BYTES)
            here = 0
        size = int.from_bytes(self._bytes[here : here + _LENGTH_BYTES], "big")
        if not GAP_RECORD_BYTES <= size <= min(MAX_RECORD_BYTES, self._end - at):
            raise Corrupt(f"the record at position {at} says {size} bytes: it is damaged or cut short")
        if here + size <= len(self._bytes):
            record, _ = read_record(self._bytes, here)
            self._keep(at, self._bytes, here, size)
        else:
            parts, have = [self._bytes[here:]], len(self._bytes) - here
            while have < size:
                self._load(at + have, size - have)
                parts.append(self._bytes[: size - have])
                have += len(parts[-1])
            joined = b"".join(parts)
            record, _ = read_record(joined)
            self._keep(at, joined, 0, size)
        return record, at + size

    def _join(self, at: int, size: int) -> None:
        """Makes the bytes at hand begin at `at`, and be `size` at least."""
        here = at - self._position
        rest = self._bytes[here:] if 0 <= here < len(self._bytes) else b""
        while len(rest) < size:
            self._load(at + len(rest), size - len(rest))
            rest += self._bytes
        self._bytes, self._position = rest, at

    def _load(self, at: int, least: int) -> None:
        """Makes the bytes from `at` on those at hand: as many as suit the read."""
        self._bytes, self._key = b"", None
        if self._ahead and self._ahead[0][:2] == (self._at_extent, at):
            window = self._ahead.popleft()
            try:
                found = window.coming.result()
            except CancelledError:
                raise Interrupted("the leader is stopping") from None
            finally:
                self._reader.release_ahead(window.length)
        else:
            self._drop_ahead()
            extent = self._extents[self._at_extent]
            key = cache_key(extent, self._uid, at)
            cached = self._reader.cache.get(key)
            if cached is not None and at + len(cached) <= self._end:
                self._bytes, self._position, self._key = cached, at, key
                return
            found = self._request(extent, at, max(least, self._size(self._at_extent, at)))
        self._bytes, self._position = found, at
        self._go_ahead(at + len(found))

    def _request(self, extent: Extent, at: int, size: int) -> bytes:
        """The next window; further ones are asked for meanwhile."""
        size = min(size, self._end - at)
        self._asked += size
        self._go_ahead(at + size)
        return self._reader.get(extent.object, at, size)

    def _size(self, number: int, at: int) -> int:
        """How much to ask for at position `at` of extent `number`; the next time it is more."""
        if number == self._at_extent and at < self._exact_end:
            return min(self._exact_end - at, WINDOW_BYTES)
        size, self._grown = self._grown, min(_GROWTH * self._grown, WINDOW_BYTES)
        return size

    def _go_ahead(self, at: int) -> None:
        """Asks for what follows position `at` of the present extent, if the read is likely to come there."""
        number = self._at_extent
        if self._ahead:
            number, at = self._ahead[-1].extent, self._ahead[-1].start + self._ahead[-1].length
        while len(self._ahead) < WINDOWS_AHEAD and self._likely(number, at):
            extent = self._extents[number]
            end = self._end if number == self._at_extent else extent.position + extent.length
            if at >= end:
                number += 1
                if number >= len(self._extents) or self._extents[number].offset >= self._want.until_offset:
                    return
                at = self._extents[number].position
                continue
            size = min(self._size(number, at), end - at)
            coming = self._reader.get_ahead(extent.object, at, size)
            if coming is None:
                return
            self._asked += size
            self._ahead.append(_Window(number, at, size, coming))
            at += size

    def _likely(self, number: int, at: int) -> bool:
        if number == self._at_extent and at < self._exact_end:
            return True
        expected = self._want.expected_bytes
        if expected is not None and self._asked >= expected:
            return False
        return self._grown >= _AHEAD_FROM_BYTES

    def _drop_ahead(self) -> None:
        for window in self._ahead:
            if window.coming.cancel():
                self._reader.release_ahead(window.length)
            else:
                # The bytes are there until the request ends.
                window.coming.add_done_callback(partial(_release, self._reader, window.length))
        self._ahead.clear()

    def _forget(self) -> None:
        """Nothing at hand or under way is used any more."""
        if self._key is not None:
            self._reader.cache.drop(self._key)
        self._drop_ahead()
        self._keep_run()
        self._bytes, self._key = b"", None

    def _keep(self, at: int, data: bytes, begin: int, size: int) -> None:
        """Notes a good record for the cache."""
        if self._key is not None or self._kept >= KEPT_BYTES_PER_READ:
            return
        if at != self._run_end or sum(map(len, self._run)) >= _RUN_BYTES:
            self._keep_run()
        if not self._run:
            self._run_position = at
        self._run.append(data[begin : begin + size])
        self._run_end = at + size
        self._kept += size

    def _keep_run(self) -> None:
        run, self._run, self._run_end = self._run, [], -1
        if run:
            extent = self._extents[self._at_extent]
            self._reader.cache.put(cache_key(extent, self._uid, self._run_position), b"".join(run))


def _release(reader: ExtentReader, length: int, _: Future[bytes]) -> None:
    reader.release_ahead(length)


def _check_place(record: Record, extent: Extent) -> None:
    """Raises Corrupt for a record that reaches out of the range that it is a part of."""
    if extent.offset <= record.offset < extent.end_offset < record.offset + record.header.raw_length:
        raise Corrupt(f"the record at offset {record.offset} says {record.header.raw_length} bytes, which is too many")
