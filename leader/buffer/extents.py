"""Extents as they are kept, and how many of them name an archive object. Nothing here reads the archive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from joblog.errors import Corrupt
from joblog.leader.buffer import keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.cursor import Source
from joblog.leader.buffer.engine import Operations
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import Gap

_END = keys.MAX_U64


def read_extents(source: Source, number: int, from_offset: int = 0) -> Iterator[Extent]:
    """The log's extents in order, from the one that holds from_offset, else from the next."""
    cursor = source.cursor(keys.EXTENTS, keys.extent_key(number + 1, 0))
    begin = keys.extent_key(number, from_offset)
    key = cursor.seek_back(begin)
    if key is None or not key.startswith(keys.u64(number)):
        key = cursor.seek(begin)
    while key is not None:
        extent = Extent.FromString(cursor.value())
        # That of an empty log holds nothing, and yet says where its object is.
        if extent.end_offset > from_offset or extent.offset == extent.end_offset == 0:
            yield extent
        key = cursor.next()


def read_last_extent(source: Source, number: int) -> Extent | None:
    """The log's last extent."""
    cursor = source.cursor(keys.EXTENTS)
    key = cursor.seek_back(keys.extent_key(number, _END))
    return None if key is None or not key.startswith(keys.u64(number)) else Extent.FromString(cursor.value())


class Places:
    """Works out one write's operations on extents and the objects that they name. Used once, as the Ledger."""

    def __init__(self, source: Source, operations: Operations) -> None:
        self._source = source
        self._operations = operations
        # By log, then offset: what is there after this write; None: deleted by it.
        self._after: dict[int, dict[int, Extent | None]] = {}
        self._uses: Counter[str] = Counter()
        self._companions: dict[str, list[str]] = {}
        self._rosters: dict[int, str] = {}

    def take(self, changes: Changes) -> None:
        """Adds what `changes` does to extents, other than deleting their logs."""
        for number, begin, before in changes.extent_drops:
            for extent in list(self._extents(number, begin, before)):
                if begin <= extent.offset < before:
                    self._remove(number, extent)
        for number, gap, lines_before in changes.gap_drops:
            for extent in list(self._extents(number, gap.offset, gap.offset + gap.length)):
                self._cut(number, extent, gap, lines_before)
        for number, extent in changes.extents:
            there = self._at(number, extent.offset)
            if there is not None:
                self._remove(number, there)
            self._put(number, extent)
        for number, object_key in changes.rosters:
            self._leave_roster(number)
            self._rosters[number] = object_key
            self._uses[object_key] += 1
            self._operations.puts.append((keys.INDEX, keys.roster_key(number), object_key.encode()))

    def delete_log(self, number: int) -> None:
        """All extents of a log go."""
        for extent in list(self._extents(number, 0, _END)):
            self._remove(number, extent)
        self.leave_roster(number)

    def leave_roster(self, number: int) -> None:
        """The log's identity is not needed in a roster any more."""
        if self._leave_roster(number):
            self._operations.deletes.append((keys.INDEX, keys.roster_key(number)))

    def _leave_roster(self, number: int) -> bool:
        there = self._source.get(keys.INDEX, keys.roster_key(number))
        if there is not None:
            self._uses[there.decode()] -= 1
        return there is not None

    def _extents(self, number: int, begin: int, before: int) -> Iterator[Extent]:
        """Those of the log that hold offsets of the range, as they are after what was done so far."""
        changed = self._after.get(number, {})
        for extent in read_extents(self._source, number, begin):
            if extent.offset >= before:
                break
            if extent.offset not in changed:
                yield extent
        for now in changed.values():
            if now is not None and now.offset < before and now.end_offset > begin:
                yield now

    def _at(self, number: int, offset: int) -> Extent | None:
        changed = self._after.get(number, {})
        if offset in changed:
            return changed[offset]
        value = self._source.get(keys.EXTENTS, keys.extent_key(number, offset))
        return None if value is None else Extent.FromString(value)

    def _put(self, number: int, extent: Extent) -> None:
        if extent.offset >= extent.end_offset > 0:
            raise Corrupt(f"log number {number}: an extent from {extent.offset} to {extent.end_offset} holds nothing")
        self._after.setdefault(number, {})[extent.offset] = extent
        self._uses[extent.object] += 1
        self._companions[extent.object] = list(extent.companions)

    def _remove(self, number: int, extent: Extent) -> None:
        self._after.setdefault(number, {})[extent.offset] = None
        self._uses[extent.object] -= 1
        self._companions[extent.object] = list(extent.companions)

    def _cut(self, number: int, extent: Extent, gap: Gap, gap_lines_before: int) -> None:
        """Takes a range out of an extent; what it stands for afterwards may be two parts of the same bytes."""
        self._remove(number, extent)
        lines_end = extent.lines_before + extent.newlines
        gap_end, gap_lines_end = gap.offset + gap.length, gap_lines_before + gap.newlines
        if extent.offset < gap.offset:
            head = Extent()
            head.CopyFrom(extent)
            head.end_offset = gap.offset
            head.newlines = gap_lines_before - extent.lines_before
            self._put(number, head)
        if extent.end_offset > gap_end:
            rest = Extent()
            rest.CopyFrom(extent)
            rest.offset = gap_end
            rest.lines_before = gap_lines_end
            rest.newlines = lines_end - gap_lines_end
            self._put(number, rest)

    def finish(self) -> None:
        """Adds the operations; call once, at the end."""
        _, deletes, puts = self._operations
        for number, extents in self._after.items():
            for offset, extent in extents.items():
                key = keys.extent_key(number, offset)
                if extent is None:
                    deletes.append((keys.EXTENTS, key))
                else:
                    puts.append((keys.EXTENTS, key, extent.SerializeToString()))
        for object_key, step in self._uses.items():
            self._count(object_key, step, time.time_ns())

    def _count(self, object_key: str, step: int, now_ns: int) -> None:
        _, deletes, puts = self._operations
        key = keys.uses_key(object_key)
        value = self._source.get(keys.INDEX, key)
        count = (0 if value is None else keys.number_of(value)) + step
        if count > 0:
            puts.append((keys.INDEX, key, keys.u64(count)))
            # A put object is announced as unused before; now it is in use.
            deletes.append((keys.INDEX, keys.unused_key(object_key)))
            deletes.extend((keys.INDEX, keys.unused_key(other)) for other in self._companions.get(object_key, ()))
        else:
            deletes.append((keys.INDEX, key))
            for other in (*self._companions.get(object_key, ()), object_key):
                puts.append((keys.INDEX, keys.unused_key(other), keys.u64(now_ns)))
