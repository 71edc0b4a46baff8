"""What is told of a log beside its record, as JSON: gaps, events, its seal, how its task started, ended or died."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pydantic import BaseModel, Field

from joblog import death
from joblog.leader.api.http.words import moment, outcome_word, reason_word
from joblog.v1 import types_pb2


class Gap(BaseModel):
    """A range of offsets whose bytes are not there."""

    offset: int
    length: int
    reason: str
    newlines: int = Field(description="Newlines in the range where that is known, else 0")

    @classmethod
    def of(cls, gap: types_pb2.Gap) -> Gap:
        """From a message."""
        return cls(offset=gap.offset, length=gap.length, reason=reason_word(gap.reason), newlines=gap.newlines)


class Event(BaseModel):
    """What joblog itself says about a log."""

    offset: int
    at: str | None
    kind: str
    message: str

    @classmethod
    def of(cls, event: types_pb2.Event) -> Event:
        """From a message."""
        died = death.parse_death(event)
        message = event.message if died is None else died.text()
        return cls(offset=event.offset, at=moment(event.time_ns), kind=event.kind, message=message)


class Verification(BaseModel):
    """What the last verification of a log has found."""

    at: str | None = Field(description="When it ended")
    complete: bool = Field(description="The log was sealed, and all was as it was written")
    unchanged: bool = Field(description="Of an adopted log: all was as it was when it was adopted")
    problems: int = Field(description="How much was wrong; at most 101")
    says: str = Field(description="What was found, in words")
    outdated: str = Field(description="Why it says nothing of the bytes that are there now; empty where it does")

    @classmethod
    def of(cls, found: types_pb2.Verification) -> Verification:
        """From a message."""
        return cls(
            at=moment(found.ended_ns),
            complete=found.complete,
            unchanged=found.unchanged,
            problems=found.problem_count,
            says=found.says,
            outdated=found.outdated,
        )


class Events(BaseModel):
    """All events of a log, by offset and time."""

    events: list[Event]


class Seal(BaseModel):
    """The proof of completeness."""

    length: int
    sha256: str = Field(description="Of the bytes in order, bytes in gaps left out; hexadecimal")
    newlines: int
    gaps: list[Gap]

    @classmethod
    def of(cls, seal: types_pb2.Seal) -> Seal:
        """From a message."""
        gaps = [Gap.of(gap) for gap in seal.gaps]
        return cls(length=seal.length, sha256=seal.sha256.hex(), newlines=seal.newlines, gaps=gaps)


class Outcome(BaseModel):
    """How a task ended."""

    kind: str
    exit_code: int
    signal: int
    oom_killed: bool
    started_at: str | None
    ended_at: str | None
    cpu_seconds: float
    peak_memory_bytes: int
    message: str

    @classmethod
    def of(cls, outcome: types_pb2.Outcome) -> Outcome:
        """From a message."""
        return cls(
            kind=outcome_word(outcome.kind),
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            oom_killed=outcome.oom_killed,
            started_at=moment(outcome.started_ns),
            ended_at=moment(outcome.ended_ns),
            cpu_seconds=outcome.cpu_seconds,
            peak_memory_bytes=outcome.peak_memory_bytes,
            message=outcome.message,
        )


class Start(BaseModel):
    """What is known of a task when it starts."""

    command: list[str]
    host: str
    cwd: str
    started_at: str | None
    labels: dict[str, str]
    worker_id: str


class Death(BaseModel):
    """What is said of a task or container that ended abnormally, or whose worker went silent."""

    reason: str = Field(
        description="oom_killed, signal, exit_code, evicted, node_lost, timed_out, supervisor_died or worker_silent"
    )
    at: str | None = Field(description="When it was reported")
    offset: int = Field(description="Length of the log then")
    node: str
    worker: str
    pod: str
    container: str
    started_at: str
    ended_at: str
    exit_code: int | None
    signal: int | None
    peak_memory_bytes: int | None
    memory_limit_bytes: int | None
    restarts: int | None = Field(description="How often the container had been started before")
    message: str

    @classmethod
    def of(cls, event: types_pb2.Event, death: death.Death) -> Death:
        """From an event and what it says."""
        return cls(at=moment(event.time_ns), offset=event.offset, **dataclasses.asdict(death))

    @classmethod
    def among(cls, events: Iterable[types_pb2.Event]) -> Death | None:
        """The newest one among a log's events."""
        found = death.last_death(events)
        return None if found is None else cls.of(*found)


class DeathReport(BaseModel):
    """A log's death, and its last lines before that."""

    death: Death
    tail: str = Field(description="At most 200 lines or 64 KiB, whichever is less; what is no UTF-8 is replaced")
