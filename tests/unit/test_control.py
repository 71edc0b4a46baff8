"""The worker's control socket, over a real socket and real spools."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from joblog.errors import Conflict, InvalidInput, JoblogError, NotFound, Unavailable, WrongVersion
from joblog.worker.control import protocol
from joblog.worker.control.client import ControlClient
from joblog.worker.control.server import ControlServer
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import SpoolTask
from joblog.worker.spool.writer import SpoolWriter


class Daemon:
    """A control server and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.spool_root = folder / "worker" / "spool"
        self.spool_root.mkdir(parents=True)
        self.adopted: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self.client = ControlClient(str(folder / "worker" / "worker.sock"))
        self.server = ControlServer(
            self.client.path, str(self.spool_root), worker_id="w1", adopt=self.adopted.append, launch=self.launch
        )

    async def launch(self, order: dict[str, Any]) -> dict[str, Any]:
        self.orders.append(order)
        if not order.get("command"):
            raise InvalidInput("no command given")
        return {"spool_ids": ["a1", "a2"], "pid": 7}

    def spool(self, spool_id: str, task: str = "build") -> SpoolWriter:
        described = SpoolTask(writer_id=bytes(16), namespace="default", run="r1", task=task, command=["make", "-j2"])
        return SpoolWriter(self.spool_root / spool_id, described, SpoolBounds(1 << 20))


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(folder)
    await daemon.server.start()
    try:
        yield daemon
    finally:
        await daemon.server.stop()


def append(writer: SpoolWriter, stream: int, data: bytes) -> None:
    assert writer.append_data(bytearray(data), len(data), bytes([stream]), [1_000], [len(data)])


def raw_exchange(path: str, request: bytes) -> dict[str, Any]:
    with protocol.connect(path, 10.0) as sock, sock.makefile("rb") as file:
        sock.sendall(request)
        answer: dict[str, Any] = json.loads(file.readline())
        assert file.read() == b""
        return answer


async def test_ping_and_mode_of_the_socket(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        answer = await asyncio.to_thread(daemon.client.ping)
        assert (answer["pid"], answer["worker_id"]) == (os.getpid(), "w1")
        assert stat.S_IMODE(os.stat(daemon.client.path).st_mode) == 0o600
    with pytest.raises(Unavailable, match=r"no worker answers at .*: start one with `joblog worker`"):
        daemon.client.ping()


async def test_a_path_longer_than_an_address_works(tmp_path: Path) -> None:
    async with running(tmp_path / ("x" * 120)) as daemon:
        assert len(daemon.client.path) > 120
        assert (await asyncio.to_thread(daemon.client.ping))["worker_id"] == "w1"


def connect_as(path: str, uid: int) -> socket.socket:
    os.seteuid(uid)
    try:
        return protocol.connect(path, 10.0)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
async def test_other_users_are_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/worker")
        os.chmod(folder, 0o711)
        os.chmod(f"{folder}/worker", 0o711)
        async with running(Path(folder)) as daemon:
            with pytest.raises(PermissionError):
                connect_as(daemon.client.path, 65534)
            # Should somebody change the file's mode, it is still looked at who asks.
            os.chmod(daemon.client.path, 0o666)
            with connect_as(daemon.client.path, 65534) as sock, sock.makefile() as file:
                assert json.loads(await asyncio.to_thread(file.readline))["error"]["kind"] == "Denied"


async def test_a_second_daemon_is_refused_and_a_dead_one_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        second = ControlServer(daemon.client.path, "", worker_id="w2", adopt=print, launch=daemon.launch)
        with pytest.raises(Conflict, match="another worker answers there"):
            await second.start()
        assert (await asyncio.to_thread(daemon.client.ping))["worker_id"] == "w1"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(daemon.client.path)
    await second.start()
    assert (await asyncio.to_thread(daemon.client.ping))["worker_id"] == "w2"
    await second.stop()


@pytest.mark.parametrize(
    ("request_line", "kind", "message"),
    [
        (b"nonsense\n", "InvalidInput", "not JSON"),
        (b"[1]\n", "InvalidInput", "not a JSON object"),
        (b'{"op": "ping"}\n', "WrongVersion", "this worker speaks 1"),
        (b'{"version": 2, "op": "ping"}\n', "WrongVersion", "has version 2"),
        (b'{"version": 1, "op": "erase"}\n', "InvalidInput", "'erase' is not known"),
        (b'{"version": 1, "op": "start"}\n', "InvalidInput", "needs an order"),
        (b'{"version": 1, "op": "start", "order": {}}\n', "InvalidInput", "no command given"),
        (b'{"version": 1, "op": "adopt", "spool_ids": "abc"}\n', "InvalidInput", "must be a list"),
        (b'{"version": 1, "op": "adopt", "spool_ids": ["../x"]}\n', "InvalidInput", "is not one"),
        (b'{"version": 1, "op": "adopt", "spool_ids": ["abc"]}\n', "NotFound", "no task abc"),
        (b'{"version": 1, "op": "signal", "spool_id": "abc", "signal": 15}\n', "NotFound", "no task abc"),
        (b'{"version": 1, "op": "attach", "spool_id": 7}\n', "InvalidInput", "is not one"),
        (b'{"version": 1, "op": "attach", "spool_id": "a", "from_offset": -1}\n', "InvalidInput", "from_offset -1"),
    ],
)
async def test_bad_requests(tmp_path: Path, request_line: bytes, kind: str, message: str) -> None:
    async with running(tmp_path) as daemon:
        error = (await asyncio.to_thread(raw_exchange, daemon.client.path, request_line))["error"]
        assert error["kind"] == kind
        assert message in error["message"]
        assert (await asyncio.to_thread(daemon.client.ping))["worker_id"] == "w1"


async def test_a_request_that_is_too_long_or_has_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_MESSAGE_BYTES", 1000)
    async with running(tmp_path) as daemon:
        with pytest.raises(InvalidInput, match="at most 1000 go over"):
            daemon.client.start({"command": ["x" * 1000]})
        error = (await asyncio.to_thread(raw_exchange, daemon.client.path, b"x" * 3000))["error"]
        assert error["kind"] == "InvalidInput"
        assert "longer than 1000 bytes" in error["message"]


async def test_start_adopts_what_was_started(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        started = await asyncio.to_thread(daemon.client.start, {"command": ["true"]})
        assert started["pid"] == 7
        assert daemon.adopted == ["a1", "a2"]
        with pytest.raises(InvalidInput, match="no command given"):
            await asyncio.to_thread(daemon.client.start, {"command": []})


async def test_list_shows_what_runs_and_what_has_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        assert await asyncio.to_thread(daemon.client.list) == []
        ended, live = daemon.spool("a1", "prepare"), daemon.spool("a2")
        (daemon.spool_root / "a3").mkdir()
        ended.end({"kind": 1, "exit_code": 0})
        append(live, 1, b"hello\n")
        live.note_processes(task=1234)
        first, second = await asyncio.to_thread(daemon.client.list)
        assert (first["spool_id"], first["task"], first["running"]) == ("a1", "prepare", False)
        assert (second["spool_id"], second["running"], second["length_bytes"]) == ("a2", True, 6)
        assert (second["supervisor_pid"], second["task_pid"]) == (os.getpid(), 1234)
        assert second["command"] == ["make", "-j2"]
        await asyncio.to_thread(daemon.client.adopt, "a1", "a2")
        assert daemon.adopted == ["a1", "a2"]
        live.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process group that ends by the first signal."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=True) as process:
        yield process
        process.kill()


async def test_signals_reach_the_task(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    async with running(tmp_path) as daemon:
        writer = daemon.spool("a1")
        with pytest.raises(Conflict, match="does not run"):
            await asyncio.to_thread(daemon.client.signal, "a1", signal.SIGUSR1)
        writer.note_processes(task=sleeper.pid)
        with pytest.raises(InvalidInput, match="signal 99 is not one"):
            await asyncio.to_thread(daemon.client.signal, "a1", 99)
        await asyncio.to_thread(daemon.client.signal, "a1", signal.SIGUSR1)
        assert await asyncio.to_thread(sleeper.wait, 10) == -signal.SIGUSR1
        with pytest.raises(Conflict, match="has just ended"):
            await asyncio.to_thread(daemon.client.signal, "a1", signal.SIGUSR1)
        writer.close()
        with pytest.raises(Conflict, match="does not run"):
            await asyncio.to_thread(daemon.client.signal, "a1", signal.SIGTERM)


async def test_sigterm_goes_to_the_supervisor(tmp_path: Path) -> None:
    received = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    try:
        async with running(tmp_path) as daemon:
            writer = daemon.spool("a1")
            writer.note_processes(task=1)
            await asyncio.to_thread(daemon.client.signal, "a1", signal.SIGTERM)
            assert await asyncio.to_thread(received.wait, 10)
            writer.close()
    finally:
        signal.signal(signal.SIGTERM, before)


class Watcher(threading.Thread):
    """Attaches, and gathers what comes."""

    def __init__(self, client: ControlClient, spool_id: str, from_offset: int) -> None:
        super().__init__(daemon=True)
        self.messages: list[dict[str, Any]] = []
        self.error: JoblogError | None = None
        self._source = client, spool_id, from_offset
        self.start()

    def run(self) -> None:
        client, spool_id, from_offset = self._source
        try:
            for message in client.attach(spool_id, from_offset):
                self.messages.append(message)
        except JoblogError as error:
            self.error = error

    def data(self, stream: int) -> bytes:
        frames = [message["frame"] for message in self.messages if "frame" in message]
        return b"".join(base64.b64decode(frame["data"]) for frame in frames if frame["stream"] == stream)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_attach_follows_to_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        writer = daemon.spool("a1")
        append(writer, 1, b"one\n")
        append(writer, 2, b"two\n")
        watcher, late = Watcher(daemon.client, "a1", 0), Watcher(daemon.client, "a1", 2)
        await until(lambda: watcher.data(2) == b"two\n")
        assert daemon.server.holds("a1")
        big = os.urandom(150_000) + b"\n" * 150_000
        append(writer, 1, big)
        await until(lambda: len(watcher.data(1)) == 4 + len(big))
        writer.end({"kind": 1, "exit_code": 3})
        await until(lambda: not watcher.is_alive() and not late.is_alive())
        assert watcher.data(1) == b"one\n" + big
        assert late.data(1) == b"e\n" + big
        assert watcher.messages[-1]["end"]["outcome"]["exit_code"] == 3
        assert watcher.messages[-1]["end"]["offset"] == 8 + len(big)
        await until(lambda: not daemon.server.holds("a1"))


async def test_attach_says_that_a_supervisor_died(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        writer = daemon.spool("a1")
        append(writer, 1, b"last words")
        writer.close()
        watcher = Watcher(daemon.client, "a1", 0)
        await until(lambda: not watcher.is_alive())
        assert watcher.data(1) == b"last words"
        assert watcher.messages[-1]["end"]["outcome"] == {"kind": 4}


async def test_a_watcher_that_goes_lets_the_spool_go(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        writer = daemon.spool("a1")
        sock = await asyncio.to_thread(protocol.connect, daemon.client.path, 10.0)
        sock.sendall(protocol.encode({"version": 1, "op": "attach", "spool_id": "a1"}))
        await until(lambda: daemon.server.holds("a1"))
        sock.close()
        await until(lambda: not daemon.server.holds("a1"))
        writer.close()


async def test_stopping_ends_watchers(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        writer = daemon.spool("a1")
        watcher = Watcher(daemon.client, "a1", 0)
        await until(lambda: daemon.server.holds("a1"))
    await until(lambda: not watcher.is_alive())
    assert isinstance(watcher.error, Unavailable)
    writer.close()


def test_errors_keep_their_class() -> None:
    for error in (NotFound("a"), WrongVersion("b"), JoblogError("c")):
        with pytest.raises(type(error), match=str(error)):
            protocol.check_reply(protocol.error_message(error))
    with pytest.raises(JoblogError, match="x"):
        protocol.check_reply({"error": {"kind": "annotations", "message": "x"}})
