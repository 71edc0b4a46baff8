"""Lines of a log, each stream's for itself, cut out of what a reader gives. Pure."""

from __future__ import annotations

from typing import NamedTuple

from joblog.batch import STDERR, STDOUT
from joblog.leader.buffer.exports import Exported
from joblog.leader.reading.piece import Piece

# A longer line is cut into several.
MAX_LINE_BYTES = 64 << 10
# A line that is not ended while so much comes behind it is not waited for.
MAX_BEHIND_BYTES = 128 << 10


class Line(NamedTuple):
    """data: without its newline. offset: of its first byte in the log. time_ns: when that was read.

    is_ended: its newline came; else the next one of its stream goes on with it. missing: of a gap, which is no line of
    any stream (0): so many bytes are not there; data says why.
    """

    stream: int
    offset: int
    time_ns: int
    data: bytes
    is_ended: bool = True
    missing: int = 0


class Lines(NamedTuple):
    """lines: what is to be exported. exported: how far the log is when they were. waits: for the end of a line."""

    lines: list[Line]
    exported: Exported
    waits: bool


class _Begun(NamedTuple):
    """A line whose end has not come."""

    offset: int
    time_ns: int
    data: bytearray


class Cutter:
    """Takes the pieces of one read, in order, that began at exported.offset or before. At most max_lines come of it."""

    def __init__(self, exported: Exported, max_lines: int) -> None:
        self._done = {STDOUT: exported.stdout, STDERR: exported.stderr}
        self._max_lines = max_lines
        self._begun: dict[int, _Begun] = {}
        # All below it was looked at.
        self.at = exported.offset
        self._lines: list[Line] = []

    @property
    def is_full(self) -> bool:
        """Whether it takes no more."""
        return len(self._lines) >= self._max_lines

    def add(self, piece: Piece, reason: str = "") -> None:
        """Cuts a piece up, as far as there is room. reason: of a gap."""
        if self.is_full:
            return
        if piece.gap is not None:
            self._gap(piece.gap.offset, piece.next_offset, reason)
        else:
            self._cut_up(piece)

    def _gap(self, begin: int, end: int, reason: str) -> None:
        begin = max(begin, min(self._done.values()))
        if begin >= end:
            return
        for stream in list(self._begun):
            self._hand_out(stream, is_ended=False)
        time_ns = self._lines[-1].time_ns if self._lines else 0
        self._lines.append(Line(0, begin, time_ns, reason.encode(), is_ended=True, missing=end - begin))
        self._done = {stream: max(done, end) for stream, done in self._done.items()}
        self.at = end

    def _cut_up(self, piece: Piece) -> None:
        frames = piece.frames
        columns = zip(frames.streams, frames.times_ns, frames.offsets, frames.lengths, strict=True)
        known, time_ns = piece.offset, self._lines[-1].time_ns if self._lines else 0
        for stream, time_ns, offset, length in columns:
            # Of bytes whose frames are damaged nobody knows the stream.
            self._range(piece, STDOUT, time_ns, known, offset)
            self._range(piece, stream, time_ns, offset, offset + length)
            known = offset + length
            if self.is_full:
                return
        self._range(piece, STDOUT, time_ns, known, piece.next_offset)

    def _range(self, piece: Piece, stream: int, time_ns: int, offset: int, end: int) -> None:
        begin = max(offset, self._done[stream])
        if begin < end and not self.is_full:
            data = piece.data[begin - piece.offset : end - piece.offset]
            self.at = self._frame(stream, time_ns, begin, data)
        elif not self.is_full:
            self.at = max(self.at, end)

    def _frame(self, stream: int, time_ns: int, offset: int, data: bytes) -> int:
        """Takes bytes of one stream; up to which offset."""
        at = 0
        while at < len(data) and not self.is_full:
            newline = data.find(b"\n", at)
            end = newline if newline >= 0 else len(data)
            begun = self._begun.get(stream)
            if begun is None:
                begun = self._begun[stream] = _Begun(offset + at, time_ns, bytearray())
            room = MAX_LINE_BYTES - len(begun.data)
            if end - at > room:
                part = _whole_characters(data[at : at + room])
                begun.data.extend(part)
                at += len(part)
                self._hand_out(stream, is_ended=False)
            else:
                begun.data.extend(data[at:end])
                at = end + (newline >= 0)
                if newline >= 0:
                    self._hand_out(stream, is_ended=True)
            self._done[stream] = offset + at
        return offset + at

    def _hand_out(self, stream: int, *, is_ended: bool) -> None:
        begun = self._begun.pop(stream)
        self._lines.append(Line(stream, begun.offset, begun.time_ns, bytes(begun.data), is_ended=is_ended))

    def finish(self, *, patient: bool) -> Lines:
        """patient: a line that is not ended is waited for; never where nothing can follow."""
        if not self.is_full:
            for stream, begun in sorted(self._begun.items(), key=lambda one: one[1].offset):
                if not patient or self.at - begun.offset > MAX_BEHIND_BYTES:
                    self._hand_out(stream, is_ended=False)
        places = {
            stream: self._begun[stream].offset if stream in self._begun else max(done, self.at)
            for stream, done in self._done.items()
        }
        return Lines(self._lines, Exported(places[STDOUT], places[STDERR]), bool(self._begun))


def _whole_characters(data: bytes) -> bytes:
    """What is there of a text in UTF-8 without a character that it ends within."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if length > back and back < len(data) else data
        if byte < 0x80:
            break
    return data
