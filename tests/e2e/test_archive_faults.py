"""A leader under load over an object store that fails in every way: afterwards each byte is there, and nothing else."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from joblog.errors import Denied, JoblogError, NotFound
from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.claim import ClaimLost
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.gc import Collector
from joblog.leader.archive.objects import Data, ObjectInfo, walk
from joblog.leader.archive.rebuild import Rebuild
from joblog.leader.archive.retrying import RetryingStore
from joblog.leader.archive.verify import Verifier
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.deletion import Deleter
from joblog.leader.reading.piece import ReadSpec
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.e2e.archive_leader import ArchiveLeader, archive_leader, until
from tests.e2e.push_stream import LONG_SECONDS, Push, append_of, close_of, open_of
from tests.faulty_store import NO_FAULTS, STORM, Faults, FaultyStore

RETRY_SECONDS = 0.2
RECOVERY_SECONDS = 60.0
LIMITS = ArchiverLimits(flush_interval_seconds=0.2, pack_bytes=2 << 20, multipart_bytes=5 << 20, grace_seconds=0.0)
EVERYTHING = Faults(before=0.15, after=0.1, truncated=0.05, damaged=0.05, denied=0.03, slow_seconds=0.005)


class Site:
    """A folder, an unreliable way to it, and what was written to the leader."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.real = FolderStore(folder / "archive")
        self.faulty = FaultyStore(self.real, seed)
        self.objects = RetryingStore(self.faulty, RETRY_SECONDS)
        self.random = random.Random(seed)
        self.kek = folder / "kek.key"
        self.written: dict[int, bytes] = {}

    @asynccontextmanager
    async def leader(self, name: str = "leader", limits: ArchiverLimits = LIMITS) -> AsyncIterator[ArchiveLeader]:
        async with archive_leader(self.folder / name, self.objects, limits, kek=self.kek) as leader:
            yield leader

    async def write(self, push: Push, handles: range, rounds: int, most_bytes: int = 60_000) -> None:
        """Opens logs and writes to them in turns; every other one is closed at the end."""
        await push.open(*(open_of(handle, task=f"t{handle}") for handle in handles))
        texts = {handle: bytearray() for handle in handles}
        for _ in range(rounds):
            for handle in handles:
                data = self.random.randbytes(self.random.randrange(1, most_bytes)) + b"\n"
                await push.send(appends=[append_of(handle, len(texts[handle]), data)])
                texts[handle] += data
            await asyncio.sleep(0.01)
        for handle in handles:
            self.written[push.opened[handle].number] = bytes(texts[handle])
            if handle % 2:
                await push.send(closes=[close_of(handle, bytes(texts[handle]))])

    async def close(self, push: Push, handles: range) -> None:
        """Closes what write() left open."""
        for handle in handles:
            if not handle % 2:
                await push.send(closes=[close_of(handle, self.written[push.opened[handle].number])])

    async def assert_readable(self, leader: ArchiveLeader) -> None:
        for number, data in self.written.items():
            assert await leader.text(number) == data, f"log {number}"

    async def read_in_the_storm(self, leader: ArchiveLeader) -> None:
        """A read may fail, or say that bytes are missing; those that it gives are those that were written."""
        for number, data in [*self.written.items()] * 2:
            try:
                async for piece in leader.reader.read(number, ReadSpec()):
                    assert piece.data == data[piece.offset : piece.offset + len(piece.data)]
            except JoblogError:
                continue

    async def assert_recovers(self, leader: ArchiveLeader) -> None:
        """All that is written gets sealed, and reads as it was written."""
        self.faulty.faults, self.faulty.gone, self.faulty.down = NO_FAULTS, False, False
        await until(lambda: all(_sealed(leader, number) for number in self.written), "all is sealed", RECOVERY_SECONDS)
        await until(lambda: leader.archiver.warnings() == [], "all is well", RECOVERY_SECONDS)
        await self.assert_readable(leader)
        for number in self.written:
            assert (await leader.reader.verify(number, lambda _done, _all: None)).complete
        assert not leader.archiving.done()

    def assert_tidy(self, name: str = "leader") -> None:
        """The leader is down: what is in the archive is whole; gc finds the rest, and nothing that is needed."""
        store = Store.open(self.folder / name / "store")
        collector = Collector(self.real, store, min_age_seconds=0.0)
        for _ in collector.delete(collector.find()):
            pass
        assert list(collector.find()) == []
        store.close()
        keys = [info.key for info in walk(self.real, "") if not info.key.startswith("_keys/")]
        assert len(keys) == 2 * len(self.written) + 1, keys
        checked = list(Verifier(self.real, FileKms(self.kek, create=False)).run())
        assert len([one for one in checked if one.name]) == len(self.written)
        assert [one for one in checked if one.problems] == []
        self.real.drop_uploads(0.0)


def _sealed(leader: ArchiveLeader, number: int) -> bool:
    record = leader.store.get_log(number)
    return record is not None and record.tier == TIER_ARCHIVE


def _failures(leader: ArchiveLeader) -> float:
    """How often the archiver gave up for the time being."""
    samples = (sample for metric in leader.metrics.archive.failures.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


@pytest.fixture
def site(tmp_path: Path, seed: int) -> Site:
    return Site(tmp_path, seed)


@pytest.mark.parametrize(
    "faults",
    [
        EVERYTHING,
        STORM,
        Faults(after=0.7),
        Faults(truncated=0.4, damaged=0.3),
        # Everything before this step goes well.
        *(Faults(before=0.85, denied=0.1, keys=keys) for keys in (".roster", ".pack", "log.joblog", "metadata.json")),
    ],
)
async def test_storms_under_load(site: Site, faults: Faults) -> None:
    async with site.leader() as leader, leader.push() as push:
        handles = range(1, 7)
        site.faulty.faults = faults
        await site.write(push, handles, 40)
        await site.read_in_the_storm(leader)
        await until(lambda: sum(site.faulty.hit.values()) >= 3, "something has failed")
        if faults.before > 0.5:
            await until(lambda: _failures(leader) >= 2, "trying it again at once was not enough")
        # What is not archived is still in the buffer: all of it can be read now.
        site.faulty.faults = NO_FAULTS
        await push.until(lambda: len(push.closed) == 3)
        await site.assert_readable(leader)
        site.faulty.faults = faults
        await site.close(push, handles)
        await push.until(lambda: len(push.closed) == 6)
        await site.assert_recovers(leader)
    site.assert_tidy()


async def test_an_outage_under_load(site: Site) -> None:
    """No answer for a while; then much at once: the tasks have noticed nothing."""
    async with site.leader() as leader, leader.push() as push:
        await site.write(push, range(1, 4), 10)
        await until(lambda: site.faulty.requests["put"] >= 3, "it works")
        site.faulty.down = True
        await site.write(push, range(4, 10), 40)
        await push.until(lambda: len(push.closed) == 5)
        await until(lambda: any("flush" in one for one in leader.archiver.warnings()), "it is shown")
        site.faulty.down = False
        await site.assert_readable(leader)
        await site.close(push, range(1, 10))
        await site.assert_recovers(leader)
    site.assert_tidy()


async def test_a_bucket_that_vanishes_and_comes_back(site: Site) -> None:
    async with site.leader() as leader, leader.push() as push:
        await site.write(push, range(1, 5), 20)
        await push.until(lambda: push.archived.get(2, 0) > 0)
        site.faulty.gone = True
        await site.write(push, range(5, 9), 20)
        await until(lambda: any("flush" in one for one in leader.archiver.warnings()), "it is shown")
        # Not a loss: it is said that it can't be read.
        archived = push.opened[2].number
        with pytest.raises(JoblogError):
            await leader.text(archived)
        await site.close(push, range(1, 9))
        await push.until(lambda: len(push.closed) == 8)
        await site.assert_recovers(leader)
    site.assert_tidy()


async def test_403_in_the_middle(site: Site) -> None:
    async with site.leader() as leader, leader.push() as push:
        await site.write(push, range(1, 5), 10)
        site.faulty.faults = Faults(denied=1.0)
        await site.write(push, range(5, 9), 10)
        await until(lambda: any("AccessDenied" in one for one in leader.archiver.warnings()), "it is shown")
        await site.close(push, range(1, 9))
        await site.assert_recovers(leader)
    site.assert_tidy()


async def test_a_large_log_through_a_storm(site: Site) -> None:
    """Parts, copies and completions that fail, before and after they were done."""
    async with site.leader() as leader, leader.push() as push:
        await site.write(push, range(2, 3), 48, most_bytes=1_000_000)
        site.faulty.faults = Faults(before=0.05, after=0.3, keys="log.joblog")
        await site.close(push, range(2, 3))
        await until(lambda: site.faulty.requests["complete"], "it is sent in parts", RECOVERY_SECONDS)
        await site.assert_recovers(leader)
    site.assert_tidy()


async def test_etags_that_change_by_themselves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the objects were copied to another server: nobody but the claim compares them, and it looks closer."""
    real_head = site.faulty.head
    chance = random.Random(1)

    def head(key: str) -> ObjectInfo | None:
        info = real_head(key)
        return info if info is None or chance.random() < 0.5 else info._replace(etag=f'"{chance.random()}"')

    async with site.leader() as leader, leader.push() as push:
        monkeypatch.setattr(site.faulty, "head", head)
        await site.write(push, range(1, 5), 20)
        await site.close(push, range(1, 5))
        monkeypatch.setattr(site.faulty, "head", real_head)
        await site.assert_recovers(leader)
    site.assert_tidy()


async def test_the_kms_out_of_reach(site: Site) -> None:
    """A leader that runs has its keys. One that starts does not, says so, and harms nothing."""
    away = site.folder / "away.key"
    async with site.leader() as leader, leader.push() as push:
        await site.write(push, range(1, 3), 10)
        site.kek.rename(away)
        await site.write(push, range(3, 5), 10)
        await push.until(lambda: len(push.closed) == 2)
        await until(lambda: site.faulty.requests["put"] > 3, "it goes on")
        await site.assert_readable(leader)
    store = Store.open(site.folder / "leader" / "store")
    with pytest.raises(NotFound, match="key file"):
        FileKms(site.kek, create=False)
    with pytest.raises(Denied, match="that the store was made with"):
        Keyring.open(store, FileKms(site.folder / "other.key"), store.store_id).open_dek(b"u" * 16, _some_dek(store))
    store.close()
    away.rename(site.kek)
    async with site.leader() as leader, leader.push() as push:
        await site.assert_readable(leader)


def _some_dek(store: Store) -> bytes:
    found = store.get_dek(1)
    assert found is not None
    return found


class Held(FaultyStore):
    """Holds up puts of packs while it is told to, as a connection does that hangs."""

    def __init__(self, inner: FolderStore) -> None:
        super().__init__(inner)
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()

    def put(self, key: str, data: Data, **conditions):  # type: ignore[no-untyped-def]
        if key.endswith(".pack") and not self.open.is_set():
            self.waiting.set()
            self.open.wait(LONG_SECONDS)
        return super().put(key, data, **conditions)


async def test_a_leader_that_was_replaced_can_damage_nothing(site: Site) -> None:
    """Its put hangs while another leader takes the archive over, and comes through afterwards."""
    held = Held(site.real)
    async with archive_leader(site.folder / "old", held, LIMITS, kek=site.kek) as old, old.push() as push:
        await site.write(push, range(1, 5), 10)
        await push.until(lambda: len(push.sealed) == 2 and push.archived.get(2) and push.archived.get(4))
        before = dict(site.written)
        closed = {push.opened[handle].number for handle in (1, 3)}
        held.open.clear()
        await push.open(open_of(9, task="t9"))
        await push.send(appends=[append_of(9, 0, b"never archived\n")])
        await until(held.waiting.is_set, "a put hangs")
        (site.folder / "new").mkdir()
        store = Store.open(site.folder / "new" / "store")
        rebuilt = await asyncio.to_thread(
            Rebuild(store, Keyring.open(store, FileKms(site.kek), store.store_id), site.real).run
        )
        store.close()
        assert (rebuilt.sealed, rebuilt.problems) == (2, [])
        held.open.set()
        with pytest.raises(ClaimLost, match="two leaders can't share a prefix"):
            await asyncio.wait_for(old.archiving, LONG_SECONDS)
    shutil.rmtree(site.folder / "old")
    async with archive_leader(site.folder / "new", site.objects, LIMITS, kek=site.kek) as new:
        found = {(await new.text(number)) for number in new.numbers()}
        assert not new.archiving.done()
    # Closed logs are there as a whole; of live ones what was archived, of the one in the late pack nothing.
    assert {data for number, data in before.items() if number in closed} < found
    assert all(any(data.startswith(one) for data in before.values()) for one in found)
    store = Store.open(site.folder / "new" / "store")
    late = {one.key for one in Collector(site.real, store, min_age_seconds=0.0).find()}
    assert any(key.startswith("_live/") and key.endswith(".pack") for key in late)
    store.close()


async def test_a_deleted_log_does_not_come_back(site: Site) -> None:
    """Old rosters name it; a rebuild from what is in the archive once it was cleaned up knows nothing of it."""
    with ThreadPoolExecutor(1) as pool:
        async with site.leader() as leader, leader.push() as push:
            await site.write(push, range(1, 7), 5)
            await push.until(lambda: len(push.sealed) == 3 and all(push.archived.get(at) for at in (2, 4, 6)))
            deleter = Deleter(
                leader.store, leader.ingest, leader.reader.forget, pool, on_deleted=leader.archiver.deleted
            )
            rosters = {leader.store.objects.roster_of(push.opened[handle].number) for handle in (4, 6)}
            for task in ("t1", "t2"):
                assert (await deleter.delete("default", "r", task)).logs == 1
            await until(lambda: not any(leader.store.objects.unused()), "all is cleaned up")
            await until(lambda: not any(site.real.head(str(key)) for key in rosters), "the old rosters are gone")
            await until(lambda: not any(leader.store.objects.unused()), "all is cleaned up")
    (site.folder / "new").mkdir()
    store = Store.open(site.folder / "new" / "store")
    keyring = Keyring.open(store, FileKms(site.kek), store.store_id)
    rebuilt = await asyncio.to_thread(Rebuild(store, keyring, site.real).run)
    assert (rebuilt.sealed, rebuilt.live, rebuilt.problems) == (2, 2, [])
    assert {record.id.task for record in store.list_logs("default", "r")[0]} == {"t3", "t4", "t5", "t6"}
    store.close()


async def test_a_second_leader_is_refused_and_the_first_goes_on(site: Site) -> None:
    async with site.leader("one") as one, one.push() as push:
        await site.write(push, range(1, 5), 5)
        await push.until(lambda: len(push.sealed) == 2)
        async with site.leader("two") as two:
            with pytest.raises(ClaimLost, match="two leaders can't share a prefix"):
                await asyncio.wait_for(two.archiving, LONG_SECONDS)
        await site.write(push, range(5, 9), 5)
        await site.close(push, range(1, 9))
        await site.assert_recovers(one)
    site.assert_tidy("one")
