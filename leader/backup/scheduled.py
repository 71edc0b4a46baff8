"""Does one thing whenever its schedule says so, and again after a while when it failed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from joblog.errors import Interrupted, JoblogError
from joblog.leader.backup.schedule import Schedule

log = logging.getLogger(__name__)

# The clock may be set, and a suspended machine has none.
LOOK_SECONDS = 30.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 5.0, 600.0


class Scheduled:
    """next_ns: when it is due, 0: never, or not known yet. failure: why it failed last, empty: it did not."""

    def __init__(
        self,
        what: str,
        schedule: Schedule | None,
        last_ns: Callable[[], int | None],
        work: Callable[[], Awaitable[None]],
    ) -> None:
        """last_ns(): when it was done last, 0: never, None: there is nothing to do it with. Blocks. Both may raise."""
        self._what = what
        self._schedule = schedule
        self._last_ns = last_ns
        self._work = work
        self.next_ns = 0
        self.failure = ""

    async def run(self) -> None:
        """Never returns."""
        if self._schedule is None:
            await asyncio.Event().wait()
            return
        started_ns, pause = time.time_ns(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                left_seconds = await self._left_seconds(self._schedule, started_ns)
                if left_seconds > 0:
                    await asyncio.sleep(left_seconds)
                    continue
                await self._work()
            except JoblogError as error:
                # Interrupted: the leader stops.
                if not isinstance(error, Interrupted):
                    self._failed(str(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
            else:
                self.failure = ""
                pause = _FIRST_PAUSE_SECONDS

    def _failed(self, why: str) -> None:
        if self.failure != why:
            log.error("scheduled %s failed, it is tried again: %s", self._what, why)
        self.failure = why

    async def _left_seconds(self, schedule: Schedule, started_ns: int) -> float:
        """How long to wait before the next look; 0: it is due."""
        last_ns = await asyncio.to_thread(self._last_ns)
        if last_ns is None:
            return _FIRST_PAUSE_SECONDS
        # An interval counts from the last one, also when the leader was started anew since.
        first_ns = 0 if schedule.interval_seconds else started_ns
        due_ns, now_ns = schedule.next_after(last_ns or first_ns), time.time_ns()
        self.next_ns = max(due_ns, now_ns)
        return min(max(0.0, (due_ns - now_ns) / 1e9), LOOK_SECONDS)
