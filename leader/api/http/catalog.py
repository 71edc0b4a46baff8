"""Routes for status, lists, records, events, verification and deletion."""

from __future__ import annotations

import functools
from typing import Annotated

from fastapi import APIRouter, Query

from joblog.death import last_death
from joblog.errors import NotFound
from joblog.identity import RUN_LOG_TASK, check_name
from joblog.leader.access.principal import current
from joblog.leader.api.http import names
from joblog.leader.api.http.context import LOG_PATH, ApiContext, Context, NamedLog, NumberedLog
from joblog.leader.api.http.facts import Death, DeathReport, Event, Events, Seal, Verification
from joblog.leader.api.http.filters import RunsWanted
from joblog.leader.api.http.leader_status import Status
from joblog.leader.api.http.records import Deleted, Log, Logs, Namespaces, Run, Runs, Verdict
from joblog.leader.api.seen import namespaces_seen, status_seen
from joblog.leader.reading.tail import read_tail
from joblog.v1 import types_pb2

router = APIRouter(prefix="/api/v1")

Limit = Annotated[int, Query(ge=1, le=1000, description="Entries on a page")]
Cursor = Annotated[str, Query(max_length=4096, description="next_cursor of the page before")]


@router.get("/status", tags=["leader"])
async def status(context: Context) -> Status:
    """Who the leader is and how it does, as far as the caller may know."""
    return Status.of(status_seen(await context.reader.run(context.status.collect), current()))


@router.get("/namespaces", tags=["runs"])
async def list_namespaces(context: Context, limit: Limit = 100, cursor: Cursor = "") -> Namespaces:
    """Namespaces with at least one run that the caller may see, by name."""
    seen = namespaces_seen(current())
    found = await context.reader.run(functools.partial(context.store.list_namespaces, cursor, limit, seen))
    return Namespaces(namespaces=found, next_cursor=found[-1] if len(found) == limit else "")


def _run(context: ApiContext, record: types_pb2.RunRecord, kept: types_pb2.Kept) -> Run:
    is_open = record.logs_live or record.logs_interrupted
    more = context.open_bytes().get((record.namespace, record.run), 0) if is_open else 0
    return Run.of(record, kept, open_bytes=more)


@router.get("/namespaces/{namespace}/runs", tags=["runs"])
async def list_runs(
    *,
    context: Context,
    namespace: names.Namespace,
    wanted: RunsWanted,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Runs:
    """Runs of a namespace, newest first."""
    check_name("namespace", namespace)
    work = functools.partial(context.store.list_runs, namespace, wanted, cursor, limit)

    async def read() -> Runs:
        runs, token = await context.reader.run(work)
        kept = await context.reader.run(lambda: [context.keeping.kept(run) for run in runs])
        return Runs(runs=[_run(context, *one) for one in zip(runs, kept, strict=True)], next_cursor=token)

    return await context.turns.take(("runs", namespace, wanted, cursor, limit), read)


@router.get("/namespaces/{namespace}/runs/{run}", tags=["runs"])
async def get_run(context: Context, namespace: names.Namespace, run: names.Run) -> Run:
    """One run."""
    check_name("namespace", namespace)
    check_name("run", run)
    record = await context.reader.run(functools.partial(context.store.get_run, namespace, run))
    if record is None:
        raise NotFound(f"there is no run {namespace}:{run}")
    return _run(context, record, await context.reader.run(lambda: context.keeping.kept(record, counting=True)))


@router.get("/namespaces/{namespace}/runs/{run}/logs", tags=["logs"])
async def list_logs(
    *,
    context: Context,
    namespace: names.Namespace,
    run: names.Run,
    task: names.OneTask = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Logs:
    """Logs of a run, by task and attempt."""
    check_name("namespace", namespace)
    check_name("run", run)
    if task:
        check_name("task", task, reserved=task == RUN_LOG_TASK)
    work = functools.partial(context.store.list_logs, namespace, run, task, cursor, limit)

    async def read() -> Logs:
        records, token = await context.reader.run(work)
        kept = await context.reader.run(lambda: context.keeping.of(namespace, run))
        return Logs(logs=[Log.of(record, kept=kept) for record in records], next_cursor=token)

    return await context.turns.take(("logs", namespace, run, task, cursor, limit), read)


@router.get(LOG_PATH, tags=["logs"])
async def get_log(context: Context, name: NamedLog) -> Log:
    """One log's record."""
    details = await context.reader.details(name)
    kept = await context.reader.run(lambda: context.keeping.of(name.namespace, name.run))
    return Log.of(details.record, details.events, kept, details.verified)


@router.get(LOG_PATH + "/death", tags=["logs"])
async def get_death(context: Context, name: NamedLog) -> DeathReport:
    """How a log's task or container died, with the last lines before that; 404 where it did not."""
    number = await context.reader.find(name)
    found = last_death((await context.reader.details(name)).events)
    if found is None:
        raise NotFound(f"there is no death report of {name}: nothing is known of an abnormal end")
    tail = await read_tail(context.reader, number, found[0].offset)
    return DeathReport(death=Death.of(*found), tail=tail.decode(errors="replace"))


@router.get(LOG_PATH + "/events", tags=["logs"])
async def get_events(context: Context, name: NamedLog) -> Events:
    """One log's events."""
    return Events(events=[Event.of(event) for event in (await context.reader.details(name)).events])


@router.get(LOG_PATH + "/verify", tags=["logs"])
async def verify(context: Context, name: NamedLog) -> Verdict:
    """Reads the whole log and holds it against its seal; replies when done, for a large log in minutes.

    The leader keeps when that was, and what was found.
    """
    number = await context.reader.find(name)
    verdict = await context.reader.verify(number, lambda _done, _total: None)
    return Verdict(
        complete=verdict.complete,
        sealed=verdict.expected is not None,
        expected=Seal.of(verdict.expected) if verdict.expected is not None else None,
        found=Seal.of(verdict.found),
        problems=verdict.problems,
        unchanged=verdict.unchanged,
        verified=Verification.of(verdict.kept) if verdict.kept is not None else None,
    )


@router.delete("/namespaces/{namespace}/runs/{run}", tags=["runs"])
async def delete_run(context: Context, namespace: names.Namespace, run: names.Run) -> Deleted:
    """Deletes a run with all its logs and their keys. Doing it again deletes nothing more."""
    done = await context.deleter.delete(namespace, run)
    return Deleted(logs_deleted=done.logs, bytes_deleted=done.bytes)


@router.delete("/namespaces/{namespace}/runs/{run}/tasks/{task}", tags=["logs"])
async def delete_task(context: Context, namespace: names.Namespace, run: names.Run, task: names.Task) -> Deleted:
    """Deletes all attempts of a task with their keys."""
    done = await context.deleter.delete(namespace, run, task)
    return Deleted(logs_deleted=done.logs, bytes_deleted=done.bytes)


@router.delete(LOG_PATH, tags=["logs"])
async def delete_log(context: Context, name: NumberedLog) -> Deleted:
    """Deletes one log with its key; a live one too: its writer is refused from then on."""
    done = await context.deleter.delete(*name)
    return Deleted(logs_deleted=done.logs, bytes_deleted=done.bytes)
