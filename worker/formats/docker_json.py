r"""Log files of Docker's json-file driver: an object per line, {"log":"a line\n","stream":"stdout","time":"..."}.

A line longer than 16 KiB comes in several objects, of which only the last one's text ends with a newline.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

import numpy as np

from joblog.batch import STDERR, STDOUT
from joblog.worker.formats.columns import PADDING, joined, stamps_ns
from joblog.worker.formats.decoded import Decoded

_FIELDS = itemgetter("log", "stream", "time")
# "2026-01-31T12:00:00.12": what lines of one frame have in common.
_KEY_CHARACTERS = 22


class DockerJson:
    """The codec."""

    name = "docker"
    by_line = True

    def decode(self, data: bytes, *, whole: bool, after_ns: int, now_ns: int) -> Decoded:
        consumed = len(data) if whole else data.rfind(b"\n") + 1
        if not consumed:
            return Decoded(0)
        lines = data[:consumed].split(b"\n")
        last = lines.pop()
        entries, odd_lines = _entries(lines)
        if last:
            # The file ends in the middle of it.
            found, odd = _entries([last])
            entries += found if not odd else [(last, "stdout", "")]
            odd_lines += odd
        parts = [text if isinstance(text, bytes) else text.encode(errors="surrogatepass") for text, _, _ in entries]
        streams = np.array([STDERR if stream == "stderr" else STDOUT for _, stream, _ in entries])
        times = [time if isinstance(time, str) else "" for _, _, time in entries]
        keys = np.array([time[:_KEY_CHARACTERS] for time in times])
        first = np.ones(len(entries), bool)
        first[1:] = (keys[1:] != keys[:-1]) | (streams[1:] != streams[:-1])
        return joined(
            consumed,
            b"".join(parts),
            lengths=np.array([len(part) for part in parts], np.int64),
            streams=streams,
            first_of_frame=first,
            times_ns=_times_ns([times[at] for at in np.flatnonzero(first).tolist()]),
            after_ns=after_ns,
            now_ns=now_ns,
            odd_lines=odd_lines,
        )


def written_until(data: bytes, until_ns: int) -> int:
    """Length of the lines at the start of a block that have no later time than that, with those of no time among them.

    A line that is not ended yet counts to those before it.
    """
    lines = data.split(b"\n")[:-1]
    entries, _ = _entries(lines)
    times_ns = _times_ns([time if isinstance(time, str) else "" for _, _, time in entries])
    later = np.flatnonzero(times_ns > until_ns)
    if not len(later):
        return len(data)
    return sum(map(len, lines[: later[0]])) + int(later[0])


def _entries(lines: list[bytes]) -> tuple[list[tuple[Any, Any, Any]], int]:
    """(text, stream, time) of each line, and how many lines were something else: those are their own text."""
    try:
        # All at once: the parser is entered once for a block.
        objects = json.loads(b"[" + b",".join(lines) + b"]")
        entries = list(map(_FIELDS, objects))
        if len(entries) == len(lines) and all(isinstance(entry[0], str) for entry in entries):
            return entries, 0
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    if len(lines) == 1:
        return [(lines[0] + b"\n", "stdout", "")], 1
    half = len(lines) // 2
    if not half:
        return [], 0
    before, odd_before = _entries(lines[:half])
    behind, odd_behind = _entries(lines[half:])
    return before + behind, odd_before + odd_behind


def _times_ns(times: list[str]) -> Any:
    encoded = [time.encode("ascii", "replace")[:40] for time in times]
    ends = np.cumsum([len(time) for time in encoded], dtype=np.int64)
    starts = ends - [len(time) for time in encoded]
    return stamps_ns(np.frombuffer(b"".join(encoded) + PADDING, np.uint8), starts, ends)
