"""A log's chunks from wherever they lie: the buffer or the archive, as one sequence in one view."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import NamedTuple

from joblog.errors import Corrupt, InvalidInput, Unavailable, WrongVersion
from joblog.leader.archive.extent_read import FIRST_WINDOW_BYTES, ExtentRead, Want
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.index import LogEntries
from joblog.leader.buffer.chunk import Chunk, ChunkHeader, gap_header
from joblog.leader.buffer.opening import ForeignText
from joblog.leader.buffer.store import View
from joblog.leader.buffer.view import LogEnd, end_of
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import Extent

log = logging.getLogger(__name__)

_END = 2**64 - 1


class Reach(NamedTuple):
    """How far a read is likely to go: so many bytes (None: to the end); whether it is known to go on beyond them."""

    expected_bytes: int | None = None
    sequential: bool = False


EVERYTHING = Reach()
_ONE_CHUNK = Reach(expected_bytes=1)


class InArchive(Exception):
    """The next bytes lie in the archive, and whoever reads is not to wait for it here."""


class TieredSource:
    """One log's chunks in one view. As a ChunkSource it takes only the number that it was made with.

    archive: None where no archive is set; a log with bytes there then raises Unavailable. missing: keys of objects that
    were looked for since an earlier view and are not there: what this view has in them is lost. Any other object that
    is not there raises ObjectGone: take a fresh view, as its bytes may have moved.
    fetching: False lets a read raise InArchive where it would have to wait for the archive. tier: where the chunk that
    came last lies.
    """

    def __init__(
        self,
        view: View,
        number: int,
        uid: bytes,
        archive: ExtentReader | None,
        *,
        reach: Reach = EVERYTHING,
        missing: Collection[str] = (),
        fetching: bool = True,
    ) -> None:
        self._view = view
        self._number = number
        self._uid = uid
        self._archive = archive
        self._reach = reach
        self._missing = missing
        self._fetching = fetching
        self.tier: types_pb2.Tier = types_pb2.TIER_BUFFER

    @property
    def foreign(self) -> ForeignText | None:
        """Gives the text of an adopted log."""
        return None if self._archive is None else self._archive.foreign

    def chunks(self, number: int, from_offset: int = 0) -> Iterator[Chunk]:
        """As ChunkSource.chunks(). What the archive does not give back leaves a hole."""
        if number != self._number:
            raise InvalidInput(f"log number {number} is not the one that is read, {self._number}")
        return self._chunks(from_offset, self._reach)

    def _chunks(self, at: int, reach: Reach) -> Iterator[Chunk]:
        extents = list(self._view.extents(self._number, at))
        buffered = self._view.chunks(self._number, at)
        waiting = next(buffered, None)
        while True:
            seam = _END if waiting is None else waiting[0]
            here = [extent for extent in extents if extent.offset < seam] if at < seam else []
            if here:
                yield from self._archived(here, Want(at, seam, *reach))
                at = max(at, min(seam, here[-1].end_offset))
            if waiting is None:
                return
            self.tier = types_pb2.TIER_BUFFER
            at = max(at, waiting[0] + waiting[1].raw_length)
            yield waiting
            waiting = next(buffered, None)
            if extents:
                extents = [extent for extent in extents if extent.end_offset > at]

    def _archived(self, extents: list[Extent], want: Want) -> Iterator[Chunk]:
        there = []
        for extent in extents:
            if extent.object in self._missing:
                begin, end = max(extent.offset, want.from_offset), min(extent.end_offset, want.until_offset)
                self._lost(begin, end, f"archive object {extent.object} is not there")
            else:
                there.append(extent)
        for record in ExtentRead(self._reader(extents[0]), there, self._uid, want, self._lost).records():
            self.tier = types_pb2.TIER_ARCHIVE
            yield record.offset, record.header, record.sealed

    def _reader(self, extent: Extent) -> ExtentReader:
        if self._archive is None:
            raise Unavailable(
                f"log number {self._number}: bytes from offset {extent.offset} on lie in the archive, and this leader "
                "has none: set archive.url"
            )
        if not self._fetching:
            raise InArchive
        return self._archive

    def _lost(self, begin: int, end: int, why: str) -> None:
        log.warning("log %d: offsets %d to %d: %s", self._number, begin, end, why)

    def chunk_at(self, offset: int) -> Chunk | None:
        """The chunk that holds `offset`, else the next one; nothing beyond it is read ahead."""
        return next(self._chunks(offset, _ONE_CHUNK), None)

    def last_chunk(self) -> Chunk | None:
        """The log's last chunk; a gap for one that the archive does not give back."""
        end = self._view.log_end(self._number)
        # The extent of an empty log that is sealed ends at 0.
        return None if end is None or not end.offset else self.chunk_holding(end.offset - 1)

    def newlines(self) -> int:
        """Newlines in the log so far."""
        end = self._view.log_end(self._number)
        return 0 if end is None else end.lines

    def chunk_holding(self, offset: int) -> Chunk | None:
        """The chunk that holds `offset`, else the next one; a gap for one that its tier does not give back."""
        found = self.chunk_at(offset)
        if found is not None and found[0] <= offset:
            return found
        extent = next(self._view.extents(self._number, offset), None)
        if extent is None or extent.offset > offset:
            return self._hole_at(offset, found)
        return self._gap_at(offset, extent)

    def _hole_at(self, offset: int, following: Chunk | None) -> Chunk | None:
        """A gap in place of what is damaged in the buffer, from the chunk before `offset` to the following one."""
        end = self._view.log_end(self._number)
        if end is None or (following is None and end.offset <= offset):
            return None
        before = self._view.chunk_before(self._number, offset)
        extents = [extent for extent in self._view.extents(self._number) if extent.end_offset <= offset]
        behind = end_of(before, extents[-1] if extents else None) or LogEnd(0, 0, 0)
        until, lines = (following[0], following[1].lines_before) if following is not None else (end.offset, end.lines)
        newlines = max(0, lines - behind.lines)
        lost = types_pb2.GAP_REASON_LOST
        return behind.offset, gap_header(until - behind.offset, lost, newlines, behind.lines, behind.time_ns), b""

    def _gap_at(self, offset: int, extent: Extent) -> Chunk:
        """A gap in place of the chunk that holds `offset`; of the whole extent where its chunks are not known."""
        lines, length = extent.newlines, extent.end_offset - extent.offset
        begin, lines_before = extent.offset, extent.lines_before
        entries = self._entries(extent)
        place = entries.find(offset) if entries is not None else 0
        if entries is not None and place < len(entries) and entries[place].offset <= offset:
            begin, _, _, length, lines_before, lines, *_ = entries[place]
        lost = gap_header(length, types_pb2.GAP_REASON_LOST, lines, lines_before, extent.first_time_ns)
        return begin, lost, b""

    def _entries(self, extent: Extent) -> LogEntries | None:
        """Where the extent's chunks lie; None where that can't be known."""
        if extent.object in self._missing:
            return None
        try:
            return self._reader(extent).entries(extent, self._uid)
        except (Corrupt, WrongVersion) as error:
            self._lost(extent.offset, extent.end_offset, str(error))
            return None

    def chunk_for_line(self, line: int) -> Chunk | None:
        """As View.chunk_for_line(), in both tiers; a gap where the archive does not give the chunk back."""
        if line == 1:
            return self.chunk_holding(0)
        found = self._latest(self._view.chunk_for_line(self._number, line), "lines_before", line - 2)
        return None if found is None or found[1].lines_after < line - 1 else found

    def chunk_for_time(self, time_ns: int) -> Chunk | None:
        """As View.chunk_for_time(), in both tiers."""
        found = self._view.chunk_for_time(self._number, time_ns)
        return self._latest(found, "first_time_ns", time_ns) or self.chunk_at(0)

    def _latest(self, buffered: tuple[int, ChunkHeader] | None, field: str, most: int) -> Chunk | None:
        """The last chunk of which `field`, which never falls, is `most` at the most. buffered: that of the buffer."""
        extents = list(self._view.extents(self._number))
        before = bisect_right([getattr(extent, field) for extent in extents], most)
        if buffered is not None and getattr(buffered[1], field) > most:
            buffered = None
        if before and (buffered is None or buffered[0] < extents[before - 1].offset):
            extent = extents[before - 1]
            return self.chunk_holding(self._offset_in(extent, field, most))
        return None if buffered is None else self.chunk_holding(buffered[0])

    def _offset_in(self, extent: Extent, field: str, most: int) -> int:
        """Offset of the last of the extent's chunks of which `field` is `most` at the most."""
        best = extent.offset
        if extent.length <= FIRST_WINDOW_BYTES:
            for offset, header, _ in self._archived([extent], Want(extent.offset, extent.end_offset)):
                if getattr(header, field) > most:
                    break
                best = offset
            return best
        entries = self._entries(extent)
        if entries is None:
            return best
        entries = entries.between(extent.offset, extent.end_offset)
        place = bisect_right(entries.column(field), most)
        return entries[place - 1].offset if place else best
