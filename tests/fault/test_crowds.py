"""A leader amid crowds: idle connections, slow ones, floods. Others are served meanwhile, and memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio
import psutil
import pytest

from joblog.address import own_token, read_leader_file
from tests.e2e.machine import JOBLOG, Machine, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

FULL = pytest.param(5000, 20.0, {}, id="full")
SHORT = pytest.param(
    500,
    5.0,
    {
        "JOBLOG_LIMITS_GRPC_CONNECTIONS": "600",
        "JOBLOG_LIMITS_HTTP_CONNECTIONS": "400",
        "JOBLOG_LIMITS_HANDSHAKE_SECONDS": "3",
        "JOBLOG_LIMITS_HEADER_SECONDS": "3",
    },
    marks=pytest.mark.short,
    id="short",
)
# On two busy cores, TLS handshakes of the crowd included.
MAX_DELAY_SECONDS = 5.0
MAX_GROWTH_BYTES = 600 << 20
PRINTING = "i=0; while [ $i -lt 100000 ]; do date +%s.%N; sleep 0.1; i=$((i+1)); done"


# In a process of its own: the crowd keeps this one busy, and what waits for that is no delay of the leader's.
WATCH = """
import sys, time
from pathlib import Path
from joblog.client import Client
from joblog.identity import LogName
with Client(data_dir=Path(sys.argv[1])) as client:
    rest = b""
    for piece in client.read(LogName("default", "crowd", "clock", 1), follow=True):
        *lines, rest = (rest + piece.data).split(b"\\n")
        for line in lines:
            print(time.time() - float(line), flush=True)
"""


class Watched:
    """A task that prints the time, and a reader that tails it: how late each line comes."""

    def __init__(self, data_dir: Path) -> None:
        self._delays = data_dir.parent / "delays"
        self._seen = 0
        with self._delays.open("wb") as delays:
            self._process = subprocess.Popen([sys.executable, "-c", WATCH, str(data_dir)], stdout=delays)

    def _new(self) -> list[float]:
        whole, _, _ = self._delays.read_text()[self._seen :].rpartition("\n")
        return [float(line) for line in whole.split()]

    def worst(self) -> float:
        """Of the lines since it was asked last; there must be some."""
        until(lambda: len(self._new()) > 2 or self._process.poll() is not None, "lines come", MAX_DELAY_SECONDS * 4)
        assert self._process.poll() is None
        found = self._new()
        self._seen += self._delays.read_text()[self._seen :].rfind("\n") + 1
        return max(found)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@contextlib.contextmanager
def busy_machine(folder: Path, settings: dict[str, str]) -> Iterator[tuple[Machine, Watched, psutil.Process]]:
    machine = Machine(folder / "data")
    machine.environment.update(settings)
    try:
        machine.start_up()
        machine.start("run", "--quiet", "--run", "crowd", "--task", "clock", "--", "sh", "-c", PRINTING)
        until(lambda: machine.record("crowd/clock")["state"] == "live", "the task prints")
        watched = Watched(machine.data_dir)
        try:
            watched.worst()
            yield machine, watched, psutil.Process(read_leader_file(machine.data_dir).pid)
        finally:
            watched.stop()
    finally:
        machine.close()


def places(data_dir: Path) -> tuple[int, int]:
    """Ports of gRPC and HTTP."""
    found = read_leader_file(data_dir)
    http = urlsplit(found.http_url).port
    assert http is not None
    return int(found.grpc_address.rpartition(":")[2]), http


async def connected(port: int, host: str) -> asyncio.StreamWriter | None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(10):
            return (await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0), limit=1024))[1]
    return None


@contextlib.asynccontextmanager
async def crowd(count: int, port: int, *hosts: str) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Connections on which nothing is ever said."""
    there: list[asyncio.StreamWriter] = []
    try:
        for first in range(0, count, 100):
            made = await asyncio.gather(
                *(connected(port, host) for host in itertools.islice(itertools.cycle(hosts), min(100, count - first)))
            )
            there += filter(None, made)
        yield there
    finally:
        for writer in there:
            writer.transport.abort()


async def again(seconds: float, act: Callable[[int], Awaitable[object]]) -> int:
    """Acts again and again for so long; how often."""
    end = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return number
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(5):
                await act(number)
    return 0


def trusting(data_dir: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=read_leader_file(data_dir).ca)


def note(record_property: Callable[[str, object], None], **figures: object) -> None:
    for name, figure in figures.items():
        record_property(name, figure)
    print(figures)


@pytest.mark.parametrize(("each", "seconds", "settings"), [FULL, SHORT])
async def test_idle_connections(
    tmp_path: Path,
    each: int,
    seconds: float,
    settings: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    with busy_machine(tmp_path, settings) as (machine, watched, leader):
        grpc, http = places(machine.data_dir)
        before = leader.memory_info().rss
        began = time.monotonic()
        async with (
            crowd(each, grpc, "127.0.0.2", "127.0.0.3") as one,
            crowd(each, http, "127.0.0.4", "127.0.0.5") as two,
        ):
            took = time.monotonic() - began
            files = await asyncio.to_thread(leader.num_fds)
            # Who comes now is served too, by both.
            began = time.monotonic()
            status = await asyncio.to_thread(machine.status)
            answered = time.monotonic() - began
            assert status["leader"]["running"], status
            assert (await asyncio.to_thread(ask, machine.data_dir)) == 200
            await asyncio.sleep(seconds)
            delay = await asyncio.to_thread(watched.worst)
            growth = leader.memory_info().rss - before
            note(
                record_property,
                connections=len(one) + len(two),
                connected_in=round(took, 1),
                open_files=files,
                status_seconds=round(answered, 2),
                worst_delay=round(delay, 2),
                growth_mib=growth >> 20,
            )
            assert len(one) + len(two) >= each * 1.5
            assert delay < MAX_DELAY_SECONDS
            assert growth < MAX_GROWTH_BYTES
        # None of them said anything: they are closed after a while.
        until(lambda: leader.num_fds() < 200, "the connections are closed")


def ask(data_dir: Path) -> int:
    from tests.https import open_url

    with open_url(data_dir, "/api/v1/status") as reply:
        return int(reply.status)


@pytest.mark.short
async def test_one_address_does_not_take_all_of_grpc(tmp_path: Path) -> None:
    settings = {"JOBLOG_LIMITS_GRPC_CONNECTIONS": "300", "JOBLOG_LIMITS_PEER_CONNECTIONS": "100"}
    with busy_machine(tmp_path, settings) as (machine, watched, leader):
        grpc, _ = places(machine.data_dir)
        async with crowd(280, grpc, "127.0.0.2"):

            def left() -> int:
                return sum(
                    one.status == "ESTABLISHED" and one.laddr.ip == "127.0.0.2"
                    for one in psutil.Process().net_connections("tcp")
                )

            assert left() > 50
            await asyncio.to_thread(until, lambda: left() <= 100, "the newest are closed", 8.0)
            assert left() > 50, "the oldest stay"
            assert (await asyncio.to_thread(machine.status))["leader"]["running"]
        assert await asyncio.to_thread(watched.worst) < MAX_DELAY_SECONDS
        assert leader.is_running()


@pytest.mark.parametrize(("each", "seconds", "settings"), [FULL, SHORT])
async def test_slow_ones_floods_and_stalled_readers(
    tmp_path: Path,
    each: int,
    seconds: float,
    settings: dict[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    with busy_machine(tmp_path, settings) as (machine, watched, leader):
        machine.run("crowd/large", "head -c 20000000 /dev/urandom | base64")
        grpc, http = places(machine.data_dir)
        tls = trusting(machine.data_dir)
        token = own_token(machine.data_dir)
        before = leader.memory_info().rss

        async def send(host: str, data: bytes, *, slowly: bool = False, read: bool = True) -> None:
            _, writer = connection = await asyncio.open_connection(
                "127.0.0.1", http, ssl=tls, server_hostname="localhost", local_addr=(host, 0), limit=1024
            )
            try:
                for byte in data if slowly else ():
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.1)
                if not slowly:
                    writer.write(data)
                    await writer.drain()
                if read:
                    await connection[0].read(200)
                else:
                    await asyncio.sleep(seconds)
            finally:
                writer.transport.abort()

        head = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        post = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nJoblog-Request: 1\r\nContent-Length: 900\r\n\r\n"
        raw = (
            b"GET /api/v1/namespaces/default/runs/crowd/tasks/large/attempts/1/raw HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
        )

        def guess(_: int) -> Awaitable[None]:
            bad = f"jl1.{os.urandom(8).hex()[:12]}.{os.urandom(24).hex()}.-.-".encode()
            return send("127.0.0.6", head + b"Authorization: Bearer " + bad + b"\r\n\r\n")

        def big(_: int) -> Awaitable[None]:
            return send("127.0.0.7", head + b"X: " + b"x" * 2_000_000)

        def half_shaken(_: int) -> Awaitable[None]:
            return slow_handshake(http if _ % 2 else grpc, tls, seconds)

        work = [
            *(again(seconds, lambda _: send("127.0.0.2", head + b"X: " + b"x" * 900, slowly=True)) for _ in range(40)),
            *(again(seconds, lambda _: send("127.0.0.3", post + b" " * 800, slowly=True)) for _ in range(40)),
            *(again(seconds, half_shaken) for _ in range(40)),
            *(again(seconds, lambda _: send("127.0.0.4", raw, read=False)) for _ in range(40)),
        ]
        slow = [asyncio.ensure_future(one) for one in work]
        floods = [asyncio.ensure_future(again(seconds, act)) for act in (guess, big) for _ in range(2)]
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(watched.worst)
        began = time.monotonic()
        assert (await asyncio.to_thread(machine.status))["leader"]["running"]
        answered = time.monotonic() - began
        counts = await asyncio.gather(*floods)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        delay = await asyncio.to_thread(watched.worst)
        growth = leader.memory_info().rss - before
        note(
            record_property,
            guesses=sum(counts[:2]),
            big_heads=sum(counts[2:]),
            status_seconds=round(answered, 2),
            worst_delay=round(delay, 2),
            growth_mib=growth >> 20,
        )
        assert min(counts) > 0
        assert delay < MAX_DELAY_SECONDS
        assert growth < MAX_GROWTH_BYTES


async def slow_handshake(port: int, tls: ssl.SSLContext, seconds: float) -> None:
    """The first words of TLS, byte by byte, and no more."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    begun = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        begun.do_handshake()
    writer = await connected(port, "127.0.0.5")
    if writer is None:
        return
    try:
        for byte in outgoing.read()[:-1]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(seconds / 100)
    finally:
        writer.transport.abort()


def listed_by(machine: Machine, token: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**machine.environment, "JOBLOG_TOKEN": token}
    return subprocess.run([*JOBLOG, "ls"], env=environment, capture_output=True, timeout=60, check=False)


@pytest.mark.short
async def test_a_flood_of_bad_logins_over_grpc(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Tokens that nobody knows, to every door: reading, joining, pushing; from the address of honest clients."""
    with busy_machine(tmp_path, {}) as (machine, watched, leader):
        found = read_leader_file(machine.data_dir)
        honest = machine.call("token", "create", "--role", "reader", "--name", "late").stdout.decode().strip()
        answers: Counter[grpc.StatusCode] = Counter()
        stop = asyncio.Event()

        async def flood(number: int) -> None:
            options = [("grpc.use_local_subchannel_pool", 1)]
            credentials = grpc.ssl_channel_credentials(found.ca.encode())
            while not stop.is_set():
                async with grpc.aio.secure_channel(found.grpc_address, credentials, options) as channel:
                    unary: Any = channel.unary_unary
                    stream: Any = channel.stream_stream
                    methods = "Logs/ListRuns", "Access/Join", "Keys/RotateKeys"
                    asks = [unary(f"/joblog.v1.{method}") for method in methods]
                    push = stream("/joblog.v1.Ingest/Push")
                    for turn in range(20):
                        bad = f"jl1.{os.urandom(8).hex()[:12]}.{os.urandom(24).hex()}.-.-"
                        metadata = (("authorization", f"Bearer {bad}"),)
                        try:
                            if turn % 4 == 3:
                                await push(metadata=metadata, timeout=5).read()
                            else:
                                await asks[(turn + number) % 3](b"", metadata=metadata, timeout=5)
                        except grpc.aio.AioRpcError as error:
                            answers[error.code()] += 1

        floods = [asyncio.ensure_future(flood(number)) for number in range(8)]
        # Beyond what is let through, so that the limit works as well.
        await asyncio.to_thread(
            until, lambda: answers[grpc.StatusCode.RESOURCE_EXHAUSTED] > 200, "attempts are limited", 30.0
        )
        await asyncio.to_thread(watched.worst)
        assert (await asyncio.to_thread(machine.status))["leader"]["running"]
        done = await asyncio.to_thread(listed_by, machine, honest)
        delay = await asyncio.to_thread(watched.worst)
        stop.set()
        await asyncio.gather(*floods)
        note(record_property, attempts=sum(answers.values()), worst_delay=round(delay, 2))
        assert delay < MAX_DELAY_SECONDS
        assert set(answers) <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}, answers
        assert leader.is_running()
        # Somebody who was never here before, too.
        assert done.returncode == 0, done.stderr
        # Told as many acts alike, not line by line.
        told = machine.call("audit", "tail", "--lines", "1000", "--json").stdout.splitlines()
        refused = [line for line in map(json.loads, told) if line["outcome"] == "refused"]
        assert refused and len(refused) < 100, len(refused)
        assert {line["who"]["kind"] for line in refused} == {""} and all(line["peer"] for line in refused)
