"""Half an hour without an object store, by a clock that runs fast: what it is asked, and how soon all goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from joblog.leader.archive.archiver import Archiver, ArchiverLimits
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.retrying import RetryingStore
from joblog.leader.metrics import Metrics
from joblog.leader.reading.piece import ReadSpec
from joblog.leader.reading.reader import CipherCache, LogReader
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.fast_loop import FastLoop
from tests.faulty_store import FaultyStore
from tests.stored_log import NAME, StoredLeader, StoredLog, fill

OUTAGE_SECONDS = 1800.0
RETRY_SECONDS = 20.0
BUDGET_BYTES = 3 << 20
# A second of a task's output, some of which can't be compressed.
SECOND_BYTES = 8000
MOST_BYTES = 1 << 20


class Intake:
    """What an archiver tells those who take logs in."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.is_held = False
        self.offsets: dict[int, int] = {}
        self.sealed_numbers: set[int] = set()

    def archived(self, offsets: Mapping[int, int]) -> None:
        self.offsets.update(offsets)

    def sealed(self, number: int, length: int) -> None:
        self.sealed_numbers.add(number)

    def hold(self, reason: str | None) -> None:
        self.is_held = reason is not None
        self.reasons += [reason] if reason else []


class Site:
    """An archiver whose clock is the loop's, on a store that fails when it is told to."""

    def __init__(self, folder: Path, interval_seconds: float) -> None:
        self.leader = StoredLeader(folder)
        self.real = FolderStore(folder / "archive")
        self.faulty = FaultyStore(self.real)
        self.intake = Intake()
        self.interval_seconds = interval_seconds

    def archiver(self, loop: FastLoop) -> Archiver:
        objects = RetryingStore(self.faulty, RETRY_SECONDS, clock=loop.time, sleep=loop.sleep)
        self.reader = ExtentReader(objects, RangeCache(0))
        limits = ArchiverLimits(
            flush_interval_seconds=self.interval_seconds,
            buffer_budget_bytes=BUDGET_BYTES,
            pack_bytes=1 << 20,
            grace_seconds=0.0,
        )
        ciphers = CipherCache(self.leader.store, self.leader.keyring)
        return Archiver(
            self.leader.store,
            objects,
            limits,
            keyring=self.leader.keyring,
            open_cipher=ciphers.open,
            reader=self.reader,
            intake=self.intake,
            metrics=Metrics(),
            clock=loop.time,
        )

    async def write(self, log: StoredLog, seconds: float) -> float:
        """A task's output for so long, as far as it is taken in; how many seconds of it were not."""
        loop = asyncio.get_running_loop()
        held, until, last = 0.0, loop.time() + seconds, loop.time()
        while loop.time() < until:
            await asyncio.sleep(1.0)
            passed, last = loop.time() - last, loop.time()
            if self.intake.is_held:
                held += passed
                continue
            size = min(int(passed * SECOND_BYTES), MOST_BYTES) // 2
            fill(log, [(b"at %d\n" % last).ljust(size, b".") + random.Random(last).randbytes(size)])
        return held

    async def text(self, log: StoredLog) -> bytes:
        leader = self.leader
        reader = LogReader(leader.store, leader.keyring, leader.live, leader.pool, leader.metrics, archive=self.reader)
        return b"".join([piece.data async for piece in reader.read(log.number, ReadSpec())])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leader").mkdir()
    return tmp_path / "leader"


@pytest.fixture(params=[2.0, 10.0, 600.0])
def site(request: pytest.FixtureRequest, folder: Path) -> Iterator[Site]:
    made = Site(folder, request.param)
    yield made
    made.leader.close()


async def until(condition: object, seconds: float) -> float:
    """Waits by the loop's clock; how long it took."""
    assert callable(condition)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < seconds, f"it did not happen within {seconds:g} s"
        await asyncio.sleep(0.25)
    return loop.time() - began


def test_half_an_hour_without_the_archive(site: Site) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FastLoop)
        archiver = site.archiver(loop)
        running = asyncio.create_task(archiver.run())
        log, ended = site.leader.log(), site.leader.log(NAME._replace(task="ended"))
        try:
            await site.write(log, 30)
            fill(ended, [b"a task that ends in the outage\n"])
            site.faulty.down = True
            before = site.faulty.requests.total()
            held = await site.write(log, OUTAGE_SECONDS / 2)
            ended.complete()
            archiver.completed()
            held += await site.write(log, OUTAGE_SECONDS / 2)
            # What is not archived is bounded, and said to be why nothing more is taken in.
            assert held > 0
            assert "archive.buffer_budget_bytes" in site.intake.reasons[-1]
            assert archiver.pressure.bytes < BUDGET_BYTES + MOST_BYTES
            # It was asked again and again, and never hammered: flush, seal and claim, some tries each.
            assert 60 < site.faulty.requests.total() - before < 2 * OUTAGE_SECONDS
            assert any("flush" in one for one in archiver.warnings())

            site.faulty.down = False
            # A try that fails, a pause of retries, a pause of the archiver's: whatever came before.
            soon = 5.0 + min(max(site.interval_seconds, 1.0), 15.0) + 1.0
            await until(lambda: not site.intake.is_held, soon)
            await until(lambda: ended.number in site.intake.sealed_numbers, soon)
            assert await site.write(log, 20) == 0
            log.complete()
            archiver.completed()
            await until(lambda: log.number in site.intake.sealed_numbers, 2 * soon)
            await until(lambda: archiver.warnings() == [], 3 * site.interval_seconds + 120)
            await until(lambda: site.leader.store.objects.unused() == [], 3 * site.interval_seconds)
            for one in (log, ended):
                assert await site.text(one) == bytes(one.model.data)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await archiver.stop()
            site.reader.close()

    with asyncio.Runner(loop_factory=FastLoop) as runner:
        runner.run(scenario())
    for number in site.intake.sealed_numbers:
        record = site.leader.store.get_log(number)
        assert record is not None
        assert record.tier == TIER_ARCHIVE
    assert len(site.intake.sealed_numbers) == 2
