"""Whoever looks at logs steps aside while logs are written: viewers share part of a core then, and wait their turn."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from joblog.leader.reading.meter import Meter

T = TypeVar("T")

# With fewer bytes a second coming in there is time for all.
BUSY_BYTES_PER_SECOND = 1e6
# How much of the CPU time that the leader has all turns together may use, and how much of a core at least.
SHARE = 0.25
LEAST_CORES = 0.01
# What a reply costs besides the work in the reader's threads: routing, JSON, TLS.
REPLY_SECONDS = 0.001
# What was not used is good for that much later, and what was too much is paid for up to that much.
MAX_CREDIT_SECONDS = 0.05
MAX_DEBT_SECONDS = 0.1
# Who looks may have so much in advance; those who follow pay it back.
ADVANCE_SECONDS = 0.05
AT_ONCE = 4
# Whoever takes longer, as it waits for the archive or for news, holds up nobody.
MAX_TURN_SECONDS = 0.25
# Those who wait for news can wait; but of so many turns one is theirs.
FOLLOWERS_EVERY = 8
_LOOK_SECONDS = 1.0
# Time without a turn may end earlier than it seemed, when there is more CPU time to share.
_RETRY_SECONDS = 0.5


@dataclass(slots=True)
class _Shared:
    """An answer that `readers` requests wait for."""

    task: asyncio.Task[Any]
    readers: int = 0


class Turns:
    """Turns of requests that read pages of logs and lists, in the order in which they were asked for.

    received: bytes that came in so far; used: CPU seconds that the leader used so far. While few bytes come in,
    everybody has a turn at once. Else turns have a share of what CPU time the leader gets, be that much or little, and
    those who ask for the same while they wait have one turn and one answer together: what it costs to watch grows with
    what is watched, not with who watches. Belongs to one event loop.
    """

    def __init__(
        self,
        received: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self.meter = Meter()
        self._received = received
        self._clock = clock
        self._used = used
        self._looked = self._paid = clock()
        self._before = received(), used()
        self._busy = False
        self._cores = LEAST_CORES
        self._credit = MAX_CREDIT_SECONDS
        self._metered = 0.0
        self._inside = 0
        self._given = 0
        self._waiting: dict[bool, deque[asyncio.Future[None]]] = {False: deque(), True: deque()}
        self._shared: dict[Hashable, _Shared] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, key: Hashable, read: Callable[[], Awaitable[T]], *, following: bool = False) -> T:
        """What `read` gives, in a turn; raises what it raises. key: equal for those who may share an answer.

        An answer is never older than the request for it: who asks while it is read has the next one.
        following: it is one of many requests of somebody who waits for news, and comes after those who look.
        """
        if not self._is_busy():
            return await read()
        self.meter.seconds += REPLY_SECONDS
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(asyncio.create_task(self._read(key, read, following)))
            # Where nobody waits any more, nobody asks how it ended.
            shared.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        shared.readers += 1
        try:
            answer: T = await asyncio.shield(shared.task)
            return answer
        finally:
            shared.readers -= 1
            if not shared.readers and not shared.task.done():
                self._forget(key, shared.task)
                shared.task.cancel()

    async def _read(self, key: Hashable, read: Callable[[], Awaitable[T]], following: bool) -> T:
        await self._turn(following)
        own = asyncio.current_task()
        assert own is not None
        self._forget(key, own)
        with self._ending(), self.meter.counting():
            return await read()

    def _forget(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        shared = self._shared.get(key)
        if shared is not None and shared.task is task:
            del self._shared[key]

    async def _turn(self, following: bool) -> None:
        """Waits for a turn."""
        place = asyncio.get_running_loop().create_future()
        self._waiting[following].append(place)
        self._give()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._end()
            raise

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Ends the turn with the block, or when it takes too long."""
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._end()

        too_long = asyncio.get_running_loop().call_later(MAX_TURN_SECONDS, end)
        try:
            yield
        finally:
            too_long.cancel()
            end()

    def _end(self) -> None:
        self._inside -= 1
        self._give()

    def _give(self) -> None:
        """Gives turns to those who wait, as many as there may be."""
        while self._inside < AT_ONCE and (following := self._next()) is not None:
            advance = 0.0 if following and not self._is_followers() else ADVANCE_SECONDS
            pause = (self._debt_seconds() - advance) / self._cores if self._is_busy() else 0.0
            if pause > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(min(pause, _RETRY_SECONDS), self._on_time)
                return
            self._waiting[following].popleft().set_result(None)
            self._inside += 1
            self._given += 1

    def _on_time(self) -> None:
        self._timer = None
        self._give()

    def _next(self) -> bool | None:
        """Whether the next turn is that of one who follows; None where nobody waits."""
        for queue in self._waiting.values():
            while queue and queue[0].done():
                queue.popleft()
        first = self._is_followers()
        return next((following for following in (first, not first) if self._waiting[following]), None)

    def _is_followers(self) -> bool:
        """Whether the next turn is one that those who follow have before others."""
        return self._given % FOLLOWERS_EVERY == 0

    def _debt_seconds(self) -> float:
        """How much more CPU time turns have used than they may."""
        now, metered = self._clock(), self.meter.seconds
        credit = min(MAX_CREDIT_SECONDS, self._credit + self._cores * (now - self._paid))
        self._credit = max(-MAX_DEBT_SECONDS, credit - (metered - self._metered))
        self._paid, self._metered = now, metered
        return -self._credit

    def _is_busy(self) -> bool:
        now = self._clock()
        span = now - self._looked
        if span >= _LOOK_SECONDS:
            received, used = self._received(), self._used()
            self._busy = received - self._before[0] >= BUSY_BYTES_PER_SECOND * span
            self._cores = max(LEAST_CORES, SHARE * (used - self._before[1]) / span)
            self._looked, self._before = now, (received, used)
        return self._busy
