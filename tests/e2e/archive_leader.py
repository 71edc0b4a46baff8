"""A leader with an archive in this process: ingest, gRPC, archiver; and a shipper with spools of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from joblog.address import KnownLeader
from joblog.channel import server_options
from joblog.leader.api.gate import Gate
from joblog.leader.api.grpc_gate import GrpcGate
from joblog.leader.archive.archiver import Archiver, ArchiverLimits
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archiving import archive_parts
from joblog.leader.buffer.options import DEFAULT_OPTIONS, StoreOptions
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.ingest import Ingest, IngestLimits
from joblog.leader.metrics import Metrics
from joblog.leader.reading.piece import ReadSpec
from joblog.leader.reading.reader import LogReader
from joblog.trust import PLAINTEXT
from joblog.v1 import ingest_pb2_grpc
from joblog.worker.shipper.limits import ShipperLimits
from joblog.worker.shipper.shipper import Shipper
from tests.e2e.push_stream import LONG_SECONDS, Leader

QUICK = ArchiverLimits(flush_interval_seconds=0.2, grace_seconds=0.0, loss_patience_seconds=0.0)


class ArchiveLeader(Leader):
    """Store, ingest, archiver and gRPC server in this process."""

    archiver: Archiver
    reader: LogReader
    metrics: Metrics
    archiving: asyncio.Task[None]

    async def text(self, number: int) -> bytes:
        pieces = [piece async for piece in self.reader.read(number, ReadSpec())]
        return b"".join(piece.data for piece in pieces)

    def buffered(self, number: int) -> int:
        """Chunks of the log in the buffer."""
        with self.store.view() as view:
            return sum(1 for _ in view.chunks(number))

    def numbers(self) -> list[int]:
        """All logs."""
        return [
            log.number
            for namespace in self.store.list_namespaces()
            for run in self.store.list_runs(namespace)[0]
            for log in self.store.list_logs(namespace, run.run, limit=1000)[0]
        ]


@asynccontextmanager
async def archive_leader(
    folder: Path,
    objects: ObjectStore,
    limits: ArchiverLimits = QUICK,
    *,
    kek: Path | None = None,
    keep: bool = True,
    options: StoreOptions = DEFAULT_OPTIONS,
    **ingest_limits: Any,
) -> AsyncIterator[ArchiveLeader]:
    """A leader on the store in `folder` and the archive `objects`, until the block ends."""
    folder.mkdir(exist_ok=True)
    store = Store.open(folder / "store", options=options)
    pool = ThreadPoolExecutor(4)
    try:
        keyring = Keyring.open(store, FileKms(kek or folder / "kek.key"), store.store_id)
        metrics = Metrics()
        ingest = Ingest(store, keyring, metrics, IngestLimits(**ingest_limits), keep_until_archived=keep)
        end, _, archiver, extents, *_ = archive_parts(
            objects, limits, RangeCache(0), store=store, keyring=keyring, ingest=ingest, metrics=metrics
        )
        await ingest.start()
        server = grpc.aio.server(interceptors=[GrpcGate(Gate.open())], options=server_options())
        ingest_pb2_grpc.add_IngestServicer_to_server(ingest, server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        leader = ArchiveLeader(store, keyring, ingest, f"127.0.0.1:{port}")
        leader.archiver, leader.metrics = archiver, metrics
        leader.reader = LogReader(store, keyring, ingest.live, pool, metrics, archive=extents)
        running = asyncio.create_task(ingest.run())
        leader.archiving = asyncio.create_task(archiver.run())
        try:
            yield leader
        finally:
            await ingest.drain(5.0)
            await server.stop(0)
            for task in (running, leader.archiving):
                task.cancel()
            await asyncio.gather(running, leader.archiving, return_exceptions=True)
            await archiver.stop()
            await ingest.stop()
            await end.stop()
    finally:
        pool.shutdown()
        store.close()


@asynccontextmanager
async def shipper_of(data_dir: Path, address: Callable[[], str]) -> AsyncIterator[Shipper]:
    """Ships the spools of a machine."""
    limits = ShipperLimits(poll_seconds=0.02, scan_seconds=0.05, backoff_min_seconds=0.02, backoff_max_seconds=0.1)
    shipper = Shipper(data_dir / "worker" / "spool", "worker-1", lambda: KnownLeader(address(), PLAINTEXT), limits)
    running = asyncio.create_task(shipper.run())
    try:
        yield shipper
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await shipper.stop()


async def until(condition: Callable[[], Any], what: str, seconds: float = LONG_SECONDS) -> None:
    """Returns when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        await asyncio.sleep(0.01)


def writer_id() -> bytes:
    return os.urandom(16)
