"""What the HTTP API says, as JSON. Times are RFC 3339 with nanoseconds, in UTC; offsets and sizes are in bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from joblog import death
from joblog.leader.reading.records import first_offset
from joblog.v1 import admin_pb2, types_pb2

State = Literal["live", "completed", "interrupted", "unspecified"]
RunStateName = Literal["live", "succeeded", "failed", "interrupted"]
StreamName = Literal["stdout", "stderr"]

STREAMS: dict[str, int] = {"stdout": types_pb2.STREAM_STDOUT, "stderr": types_pb2.STREAM_STDERR}


def word(enum_name: str, prefix: str) -> str:
    """LOG_STATE_LIVE with prefix LOG_STATE_ as "live"."""
    return enum_name.removeprefix(prefix).lower()


def state_word(state: int) -> str:
    """A log's state in one word."""
    return word(types_pb2.LogState.Name(state), "LOG_STATE_")


def reason_word(reason: int) -> str:
    """A gap's reason in one word; one that this version does not know as its number."""
    if reason not in types_pb2.GapReason.values():
        return str(reason)
    return word(types_pb2.GapReason.Name(reason), "GAP_REASON_")


def outcome_word(kind: int) -> str:
    """How a task ended in one word; what this version does not know as its number."""
    if kind not in types_pb2.OutcomeKind.values():
        return str(kind)
    return word(types_pb2.OutcomeKind.Name(kind), "OUTCOME_KIND_")


def moment(time_ns: int) -> str | None:
    """Nanoseconds since the epoch in RFC 3339; None for 0."""
    if not time_ns:
        return None
    seconds, nanoseconds = divmod(time_ns, 10**9)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return None
    return f"{text}.{nanoseconds:09d}Z"


class Problem(BaseModel):
    """Why a request was not answered."""

    code: str = Field(description="A gRPC status name, as NOT_FOUND")
    message: str


class ErrorReply(BaseModel):
    """The body of every reply with a status of 400 and up."""

    error: Problem


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


class KeptRun(BaseModel):
    """How long a run, with all its logs, is kept, as of now."""

    policy: str = Field(description="The policy that names it; empty: none does")
    due_at: str | None = Field(description="When it goes; null: never, or not known yet")
    held_by: list[str] = Field(description="The legal holds that keep it, whatever else there is")
    says: str = Field(description="In words")

    @classmethod
    def of(cls, kept: types_pb2.Kept) -> KeptRun:
        """From a message."""
        return cls(policy=kept.policy, due_at=moment(kept.due_ns), held_by=list(kept.held_by), says=kept.says)


class Log(BaseModel):
    """One log's record."""

    namespace: str
    run: str
    task: str
    attempt: int
    state: State
    tier: Literal["buffer", "archive", "unspecified"]
    created_at: str | None
    completed_at: str | None
    last_append_at: str | None
    length: int = Field(description="Bytes so far; the next byte will have this offset")
    first_offset: int = Field(description="Offset of the first byte that is kept")
    newlines: int
    stored_bytes: int = Field(description="Bytes that the log takes on the leader's disk; 0 where that is not known")
    archived_offset: int = Field(description="All below it that is in no gap is in the archive")
    sealed: bool = Field(description="Whether the log is completed, and lies in the archive as one sealed object")
    gaps: list[Gap] = Field(description="Ranges of the log that are missing, and why")
    start: Start | None
    outcome: Outcome | None
    seal: Seal | None
    death: Death | None = Field(
        description="How the task or container died, where it did; null in lists, which do not look for it"
    )

    kept: KeptRun | None = Field(default=None, description="Of its run: a run's logs go together")

    @classmethod
    def of(
        cls,
        record: types_pb2.LogRecord,
        events: Iterable[types_pb2.Event] = (),
        kept: types_pb2.Kept | None = None,
    ) -> Log:
        """From messages."""
        start = record.start
        return cls(
            namespace=record.id.namespace,
            run=record.id.run,
            task=record.id.task,
            attempt=record.id.attempt,
            state=state_word(record.state),  # type: ignore[arg-type]
            tier=tier_word(record.tier),
            created_at=moment(record.created_ns),
            completed_at=moment(record.completed_ns),
            last_append_at=moment(record.last_append_ns),
            length=record.next_offset,
            first_offset=first_offset(record),
            newlines=record.newlines,
            stored_bytes=record.stored_bytes,
            archived_offset=record.archived_offset,
            sealed=record.state == types_pb2.LOG_STATE_COMPLETED and record.tier == types_pb2.TIER_ARCHIVE,
            gaps=[Gap.of(gap) for gap in record.gaps or record.seal.gaps],
            start=Start(
                command=list(start.command),
                host=start.host,
                cwd=start.cwd,
                started_at=moment(start.started_ns),
                labels=dict(start.labels),
                worker_id=start.worker_id,
            )
            if record.HasField("start")
            else None,
            outcome=Outcome.of(record.outcome) if record.HasField("outcome") else None,
            seal=Seal.of(record.seal) if record.HasField("seal") else None,
            death=Death.among(events),
            kept=KeptRun.of(kept) if kept is not None else None,
        )


class Run(BaseModel):
    """One run's record."""

    namespace: str
    run: str
    state: str
    created_at: str | None
    completed_at: str | None
    labels: dict[str, str]
    logs_live: int
    logs_completed: int
    logs_interrupted: int
    tasks_live: int = Field(description="Tasks by the state of their newest attempt")
    tasks_succeeded: int
    tasks_failed: int
    tasks_interrupted: int
    length: int = Field(description="Bytes of its tasks' logs, all attempts; of live ones as of seconds ago")
    stored_bytes: int = Field(description="Bytes that its completed logs take in buffer and archive")
    kept: KeptRun | None = None

    @classmethod
    def of(cls, run: types_pb2.RunRecord, kept: types_pb2.Kept | None = None, *, open_bytes: int = 0) -> Run:
        """From messages. open_bytes: of those of its logs that are not completed."""
        return cls(
            namespace=run.namespace,
            run=run.run,
            state=word(types_pb2.RunState.Name(run.state), "RUN_STATE_"),
            created_at=moment(run.created_ns),
            completed_at=moment(run.completed_ns),
            labels=dict(run.labels),
            logs_live=run.logs_live,
            logs_completed=run.logs_completed,
            logs_interrupted=run.logs_interrupted,
            tasks_live=run.tasks_live,
            tasks_succeeded=run.tasks_succeeded,
            tasks_failed=run.tasks_failed,
            tasks_interrupted=run.tasks_interrupted,
            length=run.completed_bytes + open_bytes,
            stored_bytes=run.stored_bytes,
            kept=KeptRun.of(kept) if kept is not None else None,
        )


class Namespaces(BaseModel):
    """A page of namespaces, by name."""

    namespaces: list[str]
    next_cursor: str = Field(description="Give it as `cursor` for the next page; empty on the last one")


class Runs(BaseModel):
    """A page of runs, newest first."""

    runs: list[Run]
    next_cursor: str = Field(description="Give it as `cursor` for the next page; empty on the last one")


class Logs(BaseModel):
    """A page of a run's logs, by task and attempt."""

    logs: list[Log]
    next_cursor: str = Field(description="Give it as `cursor` for the next page; empty on the last one")


class Events(BaseModel):
    """All events of a log, by offset and time."""

    events: list[Event]


def tier_word(tier: int) -> Literal["buffer", "archive"]:
    """Where bytes lie, in a word."""
    return "archive" if tier == types_pb2.TIER_ARCHIVE else "buffer"


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


class Verdict(BaseModel):
    """What verifying a log found."""

    complete: bool = Field(description="Sealed, and all is as it was written")
    sealed: bool = Field(description="False: the log is not completed yet, and only what is there so far was checked")
    expected: Seal | None
    found: Seal
    problems: list[str]


class Deleted(BaseModel):
    """What a deletion took away; nothing when it was done before."""

    logs_deleted: int
    bytes_deleted: int


class Worker(BaseModel):
    """What a worker says about itself."""

    worker_id: str
    host: str
    version: str
    connected: bool
    last_seen_at: str | None
    spool_bytes: int
    spool_limit_bytes: int
    logs: int
    received_bytes: int = Field(description="Of logs, before compression, stored since the leader started")
    lag_seconds: float = Field(
        description="How long the oldest byte of the last message had waited until it was stored"
    )

    @classmethod
    def of(cls, worker: admin_pb2.WorkerStatus) -> Worker:
        """From a message."""
        return cls(
            worker_id=worker.worker_id,
            host=worker.host,
            version=worker.version,
            connected=worker.connected,
            last_seen_at=moment(worker.last_seen_ns),
            spool_bytes=worker.spool_bytes,
            spool_limit_bytes=worker.spool_limit_bytes,
            logs=worker.logs,
            received_bytes=worker.received_bytes,
            lag_seconds=worker.lag_ns / 1e9,
        )


class Status(BaseModel):
    """Who the leader is and how it does."""

    leader_id: str
    version: str
    store_id: str
    started_at: str | None
    logs_live: int
    buffer_bytes: int
    workers: list[Worker]
    warnings: list[str]

    @classmethod
    def of(cls, status: admin_pb2.GetStatusResponse) -> Status:
        """From a message."""
        return cls(
            leader_id=status.leader_id,
            version=status.version,
            store_id=status.store_id,
            started_at=moment(status.started_ns),
            logs_live=status.logs_live,
            buffer_bytes=status.buffer_bytes,
            warnings=list(status.warnings),
            workers=[Worker.of(worker) for worker in status.workers],
        )
