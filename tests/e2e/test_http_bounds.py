"""Bounds of HTTP connections: heads and bodies that come slowly or are large, peers that read nothing, seats."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from joblog.leader.access.pace import Pace, Readers
from joblog.leader.access.quota import QuotaRules, parse_namespace_quota
from joblog.leader.api.bounds import Bounds, connection_bounds
from joblog.leader.api.gate import Gate
from tests.e2e.access_callers import closed_gate, make_callers
from tests.e2e.api_server import Api, Web, api_in

BOUNDS = Bounds(
    http_connections=8,
    peer_http=6,
    header_seconds=0.4,
    body_seconds=0.4,
    stalled_seconds=0.4,
    header_bytes=4096,
    url_bytes=1024,
    body_bytes=4096,
)
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


class Peer:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def status(self) -> int:
        """Of a reply on a connection that stays open."""
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split()[0])
            await self.reader.readexactly(length)
            return int(head.split()[1])


@contextlib.asynccontextmanager
async def peer(api: Api, host: str = "127.0.0.1") -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http_server.port, local_addr=(host, 0))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def drip(one: Peer, data: bytes, more: Callable[[], bool]) -> None:
    for byte in data:
        if not more():
            return
        await one.send(bytes([byte]))
        await asyncio.sleep(0.02)


async def test_what_comes_slowly_is_closed(tmp_path: Path) -> None:
    async with api_in(tmp_path, web=Web(bounds=BOUNDS)) as api:
        async with peer(api) as head, peer(api) as nothing, peer(api) as body, peer(api) as blank:
            dripping = asyncio.create_task(drip(head, GET + b"X: " + b"x" * 4000, lambda: True))
            blanks = asyncio.create_task(drip(blank, b"\r\n" * 2000, lambda: True))
            await body.send(b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in await nothing.answer()
            # Who still writes may not hear why.
            assert (await head.answer())[:12] in (b"", b"HTTP/1.1 408")
            assert (await blank.answer())[:12] in (b"", b"HTTP/1.1 408")
            await body.answer()
            for task in (dripping, blanks):
                task.cancel()
        async with peer(api) as kept:
            # A connection that is used now and then stays, whatever the time for a head is.
            for _ in range(3):
                await kept.send(GET + b"\r\n")
                assert await kept.status() == 200
                await asyncio.sleep(0.25)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\n", 414),
        (GET + b"X: " + b"x" * 5000 + b"\r\n\r\n", 431),
        # No end in sight: what is not a whole header must not pile up.
        (GET + b"X: " + b"x" * 5000, 431),
        (GET + b"".join(b"X%d: x\r\n" % number for number in range(120)) + b"\r\n", 431),
        (b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
async def test_what_is_large_is_refused(tmp_path: Path, request_bytes: bytes, status: int) -> None:
    async with api_in(tmp_path, web=Web(bounds=BOUNDS)) as api, peer(api) as one:
        await one.send(request_bytes)
        answer = await one.answer()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
        assert b"nosniff" in answer
        assert b'{"error": {"code": "INVALID_ARGUMENT", "message": "' in answer


async def test_a_body_in_chunks_is_bounded_too(tmp_path: Path) -> None:
    async with api_in(tmp_path, web=Web(bounds=BOUNDS)) as api, peer(api) as one:
        await one.send(b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(6):
            await one.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert b"HTTP/1.1 200" not in await one.answer()


async def test_seats(tmp_path: Path) -> None:
    """One address has so many; where all are taken, the one that waits longest goes."""
    patient = Web(bounds=dataclasses.replace(BOUNDS, header_seconds=60))
    async with api_in(tmp_path, web=patient) as api, contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(peer(api, "127.0.0.2")) for _ in range(7)]
        # The seventh of one address is closed at once.
        assert await crowd[6].answer() == b""
        others = [await stack.enter_async_context(peer(api, "127.0.0.3")) for _ in range(2)]
        async with peer(api, "127.0.0.4") as new:
            await new.send(GET + b"\r\n")
            assert await new.status() == 200
        assert await crowd[0].answer() == b""
        for one in (*crowd[1:6], *others):
            await one.send(GET + b"\r\n")
            assert await one.status() == 200
        refused = api.stored.metrics.registry.get_sample_value
        assert refused("joblog_connections_refused_total", {"server": "http", "limit": "peer"}) == 1
        assert refused("joblog_connections_refused_total", {"server": "http", "limit": "total"}) == 1


async def test_reads_at_once_and_requests_a_second(tmp_path: Path) -> None:
    async with api_in(tmp_path, closed_gate) as api:
        callers = make_callers(api.access_store)
        api.gate.readers = Readers(3, 2)
        url = "/api/v1/namespaces/team-a/runs"

        async def tail(client: httpx.AsyncClient, caller: str) -> int:
            path = f"{url}/r/tasks/t/attempts/1/bytes"
            return (await client.get(path, headers=callers.headers(caller))).status_code

        held = contextlib.ExitStack()
        principal = api.gate.bearer(callers.headers("reader")["authorization"], "")
        other = api.gate.bearer(callers.headers("admin")["authorization"], "")
        for _ in range(2):
            held.enter_context(api.gate.readers.reading(principal))
        assert await tail(api.http, "reader") == 429
        assert await tail(api.http, "admin") == 404
        held.enter_context(api.gate.readers.reading(other))
        assert await tail(api.http, "admin") == 429
        held.close()
        assert await tail(api.http, "reader") == 404

        now = [0.0]
        api.gate.pace = Pace(QuotaRules([parse_namespace_quota("team-a: requests_per_second=1")]), clock=lambda: now[0])
        # Ten in ten seconds, whenever they come.
        found = [(await api.http.get(url, headers=callers.headers("reader"))).status_code for _ in range(11)]
        assert found == [200] * 10 + [429]
        refused = await api.http.get(url, headers=callers.headers("admin"))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert "quota requests_per_second of namespace team-a, 1, is used up" in refused.text
        assert (
            await api.http.get(url.replace("team-a", "team-b"), headers=callers.headers("admin"))
        ).status_code == 200
        now[0] += 1
        assert (await api.http.get(url, headers=callers.headers("admin"))).status_code == 200
        assert (await api.http.get(url, headers=callers.headers("admin"))).status_code == 429


def test_connections_follow_from_open_files() -> None:
    derived = connection_bounds(20_000)
    assert derived == {"grpc_connections": 6000, "http_connections": 4000, "peer_grpc": 3000, "peer_http": 2000}
    # The listeners for clients and for workers, HTTP, and files of the store together.
    assert 2 * derived["grpc_connections"] + derived["http_connections"] + 1000 < 20_000
    assert connection_bounds(1024, http=50, peer=80)["peer_http"] == 50
    assert isinstance(Gate.open().reading, object)
