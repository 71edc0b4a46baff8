"""Sealing: one object per completed log, from wherever its bytes lie, and nothing else left."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest

from joblog.identity import LogName
from joblog.leader.archive.flush import FlushLimits
from joblog.leader.archive.layout import metadata_key, sealed_key
from joblog.leader.archive.metadata import parse_metadata
from joblog.leader.archive.objects import walk
from joblog.leader.archive.seal import SealResult
from joblog.leader.buffer.changes import Changes
from joblog.leader.reading.piece import ReadSpec, StartKind
from joblog.leader.reading.piece import Start as Place
from joblog.v1.types_pb2 import GAP_REASON_LOST, TIER_ARCHIVE
from tests.archiving import ArchiveSite, CountedPuts, once
from tests.stored_log import NAME, StoredLog, fill

Start = Callable[..., ArchiveSite]
MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def all_keys(site: ArchiveSite) -> list[str]:
    return [info.key for info in walk(site.objects, "")]


async def sealed_well(site: ArchiveSite, log: StoredLog) -> None:
    """It is in the archive as a whole, as it was written, and nowhere else."""
    record = site.store.get_log(log.number)
    assert record is not None
    assert record.tier == TIER_ARCHIVE
    assert site.store.unsealed_logs(10) == []
    with site.store.view() as view:
        assert list(view.chunks(log.number)) == []
    verdict = await site.verify(log.number)
    assert verdict.complete, verdict.problems
    assert await site.text(log.number) == log.model.present(0, log.length, None)
    site.clean()
    assert {key for key in all_keys(site) if not key.startswith("_live/")} == {
        sealed_key(NAME),
        metadata_key(NAME),
    }
    assert [key for key in all_keys(site) if key.endswith((".pack", ".roster"))] == []
    metadata = parse_metadata(site.objects.get(metadata_key(NAME)))
    assert metadata.sealed is not None
    assert metadata.sealed.size == record.stored_bytes == len(site.objects.get(sealed_key(NAME)))
    assert metadata.record.seal == record.seal


async def test_from_the_buffer(start: Start, objects: CountedPuts) -> None:
    site = start()
    log = site.leader.log()
    fill(log, [b"one\n", b"two\n"])
    log.gap(100, 3)
    fill(log, [b"three\n"])
    log.complete()
    site.seal()
    await sealed_well(site, log)
    assert [key for key, _ in objects.puts] == ["_live/claim.json", sealed_key(NAME), metadata_key(NAME)]


async def test_an_empty_log(start: Start) -> None:
    site = start()
    log = site.leader.log()
    log.complete()
    site.seal()
    await sealed_well(site, log)
    assert await site.text(log.number, ReadSpec(Place(StartKind.LAST_LINES, 5))) == b""
    changes = Changes()
    changes.delete_log(log.number)
    site.store.write(changes)
    site.clean()
    assert all_keys(site) == ["_live/claim.json"]


async def test_from_packs_and_the_buffer(start: Start) -> None:
    site = start(limits=FlushLimits(pack_bytes=MIB))
    log = site.leader.log()
    for at in range(30):
        fill(log, [noise(at, 100_000), b"line\n" * 10])
        if at % 3 == 0:
            site.flush(everything=True)
    log.complete()
    site.seal()
    await sealed_well(site, log)
    [extent] = site.store.extents(log.number)
    assert extent.chunks < 15


async def test_large_extents_are_copied_within_the_store(start: Start, objects: CountedPuts) -> None:
    site = start(limits=FlushLimits(pack_bytes=20 * MIB), multipart_bytes=5 * MIB)
    log = site.leader.log()
    for at in range(50):
        fill(log, [noise(at, MIB)])
    site.flush(everything=True)
    fill(log, [b"last words\n"] * 3)
    log.complete()
    objects.puts.clear()
    site.seal()
    await sealed_well(site, log)
    assert objects.copied_bytes > 25 * MIB
    assert objects.put_bytes < 24 * MIB


async def test_a_large_log_goes_in_parts_with_bounded_memory(start: Start, objects: CountedPuts) -> None:
    site = start(multipart_bytes=5 * MIB)
    log = site.leader.log()
    for at in range(64):
        fill(log, [noise(at, MIB)])
    log.complete()
    tracemalloc.start()
    site.seal()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    await sealed_well(site, log)
    assert len([key for key, _ in objects.puts if "#" in key]) >= 12
    assert peak < 48 * MIB


async def test_an_earlier_try_is_replaced(start: Start, objects: CountedPuts) -> None:
    site = start(multipart_bytes=5 * MIB)
    for size in (10, 12 * MIB):
        log = site.leader.log(NAME._replace(attempt=1 if size == 10 else 2))
        fill(log, [noise(at, min(size, MIB)) for at in range(max(1, size // MIB))])
        log.complete()
        name = LogName(log.record.id.namespace, log.record.id.run, log.record.id.task, log.record.id.attempt)
        objects.put(sealed_key(name), b"an earlier try")
        objects.put(metadata_key(name), b"an earlier try")
        site.seal()
        assert (await site.verify(log.number)).complete


@pytest.mark.parametrize("step", ["seal.announced", "seal.put", "seal.metadata"])
async def test_a_log_deleted_meanwhile_stays_deleted(start: Start, step: str) -> None:
    site = start()
    log = site.leader.log()
    fill(log, [b"one\n"])
    log.complete()

    def delete() -> None:
        changes = Changes()
        changes.delete_log(log.number)
        site.store.write(changes)

    once(step, delete)
    assert site.sealer.seal(log.number).result is SealResult.GONE
    assert site.store.get_log(log.number) is None
    site.context.claim.ensure()
    site.clean()
    assert all_keys(site) == ["_live/claim.json"]


async def test_what_the_archive_lost_is_sealed_as_lost_once_it_is_certain(start: Start, objects: CountedPuts) -> None:
    site = start(loss_patience_seconds=100.0)
    log = site.leader.log()
    for text in (b"one\n", b"two\n", b"three\n"):
        fill(log, [text])
        site.flush(everything=True)
    log.complete()
    packs = [key for key in objects.all_keys() if key.endswith(".pack")]
    body = objects.get(packs[1])
    objects.delete([packs[1]])
    assert site.sealer.seal(log.number).result is SealResult.LATER
    site.now += 50.0
    assert site.sealer.seal(log.number).result is SealResult.LATER
    objects.put(packs[1], body[:-200] + bytes(200))
    site.now += 51.0
    assert site.sealer.seal(log.number).result is SealResult.SEALED
    record = site.store.get_log(log.number)
    assert record is not None
    [gap] = record.seal.gaps
    assert (gap.offset, gap.length, gap.newlines, gap.reason) == (4, 4, 1, GAP_REASON_LOST)
    assert (await site.verify(log.number)).complete
    assert await site.text(log.number) == b"one\nthree\n"
    assert "archive_loss" in [event.kind for event in site.store.events(log.number)]


async def test_a_lost_object_that_is_back_in_time_costs_nothing(start: Start, objects: CountedPuts) -> None:
    site = start(loss_patience_seconds=100.0)
    log = site.leader.log()
    fill(log, [b"one\n"])
    site.flush()
    log.complete()
    [pack] = [key for key in objects.all_keys() if key.endswith(".pack")]
    body = objects.get(pack)
    objects.delete([pack])
    assert site.sealer.seal(log.number).result is SealResult.LATER
    objects.put(pack, body)
    site.now += 101.0
    site.seal()
    await sealed_well(site, log)


@pytest.mark.parametrize("wrong", [{}, {"sha256": b""}], ids=["hash", "no hash"])
async def test_a_log_that_lacks_something_is_not_sent_at_each_turn(
    start: Start, objects: CountedPuts, wrong: dict[str, bytes]
) -> None:
    site = start(loss_patience_seconds=1000.0)
    log = site.leader.log()
    for text in (b"one\n", b"two\n"):
        fill(log, [text])
        site.flush(everything=True)
    log.complete(**wrong)
    first, second = [key for key in objects.all_keys() if key.endswith(".pack")]
    body = objects.get(second)
    objects.delete([second])
    objects.gets.clear()
    objects.puts.clear()
    for _ in range(99):
        assert site.sealer.seal(log.number).result is SealResult.LATER
        site.now += 10.0
    tries = sum(1 for key, _, _ in objects.gets if key == first)
    assert 2 <= tries <= 16
    assert objects.puts == []
    # What comes back late is not lost for that.
    objects.put(second, body)
    site.now += 11.0
    assert site.sealer.seal(log.number).result is SealResult.SEALED
    assert await site.text(log.number) == b"one\ntwo\n"


async def test_an_unknown_hash_is_made_when_the_log_is_sealed(start: Start) -> None:
    site = start()
    log = site.leader.log()
    fill(log, [noise(1, MIB), b"two\n"])
    site.flush()
    expected = log.complete(sha256=b"")
    assert expected.sha256 == b""
    site.seal()
    record = site.store.get_log(log.number)
    assert record is not None
    assert len(record.seal.sha256) == 32
    assert (await site.verify(log.number)).complete
