"""How often somebody may show what is not known here: by where it comes from, and in all."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from joblog.errors import TooMany

_MAX_SOURCES = 10_000
_IPV6_SITE_BITS = 64


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """Failures from one source, and from all of them together; 0: no limit."""

    per_minute: int = 0
    total_per_minute: int = 0


class _Bucket:
    """Holds as many tokens as fit a minute, and gets them back evenly."""

    __slots__ = ("_filled_at", "_left", "_size")

    def __init__(self, size: int, now: float) -> None:
        self._size = size
        self._left = float(size)
        self._filled_at = now

    def wait_seconds(self, now: float) -> float:
        """How long until there is one to take; 0: now."""
        self._left = min(self._size, self._left + (now - self._filled_at) * self._size / 60)
        self._filled_at = now
        return 0.0 if self._left >= 1 else (1 - self._left) * 60 / self._size

    def take(self, now: float) -> None:
        self.wait_seconds(now)
        self._left = max(0.0, self._left - 1)


class Attempts:
    """Thread-safe as far as the GIL goes: a count may be off by one. clock: seconds, monotonic.

    Only what fails is counted, and what is good is not to be held up. A source that was recognised lately is not held
    up by what others do, either: where it can't be told yet what is good.
    """

    def __init__(self, limits: AttemptLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or AttemptLimits()
        self._clock = clock
        self._total = _Bucket(self._limits.total_per_minute, clock()) if self._limits.total_per_minute else None
        # The one that was used least lately comes first.
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()
        self._good: OrderedDict[str, None] = OrderedDict()

    def check(self, peer: str) -> None:
        """Raises TooMany when what comes from there is not to be looked at now."""
        now = self._clock()
        source = source_of(peer)
        bucket = self._sources.get(source)
        wait = bucket.wait_seconds(now) if bucket else 0.0
        if not wait and self._total is not None and source not in self._good:
            wait = self._total.wait_seconds(now)
        if wait:
            raise TooMany(f"too many attempts to sign in failed: try again in {max(1, round(wait))} s", wait)

    def failed(self, peer: str) -> None:
        """What was shown from there is not known."""
        now = self._clock()
        source = source_of(peer)
        if self._limits.per_minute:
            bucket = self._sources.pop(source, None) or _Bucket(self._limits.per_minute, now)
            bucket.take(now)
            self._sources[source] = bucket
            if len(self._sources) > _MAX_SOURCES:
                self._sources.popitem(last=False)
        if self._total is not None:
            self._total.take(now)

    def succeeded(self, peer: str) -> None:
        """Somebody there was recognised."""
        source = source_of(peer)
        self._good[source] = None
        self._good.move_to_end(source)
        if len(self._good) > _MAX_SOURCES:
            self._good.popitem(last=False)


def source_of(peer: str) -> str:
    """Whom attempts from a peer are counted for: its address, of IPv6 the part that a site is given.

    peer: HOST:PORT, or as gRPC says it, ipv4:HOST:PORT, ipv6:%5BHOST%5D:PORT.
    """
    host = unquote(peer)
    for kind in ("ipv4:", "ipv6:"):
        host = host.removeprefix(kind)
    host = host.rpartition(":")[0].strip("[]") or host
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:100]
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False).network_address)
    return str(address)
