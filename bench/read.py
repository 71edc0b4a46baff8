"""Reads of a completed log of 1 GiB: all of it in order, and 64 KiB at random places, over gRPC and over HTTP."""

from __future__ import annotations

import http.client
import random
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.buildlog import text_file
from bench.daemons import Daemons, daemons
from bench.measuring import GIB, MIB, cpu_seconds, percentile
from bench.results import Result, arguments
from joblog.address import own_token, read_leader_file
from joblog.identity import LogName

MIN_MB_PER_SECOND = 300
MAX_RANDOM_P99_MS = 20
RANDOM_BYTES = 64 << 10
LOG = LogName("default", "read", "big", 1)
RAW_PATH = "/api/v1/namespaces/default/runs/read/tasks/big/attempts/1/raw"


def main() -> None:
    """Runs the benchmark and keeps its figures."""
    options = arguments(__doc__ or "")
    size = 128 * MIB if options.quick else GIB
    result = Result("read", quick=options.quick)
    with daemons() as running:
        running.start_task(LOG.run, LOG.task, ["cat", str(text_file(size))]).wait()
        running.wait_completed(LOG.run, 1)
        sequential(result, running, "gRPC", read_by_grpc, size)
        sequential(result, running, "HTTP", read_by_http, size)
        rounds = 100 if options.quick else 1000
        at_random(result, running, "gRPC", read=read_by_grpc, size=size, rounds=rounds)
        at_random(result, running, "HTTP", read=read_by_http, size=size, rounds=rounds)
    result.keep()


Read = Callable[[Daemons, list[tuple[int, int]]], list[tuple[int, float]]]


def read_by_grpc(running: Daemons, ranges: list[tuple[int, int]]) -> list[tuple[int, float]]:
    """(bytes, seconds) of reads of (offset, length), one after another on one connection."""
    found = []
    with running.client() as client:
        client.status()
        for offset, length in ranges:
            began = time.monotonic()
            size = sum(len(part.data) for part in client.read(LOG, offset=offset, limit_bytes=length))
            found.append((size, time.monotonic() - began))
    return found


def read_by_http(running: Daemons, ranges: list[tuple[int, int]]) -> list[tuple[int, float]]:
    """As read_by_grpc, over HTTP with Range."""
    where = urlsplit(running.http_url)
    leader = read_leader_file(running.folder.root)
    tls = ssl.create_default_context(cadata=leader.ca)
    connection = http.client.HTTPSConnection(where.hostname or "", where.port, context=tls)
    authorization = {"Authorization": f"Bearer {own_token(running.folder.root)}"}
    connection.connect()
    found = []
    buffer = bytearray(MIB)
    for offset, length in ranges:
        began = time.monotonic()
        connection.request("GET", RAW_PATH, headers={"Range": f"bytes={offset}-{offset + length - 1}", **authorization})
        response = connection.getresponse()
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            raise RuntimeError(f"{RAW_PATH}: {response.status} {response.read(1000)!r}")
        size = 0
        while count := response.readinto(buffer):
            size += count
        found.append((size, time.monotonic() - began))
    connection.close()
    return found


def sequential(result: Result, running: Daemons, how: str, read: Read, size: int) -> None:
    """The whole log in order; the better of two reads."""
    before = cpu_seconds(running.leader.pid)[0]
    found = [*read(running, [(0, size)]), *read(running, [(0, size)])]
    used = (cpu_seconds(running.leader.pid)[0] - before) / 2
    if any(length != size for length, _ in found):
        raise RuntimeError(f"{found} bytes came, {size} are there")
    fastest = min(seconds for _, seconds in found)
    result.add(f"{how}: in order", size / fastest / 1e6, "MB/s", at_least=MIN_MB_PER_SECOND)
    result.add(f"{how}: in order: CPU of the leader", used * GIB / size, "s/GiB")


def at_random(result: Result, running: Daemons, how: str, *, read: Read, size: int, rounds: int) -> None:
    """64 KiB from random places."""
    chance = random.Random(1)
    ranges = [(chance.randrange(size - RANDOM_BYTES), RANDOM_BYTES) for _ in range(rounds)]
    found = read(running, ranges)
    if any(length != RANDOM_BYTES for length, _ in found):
        raise RuntimeError("a read came short")
    seconds = [each for _, each in found]
    result.add(f"{how}: 64 KiB at random: p50", percentile(seconds, 50) * 1e3, "ms")
    result.add(f"{how}: 64 KiB at random: p99", percentile(seconds, 99) * 1e3, "ms", at_most=MAX_RANDOM_P99_MS)


if __name__ == "__main__":
    main()
