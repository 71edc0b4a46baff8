"""An object for one log, put together of chunks as they come and of ranges copied within the object store.

Memory is bounded whatever the object's size: a few parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from joblog.leader.archive import failpoints
from joblog.leader.archive.container import ContainerWriter, Footer, LogEntries
from joblog.leader.archive.objects import MIN_PART_BYTES, Bytes, MultipartUpload, size_of
from joblog.leader.archive.packing import extents_of
from joblog.leader.archive.putting import PARTS_AT_ONCE, Putter, cut
from joblog.leader.archive.ranges import Range
from joblog.leader.buffer.chunk import Sealed
from joblog.v1.archive_pb2 import Extent

# The most parts are 10,000; not all are of full size.
_PLANNED_PARTS = 8000
MAX_COPY_BYTES = 1 << 30


class Assembled(NamedTuple):
    """A finished object. sha256: of all of it; empty when parts were copied within the object store."""

    footer: Footer
    entries: LogEntries | None
    sha256: bytes

    def extents(self, object_key: str, generation: int) -> list[Extent]:
        """Where the log's chunks lie in it."""
        if self.entries is None or not len(self.entries):
            return []
        return list(extents_of(self.entries, self.footer, object_key, generation))


class Assembly:
    """Writes one object. Call begin(), then add() and copy() in the order of offsets, then finish(); or abort().

    size_hint_bytes: about how large it becomes. One that stays below the part size is put at once, at the end.
    """

    def __init__(self, putter: Putter, key: str, kind: int, uid: bytes, size_hint_bytes: int) -> None:
        self._putter = putter
        self._key = key
        self._uid = uid
        self._writer = ContainerWriter(kind)
        self._part_bytes = max(putter.part_bytes, size_hint_bytes // _PLANNED_PARTS)
        self._pending: list[Bytes] = [self._writer.begin_log(uid)]
        self._pending_bytes = size_of(self._pending)
        self._sha256 = hashlib.sha256(self._pending[0])
        self._copied = False
        self._upload: MultipartUpload | None = None
        self._parts = 0
        self._under_way: list[Future[None]] = []

    def add(self, offset: int, value: Sealed, crc32c: int | None = None) -> None:
        """The next chunk, as ContainerWriter.add() takes it."""
        for piece in self._writer.add(offset, value, crc32c):
            self._append(piece)

    def copy(self, source: Range, entries: LogEntries) -> None:
        """The records that fill a range of another object, which `entries` describe."""
        self._writer.adopt(entries)
        self._copied = True
        at, left = source.start, source.length
        while left:
            if 0 < self._pending_bytes < MIN_PART_BYTES or left < MIN_PART_BYTES:
                # Too little for a part of its own: what follows fills it up.
                size = min(left, max(MIN_PART_BYTES - self._pending_bytes, 0) or left)
                self._append(self._putter.objects.get(source.key, at, size))
            else:
                self._send_pending()
                size = min(left, MAX_COPY_BYTES)
                # Each but an object's last part has MIN_PART_BYTES; index and footer follow this one.
                number = self._next_part()
                self._run(self._started().copy, number, source.key, at, size)
            at += size
            left -= size

    def _append(self, piece: Bytes) -> None:
        if not self._copied:
            self._sha256.update(piece)
        self._pending.append(piece)
        self._pending_bytes += memoryview(piece).nbytes
        if self._pending_bytes >= 2 * self._part_bytes:
            self._send_full()

    def _send_full(self) -> None:
        *full, rest = cut(self._pending, self._part_bytes)
        for part in full:
            self._run(self._started().upload, self._next_part(), part)
        # What is left becomes larger, or is the last part.
        self._pending = [b"".join(rest)]
        self._pending_bytes = size_of(self._pending)

    def _send_pending(self) -> None:
        if self._pending_bytes:
            self._run(self._started().upload, self._next_part(), self._pending)
            self._pending, self._pending_bytes = [], 0

    def _started(self) -> MultipartUpload:
        if self._upload is None:
            # An earlier try may have left an object here. Nothing names it.
            if self._putter.objects.head(self._key) is not None:
                self._putter.objects.delete([self._key])
            self._upload = self._putter.objects.start_multipart(self._key)
        return self._upload

    def _next_part(self) -> int:
        self._parts += 1
        return self._parts

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        failpoints.reach("seal.part")
        self._under_way.append(self._putter.submit(work, *arguments))
        if len(self._under_way) >= PARTS_AT_ONCE:
            self._under_way.pop(0).result()

    def finish(self) -> Assembled:
        """Puts the rest; the object is there and verified when this returns."""
        self._append(self._writer.finish())
        if self._upload is None and self._pending_bytes <= 2 * self._part_bytes:
            self._putter.put_over(self._key, self._pending)
        else:
            self._started()
            self._send_full_or_all()
            self._wait()
            self._putter.complete(self._started(), self._writer.footer.size)
        footer = self._writer.footer
        entries = self._writer.index.find(self._uid)
        return Assembled(footer, entries, b"" if self._copied else self._sha256.digest())

    def _send_full_or_all(self) -> None:
        if self._pending_bytes >= 2 * self._part_bytes:
            self._send_full()
        self._send_pending()

    def _wait(self) -> None:
        under_way, self._under_way = self._under_way, []
        failures = [failure for one in under_way if (failure := one.exception()) is not None]
        if failures:
            raise failures[0]

    def abort(self) -> None:
        """Drops what was sent of an object that is not finished."""
        for one in self._under_way:
            one.cancel()
            _ = one.cancelled() or one.exception()
        self._under_way = []
        if self._upload is not None:
            self._upload.abort()


def copy_range(extent: Extent, entries: LogEntries) -> tuple[Range, LogEntries] | None:
    """What to copy of an extent whose object's index has these entries; None when it is not exactly its records."""
    mine = entries.between(extent.offset, extent.end_offset)
    if not len(mine):
        return None
    first, last = mine[0], mine[-1]
    start, end = extent.position, extent.position + extent.length
    exact = first.offset == extent.offset and last.end == extent.end_offset
    whole = first.position == start and last.position + last.length == end
    contiguous = sum(mine.column("raw_length")) == extent.end_offset - extent.offset
    return (Range(extent.object, start, extent.length), mine) if exact and whole and contiguous else None
