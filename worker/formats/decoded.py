"""What a codec makes of a block of a file."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Decoded(NamedTuple):
    """consumed: bytes of the block that were taken: whole lines, where the format has lines.

    raw: the log's bytes. frames: their packed columns (joblog.batch); empty where raw is. first_time_ns, last_time_ns:
    of the first and the last frame, never before the time that was given. newlines: in raw. odd_lines: lines that were
    not as the format has them, and were taken over as they are.
    """

    consumed: int
    raw: bytes = b""
    frames: bytes = b""
    first_time_ns: int = 0
    last_time_ns: int = 0
    odd_lines: int = 0


class Format(Protocol):
    """A codec. by_line: a block is taken up to its last whole line, and positions lie between lines.

    What is decoded depends on the bytes of a line alone, so that reading may begin again at any such position.
    """

    name: str
    by_line: bool

    def decode(self, data: bytes, *, whole: bool, after_ns: int, now_ns: int) -> Decoded:
        """Decodes a block. whole: nothing follows it, so that a line that is not ended is one too.

        after_ns, now_ns: frames' times lie between them, whatever the file says.
        """


class Plain:
    """A file that is the log: bytes as they are, at the time when they were read."""

    name = "plain"
    by_line = False

    def decode(self, data: bytes, *, whole: bool, after_ns: int, now_ns: int) -> Decoded:  # noqa: ARG002
        if not data:
            return Decoded(0)
        from joblog.batch import STDOUT, Frames, pack_frames

        time_ns = max(after_ns, now_ns)
        frames = pack_frames(Frames(bytes([STDOUT]), [0], [len(data)]))
        return Decoded(len(data), data, frames, time_ns, time_ns)
