from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput, NotFound
from joblog.identity import LogName
from joblog.leader.buffer.store import View
from joblog.leader.deletion import Deleter
from joblog.leader.reading import reader as reader_module
from joblog.leader.reading.piece import Piece, ReadSpec, Start, StartKind
from joblog.v1 import types_pb2
from tests.stored_log import NAME, StoredLeader, StoredLog, eventually, fill, stored_leader

MIB = 1 << 20


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[StoredLeader]:
    with stored_leader(tmp_path) as made:
        yield made


async def read_all(leader: StoredLeader, log: StoredLog, spec: ReadSpec) -> list[Piece]:
    return [piece async for piece in leader.reader.read(log.number, spec)]


class Views:
    """Counts the store's views: taken, and still open."""

    def __init__(self, leader: StoredLeader, patch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self.open: set[int] = set()
        self._take = leader.store.view
        patch.setattr(leader.store, "view", self._view)

    def _view(self) -> View:
        view, self.taken = self._take(), self.taken + 1
        key, close = self.taken, view.close
        self.open.add(key)

        def closing() -> None:
            close()
            self.open.discard(key)

        view.close = closing  # type: ignore[method-assign]
        return view


class Fence:
    """Stands where ingest does, and notes what it is told."""

    def __init__(self, leader: StoredLeader) -> None:
        self.told: list[tuple[str, int]] = []
        self._live = leader.live

    def forget(self, number: int) -> None:
        self.told.append(("forget", number))

    def forgotten(self, number: int) -> None:
        self.told.append(("forgotten", number))
        self._live.changed(number, open_for_writing=False)


async def test_an_empty_log_says_its_state(leader: StoredLeader) -> None:
    log = leader.log()
    [piece] = await read_all(leader, log, ReadSpec())
    assert (piece.state, piece.offset, piece.next_offset, piece.line) == (types_pb2.LOG_STATE_LIVE, 0, 0, 1)


async def test_names_are_resolved_and_checked(leader: StoredLeader) -> None:
    log = leader.log()
    later = leader.log(NAME._replace(attempt=2))
    assert await leader.reader.find(NAME) == log.number
    assert await leader.reader.find(NAME._replace(attempt=0)) == later.number
    with pytest.raises(NotFound, match="demo/build/3"):
        await leader.reader.find(NAME._replace(attempt=3))
    with pytest.raises(InvalidInput, match="run"):
        await leader.reader.find(NAME._replace(run="../x"))


async def test_offsets_outside_the_log_are_refused(leader: StoredLeader) -> None:
    log = leader.log()
    fill(log, [b"hello\n"])
    for value in (7, 2**63 - 1):
        with pytest.raises(InvalidInput, match="beyond the end of the log, which is at 6"):
            await read_all(leader, log, ReadSpec(Start(StartKind.OFFSET, value)))
    with pytest.raises(InvalidInput, match="out of range"):
        await read_all(leader, log, ReadSpec(Start(StartKind.OFFSET, 2**63)))


async def test_a_line_that_begins_in_a_gap_begins_with_the_gap(leader: StoredLeader) -> None:
    log = leader.log()
    fill(log, [b"1\n2\n"])
    log.gap(100, newlines=5)
    fill(log, [b"rest of 8\n9\n"])
    pieces = await read_all(leader, log, ReadSpec(Start(StartKind.LINE, 5)))
    assert pieces[0].gap is not None
    assert (pieces[0].offset, pieces[0].next_offset) == (4, 104)
    [piece] = await read_all(leader, log, ReadSpec(Start(StartKind.LINE, 9)))
    assert (piece.data, piece.line, piece.offset) == (b"9\n", 9, 114)


async def test_a_tail_is_pushed_to_and_watched(leader: StoredLeader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_WATCH_LINGER_SECONDS", 0.0)
    log = leader.log()
    pieces = leader.reader.read(log.number, ReadSpec(follow=True))
    assert (await anext(pieces)).data == b""
    assert leader.live.watched(log.number)
    loop = asyncio.get_running_loop()
    for _ in range(20):
        waiting = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0.01)
        began = loop.time()
        log.append((STDOUT, b"a line\n"))
        assert (await waiting).data == b"a line\n"
        # Far below the re-check: it was woken.
        assert loop.time() - began < 1.0
    await pieces.aclose()
    await eventually(lambda: not leader.live.watched(log.number))


async def test_a_tail_goes_on_through_an_interruption(leader: StoredLeader) -> None:
    log = leader.log()
    log.append((STDOUT, b"one"))
    pieces = leader.reader.read(log.number, ReadSpec(follow=True))
    assert (await anext(pieces)).data == b"one"
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0.01)
    log.event("worker_lost")
    log.interrupt()
    heard = await asyncio.wait_for(waiting, 10)
    kinds = [event.kind for event in heard.events]
    if heard.state != types_pb2.LOG_STATE_INTERRUPTED:
        heard = await asyncio.wait_for(anext(pieces), 10)
    assert heard.state == types_pb2.LOG_STATE_INTERRUPTED
    assert kinds == ["worker_lost"]
    log.record.state = types_pb2.LOG_STATE_LIVE
    log.put_record()
    log.append((STDOUT, b"two"))
    log.complete()
    rest = [piece async for piece in pieces]
    assert b"".join(piece.data for piece in rest) == b"two"
    assert rest[-1].state == types_pb2.LOG_STATE_COMPLETED
    assert not any(piece.events for piece in rest)


async def test_deleting_ends_its_tails_and_takes_its_key(leader: StoredLeader) -> None:
    log, other = leader.log(), leader.log(LogName("default", "demo", "test", 1))
    fill(log, [b"secret\n"])
    fence = Fence(leader)
    deleter = Deleter(leader.store, fence, leader.reader.forget, leader.pool)
    pieces = leader.reader.read(log.number, ReadSpec(follow=True))
    assert (await anext(pieces)).data == b"secret\n"
    done = await deleter.delete(*NAME)
    assert done == (1, 7)
    with pytest.raises(NotFound, match="deleted"):
        await asyncio.wait_for(anext(pieces), 10)
    assert fence.told == [("forget", log.number), ("forgotten", log.number)]
    assert leader.store.get_dek(log.number) is None
    assert await deleter.delete(*NAME) == (0, 0)
    assert await deleter.delete("default", "demo") == (1, 0)
    assert leader.store.get_log(other.number) is None
    assert leader.store.get_run("default", "demo") is None
    assert await deleter.delete("default", "demo") == (0, 0)
    with pytest.raises(InvalidInput):
        await deleter.delete("default", "")


async def test_the_disk_gets_the_space_of_deleted_logs_back(leader: StoredLeader) -> None:
    log = leader.log()
    for _ in range(24):
        log.append((STDOUT, os.urandom(MIB)))
    kept = leader.log(LogName("default", "kept", "build", 1))
    fill(kept, [b"stays\n"])
    before = leader.store.disk_bytes()
    assert before > 24 * MIB
    deleter = Deleter(leader.store, Fence(leader), leader.reader.forget, leader.pool, reclaim_bytes=20 * MIB)
    await deleter.delete(*NAME)
    await eventually(lambda: leader.store.disk_bytes() < before - 20 * MIB)
    assert b"".join([piece.data async for piece in leader.reader.read(kept.number, ReadSpec())]) == b"stays\n"


async def test_a_reader_that_takes_nothing_holds_no_view_and_little_memory(
    leader: StoredLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_HOLD_SECONDS", 0.05)
    views = Views(leader, monkeypatch)
    log = leader.log()
    block = os.urandom(MIB)
    for _ in range(8):
        log.append((STDOUT, block))
    log.complete()
    pieces = leader.reader.read(log.number, ReadSpec())
    first = await anext(pieces)
    assert first.data == block
    await eventually(lambda: not views.open)
    rest = [piece async for piece in pieces]
    # What had not been read by then came from another view.
    assert views.taken == 2
    assert b"".join(piece.data for piece in rest) == block * 7
    await eventually(lambda: not views.open)


async def test_many_reads_share_a_bound(leader: StoredLeader) -> None:
    log = leader.log()
    data = os.urandom(4 * MIB)
    for start in range(0, len(data), MIB):
        log.append((STDOUT, data[start : start + MIB]))
    log.complete()
    reads = [leader.reader.read(log.number, ReadSpec()) for _ in range(100)]
    sizes = [len((await anext(read)).data) for read in reads]
    assert sizes[0] == MIB
    assert sizes[-1] == 32 * MIB // 100
    rest = b"".join([piece.data async for piece in reads[-1]])
    assert data[: sizes[-1]] + rest == data
    for read in reads:
        await read.aclose()
    assert len((await anext(leader.reader.read(log.number, ReadSpec()))).data) == MIB


async def test_pieces_are_bounded_and_whole_chunks_stay_whole(leader: StoredLeader) -> None:
    log = leader.log()
    for size in (10, MIB, 3 * MIB, 5, 7, MIB - 3):
        log.append((STDOUT, os.urandom(size)))
    pieces = await read_all(leader, log, ReadSpec())
    assert [len(piece.data) for piece in pieces if piece.data] == [10, MIB, MIB, MIB, MIB, 12, MIB - 3]


async def test_many_small_chunks_come_together(leader: StoredLeader) -> None:
    log = leader.log()
    for _ in range(400):
        log.append((STDOUT, b"tick\n"), (STDERR, b"tock\n"))
    pieces = await read_all(leader, log, ReadSpec(with_frames=True))
    assert len([piece for piece in pieces if piece.data]) == 1
    assert len(pieces[0].frames.streams) == 800
    times = list(pieces[0].frames.times_ns)
    assert times[1] - times[0] == 1_000_000


async def test_verifying(leader: StoredLeader) -> None:
    log = leader.log()
    fill(log, [b"one\n", b"two\n", os.urandom(100_000)])
    log.gap(50, newlines=3)
    fill(log, [b"end\n"])
    told: list[tuple[int, int]] = []
    verdict = await leader.reader.verify(log.number, lambda done, total: told.append((done, total)))
    assert (verdict.complete, verdict.expected, verdict.problems) == (False, None, [])
    assert told[-1] == (log.length, log.length)
    seal = log.complete()
    verdict = await leader.reader.verify(log.number, lambda *_: None)
    assert verdict.complete, verdict.problems
    assert verdict.found == seal
    log.damage(4)
    verdict = await leader.reader.verify(log.number, lambda *_: None)
    assert not verdict.complete
    assert "offsets 4 to 8: missing or damaged" in verdict.problems[0]
    assert leader.metrics.reads.reads.labels("verify")._value.get() == 3


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("length", 5, "the seal says 5 bytes, 4 were found"),
        ("newlines", 2, "the seal says 2 newlines, 1 were found"),
        ("sha256", hashlib.sha256(b"x").digest(), "SHA-256"),
        ("gaps", [types_pb2.Gap(offset=0, length=1)], "gaps"),
    ],
)
async def test_a_wrong_seal_is_told(leader: StoredLeader, field: str, value: object, words: str) -> None:
    log = leader.log()
    fill(log, [b"one\n"])
    log.complete(**{field: value})
    verdict = await leader.reader.verify(log.number, lambda *_: None)
    assert not verdict.complete
    assert any(words in problem for problem in verdict.problems)


async def test_a_key_of_another_log_opens_nothing(leader: StoredLeader) -> None:
    log = leader.log()
    fill(log, [b"one\n", b"two\n"])
    log.complete()
    log.damage(0)
    before = leader.metrics.reads.corrupt_chunks._value.get()
    pieces = await read_all(leader, log, ReadSpec())
    assert pieces[0].gap is not None
    assert pieces[0].gap.reason == types_pb2.GAP_REASON_LOST
    assert (pieces[0].gap.offset, pieces[0].gap.length, pieces[0].gap.newlines) == (0, 4, 1)
    assert pieces[1].data == b"two\n"
    assert pieces[1].line == 2
    assert leader.metrics.reads.corrupt_chunks._value.get() == before + 1


async def test_cancelled_reads_leave_nothing_open(leader: StoredLeader, monkeypatch: pytest.MonkeyPatch) -> None:
    views = Views(leader, monkeypatch)
    log = leader.log()
    fill(log, [b"x\n"] * 50)

    async def tail() -> None:
        async with contextlib.aclosing(leader.reader.read(log.number, ReadSpec(follow=True))) as pieces:
            async for _ in pieces:
                pass

    tails = [asyncio.create_task(tail()) for _ in range(20)]
    await eventually(lambda: leader.metrics.reads.active._value.get() == 20)
    for task in tails:
        task.cancel()
    await asyncio.wait(tails)
    assert leader.metrics.reads.active._value.get() == 0
    await eventually(lambda: not views.open)
