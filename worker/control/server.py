"""The worker daemon's control socket: starts, lists, signals and shows tasks for programs on the same machine."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from joblog import __version__
from joblog.errors import Conflict, Denied, InvalidInput, JoblogError, Unavailable
from joblog.service import Service
from joblog.worker import tasks
from joblog.worker.control import protocol
from joblog.worker.control.following import Follower
from joblog.worker.control.protocol import Message
from joblog.worker.spool.sealing import SpoolKey

logger = logging.getLogger("joblog.worker.control")

MAX_CONNECTIONS = 256
MAX_SPOOL_IDS = 1000
REQUEST_SECONDS = 10.0
# Less than a client waits for an answer.
KEY_SECONDS = 3.0
ATTACH_READ_BYTES = 256 << 10
_CREDENTIALS = struct.Struct("3i")

Launch = Callable[[Message], Awaitable[Message]]


class KeySource(Protocol):
    """Where the keys of sealed spools come from; see SpoolKeys."""

    def find(self, key_id: str) -> SpoolKey | None:
        """The key of that id, where it is at hand."""
        ...

    async def current(self, wait_seconds: float) -> SpoolKey:
        """The key for new spools; raises Unavailable."""
        ...


class _NoKeys:
    """For spools in clear."""

    def find(self, _key_id: str) -> SpoolKey | None:
        return None

    async def current(self, _wait_seconds: float) -> SpoolKey:
        raise Unavailable("this worker has no spool keys")


class ControlServer(Service):
    """Answers on the unix socket at `path` (mode 0600) to its own user and root; see protocol for what.

    adopt: called with the id of a spool that the daemon shall ship from now on. launch: starts the task of an order (as
    JSON fields) and says what became of it; raises JoblogError. keys: of sealed spools; None where none is.
    waits: why the leader takes nothing of a spool now; empty when it does.
    stop() closes all connections, tasks go on.
    """

    name = "control"

    def __init__(
        self,
        path: str,
        spool_root: str,
        *,
        worker_id: str,
        adopt: Callable[[str], None],
        launch: Launch,
        keys: KeySource | None = None,
        waits: Callable[[str], str] = lambda _spool_id: "",
    ) -> None:
        self.path = path
        self.spool_root = spool_root
        self._worker_id = worker_id
        self._adopt = adopt
        self._launch = launch
        self._keys: KeySource = keys or _NoKeys()
        self._waits = waits
        self._held: Counter[str] = Counter()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def holds(self, spool_id: str) -> bool:
        """Whether somebody is attached to a task: its spool's files should stay until that is over."""
        return self._held[spool_id] > 0

    async def start(self) -> None:
        """Listens. A socket file that nobody answers on is replaced; raises Conflict where somebody does."""
        with contextlib.suppress(OSError):
            protocol.connect(self.path, 1.0).close()
            raise Conflict(f"{self.path}: another worker answers there; stop it first, or use another --data-dir")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        try:
            sock = protocol.listen(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path}: can't listen there: {error.strerror}") from None
        self._server = await asyncio.start_unix_server(self._connected, sock=sock, limit=protocol.MAX_MESSAGE_BYTES)

    async def stop(self) -> None:
        """Ends all connections and removes the socket."""
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the one request of a connection."""
        try:
            self._check_peer(writer.get_extra_info("socket"))
            if len(self._connections) > MAX_CONNECTIONS:
                raise Unavailable(f"control socket: {MAX_CONNECTIONS} connections are open already: try again later")
            request = await self._request(reader)
            if request is None:
                return
            if request.get("op") == "attach":
                await self._attach(request, reader, writer)
            else:
                await self._reply(writer, {"ok": await self._answer(request)})
        except JoblogError as error:
            await self._reply(writer, protocol.error_message(error))
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            await self._reply(writer, protocol.error_message(Unavailable(f"control socket: {error}")))

    @staticmethod
    def _check_peer(sock: socket.socket) -> None:
        _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid not in (0, os.geteuid()):
            raise Denied(f"control socket: user {uid} may not ask: only root and the worker's own user may")

    @staticmethod
    async def _request(reader: asyncio.StreamReader) -> Message | None:
        try:
            line = await asyncio.wait_for(reader.readline(), REQUEST_SECONDS)
        except ValueError:
            raise InvalidInput(
                f"control socket: a request is longer than {protocol.MAX_MESSAGE_BYTES} bytes; shorten it"
            ) from None
        except TimeoutError:
            raise InvalidInput(f"control socket: no request came within {REQUEST_SECONDS:g} s") from None
        if not line:
            return None
        request = protocol.decode(line)
        protocol.check_version(request)
        return request

    @staticmethod
    async def _reply(writer: asyncio.StreamWriter, message: Message) -> None:
        writer.write(protocol.encode(message))
        await writer.drain()

    async def _answer(self, request: Message) -> Message:
        op = request.get("op")
        if op == "ping":
            return {"pid": os.getpid(), "worker_id": self._worker_id, "version": __version__}
        if op == "list":
            states = await asyncio.to_thread(tasks.list_tasks, self.spool_root, self._keys.find)
            return {"tasks": [{**state._asdict(), "waits": self._waits(state.spool_id)} for state in states]}
        if op == "adopt":
            for spool_id in self._spool_ids(request):
                self._adopt(spool_id)
            return {}
        if op == "spool_key":
            return {"key": (await self._keys.current(KEY_SECONDS)).key.hex()}
        if op == "signal":
            spool_id = tasks.check_spool_id(request.get("spool_id"))
            await asyncio.to_thread(tasks.send_signal, self.spool_root, spool_id, request.get("signal"))
            return {}
        if op == "start":
            return await self._start(request)
        raise InvalidInput(
            f"control socket: op {op!r:.40} is not known; known are ping, adopt, spool_key, start, list, signal, attach"
        )

    def _spool_ids(self, request: Message) -> list[str]:
        spool_ids = request.get("spool_ids")
        if not isinstance(spool_ids, list) or not 1 <= len(spool_ids) <= MAX_SPOOL_IDS:
            raise InvalidInput(f"control socket: spool_ids must be a list of 1 to {MAX_SPOOL_IDS}")
        for spool_id in spool_ids:
            tasks.spool_folder(self.spool_root, spool_id)
        return spool_ids

    async def _start(self, request: Message) -> Message:
        order = request.get("order")
        if not isinstance(order, dict):
            raise InvalidInput("control socket: start needs an order, a JSON object")
        started = await self._launch(order)
        for spool_id in started["spool_ids"]:
            self._adopt(spool_id)
        return started

    async def _attach(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spool_id = tasks.check_spool_id(request.get("spool_id"))
        offset = request.get("from_offset", 0)
        if not isinstance(offset, int) or not 0 <= offset < 2**63:
            raise InvalidInput(f"control socket: from_offset {offset!r:.40} is not an integer from 0 to 2**63-1")
        self._held[spool_id] += 1
        # Nothing more is expected of the client: what comes is its end.
        gone = asyncio.create_task(reader.read(1))
        try:
            folder = tasks.spool_folder(self.spool_root, spool_id)
            with await asyncio.to_thread(Follower, folder, offset, self._keys.find) as follower:
                await self._reply(writer, {"ok": {}})
                await self._follow(follower, gone, writer)
        finally:
            gone.cancel()
            self._held[spool_id] -= 1
            if not self._held[spool_id]:
                del self._held[spool_id]

    async def _follow(self, follower: Follower, gone: asyncio.Task[bytes], writer: asyncio.StreamWriter) -> None:
        while not gone.done():
            pieces = await asyncio.to_thread(follower.read, ATTACH_READ_BYTES)
            for piece in pieces:
                message = piece._asdict()
                if piece.kind == "frame":
                    message["data"] = base64.b64encode(piece.data).decode()
                else:
                    del message["data"]
                del message["kind"]
                await self._reply(writer, {piece.kind: message})
                if piece.kind == "end":
                    return
            if not pieces:
                await follower.wait(gone)
