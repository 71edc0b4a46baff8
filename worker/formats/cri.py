"""Log files in CRI format, as containerd and CRI-O write them:

    2026-01-31T12:00:00.123456789Z stdout F a line
    2026-01-31T12:00:00.123456789Z stderr P a fragment, which the next line of its stream goes on with

A line of the log ends where the tag is F; what is tagged P has no newline of its own. Time stamps leave trailing zeros
out and may have a zone. What is not such a line is taken over as it is: no byte of a log is left out for its looks.
"""

from __future__ import annotations

import numpy as np

from joblog.batch import STDERR, STDOUT
from joblog.worker.formats.columns import (
    FRAME_KEY_AT,
    STAMP_BYTES,
    Column,
    joined,
    line_bounds,
    padded,
    slices,
    stamps_ns,
    words,
)
from joblog.worker.formats.decoded import Decoded

_STDOUT = int.from_bytes(b" stdout ", "little")
_STDERR = int.from_bytes(b" stderr ", "little")
_SPACE, _COLON = ord(" "), ord(":")
_FULL, _PARTIAL = ord("F"), ord("P")
_SPACES = np.uint64(0x2020202020202020)
_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
# How long a time stamp is: in UTC with all nine digits, and with none.
_USUAL_LENGTH = 30
_SHORTEST = 20
# From the space behind the time stamp: to the tag, and to the content.
_TAG_AT = 8
_CONTENT_AT = 10


class Cri:
    """The codec."""

    name = "cri"
    by_line = True

    def decode(self, data: bytes, *, whole: bool, after_ns: int, now_ns: int) -> Decoded:
        consumed = data.rfind(b"\n") + 1
        rest = data[consumed:] if whole else b""
        if not consumed and not rest:
            return Decoded(0)
        lines = data[:consumed] + (rest + b"\n" if rest else b"")
        array = padded(lines)
        starts, ends = line_bounds(array, len(lines))
        eights = words(array)
        spaces = _first_spaces(array, eights, starts)
        marks = eights[spaces]
        is_err = marks == _STDERR
        tags = array[spaces + _TAG_AT]
        good = (is_err | (marks == _STDOUT)) & ((tags == _FULL) | (tags == _PARTIAL)) & _dated(array, starts)
        behind = array[spaces + _TAG_AT + 1]
        contents = spaces + _CONTENT_AT
        for line in np.flatnonzero(good & (behind != _SPACE)).tolist():
            # More than one tag, as P:TAG.
            at = lines.find(b" ", int(spaces[line]) + _TAG_AT, int(ends[line]))
            contents[line] = at + 1
            good[line] = at >= 0 and behind[line] == _COLON
        odd = ~good
        contents[odd] = starts[odd]
        content_ends = ends - ((tags == _PARTIAL) & good)
        if rest:
            content_ends[-1] = ends[-1] - 1
        keys = eights[starts + FRAME_KEY_AT]
        first = np.ones(len(starts), bool)
        first[1:] = (keys[1:] != keys[:-1]) | (is_err[1:] != is_err[:-1]) | odd[1:]
        heads = starts[first]
        times = np.where(good[first], stamps_ns(array, heads, spaces[first]), 0)
        return joined(
            consumed + len(rest),
            slices(lines, contents.tolist(), content_ends.tolist()),
            lengths=content_ends - contents,
            streams=np.where(is_err & good, STDERR, STDOUT),
            first_of_frame=first,
            times_ns=times,
            after_ns=after_ns,
            now_ns=now_ns,
            odd_lines=int(np.count_nonzero(odd)),
        )


def _first_spaces(array: Column, eights: Column, starts: Column) -> Column:
    """Where each line's time stamp ends; somewhere in or behind the line for one that has none."""
    spaces = starts + _USUAL_LENGTH
    # No space in what a shorter time stamp would end with.
    earlier = _has_space(eights[starts + _SHORTEST]) | _has_space(eights[starts + _USUAL_LENGTH - 8])
    left = np.flatnonzero(earlier | (array[spaces] != _SPACE))
    for length in range(_SHORTEST, STAMP_BYTES + 1):
        if not len(left):
            break
        at = starts[left] + length
        found = array[at] == _SPACE
        spaces[left[found]] = at[found]
        left = left[~found]
    return spaces


def _has_space(eights: Column) -> Column:
    """Whether one of 8 bytes is a space: that which makes 0 borrows from its highest bit."""
    differ = eights ^ _SPACES
    has: Column = ((differ - _ONES) & ~differ & _HIGH_BITS) != 0
    return has


def _dated(array: Column, starts: Column) -> Column:
    """Whether a line begins as a time stamp does."""
    is_dated: Column = (
        (array[starts + 10] == ord("T")) & (array[starts + 13] == _COLON) & (array[starts + 16] == _COLON)
    )
    return is_dated
