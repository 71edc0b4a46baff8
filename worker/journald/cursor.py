"""Cursors: where an entry of the journal is, as systemd writes it: s=...;i=...;b=...;m=...;t=...;x=..."""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from joblog.errors import InvalidInput

_CURSOR = re.compile(
    r"s=([0-9a-f]{32});i=([0-9a-f]{1,16});b=([0-9a-f]{32});m=([0-9a-f]{1,16});t=([0-9a-f]{1,16});x=([0-9a-f]{1,16})\Z"
)


class Cursor(NamedTuple):
    """An entry. sequence, number: of the writer of its file; both may change when its file is written anew.

    boot, monotonic_us: of the machine that wrote it. realtime_us: since 1970. hash: of its fields.
    """

    text: str
    sequence: str
    number: int
    boot: str
    monotonic_us: int
    realtime_us: int
    hash: str

    @classmethod
    def parse(cls, text: object) -> Self:
        """A cursor. Raises InvalidInput."""
        match = _CURSOR.match(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidInput(f"{str(text)[:80]!r} is no cursor of a journal")
        sequence, number, boot, monotonic, realtime, digest = match.groups()
        return cls(match[0], sequence, int(number, 16), boot, int(monotonic, 16), int(realtime, 16), digest)

    def is_same(self, other: Cursor) -> bool:
        """Whether it is the same entry, wherever it lies."""
        return self[3:] == other[3:]

    def is_behind(self, other: Cursor) -> bool:
        """Whether it came after another one of the same log."""
        if self.sequence == other.sequence:
            return self.number > other.number
        if self.boot == other.boot:
            return self.monotonic_us > other.monotonic_us
        return not self.is_same(other)
