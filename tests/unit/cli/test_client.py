"""What a client makes of answers and broken lines: a leader whose answers are written down, on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from joblog.channel import server_options
from joblog.client import Client
from joblog.errors import Corrupt, InvalidInput, JoblogError, NotFound, Unavailable, WrongVersion
from joblog.identity import LogName
from joblog.v1 import logs_pb2, logs_pb2_grpc, types_pb2

Reading = Callable[[logs_pb2.ReadRequest, grpc.ServicerContext], Iterator[logs_pb2.ReadResponse]]


class ScriptedLeader(logs_pb2_grpc.LogsServicer):
    """Serves one log. read: answers a Read; each call may do something else."""

    def __init__(self, read: Reading, attempt: int = 3, port: int = 0) -> None:
        self.requests: list[Any] = []
        self._read = read
        self._attempt = attempt
        self._server = grpc.server(ThreadPoolExecutor(4), options=server_options())
        logs_pb2_grpc.add_LogsServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def GetLog(  # noqa: N802
        self, request: logs_pb2.GetLogRequest, context: grpc.ServicerContext
    ) -> logs_pb2.GetLogResponse:
        self.requests.append(_copy(request))
        if request.id.run == "none":
            context.abort(grpc.StatusCode.NOT_FOUND, "no log default:none/t is there")
        log = types_pb2.LogRecord(id=request.id)
        log.id.attempt = request.id.attempt or self._attempt
        return logs_pb2.GetLogResponse(log=log)

    def Read(  # noqa: N802
        self, request: logs_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> Iterator[logs_pb2.ReadResponse]:
        self.requests.append(_copy(request))
        yield from self._read(request, context)

    def stop(self) -> None:
        """Cuts every connection, and waits until the port is free."""
        ended: threading.Event = self._server.stop(grace=0)
        ended.wait()


def _copy(request: Any) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


def from_bytes(whole: bytes, piece: int = 10) -> Reading:
    """Answers with the bytes of a log from the offset that is asked for, `piece` at a time."""

    def read(request: logs_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[logs_pb2.ReadResponse]:
        for start in range(request.offset, len(whole), piece):
            data = whole[start : start + piece]
            yield logs_pb2.ReadResponse(offset=start, data=data, next_offset=start + len(data))

    return read


WHOLE = bytes(range(256)) * 20
NAME = LogName("default", "r", "t", 0)


@pytest.fixture(autouse=True)
def plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBLOG_PLAINTEXT", "1")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_reads_a_log_whole() -> None:
    leader = ScriptedLeader(from_bytes(WHOLE))
    try:
        with Client(leader.address) as client:
            assert b"".join(part.data for part in client.read(NAME)) == WHOLE
    finally:
        leader.stop()


def test_a_read_of_the_newest_attempt_stays_with_it() -> None:
    leader = ScriptedLeader(from_bytes(WHOLE), attempt=7)
    try:
        with Client(leader.address) as client:
            list(client.read(NAME))
    finally:
        leader.stop()
    assert leader.requests[-1].id.attempt == 7


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED])
def test_goes_on_at_the_offset_when_the_line_breaks(code: grpc.StatusCode) -> None:
    def breaks(request: logs_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[logs_pb2.ReadResponse]:
        for number, part in enumerate(from_bytes(WHOLE)(request, context)):
            if number == 50:
                context.abort(code, "going down")
            yield part

    leader = ScriptedLeader(breaks)
    told: list[JoblogError] = []
    try:
        with Client(leader.address) as client:
            parts = list(client.read(NAME, follow=True, on_retry=told.append))
    finally:
        leader.stop()
    assert b"".join(part.data for part in parts) == WHOLE
    assert len(told) == len(WHOLE) // 500
    assert all(isinstance(error, Unavailable) for error in told)


def test_finds_a_leader_that_is_killed_and_comes_back() -> None:
    port = free_port()
    first = ScriptedLeader(lambda request, context: endless(request, context), port=port)
    with Client(first.address) as client:
        parts = client.read(NAME, follow=True)
        got = next(parts).data
        first.stop()
        second = ScriptedLeader(from_bytes(WHOLE), port=port)
        try:
            for part in parts:
                got += part.data
        finally:
            second.stop()
    assert got == WHOLE


def endless(request: logs_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[logs_pb2.ReadResponse]:
    yield logs_pb2.ReadResponse(offset=request.offset, data=WHOLE[:10], next_offset=10)
    while context.is_active():
        time.sleep(0.01)


def test_a_limit_holds_over_a_broken_line() -> None:
    calls = 0

    def breaks(request: logs_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[logs_pb2.ReadResponse]:
        nonlocal calls
        calls += 1
        end = request.offset + request.limit_bytes
        for part in from_bytes(WHOLE[:end])(request, context):
            yield part
            if calls < 3 and part.next_offset >= calls * 20:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    leader = ScriptedLeader(breaks)
    try:
        with Client(leader.address) as client:
            got = b"".join(part.data for part in client.read(NAME, limit_bytes=95))
    finally:
        leader.stop()
    assert calls == 3
    assert got == WHOLE[:95]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.DATA_LOSS, Corrupt),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput),
        (grpc.StatusCode.UNIMPLEMENTED, WrongVersion),
        (grpc.StatusCode.INTERNAL, JoblogError),
    ],
)
def test_says_what_the_leader_says_and_does_not_try_again(code: grpc.StatusCode, error: type[JoblogError]) -> None:
    def fails(request: logs_pb2.ReadRequest, context: grpc.ServicerContext) -> Iterator[logs_pb2.ReadResponse]:
        yield logs_pb2.ReadResponse(data=b"x", next_offset=1)
        context.abort(code, "what the leader says")

    leader = ScriptedLeader(fails)
    try:
        with Client(leader.address) as client, pytest.raises(error, match="what the leader says") as caught:
            list(client.read(NAME, follow=True))
    finally:
        leader.stop()
    assert type(caught.value) is error
    assert len(leader.requests) == 2


def test_nobody_at_the_address_is_said_at_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    with Client(address) as client, pytest.raises(Unavailable, match=address):
        client.read(NAME, follow=True)
    assert time.monotonic() - started < 10


def test_gives_up_after_the_time_that_is_given() -> None:
    leader = ScriptedLeader(endless)
    with Client(leader.address) as client:
        parts = client.read(NAME, follow=True, retry_seconds=0.5)
        next(parts)
        leader.stop()
        with pytest.raises(Unavailable, match=leader.address):
            list(parts)


@pytest.mark.parametrize(
    "starts",
    [{"offset": -1}, {"offset": 2**63}, {"line": 0}, {"last_lines": -1}, {"offset": 1, "line": 2}],
)
def test_refuses_a_start_that_is_none(starts: dict[str, int]) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidInput):
        client.read(NAME, **starts)  # type: ignore[arg-type]


def test_not_found_is_the_leaders_message() -> None:
    leader = ScriptedLeader(from_bytes(b""))
    try:
        with Client(leader.address) as client, pytest.raises(NotFound, match="none/t is there"):
            client.read(LogName("default", "none", "t", 0))
    finally:
        leader.stop()
