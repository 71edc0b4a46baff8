"""A task's output as lines in CRI format, as containerd writes them; joblog.worker.formats.cri is the reverse.

What ends with no newline is a fragment (P) at once, and so is each piece of a line longer than 16 KiB
(containerd's max_container_log_line_size). Nothing is held back, so nothing waits for its line's end.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 16 << 10
_STREAMS = {1: "stdout", 2: "stderr"}


def line_head(stream: int, time_ns: int) -> bytes:
    """What a line of a stream begins with, up to its tag."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{stamp}.{nanoseconds:09d}Z {_STREAMS[stream]} ".encode()


def cri_lines(stream: int, time_ns: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """`data` as CRI lines, in blocks of many lines each: (bytes of `data` that are in the block, the block)."""
    head = line_head(stream, time_ns)
    full, partial = head + b"F ", head + b"P "
    between = b"\n" + full
    at, length = 0, len(data)
    while at < length:
        end = data.rfind(b"\n", at, at + MAX_LINE_BYTES + 1)
        if end >= 0:
            yield end + 1 - at, full + data[at:end].replace(b"\n", between) + b"\n"
            at = end + 1
        else:
            piece = data[at : at + MAX_LINE_BYTES]
            yield len(piece), partial + piece + b"\n"
            at += len(piece)
