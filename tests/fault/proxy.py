"""A TCP proxy between worker and leader whose connections can be cut, slowed, and left open with nobody behind them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

_BLOCK_BYTES = 64 << 10
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards each connection to target(), asked anew for each one. Runs in a thread of its own; any thread may call.

    `address` stays the same while the target comes and goes.
    """

    def __init__(self, target: Callable[[], tuple[str, int] | None]) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._links: set[_Link] = set()
        self._bytes_per_second = 0.0
        self._flows = {towards: asyncio.Event() for towards in ("target", "client")}
        for flow in self._flows.values():
            flow.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", 0))
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Faults

    def cut(self) -> int:
        """Resets all connections; how many there were."""

        async def work() -> int:
            links = list(self._links)
            for link in links:
                link.reset()
            return len(links)

        return int(self._do(work()))

    def freeze(self, *, replies_only: bool = False) -> None:
        """From now on nothing passes, and nobody is told: half-open connections. replies_only: requests still do."""

        async def work() -> None:
            self._flows["client"].clear()
            if not replies_only:
                self._flows["target"].clear()

        self._do(work())

    def thaw(self) -> None:
        """What was held back goes on."""

        async def work() -> None:
            for flow in self._flows.values():
                flow.set()

        self._do(work())

    def forget(self) -> None:
        """The connections of now never pass anything again, and nobody is told; new ones work."""

        async def work() -> None:
            for link in self._links:
                link.forgotten = True

        self._do(work())

    def slow(self, bytes_per_second: float) -> None:
        """How fast each direction of each connection passes; 0 is as fast as it can."""
        self._bytes_per_second = bytes_per_second

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    # Forwarding

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = _Link(writer)
        try:
            target = self._target()
            if target is None:
                link.reset()
                return
            there = await asyncio.open_connection(*target)
            link.writers.append(there[1])
            self._links.add(link)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(link, self._flows["target"], reader, there[1]))
                group.create_task(self._forward(link, self._flows["client"], there[0], writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            self._tasks.discard(task)
            link.reset()

    async def _forward(
        self, link: _Link, flow: asyncio.Event, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(_BLOCK_BYTES):
            await flow.wait()
            if link.forgotten:
                await asyncio.Event().wait()
            if self._bytes_per_second:
                await asyncio.sleep(len(data) / self._bytes_per_second)
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError


class _Link:
    """The two sockets of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writers = [writer]
        self.forgotten = False

    def reset(self) -> None:
        for writer in self.writers:
            sock: socket.socket | None = writer.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport = writer.transport
            transport.abort()
