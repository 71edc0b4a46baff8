"""One segment file read record by record, each held against its check."""

from __future__ import annotations

import os
from pathlib import Path

from joblog.worker.spool.format import (
    HEADER_BYTES,
    SEGMENT_HEADER,
    Header,
    decode_header,
    decode_segment_header,
    is_whole,
    segment_name,
    segment_number,
)

_READ_BYTES = 1 << 20

WHOLE = 1
# Nothing follows (yet).
EOF = 2
# The file ends inside a record: still being written, or torn.
SHORT = 3
DAMAGED = 4


class SegmentScan:
    """Segment `number` of a spool, read from its start. Raises FileNotFoundError when it is gone, WrongVersion.

    sealed: what its spool is. first_offset: None when the segment's header is not whole. After `look` answered WHOLE,
    `header` is the record at `position`, and its bytes are at data[at:].
    """

    header: Header

    def __init__(self, folder: Path, number: int, *, sealed: bool = False) -> None:
        self.number = number
        path = folder / segment_name(number)
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            begin = os.pread(self._fd, SEGMENT_HEADER.size, 0)
            self.first_offset = decode_segment_header(begin, str(path), sealed=sealed)
        except BaseException:
            os.close(self._fd)
            raise
        self.position = SEGMENT_HEADER.size
        self.data = memoryview(b"")
        self._data_from = self.position

    @property
    def at(self) -> int:
        """Where in `data` the record at `position` begins."""
        return self.position - self._data_from

    def look(self, *, afresh: bool = False) -> int:
        """What is at `position`: WHOLE, EOF, SHORT or DAMAGED. afresh: reads again also what was read before."""
        if afresh:
            self._fill(0)
        if not self._have(HEADER_BYTES):
            return EOF if self.at == len(self.data) else SHORT
        header = decode_header(self.data, self.at)
        if header is None:
            return DAMAGED
        if not self._have(HEADER_BYTES + header.body_length):
            return SHORT
        self.header = header
        return WHOLE if is_whole(header, self.data, self.at) else DAMAGED

    def _have(self, length: int) -> bool:
        if len(self.data) - self.at < length:
            self._fill(length)
        return len(self.data) - self.at >= length

    def _fill(self, length: int) -> None:
        there = os.fstat(self._fd).st_size - self.position
        self._data_from = self.position
        self.data = memoryview(os.pread(self._fd, min(max(length, _READ_BYTES), max(there, 0)), self.position))

    def skip(self) -> None:
        """Goes on behind the record at `position`, which is WHOLE."""
        self.position += HEADER_BYTES + self.header.body_length

    def skip_damaged(self) -> bool:
        """Goes on behind a damaged record where its header still leads to a whole one; else stays and answers False.

        Bytes are never searched for something that looks like a record: a task could have printed it.
        """
        if not self._have(HEADER_BYTES):
            return False
        header = decode_header(self.data, self.at)
        if header is None:
            return False
        stay = self.position
        self.position += HEADER_BYTES + header.body_length
        if self.look() == WHOLE and self.header.offset >= header.offset:
            return True
        self.position = stay
        self._fill(0)
        return False

    def cut(self) -> None:
        """Cuts the file at `position`."""
        os.ftruncate(self._fd, self.position)
        self._fill(0)

    def close(self) -> None:
        """Closes the file."""
        self.data = memoryview(b"")
        os.close(self._fd)


def segment_numbers(folder: Path) -> list[int]:
    """The numbers of the segments in a spool folder, ascending; [] when the folder is gone."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(number for number in map(segment_number, names) if number is not None)
