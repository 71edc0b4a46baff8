"""What the leader tells a writer of its own log, so that it goes on elsewhere; and what it tells nobody else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest

from joblog.leader.api.grpc_ingest import IngestService
from joblog.leader.buffer.changes import Changes
from joblog.v1 import ingest_pb2, ingest_pb2_grpc, types_pb2
from tests.death_leader import DeathLeader, death_leader
from tests.e2e.push_stream import append_of, close_of, open_of

WRITER = os.urandom(16)


@asynccontextmanager
async def asked(dead: DeathLeader) -> AsyncIterator[ingest_pb2_grpc.IngestStub]:
    pool = ThreadPoolExecutor(1)
    server = grpc.aio.server()
    service = IngestService(dead.leader.ingest, cast(Any, None), pool, dead.reader)
    ingest_pb2_grpc.add_IngestServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
    await server.stop(0)
    pool.shutdown()


def request(writer_id: bytes = WRITER, **fields: Any) -> ingest_pb2.GetLogTailRequest:
    place = {"namespace": "default", "run": "r", "task": "t", **fields.pop("id", {})}
    return ingest_pb2.GetLogTailRequest(id=types_pb2.LogId(**place), writer_id=writer_id, **fields)


async def test_its_own_writer_learns_where_a_log_stands(tmp_path: Path) -> None:
    async with death_leader(tmp_path) as dead, asked(dead) as stub:
        assert not (await stub.GetLogTail(request())).found
        async with dead.leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER))
            await push.send(appends=[append_of(1, 0, b"one\n"), append_of(1, 4, b"two\n")])
            await push.until(lambda: push.acks.get(1) == 8)
            tail = await stub.GetLogTail(request())
            assert (tail.found, tail.completed, tail.next_offset, tail.newlines) == (True, False, 8, 2)
            assert (tail.data, list(tail.lengths), tail.id.attempt) == (b"one\ntwo\n", [4, 4], 1)
            assert len(tail.times_ns) == 2
            assert (await stub.GetLogTail(request(limit_bytes=5))).data == b"\ntwo\n"
            # Behind a gap alone.
            gap = types_pb2.Gap(offset=8, length=100, reason=types_pb2.GAP_REASON_LOST)
            await push.send(appends=[ingest_pb2.Append(handle=1, offset=8, gap=gap), append_of(1, 108, b"end\n")])
            await push.until(lambda: push.acks.get(1) == 112)
            tail = await stub.GetLogTail(request())
            assert (tail.next_offset, tail.data, list(tail.lengths)) == (112, b"end\n", [4])
            await push.send(closes=[close_of(1, b"one\ntwo\nend\n", length=112, newlines=3)])
            await push.until(lambda: push.closed)
        tail = await stub.GetLogTail(request())
        assert (tail.completed, tail.next_offset, tail.data) == (True, 112, b"")


async def test_nobody_else_learns_anything(tmp_path: Path) -> None:
    async with death_leader(tmp_path) as dead, asked(dead) as stub:
        async with dead.leader.push() as push:
            await push.open(open_of(1, writer_id=WRITER))
            await push.send(appends=[append_of(1, 0, b"secret\n")])
            await push.until(lambda: push.acks.get(1) == 7)
            number = push.opened[1].number
        other = await stub.GetLogTail(request(os.urandom(16)))
        assert other == ingest_pb2.GetLogTailResponse()
        assert await stub.GetLogTail(request(id={"task": "u"})) == ingest_pb2.GetLogTailResponse()
        for bad in (
            request(b"short"),
            request(limit_bytes=(1 << 20) + 1),
            request(id={"namespace": "@audit"}),
            request(id={"run": "a/b"}),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetLogTail(bad)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        changes = Changes()
        changes.delete_log(number)
        dead.leader.store.write(changes)
        with pytest.raises(grpc.aio.AioRpcError, match="was deleted") as caught:
            await stub.GetLogTail(request())
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
