"""How often those who follow logs are to ask: less often, the more of them there are and the more they are sent."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_SECONDS = 0.1
MAX_SECONDS = 5.0
# Replies a second that all of them together shall need, and bytes of logs that are read for them.
MAX_REPLIES_PER_SECOND = 100.0
MAX_BYTES_PER_SECOND = 4e6


class Polling:
    """Counts the replies to those who follow, and says how long each is to wait before it asks again.

    It knows no viewer: how many there are follows from how many replies a second went out, and how long they were told
    to wait before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._replies = 0
        self._bytes = 0
        self._seconds = MIN_SECONDS

    def pause_seconds(self) -> float:
        """How long who gets a reply now is to wait."""
        now = self._clock()
        span = now - self._began
        if span >= max(1.0, self._seconds):
            # How many times the bound is what would be asked for with no pause but a second.
            asked = max(self._replies / MAX_REPLIES_PER_SECOND, self._bytes / MAX_BYTES_PER_SECOND)
            self._seconds = min(MAX_SECONDS, max(MIN_SECONDS, asked / span * self._seconds))
            self._began, self._replies, self._bytes = now, 0, 0
        return self._seconds

    def count_reply(self) -> None:
        """A reply went out."""
        self._replies += 1

    def count_read(self, size_bytes: int) -> None:
        """So many bytes of a log were read, for one reply or for several that share them."""
        self._bytes += size_bytes
