"""A log as text with times: lines behind a time stamp, the Kubernetes container log format, JSON objects.

Each renderer takes the answers of a read, in order, and gives the bytes to print. Bytes as they were need none of this.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from joblog.v1 import logs_pb2, types_pb2

# Where the kubelet's log format, and readers of it, cut a line: 16 KiB of content.
CRI_PIECE_BYTES = 16 << 10
JSON_PIECE_BYTES = 1 << 20
STREAM_NAMES: dict[int, str] = {types_pb2.STREAM_STDOUT: "stdout", types_pb2.STREAM_STDERR: "stderr"}


class Renderer(Protocol):
    """Turns a read's answers into bytes to print; answers must have frames."""

    def render(self, part: logs_pb2.ReadResponse) -> bytes:
        """The text for the next answer; what is not a whole line yet may come later."""
        ...

    def finish(self) -> bytes:
        """What is left at the end: the beginnings of lines whose end never came."""
        ...


def rfc3339_nano(time_ns: int) -> str:
    """A time in UTC with nine digits after the second, as Kubernetes writes it."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


class Timestamps:
    """The log's bytes in their order, with the time before each line and after each gap."""

    def __init__(self) -> None:
        self._at_start = True

    def render(self, part: logs_pb2.ReadResponse) -> bytes:
        """The bytes of one answer with the times put in."""
        data, start = part.data, 0
        out: list[bytes] = []
        if part.HasField("gap"):
            self._at_start = True
        for frame in part.frames:
            piece = data[start : start + frame.length]
            start += frame.length
            stamp = rfc3339_nano(frame.time_ns).encode() + b" "
            if self._at_start:
                out.append(stamp)
            self._at_start = piece.endswith(b"\n")
            body = piece[:-1] if self._at_start else piece
            out.append(body.replace(b"\n", b"\n" + stamp))
            if self._at_start:
                out.append(b"\n")
        return b"".join(out)

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""


class Piece(NamedTuple):
    """A line without its newline or, where partial, a part of one that does not end with it. line: 0 if unknown."""

    offset: int
    time_ns: int
    stream: int
    line: int
    content: bytes
    partial: bool


class Lines:
    """Puts lines together, each stream's own, and cuts those that are longer than piece_bytes.

    Bytes of the two streams that lie between each other come out as whole lines, each as soon as it ends. At a gap,
    what has begun comes out as partial, since its end is missing.
    """

    def __init__(self, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self._begun: dict[int, _Begun] = {}

    def take(self, part: logs_pb2.ReadResponse, *, filtered: bool = False) -> Iterator[Piece]:
        """The pieces that end with this answer. filtered: lines of other streams are left out, so none is numbered."""
        if part.HasField("gap"):
            yield from self.rest()
        line = 0 if filtered else part.line
        start = 0
        for frame in part.frames:
            data = part.data[start : start + frame.length]
            start += frame.length
            yield from self._frame(frame, data, line)
            if line:
                line += data.count(b"\n")

    def _frame(self, frame: logs_pb2.Frame, data: bytes, line: int) -> Iterator[Piece]:
        offset = frame.offset
        *ended, last = data.split(b"\n")
        for content in ended:
            yield from self._add(frame, offset, line, content)
            begun = self._begun.pop(frame.stream)
            yield begun.piece(partial=False)
            offset += len(content) + 1
            line += 1 if line else 0
        if last:
            yield from self._add(frame, offset, line, last)

    def _add(self, frame: logs_pb2.Frame, offset: int, line: int, content: bytes) -> Iterator[Piece]:
        """Puts content behind what has begun, with everything before the last piece_bytes of it given out."""
        begun = self._begun.setdefault(frame.stream, _Begun(offset, frame.time_ns, frame.stream, line))
        start = 0
        while (room := self._piece_bytes - len(begun.content)) < len(content) - start:
            begun.content += content[start : start + room]
            yield begun.piece(partial=True)
            start += room
            begun = _Begun(offset + start, frame.time_ns, frame.stream, begun.line)
            self._begun[frame.stream] = begun
        begun.content += content[start:]

    def rest(self) -> Iterator[Piece]:
        """What has begun and not ended, by offset."""
        begun = [held.piece(partial=True) for held in self._begun.values()]
        self._begun.clear()
        yield from sorted(begun)


class _Begun:
    """A line whose end has not come yet."""

    __slots__ = ("content", "line", "offset", "stream", "time_ns")

    def __init__(self, offset: int, time_ns: int, stream: int, line: int) -> None:
        self.offset, self.time_ns, self.stream, self.line = offset, time_ns, stream, line
        self.content = bytearray()

    def piece(self, *, partial: bool) -> Piece:
        return Piece(self.offset, self.time_ns, self.stream, self.line, bytes(self.content), partial)


class Cri:
    """The Kubernetes container log format: time, stream, P (partial) or F (full), content; a line each."""

    def __init__(self) -> None:
        self._lines = Lines(CRI_PIECE_BYTES)

    def render(self, part: logs_pb2.ReadResponse) -> bytes:
        """The lines that end with this answer."""
        return b"".join(map(_cri_line, self._lines.take(part)))

    def finish(self) -> bytes:
        """What has no newline at the log's end, marked as partial."""
        return b"".join(map(_cri_line, self._lines.rest()))


def _cri_line(piece: Piece) -> bytes:
    head = f"{rfc3339_nano(piece.time_ns)} {STREAM_NAMES[piece.stream]} {'P' if piece.partial else 'F'} "
    return head.encode() + piece.content + b"\n"


class Json:
    """A JSON object per line: offset, time, stream, line, and text, or base64 where it is no UTF-8.

    Lines longer than 1 MiB are cut; every part of a line but its last has "partial": true, and so has a last line that
    has no newline. With filtered, "line" is left out: lines of the other stream are not seen here.
    """

    def __init__(self, *, filtered: bool = False) -> None:
        self._lines = Lines(JSON_PIECE_BYTES)
        self._filtered = filtered

    def render(self, part: logs_pb2.ReadResponse) -> bytes:
        """The objects for lines that end with this answer; a gap is an object too."""
        out = b"".join(map(_json_line, self._lines.take(part, filtered=self._filtered)))
        if part.HasField("gap"):
            gap = {"offset": part.gap.offset, "length": part.gap.length, "reason": gap_reason(part.gap.reason)}
            out += json.dumps({"gap": gap}).encode() + b"\n"
        return out

    def finish(self) -> bytes:
        """What has no newline at the log's end."""
        return b"".join(map(_json_line, self._lines.rest()))


def _json_line(piece: Piece) -> bytes:
    fields: dict[str, object] = {
        "offset": piece.offset,
        "time": rfc3339_nano(piece.time_ns),
        "stream": STREAM_NAMES[piece.stream],
    }
    if piece.line:
        fields["line"] = piece.line
    try:
        fields["text"] = piece.content.decode()
    except UnicodeDecodeError:
        fields["base64"] = base64.b64encode(piece.content).decode()
    if piece.partial:
        fields["partial"] = True
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def gap_reason(reason: types_pb2.GapReason) -> str:
    """A gap's reason in plain words."""
    if reason not in types_pb2.GapReason.values():
        return f"reason {reason}"
    name = types_pb2.GapReason.Name(reason).removeprefix("GAP_REASON_")
    return name.lower().replace("_", " ")
