"""Routes for jobs: what lives in a cluster and what is only here any more, in one list, each once by name.

A job is a run. It is live as long as one of its logs is open; then its pods are, or may come back. All others are
archived: their pods may be gone long since, their text is here.
"""

from __future__ import annotations

import functools
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from joblog.errors import NotFound
from joblog.identity import check_name
from joblog.leader.api.http import names
from joblog.leader.api.http.catalog import Cursor, Limit
from joblog.leader.api.http.context import Context
from joblog.leader.api.http.facts import Outcome
from joblog.leader.api.http.filters import RunsWanted
from joblog.leader.api.http.words import moment, word
from joblog.v1 import types_pb2

router = APIRouter(prefix="/api/v1")

Source = Literal["live", "archived"]

_STATES: dict[str, frozenset[int]] = {
    "live": frozenset({types_pb2.RUN_STATE_LIVE, types_pb2.RUN_STATE_INTERRUPTED}),
    "archived": frozenset({types_pb2.RUN_STATE_SUCCEEDED, types_pb2.RUN_STATE_FAILED}),
}


class Job(BaseModel):
    """A job, whether its pods are there or gone."""

    name: str = Field(description="The run's name")
    source: Source = Field(description="live: a log of it is open. archived: all are completed, and kept here")
    state: str
    created_at: str | None
    completed_at: str | None
    labels: dict[str, str]

    @classmethod
    def of(cls, run: types_pb2.RunRecord) -> Job:
        """From a message."""
        return cls(
            name=run.run,
            source="live" if run.state in _STATES["live"] else "archived",
            state=word(types_pb2.RunState.Name(run.state), "RUN_STATE_"),
            created_at=moment(run.created_ns),
            completed_at=moment(run.completed_ns),
            labels=dict(run.labels),
        )


class Jobs(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next_cursor: str = Field(description="Give it as `cursor` for the next page; empty on the last one")


class JobLog(BaseModel):
    """One log of a job, and where its text is."""

    task: str
    attempt: int
    source: Source
    length: int
    outcome: Outcome | None
    text: str = Field(description="Path of its bytes, below the leader's address")


class JobLogs(BaseModel):
    """A job with its logs, by task and attempt."""

    job: Job
    logs: list[JobLog]
    next_cursor: str = Field(description="Give it as `cursor` for the next page; empty on the last one")


@router.get("/namespaces/{namespace}/jobs", tags=["jobs"])
async def list_jobs(
    *,
    context: Context,
    namespace: names.Namespace,
    wanted: RunsWanted,
    source: Annotated[Source | None, Query(description="Only those")] = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Jobs:
    """Jobs of a namespace, live and archived ones, each once, newest first."""
    check_name("namespace", namespace)
    if source is not None:
        wanted = wanted._replace(states=_STATES[source] & (wanted.states or _STATES[source]))
        if not wanted.states:
            return Jobs(jobs=[], next_cursor="")
    work = functools.partial(context.store.list_runs, namespace, wanted, cursor, limit)
    key = ("jobs", namespace, wanted, cursor, limit)
    runs, token = await context.turns.take(key, functools.partial(context.reader.run, work))
    return Jobs(jobs=[Job.of(run) for run in runs], next_cursor=token)


@router.get("/namespaces/{namespace}/jobs/{run}", tags=["jobs"])
async def get_job(
    *, context: Context, namespace: names.Namespace, run: names.Run, limit: Limit = 100, cursor: Cursor = ""
) -> JobLogs:
    """A job and its logs; one that is gone from its cluster is `archived`, and its text is here."""
    check_name("namespace", namespace)
    check_name("run", run)
    record = await context.reader.run(functools.partial(context.store.get_run, namespace, run))
    if record is None:
        raise NotFound(f"there is no job {namespace}:{run}, neither live nor archived")
    work = functools.partial(context.store.list_logs, namespace, run, "", cursor, limit)
    logs, token = await context.reader.run(work)
    return JobLogs(job=Job.of(record), logs=[_log(log) for log in logs], next_cursor=token)


def _log(log: types_pb2.LogRecord) -> JobLog:
    place = log.id
    path = "/".join(quote(part, safe="") for part in ("tasks", place.task, "attempts", str(place.attempt), "raw"))
    return JobLog(
        task=place.task,
        attempt=place.attempt,
        source="archived" if log.state == types_pb2.LOG_STATE_COMPLETED else "live",
        length=log.next_offset,
        outcome=Outcome.of(log.outcome) if log.HasField("outcome") else None,
        text=f"/api/v1/namespaces/{quote(place.namespace, safe='')}/runs/{quote(place.run, safe='')}/{path}",
    )
