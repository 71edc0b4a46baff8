"""How fast logs may be read: a bucket of bytes for each group that shares a rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

# So many seconds' worth may be read at once.
_BURST_SECONDS = 2.0


class Rates:
    """Bytes a second by glob over a group's name, the first one that matches; for groups with none there is no limit.

    Used by several threads: what two of them take at once may be more than is there, once.
    """

    def __init__(self, bytes_per_second: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = dict(bytes_per_second)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def may_read(self, group: str) -> bool:
        """Whether something is left for the group now."""
        rate = self._rate(group)
        if not rate:
            return True
        left, since = self._left.get(group, (rate * _BURST_SECONDS, self._clock()))
        now = self._clock()
        left = min(rate * _BURST_SECONDS, left + (now - since) * rate)
        self._left[group] = (left, now)
        return left > 0

    def took(self, group: str, length: int) -> None:
        """So much was read; what is more than was left is made up for by waiting."""
        if group in self._left:
            left, since = self._left[group]
            self._left[group] = (left - length, since)

    def _rate(self, group: str) -> int:
        for pattern, rate in self._rates.items():
            if fnmatchcase(group, pattern):
                return rate
        return 0
