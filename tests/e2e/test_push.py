"""What workers may send, and what they may not: over a real stream, into a real store."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import zstandard

from joblog.batch import CODEC_ZSTD
from joblog.v1 import ingest_pb2, ingest_pb2_grpc, types_pb2
from tests.e2e.push_stream import Leader, append_of, batch_of, close_of, leader_in, open_of


async def test_bytes_arrive_once_in_order_and_are_sealed(tmp_path: Path) -> None:
    pieces = [os.urandom(1000), b"line\n" * 5000, b"\0\xff", b"end"]
    data = b"".join(pieces)
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1))
        offset = 0
        for piece in pieces:
            # Every piece is sent twice, and the whole so far again: repeats are acked, not stored.
            await push.send(
                appends=[append_of(1, offset, piece), append_of(1, offset, piece), append_of(1, 0, pieces[0])]
            )
            offset += len(piece)
        await push.send(closes=[close_of(1, data)])
        await push.until(lambda: push.closed)
        assert push.acks[1] == len(data)
        seal = push.closed[1].seal
        assert (seal.length, seal.sha256, seal.newlines) == (
            len(data),
            hashlib.sha256(data).digest(),
            5000 + pieces[0].count(b"\n"),
        )
        assert leader.stored(push.opened[1].number) == data
        record = leader.store.get_log(push.opened[1].number)
        assert record is not None
        assert record.state == types_pb2.LOG_STATE_COMPLETED
        assert 0 < record.stored_bytes < 2 * len(data)


async def test_an_open_attempt_gets_the_next_free_one_and_the_same_again(tmp_path: Path) -> None:
    writers = [os.urandom(16) for _ in range(3)]
    async with leader_in(tmp_path) as leader:
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=writers[0]), open_of(2, writer_id=writers[1]), open_of(3, attempt=7))
            assert [push.opened[handle].id.attempt for handle in (1, 2, 3)] == [1, 2, 7]
        async with leader.push() as push:
            await push.open(open_of(5, writer_id=writers[2]), open_of(6, writer_id=writers[1]))
            assert [push.opened[handle].id.attempt for handle in (5, 6)] == [8, 2]
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(9, writer_id=writers[1]))
        assert push.opened[9].id.attempt == 2


async def test_offsets_are_agreed_on_again_after_the_leader_was_restarted(tmp_path: Path) -> None:
    writer = os.urandom(16)
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1, writer_id=writer))
        await push.send(appends=[append_of(1, 0, b"first\n")])
        await push.until(lambda: push.acks.get(1) == 6)
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(4, writer_id=writer))
        assert push.opened[4].next_offset == 6
        await push.send(appends=[append_of(4, 6, b"second\n")], closes=[close_of(4, b"first\nsecond\n")])
        await push.until(lambda: push.closed)
        assert leader.stored(push.opened[4].number) == b"first\nsecond\n"


@pytest.mark.parametrize("field", ["namespace", "run", "task"])
@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\nb", "\x00", "é", "x" * 251, "x" * 1_000_000, "@run2"])
async def test_bad_names_are_refused(tmp_path: Path, field: str, name: str) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        refusal = await push.refusal(opens=[open_of(1, **{field: name})])
        assert refusal.code == ingest_pb2.REFUSAL_CODE_INVALID
        assert refusal.permanent
        assert field in refusal.message
        assert len(refusal.message) < 1000
        await push.open(open_of(2))


async def test_a_second_writer_is_refused_and_a_late_stream_is_fenced(tmp_path: Path) -> None:
    writer = os.urandom(16)
    async with leader_in(tmp_path) as leader, leader.push() as old:
        await old.open(open_of(1, writer_id=writer, attempt=1))
        await old.send(appends=[append_of(1, 0, b"old")])
        await old.until(lambda: old.acks.get(1) == 3)
        async with leader.push() as new:
            refusal = await new.refusal(opens=[open_of(1, attempt=1)])
            assert refusal.code == ingest_pb2.REFUSAL_CODE_OTHER_WRITER
            await new.open(open_of(2, writer_id=writer, attempt=1))
            assert new.opened[2].next_offset == 3
            late = await old.refusal(appends=[append_of(1, 3, b"late")])
            assert late.code == ingest_pb2.REFUSAL_CODE_OTHER_WRITER
            await new.send(appends=[append_of(2, 3, b"new")], closes=[close_of(2, b"oldnew")])
            await new.until(lambda: new.closed)
            assert leader.stored(new.opened[2].number) == b"oldnew"


def _bad_batches() -> list[Any]:
    good = b"some text\n" * 100
    batch = batch_of(good)

    def changed(**fields: Any) -> types_pb2.Batch:
        other = types_pb2.Batch()
        other.CopyFrom(batch)
        for name, value in fields.items():
            setattr(other, name, value)
        return other

    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    # A frame that claims to be small, and one that does not say its size, and both inflate to 64 MiB.
    unsized = zstandard.ZstdCompressor(level=19, write_content_size=False).compress(bytes(64 << 20))
    return [
        pytest.param(changed(crc32c=batch.crc32c ^ 1), "crc32c", id="crc"),
        pytest.param(changed(payload=batch.payload[:-3]), "payload", id="truncated"),
        pytest.param(changed(payload=os.urandom(50)), "payload", id="not zstd"),
        pytest.param(changed(raw_length=len(good) - 1), "payload", id="length"),
        pytest.param(changed(payload=bomb, raw_length=1000), "payload", id="bomb"),
        pytest.param(changed(payload=unsized, raw_length=1000), "payload", id="unsized bomb"),
        pytest.param(changed(payload=batch.payload + b"x"), "payload", id="trailing"),
        pytest.param(changed(codec=1), "payload", id="codec none"),
        pytest.param(changed(codec=9), "codec", id="unknown codec"),
        pytest.param(changed(frames=b""), "frames", id="no frames"),
        pytest.param(changed(frames=batch_of(good[:-1]).frames), "frames", id="frames do not add up"),
        pytest.param(changed(frames=b"\1" + (65537).to_bytes(4, "little") + bomb), "frames", id="too many frames"),
        pytest.param(changed(newlines=5000), "newlines", id="newlines"),
    ]


@pytest.mark.parametrize(("batch", "what"), _bad_batches())
async def test_a_damaged_batch_is_refused_and_harms_nobody_else(
    tmp_path: Path, batch: types_pb2.Batch, what: str
) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1, task="bad"), open_of(2, task="good"))
        bad = ingest_pb2.Append(handle=1, offset=0, batch=batch)
        refusal = await push.refusal(appends=[bad, append_of(2, 0, b"unharmed")])
        assert (refusal.handle, refusal.code, refusal.next_offset) == (1, ingest_pb2.REFUSAL_CODE_CORRUPT, 0)
        assert what in refusal.message
        await push.until(lambda: push.acks.get(2) == 8)
        await push.send(appends=[append_of(1, 0, b"sent again")])
        await push.until(lambda: push.acks.get(1) == 10)
        assert leader.stored(push.opened[1].number) == b"sent again"
        assert batch.codec != CODEC_ZSTD or batch.raw_length <= 1 << 20


@pytest.mark.parametrize(
    ("offset", "length", "code"),
    [
        pytest.param(11, 5, ingest_pb2.REFUSAL_CODE_OFFSET, id="beyond the end"),
        pytest.param(5, 10, ingest_pb2.REFUSAL_CODE_OFFSET, id="across the end"),
        pytest.param(2**63, 5, ingest_pb2.REFUSAL_CODE_INVALID, id="2**63"),
        pytest.param(2**64 - 1, 5, ingest_pb2.REFUSAL_CODE_INVALID, id="2**64-1"),
        pytest.param(2**63 - 4, 5, ingest_pb2.REFUSAL_CODE_INVALID, id="over 2**63"),
        pytest.param(10, (1 << 20) + 1, ingest_pb2.REFUSAL_CODE_INVALID, id="larger than a batch may be"),
    ],
)
async def test_wrong_offsets_are_refused_with_the_next_one(tmp_path: Path, offset: int, length: int, code: int) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1))
        await push.send(appends=[append_of(1, 0, b"0123456789")])
        await push.until(lambda: push.acks.get(1) == 10)
        refusal = await push.refusal(appends=[append_of(1, offset, bytes(length))])
        assert (refusal.code, refusal.next_offset) == (code, 10)
        assert leader.stored(push.opened[1].number) == b"0123456789"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"sha256": b"\1" * 32}, ingest_pb2.REFUSAL_CODE_SEAL, id="hash"),
        pytest.param({"length": 3}, ingest_pb2.REFUSAL_CODE_SEAL, id="too short"),
        pytest.param({"length": 12}, ingest_pb2.REFUSAL_CODE_OFFSET, id="too long"),
        pytest.param({"newlines": 2}, ingest_pb2.REFUSAL_CODE_SEAL, id="newlines"),
    ],
)
async def test_a_wrong_close_is_refused_and_the_log_goes_on(tmp_path: Path, fields: dict[str, Any], code: int) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1))
        await push.send(appends=[append_of(1, 0, b"hello\n")])
        refusal = await push.refusal(closes=[close_of(1, b"hello\n", **fields)])
        assert refusal.code == code
        await push.send(appends=[append_of(1, 6, b"world\n")], closes=[close_of(1, b"hello\nworld\n")])
        await push.until(lambda: push.closed)
        late = await push.refusal(appends=[append_of(1, 12, b"more")])
        assert late.code in (ingest_pb2.REFUSAL_CODE_COMPLETED, ingest_pb2.REFUSAL_CODE_UNKNOWN_HANDLE)
        assert leader.stored(push.opened[1].number) == b"hello\nworld\n"


async def test_gaps_are_declared_and_never_shift_an_offset(tmp_path: Path) -> None:
    gap = types_pb2.Gap(offset=5, length=100, reason=types_pb2.GAP_REASON_SPOOL_FULL, newlines=3)
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1))
        await push.send(
            appends=[
                append_of(1, 0, b"head\n"),
                ingest_pb2.Append(handle=1, offset=5, gap=gap),
                append_of(1, 105, b"tail\n"),
            ]
        )
        await push.send(closes=[close_of(1, b"head\ntail\n", length=110, newlines=5)])
        await push.until(lambda: push.closed)
        assert list(push.closed[1].seal.gaps) == [gap]
        assert push.closed[1].seal.length == 110
        assert leader.stored(push.opened[1].number) == b"head\ntail\n"


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_log_limit_drops_from_the_middle_and_keeps_head_and_tail(tmp_path: Path, at_once: bool) -> None:
    pieces = [f"{number:04d}\n".encode() * 20 for number in range(100)]
    data = b"".join(pieces)
    async with leader_in(tmp_path, max_log_bytes=2000) as leader, leader.push() as push:
        await push.open(open_of(1))
        appends = [append_of(1, number * 100, piece) for number, piece in enumerate(pieces)]
        # Two gaps that the writer itself declares go with what lies around them.
        for number in (30, 50):
            gap = types_pb2.Gap(offset=number * 100, length=100, reason=types_pb2.GAP_REASON_LOST, newlines=20)
            appends[number] = ingest_pb2.Append(handle=1, offset=number * 100, gap=gap)
        for group in [appends] if at_once else [[append] for append in appends]:
            await push.send(appends=group)
        sent = b"".join(piece for number, piece in enumerate(pieces) if number not in (30, 50))
        await push.send(closes=[close_of(1, sent, length=len(data), newlines=data.count(b"\n"))])
        await push.until(lambda: push.closed)
        seal = push.closed[1].seal
        kept = leader.stored(push.opened[1].number)
        assert kept == data[:1000] + data[-1000:]
        assert [(gap.offset, gap.length, gap.reason) for gap in seal.gaps] == [
            (1000, len(data) - 2000, types_pb2.GAP_REASON_LOG_LIMIT)
        ]
        assert seal.sha256 == hashlib.sha256(kept).digest()
        assert (seal.length, seal.newlines) == (len(data), data.count(b"\n"))


async def test_a_silent_worker_is_lost_and_comes_back(tmp_path: Path) -> None:
    writer = os.urandom(16)
    async with leader_in(tmp_path, lost_after_seconds=1.0, heartbeat_seconds=0.1) as leader:
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=writer))
            await push.send(appends=[append_of(1, 0, b"still here\n")])
            await push.until(lambda: push.acks.get(1) == 11)
            number = push.opened[1].number
            await _state(leader, number, types_pb2.LOG_STATE_INTERRUPTED)
        async with leader.push() as push:
            await push.open(open_of(1, writer_id=writer))
            assert push.opened[1].next_offset == 11
            await _state(leader, number, types_pb2.LOG_STATE_LIVE)
            await push.send(closes=[close_of(1, b"still here\n")])
            await push.until(lambda: push.closed)
        assert [event.kind for event in leader.store.events(number)] == ["worker_lost", "worker_back"]


async def test_a_stream_keeps_nothing_of_logs_that_are_closed(tmp_path: Path) -> None:
    async with leader_in(tmp_path) as leader, leader.push() as push:
        for handle in range(1, 4):
            await push.open(open_of(handle, task=f"t{handle}"))
            await push.send(events=[ingest_pb2.LogEvent(handle=handle, event=types_pb2.Event(kind="x"))])
            await push.send(closes=[close_of(handle, b"")])
            await push.until(lambda handle=handle: handle in push.closed)
        (stream,) = leader.ingest._sessions
        assert (stream.logs, stream.kept, +stream._processing._events) == ({}, {}, {})


async def _state(leader: Leader, number: int, state: int) -> None:
    async with asyncio.timeout(20):
        while (record := leader.store.get_log(number)) is None or record.state != state:
            await asyncio.sleep(0.02)


async def test_a_stream_must_begin_with_hello(tmp_path: Path) -> None:
    async with leader_in(tmp_path) as leader, leader.raw_push() as push:
        await push.send(opens=[open_of(1)])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await push.receive()
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "hello" in (raised.value.details() or "")


def _push_message(address: str, message: ingest_pb2.PushRequest) -> grpc.StatusCode:
    """How a stream of a hello and one message ends, as a client of another make sees it."""
    hello = ingest_pb2.PushRequest(hello=ingest_pb2.Hello(worker_id="w", protocol=1))
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        stub = ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Push(iter([hello, message]))
        with contextlib.suppress(grpc.RpcError):
            list(call)
        code = call.code()
        assert isinstance(code, grpc.StatusCode)
        return code


async def test_a_message_over_the_limit_ends_the_stream_with_a_clear_status(tmp_path: Path) -> None:
    large = ingest_pb2.PushRequest(
        appends=[ingest_pb2.Append(handle=1, batch=types_pb2.Batch(payload=bytes(17 << 20)))]
    )
    async with leader_in(tmp_path) as leader:
        code = await asyncio.to_thread(_push_message, leader.address, large)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with leader.push() as push:
            await push.open(open_of(1))


async def test_acks_come_only_for_what_is_on_disk(tmp_path: Path) -> None:
    writer = os.urandom(16)
    async with leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(open_of(1, writer_id=writer))
        for number in range(200):
            await push.send(appends=[append_of(1, number * 10, b"0123456789")])
        await push.until(lambda: push.acks.get(1, 0) >= 500)
        acked = push.acks[1]
        assert len(leader.stored(push.opened[1].number)) >= acked
