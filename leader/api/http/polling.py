"""How often those who follow logs are to ask: less often, the more of them there are."""

from __future__ import annotations

import time
from collections.abc import Callable

MIN_SECONDS = 0.1
MAX_SECONDS = 5.0
# Replies a second that all of them together shall need.
MAX_REPLIES_PER_SECOND = 100.0


class Polling:
    """Counts the replies to those who follow, and says how long each is to wait before it asks again.

    It knows no viewer: how many there are follows from how many replies a second went out, and how long they were told
    to wait before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._replies = 0
        self._seconds = MIN_SECONDS

    def pause_seconds(self) -> float:
        """Counts a reply; returns the pause that goes with it."""
        now = self._clock()
        span = now - self._began
        if span >= max(1.0, self._seconds):
            viewers = self._replies / span * self._seconds
            self._seconds = min(MAX_SECONDS, max(MIN_SECONDS, viewers / MAX_REPLIES_PER_SECOND))
            self._began, self._replies = now, 0
        self._replies += 1
        return self._seconds
