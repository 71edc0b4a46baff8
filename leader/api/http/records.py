"""Records of runs and logs, pages of them, and what was done to them, as JSON. Offsets and sizes are in bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from joblog.leader.api.http.facts import Death, Gap, Outcome, Seal, Start, Verification
from joblog.leader.api.http.words import State, moment, state_word, tier_word, word
from joblog.leader.reading.records import first_offset
from joblog.v1 import types_pb2


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


class Adopted(BaseModel):
    """Where the text of an adopted log lies: an object of an older system, which joblog only reads."""

    url: str = Field(description="s3://bucket/key or file:///path, nothing in it escaped")
    size: int = Field(description="Bytes of the object")
    etag: str = Field(description="What tells the object from any other one: when it differs, its text is not given")
    version_id: str = Field(description="In a bucket that keeps versions; else empty")
    gzip: bool = Field(description="The object is a gzip file; the log is what it holds")
    modified_at: str | None = Field(description="When the object was written")
    adopted_at: str | None

    @classmethod
    def of(cls, adopted: types_pb2.Adopted) -> Adopted:
        """From a message."""
        return cls(
            url=adopted.url,
            size=adopted.bytes,
            etag=adopted.etag,
            version_id=adopted.version_id,
            gzip=adopted.gzip,
            modified_at=moment(adopted.modified_ns),
            adopted_at=moment(adopted.adopted_ns),
        )


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
    adopted: Adopted | None = Field(description="Where the text of an adopted log lies; null for any other log")
    death: Death | None = Field(
        description="How the task or container died, where it did; null in lists, which do not look for it"
    )
    kept: KeptRun | None = Field(default=None, description="Of its run: a run's logs go together")
    verified: Verification | None = Field(
        default=None, description="Its last verification; null: there was none, and in lists, which do not look for it"
    )

    @classmethod
    def of(
        cls,
        record: types_pb2.LogRecord,
        events: Iterable[types_pb2.Event] = (),
        kept: types_pb2.Kept | None = None,
        verified: types_pb2.Verification | None = None,
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
            adopted=Adopted.of(record.adopted) if record.HasField("adopted") else None,
            death=Death.among(events),
            kept=KeptRun.of(kept) if kept is not None else None,
            verified=Verification.of(verified) if verified is not None else None,
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


class Verdict(BaseModel):
    """What verifying a log found."""

    complete: bool = Field(description="Sealed by its writer, and all is as it was written")
    unchanged: bool = Field(
        description="Of an adopted log, which is never `complete`: all is as it was when it was adopted"
    )
    sealed: bool = Field(description="False: the log is not completed yet, and only what is there so far was checked")
    expected: Seal | None
    found: Seal
    problems: list[str]
    verified: Verification | None = Field(description="What is kept of it; null where that could not be written")


class Deleted(BaseModel):
    """What a deletion took away; nothing when it was done before."""

    logs_deleted: int
    bytes_deleted: int
