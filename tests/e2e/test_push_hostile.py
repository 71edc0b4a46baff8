"""A worker that says what no worker says: it harms its own logs at most, and nobody who looks at them."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.opening import CODEC_FOREIGN
from joblog.leader.ingest import processing
from joblog.v1 import ingest_pb2, types_pb2
from joblog.v1.archive_pb2 import ForeignRange
from tests.e2e.push_stream import append_of, close_of, leader_in, open_of
from tests.e2e.test_push_failures import Disk
from tests.e2e.test_quotas import limited

MINE = b"mine\n" * 10


def gap_of(handle: int, offset: int, length: int, **fields: Any) -> ingest_pb2.Append:
    return ingest_pb2.Append(handle=handle, offset=offset, gap=types_pb2.Gap(offset=offset, length=length, **fields))


async def test_a_gap_for_a_reason_that_nobody_knows_is_lost_bytes(tmp_path: Path) -> None:
    async with leader_in(tmp_path) as leader, leader.push("w1") as push, leader.push("w2") as other:
        await push.open(open_of(1))
        await other.open(open_of(1, run="other"))
        for number, reason in enumerate((99, 5, -1, 2**31 - 1, -(2**31))):
            await push.send(appends=[gap_of(1, number, 1, reason=reason)])
        await push.until(lambda: push.acks[1] == 5)
        gaps = leader.store.gaps(push.opened[1].number)
        assert {gap.reason for gap in gaps} == {types_pb2.GAP_REASON_LOST}
        await other.send(appends=[append_of(1, 0, MINE)], closes=[close_of(1, MINE)])
        await other.until(lambda: other.closed)


async def test_no_worker_can_say_that_its_bytes_lie_elsewhere(tmp_path: Path) -> None:
    place = ForeignRange(url=f"file://{tmp_path}/leader/kek.key", object_bytes=32).SerializeToString()
    async with leader_in(tmp_path) as leader, leader.push("w1") as push:
        await push.open(open_of(1))
        for length in (1, 32, len(place)):
            append = append_of(1, 0, MINE)
            append.batch.codec, append.batch.payload = CODEC_FOREIGN, place  # type: ignore[assignment]
            append.batch.raw_length = length
            refusal = await push.refusal(appends=[append])
            assert "codec: 3 is not known" in refusal.message
        with leader.store.view() as view:
            assert list(view.chunks(push.opened[1].number)) == []


async def test_what_can_not_be_applied_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are in one group of the committer: the other one's bytes are stored all the same, and the leader goes on."""
    put_gap = Changes.put_gap

    def fail(changes: Changes, number: int, gap: types_pb2.Gap, *rest: Any) -> None:
        if gap.length == 666:
            raise ValueError("a bug that this worker has found")
        put_gap(changes, number, gap, *rest)

    monkeypatch.setattr(Changes, "put_gap", fail)
    async with leader_in(tmp_path) as leader, leader.push("w1") as push, leader.push("w2") as other:
        await push.open(open_of(1))
        await other.open(open_of(1, run="other"), open_of(2, run="other"))
        disk = Disk(leader, monkeypatch)
        async with disk.held_up():
            await other.send(appends=[append_of(2, 0, MINE)])
            assert await asyncio.to_thread(disk.waiting.wait, 20)
            await push.send(appends=[gap_of(1, 0, 666)])
            await other.send(appends=[append_of(1, 0, MINE)])
            async with asyncio.timeout(20):
                while leader.ingest.committer._queue.qsize() < 2:
                    await asyncio.sleep(0.01)
        await other.until(lambda: other.acks[1] == len(MINE))
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await push.end()
            await push.call.read()
        assert ended.value.code() == grpc.StatusCode.INTERNAL and "a bug" not in str(ended.value.details())
        assert leader.stored(other.opened[1].number) == MINE
    async with leader_in(tmp_path) as leader, leader.push("w1") as push:
        await push.open(open_of(1))


async def test_an_outcome_that_makes_no_sense(tmp_path: Path) -> None:
    said = types_pb2.Outcome(kind=99, cpu_seconds=math.nan, message="x" * 100_000, exit_code=-5)  # type: ignore[arg-type]
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1))
        await push.send(closes=[close_of(1, b"", outcome=said)])
        await push.until(lambda: push.closed)
        record = leader.store.get_log(push.opened[1].number)
    assert record is not None
    found = record.outcome
    assert (found.kind, found.cpu_seconds, len(found.message), found.exit_code) == (0, 0.0, 4096, -5)


async def test_gaps_and_events_take_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing, "MAX_EVENTS", 5)
    async with limited(tmp_path, "default: stored_bytes=1000") as (leader, _), leader.push() as push:
        await push.open(open_of(1))
        for offset in range(100):
            await push.send(appends=[gap_of(1, offset, 1)])
        await push.until(lambda: push.refusals)
        refusal = push.refusals[0]
        assert refusal.code == ingest_pb2.REFUSAL_CODE_QUOTA and refusal.next_offset < 30
        assert len(leader.store.gaps(push.opened[1].number)) < 30
        event = ingest_pb2.LogEvent(handle=1, event=types_pb2.Event(kind="made_up"))
        await push.send(events=[event] * 5)
        await push.send(events=[event])
        await push.until(lambda: any("more than 5 events" in one.message for one in push.refusals))
