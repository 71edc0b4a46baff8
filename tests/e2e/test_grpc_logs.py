from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import psutil
import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import Conflict
from joblog.identity import LogName
from joblog.leader.api.gate import Gate
from joblog.leader.api.grpc_server import GrpcServer
from joblog.v1 import admin_pb2, logs_pb2, types_pb2
from tests.e2e.api_server import Api, api_in
from tests.stored_log import fill

ID = types_pb2.LogId(namespace="default", run="demo", task="build", attempt=1)
MIB = 1 << 20


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path) as running:
        yield running


async def read(api: Api, **fields: object) -> list[logs_pb2.ReadResponse]:
    request = logs_pb2.ReadRequest(**({"id": ID} | fields))  # type: ignore[arg-type]
    return [response async for response in api.logs.Read(request)]


def data_of(responses: list[logs_pb2.ReadResponse]) -> bytes:
    return b"".join(response.data for response in responses)


async def test_reading(api: Api) -> None:
    log = api.stored.log()
    log.append((STDOUT, b"out 1\n"), (STDERR, b"err 1\n"))
    log.gap(10, newlines=2)
    log.append((STDOUT, b"out 2\n"))
    log.event("log_limit")
    responses = await read(api, with_frames=True)
    assert data_of(responses) == b"out 1\nerr 1\nout 2\n"
    assert [response.gap.length for response in responses if response.HasField("gap")] == [10]
    frames = [frame for response in responses for frame in response.frames]
    assert [(frame.stream, frame.offset, frame.length) for frame in frames] == [(1, 0, 6), (2, 6, 6), (1, 22, 6)]
    assert frames[1].time_ns - frames[0].time_ns == 1_000_000
    last = responses[-1]
    assert (last.next_offset, last.state, last.tier) == (28, types_pb2.LOG_STATE_LIVE, types_pb2.TIER_BUFFER)
    assert [event.kind for response in responses for event in response.events] == ["log_limit"]
    assert data_of(await read(api, stream=types_pb2.STREAM_STDERR)) == b"err 1\n"
    assert data_of(await read(api, last_lines=1)) == b"out 2\n"
    assert data_of(await read(api, last_bytes=3)) == b" 2\n"
    assert data_of(await read(api, line=2, limit_bytes=8)) == b"err 1\nou"
    assert data_of(await read(api, id=types_pb2.LogId(namespace="default", run="demo", task="build"))).startswith(
        b"out"
    )


async def test_lists_and_records(api: Api) -> None:
    for number in range(3):
        fill(api.stored.log(LogName("default", f"run-{number}", "build", 1)), [b"x\n"])
    page = await api.logs.ListRuns(logs_pb2.ListRunsRequest(namespace="default", page_size=2))
    assert [run.run for run in page.runs] == ["run-2", "run-1"]
    page = await api.logs.ListRuns(logs_pb2.ListRunsRequest(namespace="default", page_token=page.next_page_token))
    assert [run.run for run in page.runs] == ["run-0"]
    names = await api.logs.ListNamespaces(logs_pb2.ListNamespacesRequest())
    assert (list(names.namespaces), names.next_page_token) == (["default"], "")
    logs = await api.logs.ListLogs(logs_pb2.ListLogsRequest(namespace="default", run="run-1"))
    assert [(log.id.task, log.next_offset, log.writer_id) for log in logs.logs] == [("build", 2, b"")]
    run = await api.logs.GetRun(logs_pb2.GetRunRequest(namespace="default", run="run-1"))
    assert run.logs_live == 1
    found = await api.logs.GetLog(logs_pb2.GetLogRequest(id=logs.logs[0].id))
    assert (found.log.newlines, found.log.writer_id) == (1, b"")


async def test_bad_requests_have_the_right_status(api: Api) -> None:
    fill(api.stored.log(), [b"one\n"])
    bad = grpc.StatusCode.INVALID_ARGUMENT
    beyond = grpc.StatusCode.OUT_OF_RANGE

    def log_id(**fields: object) -> types_pb2.LogId:
        made = types_pb2.LogId(**fields)  # type: ignore[arg-type]
        copy = types_pb2.LogId()
        copy.CopyFrom(ID)
        copy.MergeFrom(made)
        return copy

    cases: list[tuple[dict[str, object], grpc.StatusCode, str]] = [
        ({"id": types_pb2.LogId()}, bad, "namespace"),
        ({"id": log_id(run="a/b")}, bad, "run 'a/b'"),
        ({"id": log_id(run="..")}, bad, "run '..'"),
        ({"id": log_id(task="x" * MIB)}, bad, "task"),
        ({"id": log_id(task="a\nb")}, bad, "task"),
        ({"id": log_id(attempt=2**32 - 1)}, bad, "attempt"),
        ({"id": log_id(attempt=2)}, grpc.StatusCode.NOT_FOUND, "demo/build/2"),
        ({"offset": 5}, beyond, "beyond the end"),
        ({"offset": 2**63}, bad, "offset"),
        ({"offset": 2**64 - 1}, bad, "offset"),
        ({"line": 0}, bad, "line"),
        ({"line": 3}, beyond, "line 3"),
        ({"stream": 9}, bad, "stream"),
        ({"limit_bytes": 2**64 - 1}, bad, "limit"),
    ]
    for fields, status, words in cases:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(api, **fields)
        assert caught.value.code() == status, fields
        assert words in (caught.value.details() or ""), fields
        assert "Traceback" not in (caught.value.details() or "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.logs.ListRuns(logs_pb2.ListRunsRequest(namespace="default", page_size=1001))
    assert "page_size" in (caught.value.details() or "")


async def test_an_unexpected_failure_tells_the_client_nothing_of_its_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr(api.stored.store, "get_run", fail)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.logs.GetRun(logs_pb2.GetRunRequest(namespace="default", run="demo"))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in (caught.value.details() or "")
    reply = await api.http.get("/api/v1/namespaces/default/runs/demo")
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "INTERNAL")
    assert "secret" not in reply.text


async def test_a_tail_is_pushed_to_within_milliseconds(api: Api) -> None:
    log = api.stored.log()
    call = api.logs.Read(logs_pb2.ReadRequest(id=ID, follow=True))
    assert (await call.read()).state == types_pb2.LOG_STATE_LIVE
    delays = []
    for _ in range(50):
        waiting = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.005)
        began = time.monotonic()
        log.append((STDOUT, b"a line\n"))
        assert (await waiting).data == b"a line\n"
        delays.append(time.monotonic() - began)
    assert sorted(delays)[25] < 0.1
    log.complete()
    assert (await call.read()).state == types_pb2.LOG_STATE_COMPLETED
    assert not isinstance(await call.read(), logs_pb2.ReadResponse)


async def test_a_client_that_reads_nothing_takes_no_memory(api: Api) -> None:
    log = api.stored.log()
    block = os.urandom(MIB)
    for _ in range(64):
        log.append((STDOUT, block))
    log.model.data, log.model.streams = bytearray(), bytearray()
    log.record.next_offset = 64 * MIB
    calls = [api.logs.Read(logs_pb2.ReadRequest(id=ID, follow=True)) for _ in range(8)]
    for call in calls:
        await call.read()
    await asyncio.sleep(0.5)
    before = psutil.Process().memory_info().rss
    await asyncio.sleep(0.5)
    assert psutil.Process().memory_info().rss - before < 16 * MIB
    # gRPC's own window grows to 16 MiB a stream on a slow machine, and some is on its way: half of the logs, not all.
    assert api.stored.metrics.reads.bytes._value.get() < 8 * 32 * MIB
    responses = await read(api, limit_bytes=40 * MIB)
    assert sum(len(response.data) for response in responses) == 40 * MIB
    for call in calls:
        call.cancel()


async def test_verifying(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"one\n", b"two\n"])
    [verdict] = [response async for response in api.logs.Verify(logs_pb2.VerifyRequest(id=ID)) if response.done]
    assert (verdict.complete, verdict.HasField("expected"), list(verdict.problems)) == (False, False, [])
    log.complete()
    [verdict] = [response async for response in api.logs.Verify(logs_pb2.VerifyRequest(id=ID)) if response.done]
    assert (verdict.complete, verdict.bytes_done, verdict.bytes_total) == (True, 8, 8)
    assert verdict.found == verdict.expected
    assert (await api.logs.GetLog(logs_pb2.GetLogRequest(id=ID))).verified == verdict.verified
    assert verdict.verified.says == "complete, as it was written"
    log.drop(4)
    [verdict] = [response async for response in api.logs.Verify(logs_pb2.VerifyRequest(id=ID)) if response.done]
    assert not verdict.complete
    assert verdict.problems


async def test_status_and_deletion(api: Api) -> None:
    fill(api.stored.log(), [b"one\n"])
    status = await api.admin.GetStatus(admin_pb2.GetStatusRequest())
    assert (status.leader_id, status.logs_live, status.http_url) == ("leader-1", 7, api.http_server.url)
    assert status.buffer_bytes > 0
    tail = api.logs.Read(logs_pb2.ReadRequest(id=ID, follow=True))
    await tail.read()
    done = await api.admin.Delete(admin_pb2.DeleteRequest(namespace="default", run="demo", task="build"))
    assert (done.logs_deleted, done.bytes_deleted) == (1, 4)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tail.read()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    done = await api.admin.Delete(admin_pb2.DeleteRequest(namespace="default", run="demo"))
    assert done.logs_deleted == 0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.admin.Delete(admin_pb2.DeleteRequest(namespace="default"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_stopping_ends_tails(api: Api) -> None:
    api.stored.log()
    tail = api.logs.Read(logs_pb2.ReadRequest(id=ID, follow=True))
    await tail.read()
    began = time.monotonic()
    await api.grpc_server.drain(10)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tail.read()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - began < 3


async def test_a_port_in_use_is_said(api: Api) -> None:
    made = api.grpc_server
    second = GrpcServer(made._logs, made._admin, Gate.open(), host="127.0.0.1", port=made.port, max_message_bytes=MIB)
    with pytest.raises(Conflict, match=str(made.port)):
        await second.start()
