"""Following containers with no shipper beside it, so that spools of ended logs still lie there at the next start."""

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
from tests.docker_writer import DockerFiles


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


async def test_a_run_that_began_while_no_worker_ran_is_found_behind_one_that_had_ended(tmp_path: Path) -> None:
    (tmp_path / "containers").mkdir()
    files = DockerFiles(tmp_path / "containers", "web")
    files.start(first=b"one\n")
    async with following(tmp_path):
        files.exit(1)
        await until(lambda: contents(tmp_path) == [(b"one\n", True)])
    files.start(first=b"two\n")
    async with following(tmp_path):
        await until(lambda: contents(tmp_path) == [(b"one\n", True), (b"two\n", False)])
    files.print(b"more of it\n")
    files.exit(0, restarts=True)
    files.start(by_policy=True, first=b"three\n")
    async with following(tmp_path):
        await until(lambda: contents(tmp_path) == [(b"one\n", True), (b"two\nmore of it\n", True), (b"three\n", False)])
        files.exit(0)
        await until(lambda: all(ended for _, ended in contents(tmp_path)))
    async with following(tmp_path):
        other = DockerFiles(tmp_path / "containers", "other")
        other.start(first=b"other\n")
        await until(lambda: (b"other\n", False) in contents(tmp_path))
        assert len(contents(tmp_path)) == 4
        other.end()
