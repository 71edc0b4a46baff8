"""A leader that makes death reports, over a real store and a real Push stream, with a pipe for its standard output."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblog.leader.death_reports import DeathReports
from joblog.leader.ingest.deaths import DeathRules
from joblog.leader.reading.piece import ReadSpec
from joblog.leader.reading.reader import LogReader
from tests.e2e.push_stream import Leader, leader_in


@dataclass
class DeathLeader:
    """printed: where the leader's standard output goes."""

    leader: Leader
    reader: LogReader
    reports: DeathReports
    printed: int

    def lines(self) -> list[dict[str, Any]]:
        """What was printed so far, and not taken before."""
        found = b""
        while True:
            try:
                found += os.read(self.printed, 1 << 20)
            except BlockingIOError:
                return [json.loads(line) for line in found.splitlines()]

    async def settled(self) -> None:
        """Returns when no report is left to send out."""
        async with asyncio.timeout(20):
            while self.leader.store.deaths() or self.reports._sending.locked():
                await asyncio.sleep(0.02)
        await self.reports._output.flush(5)

    async def run_log(self, run: str = "r") -> str:
        """What the leader wrote to the run's log, all attempts together."""
        logs, _ = self.leader.store.list_logs("default", run, "@run", limit=1000)
        return "".join(
            [piece.data.decode() for log in logs async for piece in self.reader.read(log.number, ReadSpec())]
        )


@asynccontextmanager
async def death_leader(
    folder: Path, rules: DeathRules | None = None, *, stdout: str = "on", sending: bool = True, **limits: Any
) -> AsyncIterator[DeathLeader]:
    """sending: False: reports are noted, and not sent out, as when the leader is killed in between."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    pool = ThreadPoolExecutor(2)
    try:
        async with leader_in(folder, deaths=rules or DeathRules(), **limits) as leader:
            from joblog.leader.metrics import Metrics

            metrics = Metrics()
            reader = LogReader(leader.store, leader.keyring, leader.ingest.live, pool, metrics)
            reports = DeathReports(
                leader.ingest, leader.store, reader, metrics.registry, stdout=stdout, descriptor=write_fd
            )
            running = None
            if sending:
                await reports.start()
                running = asyncio.create_task(reports.run())
            yield DeathLeader(leader, reader, reports, read_fd)
            if running is not None:
                await reports.drain(1.0)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    finally:
        pool.shutdown()
        os.close(read_fd)
        os.close(write_fd)
