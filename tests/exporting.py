"""Leaders that export log lines over OTLP, for tests, and what they export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import google_crc32c
from prometheus_client import CollectorRegistry

from joblog.batch import Frames, deflate, pack_frames
from joblog.errors import Unavailable
from joblog.leader.access.audit import AuditEvent
from joblog.leader.export.exporter import Exporter, ExportPlan
from joblog.leader.export.metrics import ExportMetrics
from joblog.leader.export.sender import Collector as Destination
from joblog.leader.export.sender import Secrets, Sender
from joblog.leader.metrics import Metrics
from joblog.leader.reading.reader import LogReader
from joblog.v1 import ingest_pb2, types_pb2
from tests.e2e.push_stream import Leader, Push, append_of, close_of, open_of
from tests.otlp_collector import Collector

TIME_NS = 1_700_000_000_000_000_000


class Acts:
    """An audit log of tests."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.failing = False

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        if self.failing:
            raise Unavailable("the audit log can't be written")
        self.events.append(event)


@dataclass
class Exporting:
    """A leader that exports. count(name, **labels): of a metric."""

    leader: Leader
    exporter: Exporter
    reader: LogReader
    registry: CollectorRegistry
    acts: Acts

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"joblog_otlp_export_{name}", labels) or 0.0

    async def done(self) -> None:
        async with asyncio.timeout(30):
            while self.leader.store.exports.pending():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def exporting_to(
    leader: Leader, to: Collector, *, running: bool = True, kill: bool = False, **changed: Any
) -> AsyncIterator[Exporting]:
    """changed: fields of ExportPlan and of Destination. kill: it ends without a drain."""
    pool = ThreadPoolExecutor(2)
    registry, acts = CollectorRegistry(), Acts()
    acts.failing = changed.pop("audit_fails", False)
    reader = LogReader(leader.store, leader.keyring, leader.ingest.live, pool, Metrics())
    endpoint = changed.pop("endpoint", f"http://{to.address}")
    secrets = changed.pop("secrets", Secrets)
    timeout_seconds = changed.pop("timeout_seconds", 10.0)
    plan = ExportPlan(endpoint, **{"namespaces": ("*",), "partial_seconds": 60.0, **changed})
    exporter = Exporter(
        leader.store,
        reader,
        leader.ingest.live,
        Sender(Destination(endpoint, secrets, timeout_seconds)),
        plan=plan,
        metrics=ExportMetrics(registry),
        auditor=lambda: acts,
    )
    await exporter.start()
    task = asyncio.create_task(exporter.run()) if running else None
    try:
        yield Exporting(leader, exporter, reader, registry, acts)
    finally:
        if task is not None:
            if not kill:
                await exporter.drain(10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await exporter.stop()
        pool.shutdown()


def frames_of(handle: int, offset: int, parts: list[tuple[int, bytes]]) -> ingest_pb2.Append:
    """An append of frames of both streams."""
    raw = b"".join(data for _, data in parts)
    codec, payload = deflate(raw)
    times = list(range(0, 1000 * len(parts), 1000))
    frames = Frames(bytes(stream for stream, _ in parts), times, [len(data) for _, data in parts])
    batch = types_pb2.Batch(
        raw_length=len(raw),
        codec=codec,  # type: ignore[arg-type]
        payload=payload,
        crc32c=google_crc32c.value(raw),
        newlines=raw.count(b"\n"),
        first_time_ns=TIME_NS,
        frames=pack_frames(frames),
    )
    return ingest_pb2.Append(handle=handle, offset=offset, batch=batch)


async def whole(push: Push, handle: int, data: bytes, **fields: Any) -> None:
    """A log, from its opening to its end."""
    await push.open(open_of(handle, **fields))
    await push.send(appends=[append_of(handle, 0, data)])
    await push.send(closes=[close_of(handle, data)])
    await push.until(lambda: handle in push.closed)


def lines(task: str, count: int) -> bytes:
    return b"".join(b"%s line %d\n" % (task.encode(), number) for number in range(count))
