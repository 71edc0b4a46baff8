"""The certificate of the OTLP endpoint: read again when its files change, while the endpoint runs."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509

from joblog.errors import InvalidSettings
from joblog.leader.access.authority import Authority, Pair
from joblog.paths import DataFolder
from joblog.private_file import write_private
from joblog.worker.otlp.server import OtlpServer
from joblog.worker.otlp.settings import OtlpSettings
from joblog.worker.otlp.wiring import otlp_server
from joblog.worker.settings import SpoolSettings, WorkerSettings


def put(folder: Path, pair: Pair) -> None:
    write_private(folder / "own.key", pair.key)
    write_private(folder / "own.pem", pair.chain)


def endpoint(folder: Path) -> OtlpServer | None:
    (folder / "worker" / "spool").mkdir(parents=True, exist_ok=True)
    otlp = OtlpSettings(listen="127.0.0.1:0", certificate=folder / "own.pem", key=folder / "own.key")
    settings = WorkerSettings(otlp=otlp, spool=SpoolSettings(encryption="off"))
    return otlp_server(settings, DataFolder(folder), cast(Any, SimpleNamespace(find=None)), lambda _spool: None)


def shown(port: int, ca: bytes) -> int:
    """The serial number of the certificate that a new connection is shown, which the CA vouches for."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="here.example") as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


async def test_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("joblog.reread._LOOK_SECONDS", 0.0)
    authority = Authority.open(tmp_path)

    def pair() -> Pair:
        return authority.server_pair(["here.example"], 3600)

    def serial(of: Pair) -> int:
        return x509.load_pem_x509_certificate(of.chain).serial_number

    first, second = pair(), pair()
    put(tmp_path, first)
    server = endpoint(tmp_path)
    assert server is not None
    await server.start()
    look: Callable[[], Any] = lambda: asyncio.to_thread(shown, server.port, authority.pem)  # noqa: E731
    try:
        assert await look() == serial(first)
        # The key comes first: until the other file is there too, they are no pair.
        write_private(tmp_path / "own.key", second.key)
        assert [await look(), await look()] == [serial(first)] * 2
        assert len([line for line in caplog.messages if "old otlp.certificate stays in force" in line]) == 1
        put(tmp_path, second)
        assert await look() == serial(second)
    finally:
        await server.stop()


def test_what_is_no_pair_is_refused_at_the_start(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    put(tmp_path, authority.server_pair(["a.example"], 60))
    write_private(tmp_path / "own.key", authority.server_pair(["b.example"], 60).key)
    with pytest.raises(InvalidSettings, match=r"otlp.certificate, otlp.key: .*own.key: is not the key"):
        endpoint(tmp_path)
    (tmp_path / "own.pem").unlink()
    with pytest.raises(InvalidSettings, match=r"own.pem: does not exist"):
        endpoint(tmp_path)
