"""Workers, a leader and its archive: who keeps which bytes for how long, through outages and the loss of a disk."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from joblog.errors import Unavailable
from joblog.identity import LogName
from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.claim import Claim, ClaimLost
from joblog.leader.archive.rebuild import Rebuild
from joblog.leader.buffer.options import StoreOptions
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.v1.types_pb2 import LOG_STATE_COMPLETED, TIER_ARCHIVE
from joblog.worker.shipper.feed import FeedState
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import BLOCK, SpoolTask
from joblog.worker.spool.writer import SpoolWriter
from tests.archiving import CountedPuts
from tests.e2e.archive_leader import archive_leader, shipper_of, until
from tests.e2e.push_stream import LONG_SECONDS, append_of, close_of, open_of
from tests.unit.spool.spool_building import append, make_writer

OUTCOME = {"kind": 1, "exit_code": 0}
NAME = LogName("default", "r", "t", 1)


class Flaky(CountedPuts):
    """A folder store that can be out of reach."""

    down = False

    def _check(self) -> None:
        if self.down:
            raise Unavailable("the archive can't be reached")

    def put(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self._check()
        return super().put(*args, **kwargs)

    def head(self, key):  # type: ignore[no-untyped-def]
        self._check()
        return super().head(key)

    def get(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self._check()
        return super().get(*args, **kwargs)

    def check(self, *, create: bool) -> None:
        self._check()
        super().check(create=create)


@pytest.fixture
def objects(tmp_path: Path) -> Flaky:
    return Flaky(tmp_path / "archive")


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def segments(writer: SpoolWriter) -> int:
    return len(list(Path(writer.folder).glob("*.seg")))


async def test_a_worker_learns_what_is_archived_and_sealed(tmp_path: Path, objects: Flaky) -> None:
    async with archive_leader(tmp_path / "leader", objects) as leader, leader.push() as push:
        assert push.welcome.keep_until_archived
        await push.open(open_of(1))
        number = push.opened[1].number
        await push.send(appends=[append_of(1, 0, b"some text\n")])
        await push.until(lambda: push.archived.get(1) == 10)
        await until(lambda: not leader.buffered(number), "the buffer is empty")
        assert await leader.text(number) == b"some text\n"
        await push.send(closes=[close_of(1, b"some text\n")])
        await push.until(lambda: 1 in push.sealed)
        record = leader.store.get_log(number)
        assert record is not None
        assert record.tier == TIER_ARCHIVE
        assert await leader.text(number) == b"some text\n"


async def test_a_closed_log_opened_again_is_told_sealed(tmp_path: Path, objects: Flaky) -> None:
    objects.down = True
    async with archive_leader(tmp_path / "leader", objects) as leader:
        log = open_of(1)
        async with leader.push() as push:
            await push.open(log)
            await push.send(closes=[close_of(1, b"")])
            await push.until(lambda: 1 in push.closed)
            assert 1 not in push.sealed
        async with leader.push() as push:
            await push.open(log)
            assert push.opened[1].completed
            assert not push.opened[1].sealed
            objects.down = False
            await push.until(lambda: 1 in push.sealed)
        async with leader.push() as push:
            await push.open(log)
            assert push.opened[1].sealed


async def test_a_spool_is_kept_until_the_archive_has_it(tmp_path: Path, objects: Flaky) -> None:
    objects.down = True
    writer = make_writer(tmp_path, segment_bytes=1 << 20)
    data = noise(1, 3 << 20)
    for at in range(0, len(data), 1 << 18):
        append(writer, data[at : at + (1 << 18)])
    async with (
        archive_leader(tmp_path / "leader", objects) as leader,
        shipper_of(tmp_path, lambda: leader.address) as shipper,
    ):
        await until(lambda: shipper.left() == (0, 0) and shipper.feed("spool1"), "the leader has it")
        kept = segments(writer)
        assert kept >= 3
        objects.down = False
        await until(lambda: segments(writer) == 1, "the archive has it")
        objects.down = True
        assert writer.end(OUTCOME)
        await until(lambda: shipper.feed("spool1").state is FeedState.KEPT, "the log is closed")  # type: ignore[union-attr]
        await shipper.wait_shipped("spool1")
        number = leader.store.find_log(NAME)
        assert number is not None
        record = leader.store.get_log(number)
        assert record is not None
        assert record.state == LOG_STATE_COMPLETED
        assert Path(writer.folder).exists()
        objects.down = False
        await until(lambda: not Path(writer.folder).exists(), "the spool is removed")
        assert await leader.text(number) == data


async def test_a_leader_that_lost_its_disk_gets_back_what_was_not_archived(tmp_path: Path, objects: Flaky) -> None:
    writer = make_writer(tmp_path, segment_bytes=1 << 20)
    task = SpoolTask(writer_id=b"x" * 16, namespace="default", run="r", task="short", policy=BLOCK)
    done = SpoolWriter(tmp_path / "worker" / "spool" / "spool2", task, SpoolBounds(1 << 20, 1 << 30, 1 << 20))
    kek = tmp_path / "kek.key"
    data, later = noise(1, 5 << 20), noise(2, 3 << 20)
    for at in range(0, len(data), 1 << 18):
        append(writer, data[at : at + (1 << 18)])
    address = ""
    async with shipper_of(tmp_path, lambda: address) as shipper:
        async with archive_leader(tmp_path / "one", objects, kek=kek) as leader:
            address = leader.address
            await until(lambda: segments(writer) == 1, "the archive has it")
            # From now on nothing is archived, so that it is lost with the disk.
            objects.down = True
            for at in range(0, len(later), 1 << 18):
                append(writer, later[at : at + (1 << 18)])
            append(done, b"closed, and not archived\n")
            assert done.end(OUTCOME)
            await until(lambda: shipper.left() == (0, 0), "the leader has it all")
            kept = shipper.feed("spool2")
            assert kept is not None
            await until(lambda: kept.state is FeedState.KEPT, "the short log is closed")
        shutil.rmtree(tmp_path / "one")
        objects.down = False
        (tmp_path / "two").mkdir()
        store = Store.open(tmp_path / "two" / "store")
        rebuilt = Rebuild(store, Keyring.open(store, FileKms(kek), store.store_id), objects).run()
        assert (rebuilt.live, rebuilt.problems) == (1, [])
        store.close()
        async with archive_leader(tmp_path / "two", objects, kek=kek) as leader:
            address = leader.address
            append(writer, b"last words\n")
            assert writer.end(OUTCOME)
            await until(lambda: not Path(writer.folder).exists(), "the spool is removed")
            await until(lambda: not Path(done.folder).exists(), "the other one too")
            texts = {await leader.text(number) for number in leader.numbers()}
            assert texts == {data + later + b"last words\n", b"closed, and not archived\n"}
            for number in leader.numbers():
                assert (await leader.reader.verify(number, lambda _done, _all: None)).complete


async def test_a_full_buffer_holds_workers_up_and_loses_nothing(tmp_path: Path, objects: Flaky) -> None:
    limits = ArchiverLimits(
        flush_interval_seconds=0.1, pack_bytes=1 << 20, buffer_budget_bytes=8 << 20, grace_seconds=0.0
    )
    objects.down = True
    data = noise(3, 1 << 18)
    async with archive_leader(tmp_path / "leader", objects, limits) as leader, leader.push() as push:
        await push.open(open_of(1))
        number = push.opened[1].number
        count = 80
        sending = asyncio.create_task(_send_all(push, data, count))
        await until(lambda: any("are not archived" in one for one in leader.archiver.warnings()), "it is held")
        assert any("can't be reached" in one for one in leader.archiver.warnings())
        await asyncio.sleep(0.3)
        held = leader.store.log_end(number)
        assert held is not None
        assert held.offset <= 10 << 20
        objects.down = False
        await push.until(lambda: push.archived.get(1) == count * len(data))
        await sending
        assert await leader.text(number) == data * count
        await until(lambda: leader.archiver.warnings() == [], "all is well again")


async def _send_all(push, data: bytes, count: int) -> None:  # type: ignore[no-untyped-def]
    for at in range(count):
        await push.send(appends=[append_of(1, at * len(data), data)])


async def test_space_comes_back_however_much_goes_through(tmp_path: Path, objects: Flaky) -> None:
    budget, times = 64 << 20, 8
    limits = ArchiverLimits(
        flush_interval_seconds=0.2, pack_bytes=8 << 20, buffer_budget_bytes=budget, grace_seconds=0.0
    )
    data = noise(4, 1 << 20)
    options = StoreOptions(write_buffers_bytes=16 << 20, max_wal_bytes=32 << 20, blob_file_bytes=8 << 20)
    async with (
        archive_leader(tmp_path / "leader", objects, limits, options=options) as leader,
        leader.push() as push,
    ):
        await push.open(open_of(1))
        number = push.opened[1].number
        most = 0
        for at in range(times * (budget >> 20)):
            await push.send(appends=[append_of(1, at * len(data), data)])
            if at % 16 == 15:
                await push.until(lambda at=at: push.acks.get(1, 0) >= (at - 24) * len(data))
                most = max(most, leader.store.disk_bytes())
        await push.until(lambda: push.archived.get(1) == times * budget)
        assert most < 4 * budget
        await until(lambda: leader.store.disk_bytes() < 2 * budget, "the space is back")
        assert len(list(leader.store.extents(number))) < 100


async def test_of_two_leaders_on_one_prefix_one_ends(tmp_path: Path, objects: Flaky) -> None:
    async with archive_leader(tmp_path / "one", objects) as one:
        await until(lambda: one.archiver.context.claim.epoch, "it is claimed")
        async with archive_leader(tmp_path / "two", objects) as two:
            with pytest.raises(ClaimLost, match="two leaders can't share a prefix"):
                await asyncio.wait_for(two.archiving, LONG_SECONDS)
        assert not one.archiving.done()
        Claim(objects, "f" * 32).take(force=True)
        with pytest.raises(ClaimLost):
            await asyncio.wait_for(one.archiving, LONG_SECONDS)
