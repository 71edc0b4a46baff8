"""Reading a log whose bytes lie in both tiers, from one that gives everything back and one that does not."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput, Unavailable
from joblog.identity import LogName
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.extent_read import FIRST_WINDOW_BYTES
from joblog.leader.reading.piece import Piece, ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.leader.reading.tiers import TieredSource
from joblog.v1 import types_pb2
from tests.archived_log import Archived, CountedFolder
from tests.stored_log import FIRST_TIME_NS, NAME, StoredLeader, StoredLog, fill, stored_leader

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[StoredLeader]:
    with stored_leader(tmp_path) as made:
        yield made


@pytest.fixture
def objects(tmp_path: Path) -> CountedFolder:
    return CountedFolder(tmp_path / "archive")


@pytest.fixture
def archived(leader: StoredLeader, objects: CountedFolder) -> Iterator[Archived]:
    made = Archived(leader, objects)
    yield made
    made.close()


async def read(reader: LogReader, number: int, spec: ReadSpec) -> list[Piece]:
    async with contextlib.aclosing(reader.read(number, spec)) as pieces:
        return [piece async for piece in pieces]


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress, in lines of about 100."""
    made = random.Random(seed).randbytes(size).replace(b"\n", b" ")
    return b"\n".join(made[at : at + 99] for at in range(0, size, 100))


async def holds(archived: Archived, log: StoredLog, start: int = 0, limit: int | None = None) -> list[Piece]:
    pieces = await read(archived.reader, log.number, ReadSpec(Start(StartKind.OFFSET, start), limit_bytes=limit))
    data = b"".join(piece.data for piece in pieces)
    end = None if limit is None else start + limit
    assert data == bytes(log.model.data[start:end])
    return pieces


async def test_a_log_in_pack_segment_and_buffer_reads_as_one(leader: StoredLeader, archived: Archived) -> None:
    log, other = leader.log(), leader.log(NAME._replace(task="other"))
    for part in range(4):
        fill(log, [b"line %d\n" % line for line in range(100 * part, 100 * part + 100)])
        fill(other, [b"other\n"])
        archived.mover.flush([other, log])
        if part == 2:
            archived.mover.join(log)
    fill(log, [b"the end\n", b"is here"])
    with leader.store.view() as view:
        assert len(list(view.extents(log.number))) == 2
        assert len(list(view.chunks(log.number))) == 2
    pieces = await holds(archived, log)
    assert {piece.tier for piece in pieces} == {types_pb2.TIER_ARCHIVE}
    for start in (0, 1, 699, 700, 2000, log.length - 8, log.length):
        await holds(archived, log, start)
        await holds(archived, log, start, 10)
    [piece] = await holds(archived, log, log.length - 3)
    assert (piece.tier, piece.line) == (types_pb2.TIER_BUFFER, 402)
    verdict = await archived.reader.verify(log.number, lambda *_: None)
    assert not verdict.problems
    log.complete()
    archived.mover.flush([log])
    archived.mover.join(log, sealed=True)
    verdict = await archived.reader.verify(log.number, lambda *_: None)
    assert verdict.complete


async def test_lines_and_tails_are_found_in_both_tiers(leader: StoredLeader, archived: Archived) -> None:
    log = leader.log()
    lines = [b"%d\n" % line for line in range(1, 61)]
    for at in range(0, 60, 10):
        fill(log, lines[at : at + 10])
        if at in (10, 30):
            archived.mover.flush([log])
    for line in (1, 2, 19, 20, 21, 22, 40, 41, 42, 60):
        pieces = await read(archived.reader, log.number, ReadSpec(Start(StartKind.LINE, line)))
        assert b"".join(piece.data for piece in pieces) == b"".join(lines[line - 1 :])
        assert pieces[0].line == line
    with pytest.raises(InvalidInput, match="which is in line 61"):
        await read(archived.reader, log.number, ReadSpec(Start(StartKind.LINE, 62)))
    for _ in range(2):
        for count in (0, 1, 5, 19, 20, 21, 45, 60, 99):
            pieces = await read(archived.reader, log.number, ReadSpec(Start(StartKind.LAST_LINES, count)))
            assert b"".join(piece.data for piece in pieces) == b"".join(lines[-count:] if count else [])
        archived.mover.flush([log])


async def test_the_last_lines_of_a_stream_across_the_seam(leader: StoredLeader, archived: Archived) -> None:
    log = leader.log()
    for number in range(40):
        log.append((STDERR if number % 10 == 0 else STDOUT, b"%d\n" % number))
        if number == 25:
            archived.mover.flush([log])
    spec = ReadSpec(Start(StartKind.LAST_LINES, 3), stream=STDERR)
    assert b"".join(piece.data for piece in await read(archived.reader, log.number, spec)) == b"10\n20\n30\n"


async def test_times_are_found_in_both_tiers(leader: StoredLeader, archived: Archived) -> None:
    log = leader.log()
    fill(log, [b"x" * 10] * 30)
    archived.mover.flush([log], upto=100)
    archived.mover.flush([log], upto=200)
    with leader.store.view() as view:
        source = TieredSource(view, log.number, log.record.uid, archived.extents)
        # The chunk at offset n was read at FIRST_TIME_NS + n.
        for time, offset in ((-5, 0), (0, 0), (55, 50), (100, 100), (199, 190), (200, 200), (1000, 290)):
            found = source.chunk_for_time(FIRST_TIME_NS + time)
            assert found is not None
            assert found[0] == offset


async def test_a_small_range_takes_two_requests_then_none(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    log = leader.log()
    for part in range(16):
        log.append((STDOUT, noise(part, MIB)))
    archived.mover.flush([log])
    archived.mover.join(log, sealed=True)
    archived.forget(leader)
    objects.gets.clear()
    await holds(archived, log, 5 * MIB + 1000, 64 * KIB)
    assert len(objects.gets) == 2
    assert objects.got_bytes < 1.1 * MIB
    objects.gets.clear()
    await holds(archived, log, 5 * MIB + 900 * KIB, 64 * KIB)
    assert len(objects.gets) == 0
    await holds(archived, log, 7 * MIB - 32 * KIB, 64 * KIB)
    assert len(objects.gets) == 1
    assert objects.got_bytes < 2.1 * MIB


async def test_the_first_byte_takes_two_round_trips(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    log = leader.log()
    for part in range(8):
        log.append((STDOUT, noise(part, MIB)))
    archived.mover.flush([log])
    for start, most in ((0, 2), (3 * MIB + 5, 2)):
        archived.forget(leader)
        objects.gets.clear()
        async with contextlib.aclosing(
            archived.reader.read(log.number, ReadSpec(Start(StartKind.OFFSET, start), limit_bytes=1))
        ) as pieces:
            assert (await anext(pieces)).data == bytes(log.model.data[start : start + 1])
        assert len(objects.gets) <= most


async def test_a_long_read_takes_few_requests_and_no_byte_twice(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    log = leader.log()
    for part in range(40):
        log.append((STDOUT, noise(part, MIB)))
    archived.mover.flush([log], upto=20 * MIB)
    archived.mover.flush([log])
    objects.gets.clear()
    await holds(archived, log)
    stored = 41 * MIB
    assert objects.got_bytes < stored
    assert len(objects.gets) <= 18


async def test_many_small_extents_take_a_request_each(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    log = leader.log()
    for part in range(15):
        fill(log, [b"%d %d\n" % (part, line) for line in range(50)])
        archived.mover.flush([log])
    objects.gets.clear()
    await holds(archived, log)
    assert len(objects.gets) == 15
    objects.gets.clear()
    await holds(archived, log)
    assert not objects.gets


async def test_a_range_that_moves_while_it_is_read_is_no_gap(leader: StoredLeader, archived: Archived) -> None:
    log = leader.log()
    for part in range(24):
        log.append((STDOUT, noise(part, MIB)))
        if part % 4 == 3:
            archived.mover.flush([log])
    got = b""
    async with contextlib.aclosing(archived.reader.read(log.number, ReadSpec())) as pieces:
        async for piece in pieces:
            assert piece.gap is None
            if not got:
                # Every pack that the read knows of is deleted.
                await asyncio.to_thread(archived.mover.join, log)
            got += piece.data
    assert got == bytes(log.model.data)


async def test_a_missing_object_is_a_gap_and_the_rest_is_served(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    log = leader.log()
    keys = []
    for part in range(3):
        fill(log, [b"part %d, line %d\n" % (part, line) for line in range(5)])
        keys.append(archived.mover.flush([log]))
    fill(log, [b"in the buffer\n"])
    third = (log.length - 14) // 3
    objects.delete([keys[1]])
    pieces = await read(archived.reader, log.number, ReadSpec())
    gaps = [piece.gap for piece in pieces if piece.gap is not None]
    assert [(gap.offset, gap.length, gap.reason, gap.newlines) for gap in gaps] == [
        (third, third, types_pb2.GAP_REASON_LOST, 5)
    ]
    data = b"".join(piece.data for piece in pieces)
    assert data == bytes(log.model.data[:third] + log.model.data[2 * third :])
    for line, expected in ((12, b"part 2, line 1"), (16, b"in the buffer")):
        found = await read(archived.reader, log.number, ReadSpec(Start(StartKind.LINE, line)))
        assert found[0].data.startswith(expected)
    found = await read(archived.reader, log.number, ReadSpec(Start(StartKind.LINE, 8)))
    assert found[0].gap is not None
    verdict = await archived.reader.verify(log.number, lambda *_: None)
    assert any("missing" in problem for problem in verdict.problems)
    # The log says so from then on, once.
    events = leader.store.events(log.number)
    assert [(event.kind, event.offset) for event in events] == [("bytes_missing", third)]
    assert f"{third} to {2 * third}" in events[0].message


@pytest.mark.parametrize("where", ["first", "middle", "last", "header", "several"])
async def test_damage_costs_the_chunks_that_it_hit(
    leader: StoredLeader, archived: Archived, objects: CountedFolder, tmp_path: Path, where: str
) -> None:
    log = leader.log()
    for part in range(10):
        log.append((STDOUT, noise(part, 100 * KIB)))
    key = archived.mover.flush([log])
    with leader.store.view() as view:
        [extent] = view.extents(log.number)
    chunk = extent.length // 10
    hits = {"first": [0], "middle": [5], "last": [9], "header": [3], "several": [1, 2, 7]}[where]
    body = bytearray(objects.get(key))
    for hit in hits:
        body[extent.position + hit * chunk + (2 if where == "header" else chunk // 2)] ^= 0x55
    objects.put(key, bytes(body))
    expected = bytearray(log.model.data)
    size = log.length // 10
    for start in (0, 1, 4 * size, 9 * size + 5):
        archived.forget(leader)
        pieces = await read(archived.reader, log.number, ReadSpec(Start(StartKind.OFFSET, start)))
        got = bytearray(log.length)
        for piece in pieces:
            got[piece.offset : piece.offset + len(piece.data)] = piece.data
        lost = {place for piece in pieces if piece.gap for place in range(piece.offset, piece.next_offset)}
        damaged = {place for hit in hits for place in range(hit * size, (hit + 1) * size) if place >= start}
        assert lost == damaged
        assert all(got[place] == expected[place] for place in range(start, log.length) if place not in lost)
        assert pieces[-1].next_offset == log.length


async def test_an_object_cut_short_costs_its_end(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    log = leader.log()
    for part in range(10):
        log.append((STDOUT, noise(part, 100 * KIB)))
    key = archived.mover.flush([log])
    body = objects.get(key)
    objects.put(key, body[: len(body) // 2])
    fill(log, [b"and more\n"])
    for start in (0, 200 * KIB):
        archived.forget(leader)
        pieces = await read(archived.reader, log.number, ReadSpec(Start(StartKind.OFFSET, start)))
        data = b"".join(piece.data for piece in pieces)
        assert data.endswith(b"and more\n")
        kept = len(data) - 9
        assert 400 * KIB - start <= kept <= 500 * KIB - start
        assert data[:kept] == bytes(log.model.data[start : start + kept])
        assert sum(piece.gap.length for piece in pieces if piece.gap) == log.length - 9 - start - kept


async def test_a_swapped_object_gives_not_a_byte_of_the_other_log(
    leader: StoredLeader, archived: Archived, objects: CountedFolder
) -> None:
    mine, other = leader.log(), leader.log(NAME._replace(task="other"))
    fill(mine, [b"mine" * 100] * 5)
    fill(other, [b"them" * 100] * 5)
    key, wrong = archived.mover.flush([mine]), archived.mover.flush([other])
    objects.put(key, objects.get(wrong))
    fill(mine, [b"the rest"])
    pieces = await read(archived.reader, mine.number, ReadSpec())
    assert b"".join(piece.data for piece in pieces) == b"the rest"
    assert sum(piece.gap.length for piece in pieces if piece.gap) == 2000
    assert leader.metrics.reads.corrupt_chunks._value.get() >= 1


async def test_without_an_archive_the_bytes_in_it_are_not_passed_over(leader: StoredLeader, archived: Archived) -> None:
    log = leader.log()
    fill(log, [b"a\n"])
    archived.mover.flush([log])
    with pytest.raises(Unavailable, match=r"archive\.url"):
        await read(leader.reader, log.number, ReadSpec())


async def test_a_tail_goes_on_over_a_flush(leader: StoredLeader, archived: Archived) -> None:
    log = leader.log()
    fill(log, [b"first\n"])
    got = b""
    async with contextlib.aclosing(archived.reader.read(log.number, ReadSpec(follow=True))) as pieces:
        async for piece in pieces:
            assert piece.gap is None
            if piece.data and log.record.state == types_pb2.LOG_STATE_LIVE:
                await asyncio.to_thread(archived.mover.flush, [log])
                fill(log, [b"%d\n" % log.length])
                if log.length > 500:
                    log.complete()
            got += piece.data
    assert got == bytes(log.model.data)


async def test_a_gap_over_archived_bytes_counts(leader: StoredLeader, archived: Archived) -> None:
    from joblog.leader.buffer.changes import Changes

    log = leader.log(LogName("default", "run", "cut", 1))
    for part in range(20):
        log.append((STDOUT, noise(part, 50 * KIB)))
    archived.mover.flush([log])
    begin, end = 5 * log.length // 20, 15 * log.length // 20
    lines = bytes(log.model.data[:begin]).count(b"\n")
    gap = types_pb2.Gap(
        offset=begin,
        length=end - begin,
        reason=types_pb2.GAP_REASON_LOG_LIMIT,
        newlines=bytes(log.model.data[begin:end]).count(b"\n"),
    )
    changes = Changes()
    changes.replace_by_gap(log.number, gap, lines, FIRST_TIME_NS)
    leader.store.write(changes)
    for start in (0, 1, begin - 1, begin, begin + 7, end, end + 1, log.length - 1):
        pieces = await read(archived.reader, log.number, ReadSpec(Start(StartKind.OFFSET, start)))
        data = b"".join(piece.data for piece in pieces)
        before = bytes(log.model.data[start:begin]) if start < begin else b""
        assert data == before + bytes(log.model.data[max(start, end) :])
        gaps = [(piece.offset, piece.next_offset) for piece in pieces if piece.gap]
        assert gaps == ([(max(start, begin), end)] if start < end else [])
    assert log.length > FIRST_WINDOW_BYTES


async def test_what_was_read_is_kept_on_disk_and_checked(
    leader: StoredLeader, objects: CountedFolder, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    archived = Archived(leader, objects, RangeCache(150 * KIB, 10 * MIB, folder))
    log = leader.log()
    for part in range(10):
        log.append((STDOUT, noise(part, 100 * KIB)))
    archived.mover.flush([log])
    await holds(archived, log)
    objects.gets.clear()
    await holds(archived, log)
    assert len(objects.gets) <= 1
    archived.close()
    files = [file for file in folder.glob("*/*") if file.is_file()]
    assert len(files) >= 4
    assert not any(bytes(log.model.data[1000:1050]) in file.read_bytes() for file in files)
    for file in files[:2]:
        damaged = bytearray(file.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
    files[2].write_bytes(files[3].read_bytes())
    again = Archived(leader, objects, RangeCache(150 * KIB, 10 * MIB, folder))
    await holds(again, log)
    again.close()


class Stuck(CountedFolder):
    """A store that answers nobody until it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.free = threading.Event()

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        assert self.free.wait(30)
        return super().get(key, start, length)


async def test_reads_of_the_buffer_do_not_wait_for_the_archive(leader: StoredLeader, tmp_path: Path) -> None:
    objects = Stuck(tmp_path / "archive")
    archived = Archived(leader, objects)
    old, fresh = leader.log(), leader.log(NAME._replace(task="fresh"))
    fill(old, [b"archived\n"] * 10)
    archived.mover.flush([old])
    fill(old, [b"buffered\n"])
    fill(fresh, [b"new\n"] * 10)
    waiting = [asyncio.create_task(holds(archived, old, start)) for start in range(40)]
    await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.wait_for(holds(archived, fresh), 5)
        await asyncio.wait_for(holds(archived, old, old.length - 5), 5)
    assert not any(one.done() for one in waiting)
    objects.free.set()
    await asyncio.gather(*waiting)
    archived.close()


async def test_an_archive_that_is_not_there_at_all_is_no_gap(
    leader: StoredLeader, archived: Archived, tmp_path: Path
) -> None:
    log = leader.log()
    fill(log, [b"archived\n"] * 10)
    archived.mover.flush([log])
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="not there"):
        await holds(archived, log)
    # A folder where nothing is mounted.
    (tmp_path / "archive").mkdir()
    with pytest.raises(Unavailable, match="mounted"):
        await holds(archived, log)
    (tmp_path / "archive" / ".incoming").rmdir()
    (tmp_path / "archive").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "archive")
    await holds(archived, log)
    assert not leader.store.events(log.number)
