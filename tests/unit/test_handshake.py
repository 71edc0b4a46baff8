"""What a client says when no encrypted connection comes about: whose fault it is, and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import os
import re
import resource
import select
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from joblog.address import KnownLeader
from joblog.client import Client
from joblog.errors import Denied, JoblogError, NotAuthenticated, Unavailable
from joblog.handshake import explain, fetch_ca, resolved
from joblog.leader.access.authority import Authority
from joblog.leader.access.shown import ServerCertificate
from joblog.trust import PLAINTEXT, Trust, fingerprint_of, fingerprint_text
from joblog.worker.identity_files import new_key, request_for

HOUR_NS = 3600 * 10**9


def authority(folder: Path, shift_ns: int = 0) -> Authority:
    """A CA whose clock goes wrong by so much."""
    import time

    folder.mkdir(exist_ok=True)
    return Authority.open(folder, clock=lambda: time.time_ns() + shift_ns)


@asynccontextmanager
async def listening(
    server: ServerCertificate | None, *, for_workers: bool = False, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """A gRPC server without a method; its address."""
    made = grpc.aio.server()
    where = f"{host}:0"
    if server is None:
        port = made.add_insecure_port(where)
    else:
        port = made.add_secure_port(where, server.credentials(for_workers=for_workers))
    await made.start()
    try:
        yield f"{host}:{port}"
    finally:
        await made.stop(None)


def certificate(folder: Path, ca: Authority, *names: str, hours: float = 1.0) -> ServerCertificate:
    folder.mkdir(exist_ok=True)
    shown = list(names or ("localhost", "127.0.0.1"))
    return ServerCertificate(folder, ca, lambda: shown, lifetime_seconds=hours * 3600, clock=lambda: 0.0)


async def error_at(address: str, trust: Trust) -> JoblogError:
    """What a client says that connects there."""

    def ask() -> JoblogError:
        try:
            with Client(leader=KnownLeader(address, trust), timeout_seconds=10) as client:
                client.status()
        except JoblogError as error:
            return error
        raise AssertionError("the leader answered")

    return await asyncio.to_thread(ask)


async def test_a_ca_is_fetched_by_its_fingerprint_alone(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    async with listening(certificate(tmp_path, ca)) as address:
        found = await asyncio.to_thread(fetch_ca, address, ca.fingerprint)
        assert fingerprint_of(found) == ca.fingerprint and found == ca.pem
        trust = await asyncio.to_thread(resolved, address, Trust(fingerprint=ca.fingerprint))
        assert trust.ca == ca.pem
        # It comes as far as to be told that there is no such method.
        error = await error_at(address, trust)
        assert "is no joblog leader" in str(error)
        with pytest.raises(Denied, match=re.escape(fingerprint_text(bytes(32)))) as caught:
            await asyncio.to_thread(fetch_ca, address, bytes(32))
        assert fingerprint_text(ca.fingerprint) in str(caught.value)


async def test_another_ca(tmp_path: Path) -> None:
    ca, other = authority(tmp_path / "a"), authority(tmp_path / "b")
    async with listening(certificate(tmp_path / "a", ca)) as address:
        error = await error_at(address, Trust(ca=other.pem, token="t"))
        assert isinstance(error, Denied)
        assert fingerprint_text(other.fingerprint) in str(error) and fingerprint_text(ca.fingerprint) in str(error)
        assert "somebody in between" in str(error)
        assert "a CA that this system knows" in str(await error_at(address, Trust()))


async def test_beside_more_files_than_select_can_tell_apart(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    ca = authority(tmp_path / "a")
    with contextlib.ExitStack() as files:
        while files.enter_context(Path(os.devnull).open("rb")).fileno() < 1024:
            pass
        async with listening(certificate(tmp_path / "a", ca)) as address:
            trust = await asyncio.to_thread(resolved, address, Trust(fingerprint=ca.fingerprint, token="t"))
    assert trust.ca == ca.pem


async def test_a_ca_that_is_shown_by_one_who_does_not_have_its_key(tmp_path: Path) -> None:
    """The right CA in the chain of a leaf that it did not sign: found by its fingerprint, and refused nonetheless."""
    ca, other = authority(tmp_path / "a"), authority(tmp_path / "b")
    server = certificate(tmp_path / "b", other)
    shown = server.current()
    pair = shown.pair._replace(chain=shown.pair.chain.removesuffix(other.pem) + ca.pem)
    server._fresh._value = type(shown)(pair, shown.ca, shown.client_ca, shown.fingerprint)
    async with listening(server) as address:
        trust = await asyncio.to_thread(resolved, address, Trust(fingerprint=ca.fingerprint, token="t"))
        assert isinstance(await error_at(address, trust), Denied)


async def test_another_host(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    async with listening(certificate(tmp_path, ca, "logs.example", "10.0.0.9")) as address:
        error = await error_at(address, Trust(ca=ca.pem))
        assert isinstance(error, Denied)
        assert "is not for 127.0.0.1 (it is for logs.example, 10.0.0.9)" in str(error)
        assert "add 127.0.0.1 to tls.names" in str(error)
        named = await error_at(address, Trust(ca=ca.pem, server_name="logs.example"))
        assert "is no joblog leader" in str(named)


@pytest.mark.parametrize(("shift_hours", "said"), [(-48, "has expired on"), (48, "is not valid before")])
async def test_the_wrong_time(tmp_path: Path, shift_hours: int, said: str) -> None:
    ca = authority(tmp_path)
    late = authority(tmp_path, shift_hours * HOUR_NS)
    async with listening(certificate(tmp_path, late)) as address:
        error = await error_at(address, Trust(ca=ca.pem))
        assert isinstance(error, Denied)
        assert said in str(error) and dt.datetime.now(dt.UTC).strftime("the clock here says %Y-%m-%d") in str(error)


async def test_plaintext_against_tls_and_the_reverse(tmp_path: Path) -> None:
    ca = authority(tmp_path)
    async with listening(certificate(tmp_path, ca)) as address:
        error = await error_at(address, PLAINTEXT)
        assert isinstance(error, Denied) and "speaks TLS" in str(error)
    async with listening(None) as address:
        error = await error_at(address, Trust(ca=ca.pem, token="secret"))
        assert isinstance(error, Denied) and "does not speak TLS" in str(error) and "--plaintext" in str(error)
        with pytest.raises(Denied, match="does not speak TLS"):
            await asyncio.to_thread(fetch_ca, address, ca.fingerprint)


async def test_a_workers_listener_takes_certificates_of_its_ca_alone(tmp_path: Path) -> None:
    ca, other = authority(tmp_path / "a"), authority(tmp_path / "b")
    late = authority(tmp_path / "a", -48 * HOUR_NS)
    key = new_key()
    async with listening(certificate(tmp_path / "a", ca), for_workers=True) as address:
        good = Trust(ca=ca.pem, key=key, certificate=ca.issue(request_for(key), "w", 60).chain)
        assert "is no joblog leader" in str(await error_at(address, good))
        none = Trust(ca=ca.pem)
        foreign = Trust(ca=ca.pem, key=key, certificate=other.issue(request_for(key), "w", 60).chain)
        expired = Trust(ca=ca.pem, key=key, certificate=late.issue(request_for(key), "w", 60).chain)
        for trust, said in (
            (none, "asks for a worker's certificate"),
            (foreign, "another CA"),
            (expired, "it has expired on"),
        ):
            error = await error_at(address, trust)
            assert isinstance(error, NotAuthenticated), error
            assert said in str(error)


@pytest.fixture
def silent() -> Iterator[str]:
    """Somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_who_says_nothing_is_not_waited_for_long(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblog.handshake.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(Unavailable, match="did not finish the TLS handshake"):
        fetch_ca(silent, bytes(32))
    assert explain(silent, Trust()) is None
    assert explain(silent, PLAINTEXT) is None


def test_nobody_there() -> None:
    with pytest.raises(Unavailable, match="can't be reached"):
        fetch_ca("127.0.0.1:1", bytes(32))
    assert explain("127.0.0.1:1", Trust()) is None


def test_neither_tokens_nor_keys_are_shown() -> None:
    shown = repr(KnownLeader("a:1", Trust(token="geheim", key=b"privat", certificate=b"papier")))
    assert not any(secret in shown for secret in ("geheim", "privat", "papier"))


@pytest.mark.parametrize("trust", [PLAINTEXT, Trust(fingerprint=b"x" * 32), Trust(ca=b"")])
def test_who_hangs_up_at_once_leaves_no_socket_open(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings of sockets that nobody has closed are errors."""
    connect = socket.create_connection
    with socket.create_server(("127.0.0.1", 0)) as server:

        def connect_and_wait(*arguments: object) -> socket.socket:
            sock = connect(*arguments)  # type: ignore[arg-type]
            there, _ = server.accept()
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            there.close()
            poll = select.poll()
            poll.register(sock, select.POLLHUP)
            assert poll.poll(5000), "the reset has come"
            return sock

        monkeypatch.setattr(socket, "create_connection", connect_and_wait)
        assert explain(f"127.0.0.1:{server.getsockname()[1]}", trust) is None
        gc.collect()
