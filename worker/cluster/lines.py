"""Takes lines with their times out of what the log API sends with `timestamps=true`."""

from __future__ import annotations

from typing import NamedTuple

from joblog.worker.kubernetes.pod import parse_time_ns

# A line that is longer is handed out in pieces of that size.
PIECE_BYTES = 512 << 10
_MAX_STAMP_BYTES = 40


class Line(NamedTuple):
    """A line, or a piece of a long one.

    us: when it was written, microseconds since 1970; of a piece that does not begin its line, when that began. text:
    with its newline, where it ends one.
    """

    us: int
    text: bytes
    begins: bool = True
    ends: bool = True


class LineReader:
    """Takes bytes as they come. What has no newline yet is kept until that comes, or finish()."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._inside = False
        self._us = 0
        self._second = b""
        self._second_us = 0

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end with these bytes, and pieces of one that is long."""
        self._rest += data
        *whole, rest = self._rest.split(b"\n")
        found: list[Line] = []
        for text in whole:
            found += self._lines(bytes(text) + b"\n", ends=True)
        if len(rest) > PIECE_BYTES:
            found += self._lines(bytes(rest), ends=False)
            rest = bytearray()
        self._rest = rest
        return found

    def finish(self) -> list[Line]:
        """What is left when nothing follows: a last line without a newline."""
        if not self._rest:
            return []
        rest, self._rest = bytes(self._rest), bytearray()
        return self._lines(rest, ends=True)

    def _lines(self, text: bytes, *, ends: bool) -> list[Line]:
        begins = not self._inside
        self._inside = not ends
        if begins:
            stamp, space, _ = text[:_MAX_STAMP_BYTES].partition(b" ")
            us = self._parse(stamp) if space else 0
            if us:
                self._us = us
                text = text[len(stamp) + 1 :]
        if len(text) <= PIECE_BYTES:
            return [Line(self._us, text, begins, ends)]
        pieces = [text[at : at + PIECE_BYTES] for at in range(0, len(text), PIECE_BYTES)]
        last = len(pieces) - 1
        return [Line(self._us, piece, begins and not n, ends and n == last) for n, piece in enumerate(pieces)]

    def _parse(self, stamp: bytes) -> int:
        second = stamp[:20]
        if second == self._second and stamp.endswith(b"Z"):
            digits = stamp[20:-1]
            if digits.isdigit() and len(digits) <= 9:
                return self._second_us + int(digits.ljust(9, b"0")) // 1000
        us = parse_time_ns(stamp.decode("ascii", "replace")) // 1000
        if us and stamp.endswith(b"Z") and second.endswith(b"."):
            self._second, self._second_us = second, us // 10**6 * 10**6
        return us
