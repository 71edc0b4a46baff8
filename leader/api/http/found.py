"""What a search found, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from joblog.leader.api.http.facts import Gap
from joblog.leader.api.http.words import moment
from joblog.leader.search.marks import Mark, mark_of
from joblog.leader.search.searcher import Report
from joblog.v1 import logs_pb2, types_pb2

_STREAM_NAMES = {types_pb2.STREAM_STDOUT: "stdout", types_pb2.STREAM_STDERR: "stderr"}


class Part(BaseModel):
    """A part of a line's text; what is not UTF-8 in it is replaced by U+FFFD."""

    text: str
    match: bool


class FoundLine(BaseModel):
    """A line, or of a long one the part around a match."""

    line: int
    offset: int = Field(description="In the log, of the first byte shown")
    parts: list[Part]
    cut: bool = Field(description="There is more of the line")

    @classmethod
    def of(cls, shown: logs_pb2.ShownLine, spans: list[int] | None = None) -> FoundLine:
        """From a message. spans: begin and end of each match in the text, in bytes."""
        text = shown.text
        parts: list[Part] = []
        at = 0
        spans = spans or []
        for begin, end in [*zip(spans[::2], spans[1::2], strict=True), (len(text), len(text))]:
            if begin > at:
                parts.append(Part(text=text[at:begin].decode(errors="replace"), match=False))
            if end > begin:
                parts.append(Part(text=text[begin:end].decode(errors="replace"), match=True))
            at = end
        return cls(line=shown.line, offset=shown.offset, parts=parts, cut=shown.cut)


class FoundHit(BaseModel):
    """A line that matches."""

    line: FoundLine
    offset: int = Field(description="In the log, of the first match")
    stream: str | None
    at: str | None = Field(description="When the first match was written")
    before: list[FoundLine]
    after: list[FoundLine]

    @classmethod
    def of(cls, hit: logs_pb2.SearchHit) -> FoundHit:
        """From a message."""
        return cls(
            line=FoundLine.of(hit.line, list(hit.spans)),
            offset=hit.offset,
            stream=_STREAM_NAMES.get(hit.stream),
            at=moment(hit.time_ns),
            before=[FoundLine.of(line) for line in hit.before],
            after=[FoundLine.of(line) for line in hit.after],
        )


class SearchReport(BaseModel):
    """How far a search is, and what it found since the report before; hits are those of one log."""

    namespace: str
    run: str
    task: str
    attempt: int
    hits: list[FoundHit]
    at: int = Field(description="Bytes of the log that were searched")
    length: int = Field(description="Bytes of the log that are to be searched")
    skipped: list[Gap] = Field(description="Ranges of the log that are missing; nothing could be found there")
    log_truncated: bool = Field(description="The log has had its share of hits: go on with from_offset = at")
    logs_done: int
    runs_done: int
    runs_total: int = Field(description="Runs that are to be searched; 0 as long as they are not counted")
    bytes_done: int
    done: bool = Field(description="True in the last report")
    stopped: str = Field(description="hits or time, when the search ended before its end")

    @classmethod
    def of(cls, response: logs_pb2.SearchResponse) -> SearchReport:
        """From a message."""
        return cls(
            namespace=response.id.namespace,
            run=response.id.run,
            task=response.id.task,
            attempt=response.id.attempt,
            hits=[FoundHit.of(hit) for hit in response.hits],
            at=response.at,
            length=response.length,
            skipped=[Gap.of(gap) for gap in response.skipped],
            log_truncated=response.log_truncated,
            logs_done=response.logs_done,
            runs_done=response.runs_done,
            runs_total=response.runs_total,
            bytes_done=response.bytes_done,
            done=response.done,
            stopped=response.stopped,
        )


class FoundMark(BaseModel):
    """A line that stands out."""

    kind: Literal["error", "warning", "group", "end"]
    line: int
    offset: int = Field(description="Of the line's first byte")
    title: str = Field(description="Its text without control sequences; of a group, its title")
    name: str = Field(description="Of a group with a name: that of its end is the same")

    @classmethod
    def of(cls, mark: Mark) -> FoundMark:
        """From a mark."""
        return cls(**mark._asdict())


class MarksReport(BaseModel):
    """How far the look at a log is, and the marks since the report before."""

    marks: list[FoundMark]
    at: int = Field(description="Bytes of the log that were looked at")
    length: int = Field(description="Bytes of the log that are to be looked at")
    done: bool = Field(description="True in the last report")
    stopped: str = Field(description="hits or time, when it ended before the end")

    @classmethod
    def of(cls, report: Report) -> MarksReport:
        """From a report of a search for candidates."""
        found = [FoundMark.of(mark) for hit in report.hits if (mark := mark_of(hit)) is not None]
        return cls(marks=found, at=report.at, length=report.length, done=report.done, stopped=report.stopped)
