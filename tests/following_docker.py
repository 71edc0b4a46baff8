"""A worker that follows the containers of Docker in a folder, with no shipper beside it: its spools stay there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from joblog.worker.docker.container_source import DockerSource
from joblog.worker.docker.naming import Naming
from joblog.worker.following.service import FollowingService, FollowLimits
from joblog.worker.spool.bound import SharedBounds
from joblog.worker.spool.format import DATA, EVENT
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import raw_bytes


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[None]:
    (folder / "spools").mkdir(exist_ok=True)
    service = FollowingService(
        [DockerSource(str(folder / "containers"), Naming("host"))],
        folder / "spools",
        folder / "followed",
        FollowLimits(SharedBounds(64 << 20, 1 << 30, 1 << 20)),
        spool_key=None,
        keys=lambda _spool_id: None,
        adopt=lambda _spool_id: None,
        is_watched=lambda _spool_id: True,
        secret=b"secret",
    )
    await service.start()
    running = asyncio.create_task(service.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await service.stop()


def contents(folder: Path) -> list[tuple[bytes, bool]]:
    """(bytes, whether it is ended), by the time when the runs started; no log may say that anything is missing."""
    found = []
    for spool in (folder / "spools").iterdir():
        reader = SpoolReader(spool)
        records = reader.read(1 << 40)
        assert not [record for record in records if record.kind == EVENT], spool
        data = b"".join(raw_bytes(record) for record in records if record.kind == DATA)
        found.append((reader.task.started_ns, data, reader.ended is not None))
    return [(data, ended) for _, data, ended in sorted(found)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)
