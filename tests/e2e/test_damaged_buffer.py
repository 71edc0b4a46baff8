"""A leader whose disk damaged one chunk: two logs of three do not notice, the third says what it lost."""

from __future__ import annotations

import random
from pathlib import Path

from joblog.leader.archive.archiver import ArchiverLimits
from joblog.leader.archive.folder import FolderStore
from joblog.leader.buffer import keys
from joblog.leader.reading.piece import ReadSpec
from joblog.v1.types_pb2 import GAP_REASON_LOST, TIER_ARCHIVE
from tests.damaging import flip_pattern
from tests.e2e.archive_leader import QUICK, ArchiveLeader, archive_leader, until
from tests.e2e.push_stream import append_of, close_of, open_of

NEVER = ArchiverLimits(flush_interval_seconds=1e9)
CHUNK_BYTES = 20_000
CHUNKS = 6


def sealed_part(leader: ArchiveLeader, number: int, offset: int) -> bytes:
    with leader.store.view() as view:
        _, _, sealed = next(view.chunks(number, offset))
    return bytes(sealed[-60:-50])


async def all_sealed(leader: ArchiveLeader, numbers: list[int]) -> None:
    def is_sealed(number: int) -> bool:
        record = leader.store.get_log(number)
        return record is not None and record.tier == TIER_ARCHIVE

    await until(lambda: all(map(is_sealed, numbers)), "all logs are sealed")


async def test_one_damaged_chunk_among_three_logs(tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "archive")
    opens = {handle: open_of(handle, task=f"t{handle}") for handle in (1, 2, 3)}
    texts = {handle: random.Random(handle).randbytes(CHUNK_BYTES * CHUNKS) for handle in opens}
    lost = range(2 * CHUNK_BYTES, 3 * CHUNK_BYTES)
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader:
        async with leader.push() as push:
            await push.open(*opens.values())
            for offset in range(0, CHUNK_BYTES * CHUNKS, CHUNK_BYTES):
                part = slice(offset, offset + CHUNK_BYTES)
                await push.send(appends=[append_of(handle, offset, texts[handle][part]) for handle in opens])
            await push.until(lambda: all(push.acks.get(handle) == len(texts[handle]) for handle in opens))
            numbers = {handle: push.opened[handle].number for handle in opens}
        pattern = sealed_part(leader, numbers[2], lost.start)
        leader.store._engine._family(keys.CHUNKS).flush()
    flip_pattern(tmp_path / "leader" / "store", pattern)

    # Nobody asks the leader to be patient here.
    async with archive_leader(tmp_path / "leader", objects, QUICK) as leader, leader.push() as push:
        await push.open(*opens.values())
        for handle in opens:
            assert push.opened[handle].next_offset == CHUNK_BYTES * CHUNKS
            texts[handle] += b"the end\n"
            await push.send(appends=[append_of(handle, CHUNK_BYTES * CHUNKS, b"the end\n")])
        await until(lambda: not any(map(leader.buffered, numbers.values())), "all is flushed")
        assert leader.store.damage.warning() is not None
        assert await leader.text(numbers[2]) == texts[2][: lost.start] + texts[2][lost.stop :]
        await push.send(closes=[close_of(handle, texts[handle]) for handle in opens])
        await push.until(lambda: len(push.closed) == len(opens))
        await all_sealed(leader, list(numbers.values()))
        assert leader.archiver.warnings() == []
        for handle, number in numbers.items():
            verdict = await leader.reader.verify(number, lambda _done, _all: None)
            assert verdict.complete, verdict.problems
            gaps = [piece.gap async for piece in leader.reader.read(number, ReadSpec()) if piece.gap is not None]
            if handle == 2:
                [gap] = gaps
                assert (gap.offset, gap.length, gap.reason) == (lost.start, CHUNK_BYTES, GAP_REASON_LOST)
                assert verdict.expected is not None and list(verdict.expected.gaps) == [gap]
                kinds = {event.kind for event in leader.store.events(number)}
                assert kinds >= {"bytes_missing", "archive_loss"}
            else:
                assert gaps == []
                assert await leader.text(number) == texts[handle]
        assert leader.store.damage.warning() is None


async def test_a_damaged_end_is_sent_again(tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "archive")
    request = open_of(1)
    text = random.Random(1).randbytes(2 * CHUNK_BYTES)
    async with archive_leader(tmp_path / "leader", objects, NEVER) as leader:
        async with leader.push() as push:
            await push.open(request)
            for offset in (0, CHUNK_BYTES):
                await push.send(appends=[append_of(1, offset, text[offset : offset + CHUNK_BYTES])])
            await push.until(lambda: push.acks.get(1) == len(text))
            number = push.opened[1].number
        pattern = sealed_part(leader, number, CHUNK_BYTES)
        leader.store._engine._family(keys.CHUNKS).flush()
    flip_pattern(tmp_path / "leader" / "store", pattern)
    async with archive_leader(tmp_path / "leader", objects, QUICK) as leader, leader.push() as push:
        await push.open(request)
        assert push.opened[1].next_offset == CHUNK_BYTES
        await push.send(appends=[append_of(1, CHUNK_BYTES, text[CHUNK_BYTES:])], closes=[close_of(1, text)])
        await all_sealed(leader, [number])
        assert await leader.text(number) == text
        assert leader.store.damage.warning() is None
