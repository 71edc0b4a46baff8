"""Which of a live log's extents are to become one, so that there are few of them and each byte is rewritten seldom.

Small extents: at most SMALL_EXTENTS of a log. When one more comes, the newest ones become one with it: all those at
the end that were rewritten no more often than the newest but one. With e extents and each byte written at most w
times, (e + w choose w) flushes fit: 1,300 with 3 writes, 7,000 with 4. (A tree of fixed width needs twice the extents
for as few writes.) Large extents do not become one with small ones: copying them would cost more than their number.
They are joined among themselves in the same way, by copies within the object store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from joblog.v1.archive_pb2 import Extent

SMALL_EXTENTS = 17
LARGE_EXTENTS = 60
# Stored bytes from which an extent is large.
LARGE_EXTENT_BYTES = 16 << 20


class Size(NamedTuple):
    """What the choice depends on. bytes: as stored."""

    bytes: int
    generation: int


def sizes_of(extents: Sequence[Extent]) -> list[Size]:
    """What the choice depends on, of each."""
    return [Size(extent.length, extent.generation) for extent in extents]


def small_to_join(sizes: Sequence[Size], large_bytes: int = LARGE_EXTENT_BYTES) -> int:
    """How many extents at the end of the log become one with what is flushed next; 0: none."""
    small = 0
    while small < len(sizes) and sizes[-1 - small].bytes < large_bytes:
        small += 1
    if small < SMALL_EXTENTS:
        return 0
    return _row(sizes, len(sizes) - small, sizes[-1].generation)


def large_to_join(sizes: Sequence[Size], large_bytes: int = LARGE_EXTENT_BYTES) -> tuple[int, int]:
    """(first, behind the last) of the large extents that should become one; (0, 0): none."""
    # Small ones between large ones were left there when a large piece was flushed; they go with them.
    end = len(sizes)
    while end and sizes[end - 1].bytes < large_bytes:
        end -= 1
    if end <= LARGE_EXTENTS:
        return 0, 0
    count = _row(sizes[:end], 0, max(sizes[end - 2].generation, sizes[end - 1].generation))
    return end - count, end


def _row(sizes: Sequence[Size], begin: int, generation: int) -> int:
    """Length of the row at the end, from `begin` at most, that was rewritten no more often than `generation`."""
    count = 0
    while len(sizes) - count > begin and sizes[-1 - count].generation <= generation:
        count += 1
    return count


def joined_generation(sizes: Sequence[Size]) -> int:
    """The generation of the extent that these become."""
    return 1 + max(size.generation for size in sizes)
