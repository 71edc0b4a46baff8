"""Streams that end at bad moments, and failures of the leader in the middle of them: logs go on afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from joblog.errors import OutOfSpace
from joblog.leader.buffer.changes import Changes
from joblog.leader.ingest import workers
from joblog.leader.ingest.live_log import LiveLog
from joblog.v1 import ingest_pb2, types_pb2
from tests.e2e.push_stream import LONG_SECONDS, Leader, Push, append_of, close_of, leader_in, open_of

WRITER = b"w" * 16


class Disk:
    """A store's disk that can be made to wait, and then to be full."""

    def __init__(self, leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = threading.Event()
        self._go_on = threading.Event()
        self._go_on.set()
        self._full = False
        self._write = leader.store.write
        monkeypatch.setattr(leader.store, "write", self._write_later)

    def _write_later(self, changes: Changes, sync: bool = True) -> None:
        full = self._full
        self.waiting.set()
        assert self._go_on.wait(LONG_SECONDS)
        if full:
            raise OutOfSpace("no space is left on the device: make room")
        self._write(changes, sync=sync)

    @asynccontextmanager
    async def held_up(self, *, full: bool = False) -> AsyncIterator[None]:
        """Writes wait until the end of the block, and fail then if `full`."""
        self.waiting.clear()
        self._full = full
        self._go_on.clear()
        try:
            yield
            assert await asyncio.to_thread(self.waiting.wait, LONG_SECONDS)
        finally:
            self._full = False
            self._go_on.set()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(LONG_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def _open_again(push: Push, **fields: Any) -> ingest_pb2.Opened:
    """Opens the log of WRITER, as often as the leader says that it is too early."""
    async with asyncio.timeout(LONG_SECONDS):
        for handle in range(1, 1000):
            await push.send(opens=[open_of(handle, writer_id=WRITER, **fields)])
            await push.until(
                lambda handle=handle: handle in push.opened or any(one.handle == handle for one in push.refusals)
            )
            if handle in push.opened:
                return push.opened[handle]
            await asyncio.sleep(0.05)
    raise AssertionError("never opened")


async def test_a_commit_that_fails_when_its_stream_is_gone_does_not_lock_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leader_in(tmp_path) as leader:
        disk = Disk(leader, monkeypatch)
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER))
            async with disk.held_up(full=True):
                await push.send(appends=[append_of(1, 0, b"lost\n")])
                await asyncio.to_thread(disk.waiting.wait, LONG_SECONDS)
                push.call.cancel()
                await _until(lambda: not any(worker.connected for worker in leader.ingest.seen.all()))
        async with leader.push() as push:
            opened = await _open_again(push)
            assert opened.next_offset == 0
            await push.send(appends=[append_of(opened.handle, 0, b"kept\n")])
            await push.until(lambda: push.acks.get(opened.handle) == 5)
            assert leader.stored(opened.number) == b"kept\n"


async def test_an_unexpected_failure_ends_one_stream_and_its_logs_go_on_on_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = LiveLog.accept

    def fail_for_bad(self: LiveLog, append: ingest_pb2.Append, max_batch_bytes: int) -> Any:
        if self.record.id.task == "bad":
            raise RuntimeError("a fault of the leader")
        return accept(self, append, max_batch_bytes)

    async with leader_in(tmp_path) as leader, leader.push("w2") as other:
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER, task="good"), open_of(2, task="bad"))
            monkeypatch.setattr(LiveLog, "accept", fail_for_bad)
            await push.send(appends=[append_of(1, 0, b"good\n"), append_of(2, 0, b"bad\n")])
            with pytest.raises(grpc.aio.AioRpcError, match="RuntimeError") as raised:
                await push.until(lambda: False)
            assert raised.value.code() is grpc.StatusCode.INTERNAL
        monkeypatch.undo()
        async with leader.push() as push:
            opened = await _open_again(push, task="good")
            await push.send(appends=[append_of(opened.handle, opened.next_offset, b"good\n"[opened.next_offset :])])
            await push.until(lambda: push.acks.get(opened.handle) == 5)
        await other.open(open_of(1, task="other"))


async def test_a_fenced_stream_can_neither_close_nor_tell_of_events(tmp_path: Path) -> None:
    async with leader_in(tmp_path) as leader, leader.push("w1") as late, leader.push("w2") as push:
        await late.open(open_of(1, writer_id=WRITER))
        await push.open(open_of(1, writer_id=WRITER))
        event = ingest_pb2.LogEvent(handle=1, event=types_pb2.Event(kind="x"))
        assert (await late.refusal(events=[event])).code == ingest_pb2.REFUSAL_CODE_OTHER_WRITER
        assert (await late.refusal(closes=[close_of(1, b"")])).code == ingest_pb2.REFUSAL_CODE_OTHER_WRITER
        await push.send(appends=[append_of(1, 0, b"on\n")], closes=[close_of(1, b"on\n")])
        await push.until(lambda: 1 in push.closed)
        number = push.opened[1].number
        assert leader.stored(number) == b"on\n"
        assert not leader.store.events(number)


async def test_nothing_is_taken_behind_a_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        disk = Disk(leader, monkeypatch)
        await push.open(open_of(1, writer_id=WRITER))
        await push.send(appends=[append_of(1, 0, b"all\n")])
        await push.until(lambda: push.acks.get(1) == 4)
        async with disk.held_up():
            await push.send(closes=[close_of(1, b"all\n")])
            await asyncio.to_thread(disk.waiting.wait, LONG_SECONDS)
            refusal = await push.refusal(appends=[append_of(1, 4, b"more\n")])
            assert (refusal.code, refusal.permanent) == (ingest_pb2.REFUSAL_CODE_UNAVAILABLE, False)
        await push.until(lambda: 1 in push.closed)
        assert leader.stored(push.opened[1].number) == b"all\n"


async def test_a_worker_that_is_back_while_its_loss_is_written_is_not_left_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leader_in(tmp_path, lost_after_seconds=0.5) as leader:
        disk = Disk(leader, monkeypatch)
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER))
            number = push.opened[1].number
        async with disk.held_up():
            assert await asyncio.to_thread(disk.waiting.wait, LONG_SECONDS)
            push_again = leader.push()
            push = await push_again.__aenter__()
            await push.open(open_of(1, writer_id=WRITER))

        def events() -> list[str]:
            return [event.kind for event in leader.store.events(number)]

        async def stay() -> None:
            while True:
                await push.send(stats=ingest_pb2.WorkerStats())
                await asyncio.sleep(0.1)

        staying = asyncio.create_task(stay())
        await _until(lambda: events() == ["worker_lost", "worker_back"])
        record = leader.store.get_log(number)
        assert record is not None and record.state == types_pb2.LOG_STATE_LIVE
        staying.cancel()
        await push_again.__aexit__(None, None, None)


async def test_a_worker_with_one_stream_of_two_left_is_connected(tmp_path: Path) -> None:
    async with leader_in(tmp_path) as leader, leader.push("w1"):
        async with leader.push("w1") as second:
            await second.end()
        await _until(lambda: len(leader.ingest._sessions) == 1)
        assert [(worker.worker_id, worker.connected) for worker in leader.ingest.seen.all()] == [("w1", True)]


async def test_of_workers_that_are_gone_only_so_many_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MAX_GONE", 2)
    async with leader_in(tmp_path) as leader, leader.push("here"):
        for number in range(4):
            async with leader.push(f"gone{number}") as push:
                await push.end()
            await _until(lambda: len(leader.ingest._sessions) == 1)
        found = {worker.worker_id for worker in leader.ingest.seen.all()}
        assert found == {"here", "gone2", "gone3"}
