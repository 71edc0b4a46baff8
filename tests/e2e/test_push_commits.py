"""Nothing is acked, and no log completed, before its bytes are on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from joblog.v1 import ingest_pb2, types_pb2
from tests.e2e.push_stream import LONG_SECONDS, append_of, close_of, leader_in, open_of
from tests.e2e.test_push_failures import Disk

WRITER = b"w" * 16


async def test_an_ack_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        disk = Disk(leader, monkeypatch)
        await push.open(open_of(1))
        async with disk.held_up():
            await push.send(appends=[append_of(1, 0, b"bytes\n")])
            assert await asyncio.to_thread(disk.waiting.wait, LONG_SECONDS)
            # What is refused is answered at once, together with all that there is to say by then.
            refusal = await push.refusal(appends=[ingest_pb2.Append(handle=9)])
            assert refusal.handle == 9
            assert push.acks.get(1, 0) == 0
            assert leader.ingest.live.length(push.opened[1].number) == 0
        await push.until(lambda: push.acks.get(1) == 6)


async def test_a_log_whose_bytes_could_not_be_stored_is_not_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"all there is\n"
    async with leader_in(tmp_path) as leader:
        disk = Disk(leader, monkeypatch)
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER))
            number = push.opened[1].number
            async with disk.held_up(full=True):
                await push.send(appends=[append_of(1, 0, data)], closes=[close_of(1, data)])
            with pytest.raises(grpc.aio.AioRpcError, match="no space is left"):
                await push.until(lambda: False)
            assert not push.closed
        record = leader.store.get_log(number)
        assert record is not None
        assert (record.state, record.next_offset) == (types_pb2.LOG_STATE_LIVE, 0)
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER))
            assert (push.opened[1].number, push.opened[1].next_offset) == (number, 0)
            await push.send(appends=[append_of(1, 0, data)], closes=[close_of(1, data)])
            await push.until(lambda: 1 in push.closed)
            assert leader.stored(number) == data
