"""Lives of a leader by chance: appends, gaps, flushes, seals, deletions, kills at any step, an archive that fails.

After each step every log reads as it was written, and nothing in the archive is forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from joblog.errors import JoblogError, Unavailable
from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.claim import ClaimLost
from joblog.leader.archive.flush import FlushLimits
from joblog.leader.archive.objects import Data, ObjectInfo
from joblog.leader.buffer.changes import Changes
from joblog.v1.types_pb2 import GAP_REASON_LOG_LIMIT, TIER_ARCHIVE, Gap
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at
from tests.stored_log import StoredLog, fill

STEPS = [step for step in failpoints.STEPS if not step.startswith(("segment.", "rebuild.", "gc."))]


class Moody(CountedPuts):
    """Fails now and then: before anything was done, or after, when nobody can know."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root)
        self.chance = chance
        self.rate = 0.0

    def _fail(self, when: str) -> None:
        if self.chance.random() < self.rate:
            raise Unavailable(f"failed {when} it was done")

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._fail("before")
        info = super().put(key, data, if_absent=if_absent, if_match=if_match, metadata=metadata)
        self._fail("after")
        return info

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self._fail("before")
        return super().get(key, start, length)

    def delete(self, keys):  # type: ignore[no-untyped-def]
        self._fail("before")
        super().delete(keys)
        self._fail("after")


class Life:
    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.objects = Moody(folder / "archive", self.chance)
        self.logs: list[StoredLog] = []
        self.completed: set[int] = set()
        self.made = 0
        self.site = self.start()

    def start(self) -> ArchiveSite:
        limits = FlushLimits(pack_bytes=200_000, merge=self.chance.random() < 0.7)
        (self.folder / "leader").mkdir(exist_ok=True)
        self.site = ArchiveSite(self.folder / "leader", self.objects, limits=limits, multipart_bytes=5 << 20)
        for log in self.logs:
            log.store, log.live = self.site.store, self.site.leader.live
        return self.site

    def open_logs(self) -> list[StoredLog]:
        return [log for log in self.logs if log.number not in self.completed]

    def step(self) -> None:
        work: list[Callable[[], None]] = [self.append] * 6 + [self.open, self.flush, self.flush, self.flush]
        work += [self.seal, self.clean, self.complete, self.restart, self.kill, self.delete, self.cut]
        self.chance.choice(work)()

    def open(self) -> None:
        self.made += 1
        self.logs.append(self.site.leader.log(LogName("default", f"run{self.made}", "task", 1)))

    def append(self) -> None:
        for log in self.open_logs():
            for _ in range(self.chance.randrange(4)):
                size = self.chance.choice([1, 30, 300, 30_000])
                fill(log, [self.chance.randbytes(size)])
            if self.chance.random() < 0.05:
                log.gap(self.chance.randrange(1, 500))

    def complete(self) -> None:
        for log in self.open_logs()[:1]:
            log.complete()
            self.completed.add(log.number)

    def delete(self) -> None:
        if len(self.logs) > 3:
            log = self.logs.pop(self.chance.randrange(len(self.logs)))
            changes = Changes()
            changes.delete_log(log.number)
            self.site.store.write(changes)

    def cut(self) -> None:
        """The log's limit takes the first bytes, up to where a chunk or an extent begins."""
        for log in self.open_logs()[:1]:
            with self.site.store.view() as view:
                places = [(extent.offset, extent.lines_before) for extent in view.extents(log.number)]
                places += [(offset, header.lines_before) for offset, header, _ in view.chunks(log.number)]
            inner = [place for place in places if place[0] > 0]
            if inner:
                end, lines = self.chance.choice(inner)
                changes = Changes()
                gap = Gap(offset=0, length=end, reason=GAP_REASON_LOG_LIMIT, newlines=lines)
                changes.replace_by_gap(log.number, gap, 0, 1)
                self.site.store.write(changes)
                log.model.streams[:end] = bytes(end)
                log.gaps = [gap, *(one for one in log.gaps if one.offset >= end)]

    def flush(self) -> None:
        self.tried(lambda: self.site.flush(everything=self.chance.random() < 0.7))

    def seal(self) -> None:
        self.tried(self.site.seal)

    def clean(self) -> None:
        self.tried(self.site.clean)

    def tried(self, work: Callable[[], object]) -> None:
        self.objects.rate = self.chance.choice([0.0, 0.0, 0.1, 0.4])
        try:
            work()
        except ClaimLost:
            raise
        except JoblogError:
            pass
        finally:
            self.objects.rate = 0.0

    def restart(self) -> None:
        self.site.close()
        self.start()

    def kill(self) -> None:
        kill_at(self.chance.choice(STEPS))
        try:
            self.chance.choice([self.flush, self.seal, self.clean])()
        except Killed:
            self.restart()
        finally:
            failpoints.disarm()

    async def check(self) -> None:
        for log in self.logs:
            record = self.site.store.get_log(log.number)
            assert record is not None
            assert record.next_offset == log.length
            assert await self.site.text(log.number) == log.model.present(0, log.length, None)
        assert self.site.orphans() == []


@pytest.mark.parametrize("seed", range(12))
async def test_a_life(tmp_path: Path, seed: int) -> None:
    life = Life(tmp_path, seed)
    try:
        for step in range(120):
            life.step()
            if step % 5 == 0:
                await life.check()
        while life.open_logs():
            life.complete()
        life.site.flush(everything=True)
        life.site.seal()
        life.site.clean()
        await life.check()
        assert life.site.store.objects.unused() == []
        for log in life.logs:
            record = life.site.store.get_log(log.number)
            assert record is not None
            assert record.tier == TIER_ARCHIVE
            verdict = await life.site.verify(log.number)
            assert verdict.complete, verdict.problems
        assert len(life.objects.all_keys()) == 2 * len(life.logs) + 1
    finally:
        life.site.close()
