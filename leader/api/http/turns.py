"""Whoever looks at logs steps aside while logs are written: viewers take turns then, with rests in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

# With fewer bytes a second coming in there is time for all.
BUSY_BYTES_PER_SECOND = 1e6
# After a turn nobody has one for so many times as long as it took: they use a third of one core at most.
REST = 2.0
MAX_REST_SECONDS = 0.1
# Whoever takes longer, as it waits for the archive, holds up nobody; and where the machine is far behind, everybody
# still has a turn.
MAX_TURN_SECONDS = 0.25
_LOOK_SECONDS = 1.0


class Turns:
    """Turns of requests that read pages of logs and lists, in the order in which they were asked for.

    received: bytes that came in so far. While few come in, everybody has a turn at once. A turn is measured by the
    wall, so that on a machine without time to spare the rests grow as well. Belongs to one event loop.
    """

    def __init__(self, received: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._received = received
        self._clock = clock
        self._looked = clock()
        self._before = received()
        self._busy = False
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn, which lasts as long as the block."""
        if not self._is_busy():
            yield
            return
        await self._lock.acquire()
        loop, began = asyncio.get_running_loop(), self._clock()
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True
            self._lock.release()

        too_long = loop.call_later(MAX_TURN_SECONDS, end)
        try:
            yield
        finally:
            rest = min(MAX_REST_SECONDS, REST * (self._clock() - began)) if self._is_busy() else 0.0
            # Where its time has come the next one has the turn already. The clock does not tell: timers may be early.
            if not is_over:
                too_long.cancel()
                loop.call_later(rest, end)

    def _is_busy(self) -> bool:
        now = self._clock()
        span = now - self._looked
        if span >= _LOOK_SECONDS:
            received = self._received()
            self._busy = received - self._before >= BUSY_BYTES_PER_SECOND * span
            self._looked, self._before = now, received
        return self._busy
