"""Routes for how long logs are kept: policies, what is due, legal holds."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from joblog.errors import Conflict
from joblog.identity import MAX_LABEL_VALUE_LENGTH, check_name
from joblog.leader.access.principal import current
from joblog.leader.api.http import names
from joblog.leader.api.http.context import ApiContext, Context
from joblog.leader.api.http.words import moment, word
from joblog.leader.api.retention_status import retention_status
from joblog.leader.buffer.holds import MAX_REASON_LENGTH
from joblog.leader.retention.holding import Holding
from joblog.leader.retention.service import Done, Retention
from joblog.leader.retention.sweep import Due
from joblog.v1 import retention_pb2, types_pb2

router = APIRouter(prefix="/api/v1", tags=["retention"])

_NAME = f"^{names.NAME}$"
_MAX_AHEAD_SECONDS = 100 * 366 * 86_400
Ahead = Annotated[int, Query(ge=0, le=_MAX_AHEAD_SECONDS, description="As if it were so much later")]
Shown = Annotated[int, Query(ge=0, le=1000, description="Runs that are listed at most; all are counted")]


class Pass(BaseModel):
    """What a pass looked at and did, or would do."""

    runs_looked_at: int
    runs: int
    logs: int
    bytes: int
    held_runs: int = Field(description="Runs that are due and stay, as they are held")
    seconds: float

    @classmethod
    def of(cls, done: Done) -> Pass:
        """From what the leader counted."""
        return cls(
            runs_looked_at=done.runs_looked_at,
            runs=done.runs,
            logs=done.logs,
            bytes=done.bytes,
            held_runs=done.held_runs,
            seconds=done.seconds,
        )


class RetentionState(BaseModel):
    """The policies in force, and how it does."""

    policies: list[str] = Field(description="The first one that names a run counts")
    quotas: list[str] = Field(description="Bytes that a namespace may take; the first one that names it counts")
    next_pass_at: str | None
    passed_at: str | None = Field(description="Of the last pass that came to its end")
    last: Pass | None
    pending_objects: int = Field(description="Objects of the archive that are to be deleted, up to 100000")
    locked_objects: int = Field(description="Of these, such as their lock keeps from it for now")
    holds: int
    warnings: list[str]


class DueRun(BaseModel):
    """A run that a pass would delete."""

    namespace: str
    run: str
    state: str
    completed_at: str | None
    logs: int
    bytes: int
    policy: str = Field(description="The policy or quota that it is due by")
    held: bool = Field(description="It stays, as it is held")

    @classmethod
    def of(cls, due: Due) -> DueRun:
        """From what was found."""
        run = due.run
        return cls(
            namespace=run.namespace,
            run=run.run,
            state=word(types_pb2.RunState.Name(run.state), "RUN_STATE_"),
            completed_at=moment(run.completed_ns),
            logs=run.logs_completed + run.logs_interrupted,
            bytes=run.stored_bytes,
            policy=due.why,
            held=due.is_held,
        )


class Preview(BaseModel):
    """What a pass would delete now."""

    due: list[DueRun] = Field(description="The first ones, by namespace and name")
    total: Pass


class NamedRun(BaseModel, extra="forbid"):
    """A run that is held."""

    namespace: str = Field(pattern=_NAME)
    run: str = Field(pattern=_NAME)


class NamedLabel(BaseModel, extra="forbid"):
    """All runs with a label, those that come later among them."""

    namespace: str = Field(default="", pattern=f"^$|{_NAME}", description="Empty: every namespace")
    label: str = Field(pattern=_NAME)
    value: str = Field(max_length=MAX_LABEL_VALUE_LENGTH, pattern="^[^\\x00]*$")


class RunHold(NamedRun):
    """A hold on a run."""

    reason: str = Field(default="", max_length=MAX_REASON_LENGTH)


class LabelHold(NamedLabel):
    """A hold on a label."""

    reason: str = Field(default="", max_length=MAX_REASON_LENGTH)


class Unreadable(BaseModel, extra="forbid"):
    """Confirms that holds of a former leader, which can't be read, are gone."""

    unreadable: Literal[True]


class HoldState(BaseModel):
    """A hold that is set: on a run, or on all runs with a label."""

    namespace: str = Field(description="Empty, with a label: every namespace")
    run: str
    label: str
    value: str
    reason: str
    set_by: str
    set_at: str | None

    @classmethod
    def of(cls, hold: retention_pb2.Hold) -> HoldState:
        """From a message."""
        return cls(
            namespace=hold.namespace,
            run=hold.run,
            label=hold.label,
            value=hold.value,
            reason=hold.reason,
            set_by=hold.set_by,
            set_at=moment(hold.set_ns),
        )


class Holds(BaseModel):
    """All holds."""

    holds: list[HoldState]
    archived: bool = Field(description="The archive has them as well: they outlive the leader's disk")
    unreadable: str = Field(description="Why nothing is deleted: a former leader's holds could not be read; or empty")


class HoldSet(BaseModel):
    """What setting a hold did."""

    hold: HoldState
    created: bool = Field(description="False: it was there before, and stays as it was")
    archived: bool
    runs: int = Field(description="Runs that it holds now, counted up to 10000")


class HoldLifted(BaseModel):
    """What lifting a hold did."""

    lifted: bool = Field(description="False: there was none")
    archived: bool


def _retention(context: ApiContext) -> Retention:
    if context.operated.retention is None:
        raise Conflict("this server looks after no retention")
    return context.operated.retention


def _holding(context: ApiContext) -> Holding:
    if context.operated.holding is None:
        raise Conflict("this server looks after no holds")
    return context.operated.holding


@router.get("/retention")
async def get_retention(context: Context) -> RetentionState:
    """The policies in force, what the last pass did, and what waits."""
    retention = _retention(context)
    found = await asyncio.to_thread(retention_status, retention)
    return RetentionState(
        policies=list(found.policies),
        quotas=list(found.quotas),
        next_pass_at=moment(found.next_pass_ns),
        passed_at=moment(found.passed_ns),
        last=Pass.of(retention.state.last) if found.passed_ns else None,
        pending_objects=found.pending_objects,
        locked_objects=found.locked_objects,
        holds=found.holds,
        warnings=list(found.warnings),
    )


@router.get("/retention/preview")
async def preview_retention(context: Context, ahead_seconds: Ahead = 0, limit: Shown = 100) -> Preview:
    """Which runs of all namespaces a pass would delete now. Deletes nothing; looks at every run."""
    return await _preview(context, "", ahead_seconds, limit)


@router.get("/namespaces/{namespace}/retention/preview")
async def preview_namespace(
    context: Context, namespace: names.Namespace, ahead_seconds: Ahead = 0, limit: Shown = 100
) -> Preview:
    """Which runs of a namespace a pass would delete now. Deletes nothing; looks at every run of it."""
    return await _preview(context, check_name("namespace", namespace), ahead_seconds, limit)


async def _preview(context: ApiContext, namespace: str, ahead_seconds: int, limit: int) -> Preview:
    due: list[Due] = []
    total = Done()
    async with aclosing(_retention(context).preview(namespace, ahead_seconds)) as slices:
        async for found, counted in slices:
            total = counted
            due.extend(found[: limit - len(due)])
    return Preview(due=[DueRun.of(one) for one in due], total=Pass.of(total))


@router.post("/retention/run")
async def run_retention(context: Context) -> Pass:
    """Makes a pass now, and replies with what it did when it is done: with much that is due, in minutes."""
    async with aclosing(_retention(context).run_now()) as steps:
        done = [step async for step, _ in steps][-1]
    return Pass.of(done)


@router.get("/holds")
async def list_holds(context: Context) -> Holds:
    """All legal holds."""
    holds, archived, unreadable = _holding(context).list()
    return Holds(holds=[HoldState.of(hold) for hold in holds], archived=archived, unreadable=unreadable)


@router.post("/holds")
async def set_hold(context: Context, hold: RunHold | LabelHold) -> HoldSet:
    """Keeps a run, or all runs with a label, from every deletion until it is lifted."""
    done = await _holding(context).set(retention_pb2.Hold(**hold.model_dump()), current())
    return HoldSet(hold=HoldState.of(done.hold), created=done.created, archived=done.archived, runs=done.runs)


@router.post("/holds/lift")
async def lift_hold(context: Context, hold: NamedRun | NamedLabel | Unreadable) -> HoldLifted:
    """Lifts a hold, named as it was set."""
    if isinstance(hold, Unreadable):
        lifted, archived = await _holding(context).go_on_without(current())
    else:
        lifted, archived = await _holding(context).lift(retention_pb2.Hold(**hold.model_dump()), current())
    return HoldLifted(lifted=lifted, archived=archived)
