"""A log's chunks in one view, opened one after another; what is missing or damaged comes as a gap."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple, Protocol, cast

from joblog.batch import Frames, unpack_frames
from joblog.errors import Corrupt, InvalidInput
from joblog.leader.buffer.chunk import KIND_GAP, Chunk, ChunkHeader, Sealed
from joblog.leader.buffer.opening import ForeignText, SourceChanged, open_data
from joblog.leader.crypto.envelope import LogCipher
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

_FIRST_PROBE_BYTES = 64 << 10


def gap_reason(number: int) -> types_pb2.GapReason:
    """The number as the type checker wants it; one that this version does not know is kept."""
    return cast("types_pb2.GapReason", number)


class ChunkSource(Protocol):
    """What a scan needs of a view."""

    def chunks(self, number: int, from_offset: int = 0) -> Iterator[Chunk]:
        """(offset, header, sealed bytes) of the chunks in order, from the one that holds from_offset."""
        ...


class Opened(NamedTuple):
    """A chunk in clear, or a gap (raw is None).

    A gap's offset may lie behind the begin of the stored one, where the scan began inside it.
    damaged: it was not declared by the writer, but found on reading.
    """

    offset: int
    length: int
    lines_before: int
    newlines: int
    raw: bytes | None = None
    packed_frames: bytes = b""
    first_time_ns: int = 0
    reason: int = 0
    damaged: bool = False

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.length

    def frames(self) -> Frames:
        """The chunk's frames; raises InvalidInput when they do not add up."""
        return unpack_frames(self.packed_frames, self.length)

    def gap(self) -> types_pb2.Gap:
        """The gap as a message."""
        return types_pb2.Gap(
            offset=self.offset, length=self.length, reason=gap_reason(self.reason), newlines=self.newlines
        )


def open_chunk(
    cipher: LogCipher, offset: int, header: ChunkHeader, sealed: Sealed, foreign: ForeignText | None = None
) -> Opened:
    """The chunk in clear, checked against its header. Raises as open_data() does."""
    packed, raw = open_data(cipher, offset, header, sealed, foreign)
    return Opened(offset, len(raw), header.lines_before, header.newlines, raw, packed, header.first_time_ns)


class Scan:
    """Goes through a log from an offset on; what it gives is contiguous and ends at the log's end.

    length: the log's length in this view; what is missing at the end comes as a gap too. lines: newlines in the log
    before from_offset, where that is known; kept up to date. foreign: gives the text of an adopted log. opened: a chunk
    of this view that was opened already, which may be the first.
    Memory: one opened chunk, and one sealed one ahead.
    """

    def __init__(
        self,
        source: ChunkSource,
        number: int,
        cipher: LogCipher,
        from_offset: int,
        length: int,
        *,
        lines: int | None = None,
        foreign: ForeignText | None = None,
        opened: Opened | None = None,
    ) -> None:
        self._foreign = foreign
        self._opened = opened
        self._source = source
        self._number = number
        self._cipher = cipher
        self._length = length
        self._chunks = source.chunks(number, from_offset)
        self._ahead: Chunk | None = None
        self.at = from_offset
        self.lines = lines

    def next(self) -> Opened | None:
        """The chunk or gap at `at`; only the first may begin before `at`. None at the end."""
        chunk = self._take()
        while chunk is not None and chunk[0] + chunk[1].raw_length <= self.at:
            chunk = self._take()
        if chunk is None:
            return self._missing_end()
        offset, header, sealed = chunk
        if offset > self.at:
            self._ahead = chunk
            return self._lost(offset, header.lines_before, header.lines_before, "no chunk is stored for it")
        if header.kind == KIND_GAP:
            return self._move(self._declared(offset, header))
        opened, self._opened = self._opened, None
        if opened is not None and opened.offset == offset:
            return self._move(opened)
        try:
            return self._move(open_chunk(self._cipher, offset, header, sealed, self._foreign))
        except SourceChanged as error:
            return self._damaged(offset, header, str(error), types_pb2.GAP_REASON_SOURCE_CHANGED)
        except (Corrupt, InvalidInput) as error:
            return self._damaged(offset, header, str(error))

    def _take(self) -> Chunk | None:
        chunk, self._ahead = self._ahead, None
        if chunk is not None:
            return chunk
        try:
            return next(self._chunks, None)
        except Corrupt as error:
            log.warning("log %d, offset %d: %s", self._number, self.at, error)
            return self._skip_unreadable()

    def _skip_unreadable(self) -> Chunk | None:
        """The first chunk behind what the store can't give back; looks further and further on, then narrows it down."""
        step = _FIRST_PROBE_BYTES
        bad, good = self.at, None
        while good is None and self.at + step < self._length:
            good = self._probe(self.at + step)
            bad = bad if good else self.at + step
            step *= 2
        while good is not None and good[0] - bad > 1:
            middle = (bad + good[0]) // 2
            found = self._probe(middle)
            if found is not None and found[0] < good[0] and found[0] > bad:
                good = found
            else:
                bad = middle
        if good is not None:
            self._chunks = self._source.chunks(self._number, good[0])
            next(self._chunks, None)
        else:
            self._chunks = iter(())
        return good

    def _probe(self, offset: int) -> Chunk | None:
        try:
            return next(self._source.chunks(self._number, offset), None)
        except Corrupt:
            return None

    def _move(self, opened: Opened) -> Opened:
        self.at = opened.end
        self.lines = opened.lines_before + opened.newlines
        return opened

    def _declared(self, offset: int, header: ChunkHeader) -> Opened:
        begin = max(offset, self.at)
        # How many of the newlines lie behind `begin` is not known.
        newlines = header.newlines if begin == offset else 0
        length = offset + header.raw_length - begin
        return Opened(begin, length, header.lines_before, newlines, reason=header.reason)

    def _damaged(
        self, offset: int, header: ChunkHeader, why: str, reason: types_pb2.GapReason = types_pb2.GAP_REASON_LOST
    ) -> Opened:
        """The damaged chunk as a gap; where it ends is taken from the next chunk, as its own header may lie."""
        self._ahead = self._take()
        if self._ahead is not None:
            return self._lost(self._ahead[0], header.lines_before, self._ahead[1].lines_before, why, reason)
        return self._lost(max(self._length, offset + 1), header.lines_before, header.lines_after, why, reason)

    def _missing_end(self) -> Opened | None:
        if self.at >= self._length:
            return None
        return self._lost(self._length, 0, self.lines or 0, "the log's end is not stored")

    def _lost(
        self,
        end: int,
        likely_lines: int,
        lines_at_end: int,
        why: str,
        reason: types_pb2.GapReason = types_pb2.GAP_REASON_LOST,
    ) -> Opened:
        """Everything up to `end` as a gap. likely_lines: newlines before it, where no chunk before it told."""
        log.warning("log %d: offsets %d to %d are missing: %s", self._number, self.at, end, why)
        lines = likely_lines if self.lines is None else self.lines
        return self._move(
            Opened(
                self.at,
                end - self.at,
                lines,
                max(0, lines_at_end - lines),
                reason=reason,
                damaged=True,
            )
        )
