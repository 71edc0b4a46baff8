"""Merging of completed logs in the buffer: readers see the same bytes before, meanwhile and after."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from pathlib import Path

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import Conflict, OutOfSpace
from joblog.identity import LogName
from joblog.leader import compaction
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.compaction import Compactor, merge_completed
from joblog.leader.reading.scan import Scan
from joblog.v1 import types_pb2
from tests.stored_log import NAME, StoredLeader, StoredLog, eventually, fill, stored_leader


def read(log: StoredLog, offset: int = 0) -> bytes:
    """The log's bytes from offset on, in one view; missing ones are NUL."""
    with log.store.view() as view:
        scan = Scan(view, log.number, log.cipher, offset, log.length)
        data = b""
        while (opened := scan.next()) is not None:
            data += (opened.raw or bytes(opened.length))[max(0, offset - opened.offset) :]
        return data


def chunks(log: StoredLog) -> list[tuple[int, int]]:
    with log.store.view() as view:
        return [(offset, header.raw_length) for offset, header, _ in view.chunks(log.number)]


def texts(count: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [b"%d %s\n" % (number, b"text " * chance.randrange(40)) for number in range(count)]


def compactor_of(leader: StoredLeader) -> Compactor:
    return Compactor(leader.store, leader.keyring, leader.metrics.compaction, look_seconds=0.01)


def test_a_completed_log_is_merged_once(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        fill(log, texts(500))
        log.append((STDERR, b"an error\n"), (STDOUT, b"and more"))
        before = sum(len(text) for text in texts(500))
        compactor = compactor_of(leader)
        assert compactor.merge_all() == 0
        log.complete()
        assert leader.store.unmerged_logs() == [log.number]
        assert compactor.merge_all() == 1
        assert chunks(log) == [(0, log.length)]
        assert read(log) == bytes(log.model.data)
        record = leader.store.get_log(log.number)
        assert record is not None
        assert 0 < record.stored_bytes < before / 4
        assert leader.store.unmerged_logs() == []
        assert compactor.merge_all() == 0
        run = leader.store.get_run(NAME.namespace, NAME.run)
        assert run is not None
        assert run.logs_completed == 1


def test_what_must_not_be_merged_stays(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        fill(log, [b"a\n", b"b\n"])
        log.gap(100, newlines=3)
        fill(log, [b"c\n", b"d\n"])
        damaged = log.length
        fill(log, [b"e\n", b"f\n", b"g\n"])
        log.damage(damaged)
        lost = log.length
        fill(log, [b"h\n", b"i\n"])
        log.drop(lost)
        log.complete()
        before = read(log)
        assert compactor_of(leader).merge_all() == 1
        assert [offset for offset, _ in chunks(log)] == [0, 4, 104, damaged, damaged + 2, lost + 2]
        assert read(log) == before
        assert leader.metrics.compaction.damaged_chunks._value.get() == 1


class Failing:
    """A store that fails at one of its writes, before or after it was done."""

    def __init__(self, store: Store, at: int, *, done: bool) -> None:
        self._store = store
        self._at = at
        self._done = done
        self.writes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def write(self, changes: Changes, *, sync: bool = True) -> None:
        self.writes += 1
        if self.writes != self._at:
            self._store.write(changes, sync=sync)
        elif self._done:
            self._store.write(changes, sync=sync)
            raise OutOfSpace("after")
        else:
            raise OutOfSpace("before")


@pytest.mark.parametrize("done", [False, True])
def test_it_may_fail_between_any_two_writes(tmp_path: Path, *, done: bool) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        for text in texts(300):
            log.append((STDOUT, text))
            log.append((STDOUT, b"x" * 3))
            if len(text) > 190:
                log.gap(5)
        log.complete()
        data = bytes(log.model.data)
        at = 0
        while True:
            at += 1
            failing = Failing(leader.store, at, done=done)
            try:
                merge_completed(failing, log.cipher, log.number, piece_bytes=300)  # type: ignore[arg-type]
            except OutOfSpace:
                assert read(log) == data
                continue
            break
        assert at > 2
        assert len(chunks(log)) < 60
        assert read(log) == data
        # Done already: nothing is written any more.
        again = Failing(leader.store, 1, done=False)
        assert merge_completed(again, log.cipher, log.number) is not None  # type: ignore[arg-type]


def test_readers_meanwhile_see_the_same_bytes(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        for seed in range(300):
            fill(log, texts(10, seed))
            log.gap(7)
        log.complete()
        data = bytes(log.model.data)
        wrong: list[int] = []
        reads = 0
        stopping = threading.Event()

        def reader(seed: int) -> None:
            nonlocal reads
            chance = random.Random(seed)
            while not stopping.is_set():
                offset = chance.randrange(len(data))
                with leader.store.view() as view:
                    scan = Scan(view, log.number, log.cipher, offset, log.length)
                    opened = scan.next()
                    second = scan.next()
                for piece in (opened, second):
                    if piece is None:
                        continue
                    if piece.damaged or (piece.raw or bytes(piece.length)) != data[piece.offset : piece.end]:
                        wrong.append(offset)
                reads += 1

        threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while reads < 20 and time.monotonic() < deadline:
            time.sleep(0.001)
        at_start = reads
        merging = merge_completed(leader.store, log.cipher, log.number, piece_bytes=1)
        stopping.set()
        for thread in threads:
            thread.join()
        assert reads > at_start
        assert merging is not None
        assert merging.chunks == 3000
        assert wrong == []
        assert read(log) == data


def test_it_can_be_stopped_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        fill(log, texts(2000))
        log.complete()
        calls = iter(range(100))
        stopped = merge_completed(
            leader.store, log.cipher, log.number, piece_bytes=1, should_stop=lambda: next(calls) >= 0
        )
        assert stopped is None
        data, number = bytes(log.model.data), log.number
    with stored_leader(tmp_path) as leader:
        assert leader.store.unmerged_logs() == [number]
        assert compactor_of(leader).merge_all() == 1
        log.store = leader.store
        assert read(log) == data
    with stored_leader(tmp_path) as leader:
        assert leader.store.unmerged_logs() == []


def test_a_deleted_log_does_not_come_back(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        fill(log, texts(100))
        log.complete()

        def delete() -> bool:
            changes = Changes()
            changes.delete_log(log.number)
            leader.store.write(changes)
            return False

        with pytest.raises(Conflict):
            merge_completed(leader.store, log.cipher, log.number, should_stop=delete)
        assert chunks(log) == []
        with pytest.raises(Conflict):
            merge_completed(leader.store, log.cipher, log.number)
        changes = Changes()
        changes.put_merged(log.number, 5)
        leader.store.write(changes)
        assert leader.store.get_log(log.number) is None
        assert leader.store.unmerged_logs() == []


def test_a_large_log_of_large_chunks_is_only_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_SAMPLED_BYTES", 1 << 20)
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        fill(log, [b"x" * 400_000] * 4)
        log.complete()
        assert merge_completed(leader.store, log.cipher, log.number) == compaction.Merging()
        other = leader.log(NAME._replace(attempt=2))
        fill(other, [b"x" * 400_000] * 4 + [b"y" * 90_000] * 2)
        other.complete()
        merging = merge_completed(leader.store, other.cipher, other.number)
        assert merging is not None
        assert merging.chunks == 2


def test_a_log_already_in_the_archive_is_not_listed(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        log.complete()
        log.record.tier = types_pb2.TIER_ARCHIVE
        log.put_record()
        assert leader.store.unmerged_logs() == []


async def test_the_service_finds_logs_and_goes_past_one_that_fails(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        compactor = compactor_of(leader)
        broken = leader.log(LogName("default", "demo", "broken", 1))
        fill(broken, texts(5))
        broken.complete()
        changes = Changes()
        changes.put_dek(broken.number, b"\x01" + bytes(76))
        leader.store.write(changes)
        running = asyncio.create_task(compactor.run())
        try:
            logs = [leader.log(LogName("default", "demo", f"task-{number}", 1)) for number in range(120)]
            for log in logs:
                fill(log, texts(5))
                log.complete()
                compactor.wake()
            await eventually(lambda: leader.store.unmerged_logs() == [broken.number], 20)
        finally:
            await compactor.drain(1)
            await asyncio.wait_for(running, 5)
        assert all(len(chunks(log)) == 1 for log in logs)
        assert len(chunks(broken)) == 5
        assert leader.metrics.compaction.failures._value.get() == 1


async def test_the_service_ends_with_its_thread(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        log = leader.log()
        fill(log, texts(2000))
        log.complete()
        compactor = compactor_of(leader)
        running = asyncio.create_task(compactor.run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 5)
        # Its thread has let go of the log: nothing changes any more.
        left = chunks(log)
        assert compactor.merge_all() == 0
        assert chunks(log) == left
        assert read(log) == bytes(log.model.data)


async def test_a_store_that_does_not_answer_does_not_end_it(tmp_path: Path) -> None:
    with stored_leader(tmp_path) as leader:
        compactor = compactor_of(leader)
        leader.store.close()
        running = asyncio.create_task(compactor.run())
        await eventually(lambda: leader.metrics.compaction.failures._value.get() > 1)
        assert not running.done()
        await compactor.drain(1)
        await asyncio.wait_for(running, 5)
