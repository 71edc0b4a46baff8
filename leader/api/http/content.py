"""Bytes and lines of a log, as JSON. Offsets and sizes are in bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from joblog.leader.api.http.facts import Event, Gap
from joblog.leader.api.http.words import State


class Frames(BaseModel):
    """Who wrote the bytes of a chunk, and when: columns of equal length, an entry per read of one stream."""

    streams: list[int] = Field(description="1: stdout, 2: stderr")
    starts: list[int] = Field(description="Where each begins: bytes behind the chunk's offset")
    lengths: list[int]
    times_us: list[int] = Field(description="Microseconds since 1970")


class Chunk(BaseModel):
    """Contiguous bytes of a log; the JSON form of what `bytes` replies."""

    offset: int = Field(description="Offset of the first byte of data; behind the gaps, if any")
    next_offset: int = Field(description="Where to go on")
    first_offset: int = Field(description="Offset of the first byte that the log keeps")
    line: int = Field(description="Number, from 1, of the line that the first byte is in; 0 where not known")
    state: State
    tier: Literal["buffer", "archive", "unspecified"] = Field(description="Where the data lies, its begin at least")
    gaps: list[Gap] = Field(description="Gaps between the offset asked for and the data")
    gap_follows: bool = Field(description="The data ends, before its limit, where a gap begins")
    events: list[Event] = Field(description="Events tied to offsets up to next_offset")
    events_seen: str = Field(description="Give it with the next request, so that each event is told once")
    poll_after_ms: int = Field(description="Who follows is to wait so long before the next request; 0 without `wait`")
    data_base64: str
    text: str | None = Field(description="The data, when it is valid UTF-8")
    frames: Frames | None = Field(default=None, description="Where they were asked for")


class Line(BaseModel):
    """One line, its newline left out."""

    line: int
    offset: int
    complete: bool = Field(description="False when it is cut off: by a gap, the reply's size, or because it goes on")
    text: str | None = Field(description="The line, when it is valid UTF-8")
    data_base64: str | None = Field(description="The line, when it is not")


class Lines(BaseModel):
    """Consecutive lines of a log."""

    lines: list[Line]
    gaps: list[Gap]
    next_line: int
    next_offset: int
    state: State
