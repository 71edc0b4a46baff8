"""A leader's audit log over a real store, with ingest and reader, in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblog.identity import AUDIT_NAMESPACE, LogName
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.audit_chain import ChainVerdict, verify_chain
from joblog.leader.access.audit_line import parse_line
from joblog.leader.access.principal import Principal
from joblog.leader.auditing import Auditing, AuditOptions
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.ingest import Ingest, IngestLimits
from joblog.leader.metrics import Metrics
from joblog.leader.reading.piece import ReadSpec
from joblog.leader.reading.reader import LogReader
from joblog.v1 import types_pb2

WHO = Principal("token", "ann", "abcdefghijkl", peer="ipv4:127.0.0.1:5000")


def act(action: str, subject: str = "", outcome: str = "ok", **detail: str) -> AuditEvent:
    return AuditEvent(action, WHO, outcome, subject, detail=detail)


@dataclass
class AuditLeader:
    """What tests look at."""

    store: Store
    ingest: Ingest
    reader: LogReader
    auditing: Auditing
    metrics: Metrics

    def logs(self) -> list[types_pb2.LogRecord]:
        """The logs of the chain, in order."""
        runs = sorted(run.run for run in self.store.list_runs(AUDIT_NAMESPACE, limit=1000)[0])
        return [log for run in runs for log in self.store.list_logs(AUDIT_NAMESPACE, run, limit=1000)[0]]

    async def lines(self) -> list[bytes]:
        """The lines of the whole chain."""
        found: list[bytes] = []
        for log in self.logs():
            pieces = [piece.data async for piece in self.reader.read(log.number, ReadSpec())]
            found += b"".join(pieces).splitlines()
        return found

    async def records(self, action: str = "") -> list[dict[str, Any]]:
        records = [parse_line(line) for line in await self.lines()]
        return [record for record in records if action in ("", record["action"])]

    async def verdict(self) -> ChainVerdict:
        return verify_chain(await self.lines())


@asynccontextmanager
async def audit_leader(
    folder: Path,
    options: AuditOptions | None = None,
    *,
    clock_ns: Callable[[], int] = time.time_ns,
    crash: bool = False,
    **limits: Any,
) -> AsyncIterator[AuditLeader]:
    """A leader on the store in `folder`. crash: it ends without a drain."""
    store = Store.open(folder / "store")
    pool = ThreadPoolExecutor(2)
    try:
        metrics = Metrics()
        keyring = Keyring.open(store, FileKms(folder / "kek.key"), store.store_id)
        ingest = Ingest(store, keyring, metrics, IngestLimits(**limits))
        reader = LogReader(store, keyring, ingest.live, pool, metrics)
        auditing = Auditing(ingest, store, reader, metrics.registry, options, clock_ns=clock_ns)
        await ingest.start()
        await auditing.start()
        running = [asyncio.create_task(ingest.run()), asyncio.create_task(auditing.run())]
        try:
            yield AuditLeader(store, ingest, reader, auditing, metrics)
            if not crash:
                await auditing.drain(5.0)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await ingest.stop()
    finally:
        pool.shutdown()
        store.close()


def name_of(log: types_pb2.LogRecord) -> LogName:
    return LogName(log.id.namespace, log.id.run, log.id.task, log.id.attempt)
