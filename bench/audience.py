"""People who look at a leader with its admin UI, for bench/viewers.py: the requests that their pages make.

    python -m bench.audience DATA_DIR LOADED_RUN TASKS COMPLETED_LOG_LINES VIEWERS

Three quarters of them follow a log that is written, as the log page does; an eighth scrolls through a completed log; an
eighth has the list of runs open. Says `ready` when each has had a reply; from then on counts, until standard input
ends, and then says as JSON what each kind got: {kind: {"milliseconds": [...], "bytes": N, "failed": N}}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import ssl
import sys
import time
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
import zstandard

from joblog.address import own_token, read_leader_file

WINDOW_BYTES = 256 << 10
SCROLL_SECONDS = 2.0
FOLLOW_BYTES = 128 << 10
END_BYTES = 64 << 10
END_WINDOWS = 4
REFRESH_SECONDS = 5.0
# Whoever has had no reply by then counts as a request that failed.
SERVED_SECONDS = 30.0
COMPLETED_LOG = "/api/v1/namespaces/default/runs/finished/tasks/big/attempts/1/bytes"
_NUMBERS = re.compile(rb'"(offset|next_offset|poll_after_ms)":(\d+)')
_PACKED_BEGIN_BYTES = 4 << 10


@dataclass
class Got:
    """What the viewers of one kind got: how long each reply that was due at once took, and how much came in all."""

    milliseconds: list[float] = field(default_factory=list)
    bytes: int = 0
    failed: int = 0


class Connection:
    """One connection to the leader, as a browser keeps it."""

    def __init__(self, data_dir: Path) -> None:
        leader = read_leader_file(data_dir)
        self._where = urlsplit(leader.http_url)
        self._tls = ssl.create_default_context(cadata=leader.ca)
        self._head = f"Host: {self._where.netloc}\r\nAuthorization: Bearer {own_token(data_dir)}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, bytes, int]:
        """(status, what the body begins with, unpacked; bytes of the body as it came)."""
        if self._streams is None:
            host, port = self._where.hostname, self._where.port
            self._streams = await asyncio.open_connection(host, port, ssl=self._tls, limit=1 << 20)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\n{self._head}Accept-Encoding: gzip, deflate, br, zstd\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", head)
        if length is None:
            raise RuntimeError(f"{path}: a reply without a length: {head!r}")
        body = await reader.readexactly(int(length[1]))
        begin = body[:_PACKED_BEGIN_BYTES]
        if b"content-encoding: gzip" in head:
            begin = zlib.decompressobj(31).decompress(begin)
        elif b"content-encoding: zstd" in head:
            begin = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        return int(head.split(b" ", 2)[1]), begin, len(body)

    async def ask(self, path: str) -> tuple[int, bytes, int]:
        """As get(), once more where the leader has closed a used connection, as browsers do. Status 0: no reply."""
        for _ in range(2):
            used = self._streams is not None
            try:
                return await self.get(path)
            except (OSError, asyncio.IncompleteReadError):
                if self._streams is not None:
                    self._streams[1].close()
                    self._streams = None
                if not used:
                    break
        return 0, b"", 0


class Audience:
    """All of them."""

    def __init__(self, data_dir: Path, run: str, tasks: int, lines: int) -> None:
        self._data_dir = data_dir
        self._run = run
        self._tasks = tasks
        self._lines = lines
        self._counting = False
        self.got = {"follow": Got(), "scroll": Got(), "list": Got()}
        self._waiting = 0
        self._served = asyncio.Event()

    async def _ask(self, connection: Connection, kind: str, path: str) -> dict[bytes, int] | None:
        """Numbers in the reply; None when there was none."""
        began = time.monotonic()
        status, begin, size = await connection.ask(path)
        if self._counting:
            got = self.got[kind]
            got.bytes += size
            got.failed += status != 200
            if "wait=" not in path:
                got.milliseconds.append((time.monotonic() - began) * 1e3)
        return {name: int(value) for name, value in _NUMBERS.findall(begin)} if status == 200 else None

    def _note(self, first: bool) -> bool:
        self._waiting -= first
        if not self._waiting:
            self._served.set()
        return False

    async def follow(self, number: int) -> None:
        """Follows the end of a log: what it is told to wait it waits, and what is too much it leaves out."""
        connection = Connection(self._data_dir)
        task = f"/api/v1/namespaces/default/runs/{self._run}/tasks/task-{number % self._tasks}/attempts/1/bytes"
        asked = f"format=json&frames=true&text=false&limit={FOLLOW_BYTES}"
        place, behind = "tail=2000", 0
        first = True
        while True:
            found = await self._ask(connection, "follow", f"{task}?{asked}&{place}")
            if found is None or b"next_offset" not in found:
                await asyncio.sleep(1.0)
                continue
            first = self._note(first)
            await asyncio.sleep(found.get(b"poll_after_ms", 0) / 1e3)
            behind = behind + 1 if found[b"next_offset"] - found[b"offset"] >= FOLLOW_BYTES else 0
            if behind == END_WINDOWS:
                end = await self._ask(connection, "follow", f"{task}?{asked}&tail_bytes={END_BYTES}")
                found, behind = end or found, 0
            place = f"offset={found[b'next_offset']}&wait=25"

    async def scroll(self, number: int) -> None:
        """Looks at a completed log here and there, each one elsewhere."""
        connection = Connection(self._data_dir)
        chance = random.Random(number)
        first = True
        await asyncio.sleep(chance.random() * SCROLL_SECONDS)
        while True:
            line = chance.randrange(1, self._lines)
            path = f"{COMPLETED_LOG}?format=json&frames=true&text=false&line={line}&limit={WINDOW_BYTES}"
            await self._ask(connection, "scroll", path)
            first = self._note(first)
            await asyncio.sleep(SCROLL_SECONDS)

    async def watch_runs(self, number: int) -> None:
        """Has the list of runs open."""
        connection = Connection(self._data_dir)
        first = True
        await asyncio.sleep(random.Random(number).random() * REFRESH_SECONDS)
        while True:
            await self._ask(connection, "list", "/api/v1/namespaces/default/runs?limit=100")
            await self._ask(connection, "list", f"/api/v1/namespaces/default/runs/{self._run}/logs?limit=200")
            first = self._note(first)
            await asyncio.sleep(REFRESH_SECONDS)

    async def run(self, viewers: int) -> None:
        """Lets them look until standard input ends."""
        looking = [asyncio.create_task(self.follow(number)) for number in range(viewers * 3 // 4)]
        looking += [asyncio.create_task(self.scroll(number)) for number in range(viewers // 8)]
        looking += [asyncio.create_task(self.watch_runs(number)) for number in range(viewers // 8)]
        self._waiting = len(looking)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._served.wait(), SERVED_SECONDS)
        self.got["follow"].failed += self._waiting
        print("ready", flush=True)
        self._counting = True
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        self._counting = False
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def main() -> None:
    """See the module's description."""
    data_dir, run, tasks, lines, viewers = sys.argv[1:]
    audience = Audience(Path(data_dir), run, int(tasks), int(lines))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(audience.run(int(viewers)))
    print(json.dumps({kind: asdict(got) for kind, got in audience.got.items()}), flush=True)


if __name__ == "__main__":
    main()
