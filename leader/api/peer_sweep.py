"""Keeps one address from taking all gRPC connections: gRPC bounds only how many there are of everybody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Collection

from joblog.service import Service

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_ESTABLISHED = "01"
_MAPPED = "0000000000000000FFFF0000"
_SOCKET = "socket:["


class PeerSweep(Service):
    """Each second closes those connections of an address that are too many, the newest ones.

    ports: that are looked at, once they are listened on. cut: told how many were closed.
    """

    name = "peer sweep"

    def __init__(
        self, ports: Callable[[], Collection[int]], per_peer: int, cut: Callable[[int], None] = lambda _count: None
    ) -> None:
        self._ports = ports
        self._per_peer = per_peer
        self._cut = cut
        # Sockets by inode, the one that was seen first comes first.
        self._seen: dict[int, None] = {}

    async def run(self) -> None:
        """Looks where there are enough files open that it could be."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                if len(os.listdir("/proc/self/fd")) > self._per_peer:
                    await asyncio.to_thread(self.sweep)
            except OSError as error:
                log.error("connections of one address can't be counted: %s", error)
                return

    def sweep(self) -> int:
        """Looks once; how many were closed. Raises OSError where there is no /proc."""
        ports = frozenset(self._ports())
        peers = _connections(ports)
        now = {inode for inodes in peers.values() for inode in inodes}
        self._seen = {inode: None for inode in self._seen if inode in now}
        self._seen.update(dict.fromkeys(sorted(now - self._seen.keys())))
        excess: set[int] = set()
        places: dict[int, int] = {}
        for peer, inodes in peers.items():
            if len(inodes) <= self._per_peer:
                continue
            places = places or {inode: place for place, inode in enumerate(self._seen)}
            inodes.sort(key=places.__getitem__)
            excess.update(inodes[self._per_peer :])
            log.warning("gRPC: %d connections of one address (%s) are closed", len(inodes) - self._per_peer, peer)
        count = _close(excess, ports) if excess else 0
        if count:
            self._cut(count)
        return count


def _connections(ports: frozenset[int]) -> dict[str, list[int]]:
    """Inodes of the open connections to these ports of ours, by the peer's address, as /proc writes it."""
    found: dict[str, list[int]] = {}
    for path in _TABLES:
        try:
            with open(path) as table:
                next(table, None)
                lines = table.readlines()
        except FileNotFoundError:
            continue
        for line in lines:
            _, local, remote, state, _, _, _, _, _, inode, *_ = line.split(None, 10)
            if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) in ports and inode != "0":
                peer = remote.partition(":")[0].removeprefix(_MAPPED)
                found.setdefault(peer, []).append(int(inode))
    return found


def _close(inodes: Collection[int], ports: frozenset[int]) -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/self/fd/{name}")
            if not link.startswith(_SOCKET) or int(link[len(_SOCKET) : -1]) not in inodes:
                continue
            # A descriptor of our own: the number may be another file's by now, then the port tells.
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.getsockname()[1] in ports:
                    connection.shutdown(socket.SHUT_RDWR)
                    count += 1
    return count
