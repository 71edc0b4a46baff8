"""Ranges of a log that neither buffer nor archive holds, though bytes behind them are there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from joblog.leader.buffer.view import View
from joblog.v1.archive_pb2 import Extent


class Hole(NamedTuple):
    """Bytes [begin, end) of a log are not stored. lines_before, lines_after: newlines before its begin and its end."""

    begin: int
    end: int
    lines_before: int
    lines_after: int


class _Place(NamedTuple):
    begin: int
    end: int
    lines_before: int
    lines_after: int


def find_hole(view: View, number: int, offset: int) -> Hole | None:
    """The hole of a log around `offset`; None when something is stored there, or nothing can be."""
    record = view.get_log(number)
    if record is None:
        return None
    begin, lines_before = 0, 0
    end, lines_after = record.next_offset, record.newlines
    for place in _places(view, number, offset):
        if place.begin <= offset < place.end:
            return None
        if begin <= place.end <= offset:
            begin, lines_before = place.end, place.lines_after
        if offset < place.begin < end:
            end, lines_after = place.begin, place.lines_before
    return Hole(begin, end, lines_before, lines_after) if begin <= offset < end else None


def _places(view: View, number: int, offset: int) -> Iterator[_Place]:
    """What is stored around `offset`, and more."""
    for extent in view.extents(number):
        yield _Place(extent.offset, extent.end_offset, extent.lines_before, extent.lines_before + extent.newlines)
    # Each chunk on its own, as what lies between them is what is damaged.
    for chunk in (view.chunk_before(number, offset), next(view.chunks(number, offset), None)):
        if chunk is not None:
            at, header = chunk[:2]
            yield _Place(at, at + header.raw_length, header.lines_before, header.lines_after)


def seams(extents: Iterator[Extent]) -> Iterator[int]:
    """Where a log's extents leave something out: it may be in the buffer, or nowhere."""
    nothing = Extent()
    for before, extent in pairwise((nothing, *extents)):
        if extent.offset > before.end_offset:
            yield before.end_offset
