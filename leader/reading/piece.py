"""What a reader asks for, and what it gets: pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput
from joblog.v1 import types_pb2

PIECE_BYTES = 1 << 20
MAX_OFFSET = 2**63 - 1


class StartKind(Enum):
    """What the number of a Start counts."""

    OFFSET = "offset"
    LINE = "line"
    LAST_LINES = "last_lines"
    LAST_BYTES = "last_bytes"


class Start(NamedTuple):
    """Where a read begins: at an offset, at a line (from 1), or so many lines or bytes before the end."""

    kind: StartKind
    value: int


FROM_THE_BEGINNING = Start(StartKind.OFFSET, 0)


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """One read.

    start: where it begins. LAST_LINES and LAST_BYTES count what `stream` selects.
    limit_bytes: it ends once so many bytes were delivered (bytes in gaps and of the other stream do not count);
        None is no limit.
    stream: STDOUT or STDERR, None is both.
    with_frames: pieces carry frames.
    follow: goes on with what is appended, until the log is completed.
    """

    start: Start = FROM_THE_BEGINNING
    limit_bytes: int | None = None
    stream: int | None = None
    with_frames: bool = False
    follow: bool = False

    def check(self) -> ReadSpec:
        """Returns itself when all fields are in range; raises InvalidInput."""
        kind, value = self.start
        least = 1 if kind is StartKind.LINE else 0
        if not least <= value <= MAX_OFFSET:
            raise InvalidInput(f"{kind.value} {value} is out of range: {least} to 2^63-1 are allowed")
        if self.limit_bytes is not None and not 1 <= self.limit_bytes <= MAX_OFFSET:
            raise InvalidInput(f"limit {self.limit_bytes} is out of range: 1 to 2^63-1 are allowed")
        if self.stream not in (None, STDOUT, STDERR):
            raise InvalidInput(f"stream {self.stream} is not known: 1 is stdout, 2 is stderr")
        return self


class FrameColumns(NamedTuple):
    """Frames of a piece, in order: columns of equal length.

    offsets are in the log; a frame that is delivered in part has the offset and length of that part.
    """

    streams: bytes
    times_ns: Sequence[int]
    offsets: Sequence[int]
    lengths: Sequence[int]


NO_FRAMES = FrameColumns(b"", (), (), ())


@dataclass(slots=True)
class Piece:
    """A part of a read: bytes, or a gap, or only word of how far the read has come (neither of them).

    offset: where it begins in the log. next_offset: where to go on.
    line: number, from 1, of the line that the byte at `offset` is in; 0 where that is not known.
    data: without a stream selection exactly the bytes [offset, next_offset); with one, what the stream wrote there.
    events: those tied to offsets up to next_offset that were not delivered before.
    tier: where its bytes, those of its first chunk at least, lie.
    """

    offset: int
    next_offset: int
    line: int
    data: bytes = b""
    gap: types_pb2.Gap | None = None
    frames: FrameColumns = NO_FRAMES
    state: types_pb2.LogState = types_pb2.LOG_STATE_UNSPECIFIED
    first_offset: int = 0
    tier: types_pb2.Tier = types_pb2.TIER_BUFFER
    events: Sequence[types_pb2.Event] = ()
