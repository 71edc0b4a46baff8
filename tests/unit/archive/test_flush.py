"""The flush: packs, what leaves the buffer, what becomes one, and what others do meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.identity import LogName
from joblog.leader.archive.flush import EAGER_BYTES, FlushLimits
from joblog.leader.archive.rollup import SMALL_EXTENTS
from joblog.leader.archive.roster import parse_roster
from joblog.leader.archive.rosters import MAX_ROSTERS
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.objects import UnusedObject
from joblog.v1.types_pb2 import GAP_REASON_LOG_LIMIT, Gap
from tests.archiving import ArchiveSite, CountedPuts, once
from tests.stored_log import StoredLog, fill

Start = Callable[..., ArchiveSite]


def some_logs(site: ArchiveSite, count: int) -> list[StoredLog]:
    return [site.leader.log(LogName("default", f"run{at}", "task", 1)) for at in range(count)]


def lines(begin: int, count: int) -> bytes:
    return b"".join(b"line %d of a task that says little\n" % at for at in range(begin, begin + count))


def buffered(site: ArchiveSite, number: int) -> int:
    with site.store.view() as view:
        return sum(1 for _ in view.chunks(number))


async def test_all_logs_go_into_one_pack_and_leave_the_buffer(start: Start, objects: CountedPuts) -> None:
    site = start()
    logs = some_logs(site, 50)
    for at, log in enumerate(logs):
        fill(log, [lines(at, 3), lines(at + 3, 2)])
        log.gap(100, 7)
    done = site.flush()
    assert sorted(key.rsplit(".", 1)[1] for key, _ in objects.puts) == ["json", "pack", "roster"]
    assert done.archived == {log.number: log.length for log in logs}
    for log in logs:
        assert buffered(site, log.number) == 0
        assert await site.text(log.number) == log.model.present(0, log.length, None)
        record = site.store.get_log(log.number)
        assert record is not None
        assert (record.next_offset, record.newlines) == (log.length, log.lines)
    objects.puts.clear()
    for log in logs:
        log.append((STDERR, b"more"))
    site.flush(everything=True)
    assert [key.rsplit(".", 1)[1] for key, _ in objects.puts] == ["pack"]
    objects.puts.clear()
    site.flush(everything=True)
    assert objects.puts == []


async def test_the_roster_tells_who_the_logs_are(start: Start, objects: CountedPuts) -> None:
    site = start()
    logs = some_logs(site, 3)
    for log in logs:
        fill(log, [b"text\n"])
    site.flush()
    [key] = [key for key in objects.all_keys() if key.endswith(".roster")]
    found = {metadata.record.uid: metadata for metadata in parse_roster(objects.get(key))}
    for log in logs:
        metadata = found[log.record.uid]
        assert metadata.name.run == log.record.id.run
        assert log.cipher.open_writer(metadata.writer) == log.record.writer_id
        assert site.leader.keyring.open_dek(log.record.uid, metadata.dek.dek)


async def test_small_chunks_become_one(start: Start) -> None:
    site = start()
    [log] = some_logs(site, 1)
    fill(log, [lines(at, 1) for at in range(200)])
    site.flush()
    [extent] = site.store.extents(log.number)
    assert extent.chunks == 1
    assert (extent.offset, extent.end_offset, extent.newlines) == (0, log.length, 200)
    assert await site.text(log.number) == bytes(log.model.data)


async def test_a_trickle_waits_for_a_few_intervals(start: Start) -> None:
    site = start()
    [log] = some_logs(site, 1)
    fill(log, [b"first\n"])
    site.flush()
    assert buffered(site, log.number) == 0
    flushes = 0
    for _ in range(80):
        fill(log, [b"one more\n"])
        flushes += bool(site.flush().packs)
    assert 8 <= flushes <= 12
    log.append((STDOUT, random.Random(1).randbytes(EAGER_BYTES)))
    assert site.flush().packs == 1


async def test_a_pack_has_a_size_at_which_it_is_closed(start: Start, objects: CountedPuts) -> None:
    site = start(limits=FlushLimits(pack_bytes=100_000))
    logs = some_logs(site, 4)
    noise = random.Random(1)
    for log in logs:
        fill(log, [noise.randbytes(30_000) for _ in range(5)])
    done = site.flush()
    packs = [size for key, size in objects.puts if key.endswith(".pack")]
    assert done.packs == len(packs) == 5
    assert max(packs) < 140_000
    for log in logs:
        assert buffered(site, log.number) == 0
        assert await site.text(log.number) == bytes(log.model.data)


async def test_a_log_never_has_many_extents_and_is_written_seldom(start: Start, objects: CountedPuts) -> None:
    site = start()
    [log] = some_logs(site, 1)
    most = 0
    for at in range(600):
        fill(log, [lines(20 * at, 20)])
        site.flush(everything=True)
        most = max(most, len(list(site.store.extents(log.number))))
        site.clean()
    assert most <= SMALL_EXTENTS + 1
    assert max(extent.generation for extent in site.store.extents(log.number)) <= 2
    assert await site.text(log.number) == bytes(log.model.data)
    assert len([key for key in objects.all_keys() if key.endswith(".pack")]) <= SMALL_EXTENTS + 1
    assert site.orphans() == []


@pytest.mark.parametrize("step", ["flush.gathered", "pack.announced", "pack.put"])
async def test_a_log_deleted_meanwhile_leaves_nothing(start: Start, step: str) -> None:
    site = start()
    one, two = some_logs(site, 2)
    fill(one, [b"one\n"])
    fill(two, [b"two\n"])

    def delete() -> None:
        changes = Changes()
        changes.delete_log(one.number)
        site.store.write(changes)

    once(step, delete)
    done = site.flush()
    assert done.archived == {two.number: 4}
    assert await site.text(two.number) == b"two\n"
    assert site.store.get_log(one.number) is None
    assert list(site.store.extents(one.number)) == []
    assert site.orphans() == []


@pytest.mark.parametrize("step", ["flush.gathered", "pack.put"])
async def test_a_range_that_became_a_gap_meanwhile_stays_one(start: Start, step: str) -> None:
    site = start(limits=FlushLimits(merge=False))
    one, two = some_logs(site, 2)
    fill(one, [b"aaaa\n", b"bbbb\n", b"cccc\n"])
    fill(two, [b"two\n"])

    def drop() -> None:
        changes = Changes()
        gap = Gap(offset=5, length=5, reason=GAP_REASON_LOG_LIMIT, newlines=1)
        changes.replace_by_gap(one.number, gap, 1, 7)
        site.store.write(changes)

    once(step, drop)
    assert set(site.flush().archived) == {two.number}
    assert await site.text(one.number) == b"aaaa\ncccc\n"
    assert set(site.flush().archived) == {one.number}
    assert await site.text(one.number) == b"aaaa\ncccc\n"
    # And what is in the archive already becomes one too.
    changes = Changes()
    changes.replace_by_gap(one.number, Gap(offset=0, length=10, reason=GAP_REASON_LOG_LIMIT, newlines=2), 0, 7)
    site.store.write(changes)
    assert await site.text(one.number) == b"cccc\n"
    site.flush(everything=True)
    assert await site.text(one.number) == b"cccc\n"
    assert buffered(site, one.number) == 0


async def test_a_log_completed_meanwhile_is_flushed_and_then_sealed(start: Start, objects: CountedPuts) -> None:
    site = start()
    [log] = some_logs(site, 1)
    fill(log, [b"text\n"])
    once("pack.put", log.complete)
    assert site.flush().archived == {log.number: 5}
    site.seal()
    site.clean()
    assert (await site.verify(log.number)).complete
    assert [key for key in objects.all_keys() if key.endswith(".pack")] == []


async def test_rosters_stay_few_however_many_logs_come_one_by_one(start: Start, objects: CountedPuts) -> None:
    site = start()
    logs = []
    for at in range(MAX_ROSTERS + 8):
        logs.append(site.leader.log(LogName("default", f"run{at}", "task", 1)))
        fill(logs[-1], [b"text\n"])
        site.flush()
        site.clean()
    rosters = [key for key in objects.all_keys() if key.endswith(".roster")]
    assert len(rosters) <= MAX_ROSTERS
    found = {metadata.record.uid for key in rosters for metadata in parse_roster(objects.get(key))}
    assert found == {log.record.uid for log in logs}


async def test_an_object_that_came_into_use_is_not_deleted(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    site = start()
    [log] = some_logs(site, 1)
    fill(log, [b"text\n"])
    site.flush()
    [extent] = site.store.extents(log.number)
    # The list was read just before the extent was committed.
    monkeypatch.setattr(site.store.objects, "unused", lambda _limit, _after: [UnusedObject(extent.object, 0)])
    assert site.clean() == 0
    assert await site.text(log.number) == b"text\n"
