"""Text of adopted logs, read from the foreign objects in which it lies: by ranges, larger ones as a read goes on."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import google_crc32c
from google.protobuf.message import DecodeError

from joblog.errors import Corrupt, InvalidInput, Unavailable
from joblog.leader.archive.foreign import ForeignInfo, ForeignSource, find_source
from joblog.leader.archive.foreign_gzip import Inflater
from joblog.leader.archive.retrying import retried
from joblog.leader.buffer.opening import SourceChanged, SourceUnreachable
from joblog.v1.archive_pb2 import ForeignRange

DEFAULT_RETRY_SECONDS = 20.0
# Whoever reads holds up others who read the archive, and asks again.
_READ_RETRY_SECONDS = 2.0
DEFAULT_CACHE_BYTES = 64 << 20
_FIRST_BYTES = 256 << 10
_GROWTH = 4
_MOST_BYTES = 8 << 20
# What was read is taken to be still so for so long: then a change of the object is noticed.
_FRESH_SECONDS = 10.0
_WINDOWS_OF_OBJECT = 4
_OBJECTS = 256
# Where inflating may go on: places of one gzip file, and how far apart they are made on a long way.
_PLACES = 64
_ALL_PLACES = 1024
_STEP_BYTES = 8 << 20

_Object = tuple[str, str, str]


class _Window(NamedTuple):
    start: int
    data: bytes
    read_at: float

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class _Place(NamedTuple):
    position: int
    made: int
    inflater: Inflater


class _Kept:
    """What is kept of one object: windows, the newest last; places to go on inflating from, by position."""

    def __init__(self) -> None:
        self.windows: list[_Window] = []
        self.places: list[_Place] = []

    @property
    def size_bytes(self) -> int:
        return sum(len(window.data) for window in self.windows)


class ForeignReader:
    """ForeignText over these sources. Thread-safe. Memory: cache_bytes, and 40 KiB for each place in a gzip file.

    max_log_bytes, retry_seconds: for who adopts.
    """

    def __init__(
        self,
        sources: Sequence[ForeignSource],
        *,
        max_log_bytes: int = 0,
        retry_seconds: float = DEFAULT_RETRY_SECONDS,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sources = sources
        self.max_log_bytes = max_log_bytes
        self.retry_seconds = retry_seconds
        self._cache_bytes = cache_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Object, _Kept] = OrderedDict()
        self._made = 0

    def close(self) -> None:
        """Ends connections."""
        for source in self.sources:
            source.close()

    def text(self, place: bytes, length: int, crc32c: int) -> bytes:
        """See ForeignText."""
        try:
            where = ForeignRange.FromString(place)
        except DecodeError:
            raise Corrupt("where the text of an adopted log lies can't be read") from None
        for _ in range(2):
            try:
                raw = self._text(where, length)
            except (InvalidInput, Unavailable) as error:
                raise SourceUnreachable(f"the text of this log was adopted, and can't be read: {error}") from None
            if google_crc32c.value(raw) == crc32c:
                return raw
            # What is kept may have been damaged on its way.
            with self._lock:
                self._kept.pop(_object(where), None)
        raise SourceChanged(f"{where.url}: its bytes from {where.position} on are not those that were adopted")

    def _text(self, where: ForeignRange, length: int) -> bytes:
        if where.gzip:
            return self._inflated(where, length)
        if where.position + length > where.object_bytes:
            raise Corrupt(f"{where.url}: the range of {length} bytes from {where.position} on is not in it")
        return self._bytes(where, where.position, length)

    # Bytes of the object

    def _bytes(self, where: ForeignRange, start: int, length: int) -> bytes:
        now = self._clock()
        size = length
        with self._lock:
            kept = self._kept_of(where)
            kept.windows = [window for window in kept.windows if now - window.read_at < _FRESH_SECONDS]
            for window in kept.windows:
                if window.start <= start <= window.end:
                    if start + length <= window.end:
                        at = start - window.start
                        return window.data[at : at + length]
                    # The read goes on: it is likely to go on further.
                    size = max(size, min(_GROWTH * len(window.data), _MOST_BYTES))
        size = min(max(size, _FIRST_BYTES), where.object_bytes - start)
        data = self._get(where, start, size)
        self._keep(where, _Window(start, data, now))
        return data[:length]

    def _get(self, where: ForeignRange, start: int, length: int) -> bytes:
        source, key = find_source(self.sources, where.url)
        info = ForeignInfo(key, where.object_bytes, where.etag, 0, where.version_id, where.gzip)
        return retried(lambda: source.get(info, start, length), min(self.retry_seconds, _READ_RETRY_SECONDS))

    def _kept_of(self, where: ForeignRange) -> _Kept:
        """Under the lock."""
        kept = self._kept.setdefault(_object(where), _Kept())
        self._kept.move_to_end(_object(where))
        while len(self._kept) > _OBJECTS:
            self._kept.popitem(last=False)
        return kept

    def _keep(self, where: ForeignRange, window: _Window) -> None:
        with self._lock:
            kept = self._kept_of(where)
            kept.windows = [*kept.windows, window][-_WINDOWS_OF_OBJECT:]
            total = sum(one.size_bytes for one in self._kept.values())
            for one in self._kept.values():
                while total > self._cache_bytes and one.windows:
                    total -= len(one.windows.pop(0).data)

    # Text of gzip files

    def _inflated(self, where: ForeignRange, length: int) -> bytes:
        begin, end = where.position, where.position + length
        inflater = self._nearest(where, begin)
        parts: list[bytes] = []
        noted = inflater.position
        while inflater.position < end:
            at = inflater.position
            limit = min(1 << 20, (begin if at < begin else end) - at)
            text = inflater.read(lambda start, size: self._bytes(where, start, size), limit)
            if not text:
                raise SourceChanged(f"{where.url}: the text in it ends at {at}")
            if at >= begin:
                parts.append(text)
            elif inflater.position - noted >= _STEP_BYTES:
                noted = inflater.position
                self._note(where, inflater.copy())
        self._note(where, inflater)
        return b"".join(parts)

    def _nearest(self, where: ForeignRange, position: int) -> Inflater:
        with self._lock:
            before = [place for place in self._kept_of(where).places if place.position <= position]
            # A copy: others may go on from the same place.
            return before[-1].inflater.copy() if before else Inflater(where.object_bytes)

    def _note(self, where: ForeignRange, inflater: Inflater) -> None:
        with self._lock:
            places = self._kept_of(where).places
            self._made += 1
            if all(place.position != inflater.position for place in places):
                insort(places, _Place(inflater.position, self._made, inflater))
            if len(places) > _PLACES:
                del places[_crowded(places)]
            total = sum(len(one.places) for one in self._kept.values())
            for one in self._kept.values():
                while total > _ALL_PLACES and one.places:
                    one.places.pop()
                    total -= 1


def _crowded(places: list[_Place]) -> int:
    """The place that is missed least: the one next behind another, the newest ones aside."""
    newest = max(place.made for place in places)
    gaps = [
        (place.position - (places[at - 1].position if at else 0), at)
        for at, place in enumerate(places)
        if place.made < newest
    ]
    return min(gaps)[1]


def _object(where: ForeignRange) -> _Object:
    return where.url, where.etag, where.version_id
