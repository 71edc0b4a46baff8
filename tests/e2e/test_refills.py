"""What the leader's disk lost of its buffer comes again from the spool of a worker that has it still."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.folder import FolderStore
from joblog.leader.buffer import keys
from joblog.leader.buffer.holes import Hole, find_hole
from joblog.leader.buffer.view import View
from joblog.leader.ingest import refilling
from joblog.leader.reading.piece import ReadSpec
from joblog.v1 import ingest_pb2
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.damaging import flip_pattern
from tests.e2e.archive_leader import QUICK, ArchiveLeader, archive_leader, shipper_of, until
from tests.e2e.push_stream import Push, append_of, batch_of, close_of, open_of
from tests.e2e.test_archive_delivery import NAME, OUTCOME
from tests.unit.spool.spool_building import append, make_writer

NEVER = ArchiverLimits(flush_interval_seconds=1e9)
PATIENT = QUICK.__class__(flush_interval_seconds=0.2, grace_seconds=0.0, loss_patience_seconds=1000.0)
CHUNK_BYTES = 20_000
CHUNKS = 6


def lines(seed: int, size: int) -> bytes:
    """Text that does not compress, in lines that end anywhere."""
    return random.Random(seed).randbytes(size)


def sealed_part(leader: ArchiveLeader, number: int, offset: int) -> bytes:
    """Bytes that only the chunk around `offset` has in the store's files."""
    with leader.store.view() as view:
        _, _, sealed = next(view.chunks(number, offset))
    return bytes(sealed[-60:-50])


def damage(store: Path, *patterns: bytes) -> None:
    for pattern in patterns:
        assert flip_pattern(store, pattern).suffix == ".blob"


async def assert_whole(leader: ArchiveLeader, number: int, text: bytes) -> None:
    assert await leader.text(number) == text
    verdict = await leader.reader.verify(number, lambda _done, _all: None)
    assert verdict.complete, verdict.problems
    assert [piece.gap async for piece in leader.reader.read(number, ReadSpec()) if piece.gap is not None] == []
    assert leader.store.damage.warning() is None
    kinds = [event.kind for event in leader.store.events(number)]
    assert "bytes_restored" in kinds
    assert "archive_loss" not in kinds


@pytest.mark.parametrize("closed", [False, True], ids=["live", "closed"])
@pytest.mark.parametrize("restarted", [True, False], ids=["restarted", "running"])
async def test_a_damaged_chunk_comes_again_from_the_spool(tmp_path: Path, closed: bool, restarted: bool) -> None:
    objects = FolderStore(tmp_path / "archive")
    writer = make_writer(tmp_path, segment_bytes=1 << 20)
    text = lines(1, 4 << 20)
    for at in range(0, len(text), 1 << 18):
        append(writer, text[at : at + (1 << 18)])
    store, address = tmp_path / "leader" / "store", ""

    async def spoil(leader: ArchiveLeader) -> list[bytes]:
        number = leader.store.find_log(NAME)
        assert number == 1
        leader.store._engine._family(keys.CHUNKS).flush()
        # Two beside each other, if not one, and one apart from them.
        return list(dict.fromkeys(sealed_part(leader, number, at) for at in (1 << 20, 1600 << 10, 3 << 20)))

    async with shipper_of(tmp_path, lambda: address) as shipper:
        limits = NEVER if restarted else ArchiverLimits(flush_interval_seconds=0.5, loss_patience_seconds=1000.0)
        async with archive_leader(tmp_path / "leader", objects, limits) as leader:
            # Nothing is archived before it is damaged.
            marked = leader.archiver.context.busy.take([1])
            address = leader.address
            if closed:
                assert writer.end(OUTCOME)
            await until(lambda: shipper.left() == (0, 0) and shipper.feed("spool1"), "the leader has it")
            patterns = await spoil(leader)
            if not restarted:
                damage(store, *patterns)
                leader.archiver.context.busy.give(marked)
                await finish(leader, writer, text, closed=closed)
        if restarted:
            damage(store, *patterns)
            async with archive_leader(tmp_path / "leader", objects, PATIENT) as leader:
                address = leader.address
                await finish(leader, writer, text, closed=closed)


async def finish(leader: ArchiveLeader, writer, text: bytes, *, closed: bool) -> None:  # type: ignore[no-untyped-def]
    number = leader.store.find_log(NAME)
    assert number is not None
    if not closed:
        await until(lambda: leader.store.archived_offset(number) == len(text), "the archive has it")
        append(writer, b"last words\n")
        assert writer.end(OUTCOME)
        text += b"last words\n"
    await until(lambda: not Path(writer.folder).exists(), "the spool is removed")
    record = leader.store.get_log(number)
    assert record is not None
    assert record.tier == TIER_ARCHIVE
    await assert_whole(leader, number, text)


async def test_what_comes_again_fits_or_changes_nothing(tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "archive")
    request = open_of(1)
    text = lines(2, CHUNK_BYTES * CHUNKS)
    begin, end = 2 * CHUNK_BYTES, 4 * CHUNK_BYTES
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader:
        async with leader.push() as push:
            await push.open(request)
            for at in range(0, len(text), CHUNK_BYTES):
                await push.send(appends=[append_of(1, at, text[at : at + CHUNK_BYTES])])
            await push.until(lambda: push.acks.get(1) == len(text))
            number = push.opened[1].number
        patterns = [sealed_part(leader, number, at) for at in (begin, begin + CHUNK_BYTES)]
        leader.store._engine._family(keys.CHUNKS).flush()
    damage(tmp_path / "leader" / "store", *patterns)

    async with archive_leader(tmp_path / "leader", objects, PATIENT) as leader, leader.push() as push:
        await push.open(request)
        await push.until(lambda: push.resends)
        assert [(one.handle, one.offset, one.length) for one in push.resends] == [(1, begin, end - begin)] * len(
            push.resends
        )

        async def refill(offset: int, data: bytes, handle: int = 1, **fields: int) -> None:
            batch = batch_of(data)
            for name, value in fields.items():
                setattr(batch, name, value)
            await push.send(refills=[ingest_pb2.Append(handle=handle, offset=offset, batch=batch)])

        other = b"\n" * 10
        await refill(begin - CHUNK_BYTES, other)  # is there
        await refill(begin + 10, other)  # not the hole's begin
        await refill(begin, text[begin : end + 1])  # more than is missing
        await refill(begin, text[begin:end], newlines=text[begin:end].count(b"\n") + 1)
        await refill(begin, text[begin : begin + 10], crc32c=1)
        await refill(begin, text[begin:end], handle=7)
        await refill(len(text), other)
        async with leader.push("w2") as stranger:
            refill_of = ingest_pb2.Append(handle=1, offset=begin, batch=batch_of(text[begin:end]))
            await stranger.send(refills=[refill_of])
            await stranger.end()
        # In two parts, the second of which begins inside a damaged chunk.
        middle = begin + CHUNK_BYTES + 5000
        await refill(begin, text[begin:middle])
        await until_hole_is(leader, number, middle)
        assert push.archived[1] <= middle
        await refill(begin, text[begin:middle])  # once more
        await refill(middle, text[middle:end])
        await push.until(lambda: push.archived[1] == len(text))
        await refill(middle, text[middle:end])
        await push.send(closes=[close_of(1, text)])
        await push.until(lambda: 1 in push.sealed)
        await assert_whole(leader, number, text)
        assert leader.store.damage.count == 0


async def test_what_comes_while_it_is_being_asked_for_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, request = FolderStore(tmp_path / "archive"), open_of(1)
    text = lines(4, CHUNK_BYTES * 3)
    begin, end = CHUNK_BYTES, 2 * CHUNK_BYTES
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader:
        async with leader.push() as push:
            await push.open(request)
            for at in range(0, len(text), CHUNK_BYTES):
                await push.send(appends=[append_of(1, at, text[at : at + CHUNK_BYTES])])
            await push.until(lambda: push.acks.get(1) == len(text))
            number = push.opened[1].number
        pattern = sealed_part(leader, number, begin)
        leader.store._engine._family(keys.CHUNKS).flush()
    damage(tmp_path / "leader" / "store", pattern)
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader, leader.push() as push:
        refills = leader.ingest.archiving.refills
        looked = threading.Event()

        def fill_behind(view: View, log: int, offset: int) -> Hole | None:
            monkeypatch.setattr(refilling, "find_hole", find_hole)
            found = find_hole(view, log, offset)
            live = leader.ingest.registry.get(log)
            assert found is not None and live is not None
            assert refills.take(log, live.cipher, append_of(1, begin, text[begin:end]), end - begin)
            looked.set()
            return found

        assert len(await leader.text(number)) == len(text) - (end - begin)
        monkeypatch.setattr(refilling, "find_hole", fill_behind)
        await push.open(request)
        await until(looked.is_set, "the hole was looked for")
        await until(lambda: refills.hold_back(number, len(text)) == len(text), "nobody waits for it")
        assert not push.resends
        # Nor is what is noted while its log is being deleted.
        leader.ingest.forget(number)
        refills._asked[number] = {begin: refilling._Asked(begin, time.monotonic())}
        leader.ingest.forgotten(number)
        assert not refills._asked


async def test_what_was_archived_before_its_note_was_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, request = FolderStore(tmp_path / "archive"), open_of(1)
    text = lines(5, CHUNK_BYTES * 3)
    begin, end = CHUNK_BYTES, 2 * CHUNK_BYTES
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader:
        async with leader.push() as push:
            await push.open(request)
            for at in range(0, len(text), CHUNK_BYTES):
                await push.send(appends=[append_of(1, at, text[at : at + CHUNK_BYTES])])
            await push.until(lambda: push.acks.get(1) == len(text))
            number = push.opened[1].number
        pattern = sealed_part(leader, number, begin)
        leader.store._engine._family(keys.CHUNKS).flush()
    damage(tmp_path / "leader" / "store", pattern)
    async with archive_leader(tmp_path / "leader", objects, PATIENT) as leader, leader.push() as push:
        archiving, archived = leader.ingest.archiving, threading.Event()
        filled, tell = archiving.refills._filled, archiving.archived

        def filled_late(log: int, hole: Hole, to: int) -> None:
            assert archived.wait(20)
            filled(log, hole, to)

        def told(offsets: Mapping[int, int]) -> None:
            tell(offsets)
            if offsets.get(number) == len(text):
                archived.set()

        monkeypatch.setattr(archiving.refills, "_filled", filled_late)
        monkeypatch.setattr(archiving, "archived", told)
        await push.open(request)
        await push.until(lambda: push.resends)
        await push.send(refills=[append_of(1, begin, text[begin:end])])
        await push.until(lambda: push.archived[1] == len(text))


async def until_hole_is(leader: ArchiveLeader, number: int, begin: int) -> None:
    await until(lambda: leader.store.damage.offsets(number) == [begin], f"the hole begins at {begin}")


async def test_a_hole_that_a_leader_finds_in_a_bucket_it_takes_over(tmp_path: Path) -> None:
    """The damaged chunk itself went with the disk; the worker was told of what lies behind it by no one."""
    objects = FolderStore(tmp_path / "archive")
    request = open_of(1)
    text = lines(3, CHUNK_BYTES * CHUNKS)
    begin, end = 2 * CHUNK_BYTES, 3 * CHUNK_BYTES
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader:
        async with leader.push() as push:
            await push.open(request)
            for at in range(0, len(text), CHUNK_BYTES):
                await push.send(appends=[append_of(1, at, text[at : at + CHUNK_BYTES])])
            await push.until(lambda: push.acks.get(1) == len(text))
            number = push.opened[1].number
        pattern = sealed_part(leader, number, begin)
        leader.store._engine._family(keys.CHUNKS).flush()
    damage(tmp_path / "leader" / "store", pattern)
    async with archive_leader(tmp_path / "leader", objects, PATIENT) as leader, leader.push() as push:
        await push.open(request)
        await until(lambda: leader.buffered(number) == 0, "all else is archived")
        assert push.archived.get(1, 0) <= begin
        forget_key(leader, number, begin)
    async with archive_leader(tmp_path / "leader", objects, PATIENT) as leader, leader.push() as push:
        await push.open(request)
        assert push.opened[1].next_offset == len(text)
        await push.until(lambda: push.resends)
        assert push.archived.get(1, 0) == begin
        assert (push.resends[0].offset, push.resends[0].length) == (begin, end - begin)
        await push.send(refills=[append_of(1, begin, text[begin:end])])
        await closed_whole(leader, push, number, text)


def forget_key(leader: ArchiveLeader, number: int, offset: int) -> None:
    """What is damaged goes, as it would with the whole disk."""
    from joblog.leader.buffer.changes import Changes

    changes = Changes()
    changes.delete_chunk(number, offset)
    leader.store.write(changes)


async def closed_whole(leader: ArchiveLeader, push: Push, number: int, text: bytes) -> None:
    await push.send(closes=[close_of(1, text)])
    await push.until(lambda: 1 in push.sealed)
    await assert_whole(leader, number, text)
