"""Routes for what the leader stores: its buffer, the archive, and what that costs."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import Annotated

from fastapi import APIRouter, Query
from prometheus_client import Counter
from prometheus_client.samples import Sample
from pydantic import BaseModel, Field

from joblog.errors import Conflict, Unavailable
from joblog.leader.api.http.context import ApiContext, Context
from joblog.leader.api.http.words import moment
from joblog.leader.archive.archiver import Archiver
from joblog.leader.archive.cost import Cost, Prices, million_tasks, month, parse_counted

router = APIRouter(prefix="/api/v1", tags=["leader"])

Price = Annotated[float, Query(ge=0, le=1_000_000)]


class Buffer(BaseModel):
    """The store on the leader's disk. disk_*: of the file system that it lies on."""

    bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    damaged_chunks: int = Field(description="Chunks known to be damaged on the disk")
    stalls: int = Field(description="Writes that had to wait for the disk since the leader started")


class Work(BaseModel):
    """One kind of the archiver's work: flush, seal, clean, claim."""

    name: str
    worked_at: str | None
    failed_at: str | None
    error: str = Field(description="Of the last failure, also where it went well since")
    failing: bool


class Requests(BaseModel):
    """Requests to the archive's object store since the leader started."""

    operation: str
    count: int
    failed: int


class Archive(BaseModel):
    """The archive, as the leader knows it without asking it."""

    name: str
    unarchived_bytes: int = Field(description="In the buffer alone, about")
    budget_bytes: int = Field(description="So many may be; then workers wait")
    held: str = Field(description="Why workers wait now; empty: they do not")
    flush_interval_seconds: float
    work: list[Work]
    sealed_logs: int
    unsealed_logs: int = Field(description="Completed ones that are not sealed in the archive yet")
    packs: int
    requests: list[Requests]
    sent_bytes: int
    got_bytes: int


class Storage(BaseModel):
    """Where the logs lie. archive: None where none is set."""

    time: str | None
    started_at: str | None
    logs_live: int
    warnings: list[str]
    buffer: Buffer
    archive: Archive | None


class CostOf(BaseModel):
    """What something takes, per month, at the prices given."""

    what: str
    writes: int
    reads: int
    bytes: int
    storage_money: float
    request_money: float
    money: float

    @classmethod
    def of(cls, what: str, cost: Cost) -> CostOf:
        """From a cost."""
        return cls(
            what=what,
            writes=cost.puts,
            reads=cost.gets,
            bytes=cost.bytes,
            storage_money=cost.storage_money,
            request_money=cost.request_money,
            money=cost.money,
        )


class ArchiveCount(BaseModel):
    """What is in the archive, counted from its objects."""

    counted_at: str | None
    logs: int
    recent_logs: int = Field(description="Sealed within the last 30 days")
    bytes: int
    log_bytes: int
    live_bytes: int = Field(description="Of logs that are not sealed yet")
    costs: list[CostOf]


@router.get("/storage")
async def get_storage(context: Context) -> Storage:
    """Where the logs lie and how that does; asks the archive nothing."""
    return await context.reader.run(lambda: _storage(context))


def _storage(context: ApiContext) -> Storage:
    stats, status = context.store.stats(), context.status.collect()
    disk = shutil.disk_usage(context.store.path)
    archiver = context.operated.archiver
    return Storage(
        time=moment(time.time_ns()),
        started_at=moment(status.started_ns),
        logs_live=status.logs_live,
        warnings=list(status.warnings),
        buffer=Buffer(
            bytes=stats.disk_bytes,
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            damaged_chunks=context.store.damage.count,
            stalls=stats.stalls,
        ),
        archive=_archive(context, archiver) if archiver is not None else None,
    )


def _archive(context: ApiContext, archiver: Archiver) -> Archive:
    state, counted, asked = archiver.state(), context.metrics.archive, context.metrics.object_store
    return Archive(
        name=state.name,
        unarchived_bytes=state.unarchived_bytes,
        budget_bytes=state.budget_bytes,
        held=state.held,
        flush_interval_seconds=state.flush_interval_seconds,
        work=[
            Work(
                name=doing.name,
                worked_at=moment(doing.worked_ns),
                failed_at=moment(doing.failed_ns),
                error=doing.error,
                failing=doing.failing,
            )
            for doing in state.doings
        ],
        sealed_logs=_value(counted.sealed_logs),
        unsealed_logs=int(next(iter(counted.unsealed_logs.collect())).samples[0].value),
        packs=_value(counted.packs),
        requests=_requests(asked.requests),
        sent_bytes=_value(asked.sent_bytes),
        got_bytes=_value(asked.got_bytes),
    )


def _value(counter: Counter) -> int:
    return int(sum(sample.value for sample in _totals(counter)))


def _totals(counter: Counter) -> list[Sample]:
    return [sample for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total")]


def _requests(counter: Counter) -> list[Requests]:
    found: dict[str, Requests] = {}
    for sample in _totals(counter):
        operation = sample.labels["operation"]
        one = found.setdefault(operation, Requests(operation=operation, count=0, failed=0))
        one.count += int(sample.value)
        one.failed += int(sample.value) if sample.labels["outcome"] != "ok" else 0
    return [found[operation] for operation in sorted(found)]


@router.get("/storage/cost")
async def count_archive(
    context: Context, storage: Price = 0.023, puts: Price = 0.005, gets: Price = 0.0004
) -> ArchiveCount:
    """Counts the archive's objects, a request for each thousand of them, and what they cost at the prices given.

    storage: per GB and month. puts, gets: per 1,000 requests. In any currency; the defaults are US dollars for S3
    Standard.
    """
    archiver = context.operated.archiver
    if archiver is None:
        raise Conflict("no archive is set: archive.url names one")
    if not archiver.counting.acquire(blocking=False):
        raise Unavailable("the archive is being counted already: try again in a while")
    try:
        return await asyncio.to_thread(_count, context, archiver, Prices(storage, puts, gets))
    finally:
        archiver.counting.release()


def _count(context: ApiContext, archiver: Archiver, prices: Prices) -> ArchiveCount:
    state, census = archiver.state(), archiver.census()
    costs = {"a month at most": month(census, prices, state.flush_interval_seconds, state.renew_seconds)}
    if (tasks := million_tasks(census, prices)) is not None:
        costs["a million tasks"] = tasks
    counted = parse_counted(context.metrics.exposition().decode(), time.time())
    if counted is not None:
        costs["a month as counted"] = counted.for_month(census, prices)
        if (tasks := counted.for_million_tasks(census, prices)) is not None:
            costs["a million tasks as counted"] = tasks
    return ArchiveCount(
        counted_at=moment(time.time_ns()),
        logs=census.logs,
        recent_logs=census.recent_logs,
        bytes=census.bytes,
        log_bytes=census.log_bytes,
        live_bytes=census.live_bytes,
        costs=[CostOf.of(what, cost) for what, cost in costs.items()],
    )
