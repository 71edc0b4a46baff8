"""The names and addresses under which this machine may be reached."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# More would make the certificate too large for a handshake.
MAX_ADDRESSES = 50
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s*/32 host LOCAL")
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\Z")


def is_host(name: str) -> bool:
    """Whether it is a host name (its first part may be `*`) or an address, as a certificate can hold it."""
    return is_address(name) or (len(name) <= 253 and _NAME.match(name) is not None)


def is_address(name: str) -> bool:
    """Whether it is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_names(more: Iterable[str] = ()) -> list[str]:
    """Loopback, this machine's host name and addresses, and `more`; each once, what is none left out."""
    found = [*LOOPBACK, *more, socket.gethostname(), *_addresses()[:MAX_ADDRESSES]]
    return [name for name in dict.fromkeys(found) if is_host(name) and not _is_wildcard(name)]


def _is_wildcard(name: str) -> bool:
    return name in ("0.0.0.0", "::")  # noqa: S104 - what is listened on, and nobody's address


def _addresses() -> list[str]:
    """Addresses of this machine's interfaces, as far as the kernel tells; those of a link alone left out."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        found += _LOCAL.findall(Path("/proc/net/fib_trie").read_text())
    try:
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            found.append(str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))))
    except (OSError, ValueError, IndexError):
        pass
    return [text for text in dict.fromkeys(found) if not ipaddress.ip_address(text).is_link_local]
