"""The datagram socket on which supervisors say that their spool has what the shipper asked to be told of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from joblog.errors import Unavailable
from joblog.service import Service
from joblog.worker.unix_address import short_address

MAX_DATAGRAM_BYTES = 256
# So many datagrams are taken at once before others get their turn.
BURST = 256


class NotifyListener(Service):
    """Calls `notified(spool_id)` for every datagram that comes."""

    name = "notify"

    def __init__(self, path: Path, notified: Callable[[str], None]) -> None:
        self._path = path
        self._notified = notified
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Listens; raises Unavailable."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            with short_address(str(self._path)) as address:
                sock.bind(address)
            os.chmod(self._path, 0o600)
        except OSError as error:
            sock.close()
            raise Unavailable(f"{self._path}: can't listen there: {error.strerror}") from None
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._take)

    async def stop(self) -> None:
        """Removes the socket."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _take(self) -> None:
        assert self._socket is not None
        for _ in range(BURST):
            try:
                datagram = self._socket.recv(MAX_DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            with contextlib.suppress(UnicodeDecodeError):
                self._notified(datagram.decode("ascii"))
