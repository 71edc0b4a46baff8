"""How viewers step aside while logs are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from joblog.leader.api.http.turns import BUSY_BYTES_PER_SECOND, MAX_TURN_SECONDS, REST, Turns


class Leader:
    """One that takes in so many bytes a second, with a clock of its own that runs with the event loop's."""

    def __init__(self) -> None:
        self.received = 0
        self.now = 0.0
        self.turns = Turns(lambda: self.received, lambda: self.now)

    @asynccontextmanager
    async def taking_in(self, bytes_per_second: float) -> AsyncIterator[None]:
        self.now += 2.0
        self.received += round(2.0 * bytes_per_second)
        yield


async def most_at_once(leader: Leader, viewers: int) -> int:
    inside = most = 0

    async def look() -> None:
        nonlocal inside, most
        async with leader.turns.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(look() for _ in range(viewers)))
    return most


async def test_everybody_has_a_turn_at_once_while_little_comes_in() -> None:
    leader = Leader()
    async with leader.taking_in(0.5 * BUSY_BYTES_PER_SECOND):
        assert await most_at_once(leader, 10) == 10


async def test_one_after_another_while_logs_are_written_in_order() -> None:
    leader = Leader()
    async with leader.taking_in(2 * BUSY_BYTES_PER_SECOND):
        assert await most_at_once(leader, 10) == 1
    # And all at once again, when that is over.
    async with leader.taking_in(0):
        assert await most_at_once(leader, 10) == 10


async def test_after_a_turn_comes_a_rest_and_nobody_waits_for_ones_who_gave_up() -> None:
    leader = Leader()
    loop = asyncio.get_running_loop()
    order: list[str] = []

    async def look(name: str, seconds: float) -> None:
        async with leader.turns.turn():
            order.append(name)
            # Of the leader's clock, as if the work took so long.
            leader.now += seconds

    async with leader.taking_in(2 * BUSY_BYTES_PER_SECOND):
        began = loop.time()
        gone = asyncio.create_task(asyncio.wait_for(look("gone", 0), 0.001))
        await look("first", 0.05)
        first_ended = loop.time()
        await asyncio.gather(gone, return_exceptions=True)
        await look("second", 0.0)
        assert loop.time() - began >= REST * 0.05 * 0.9
        assert loop.time() - first_ended < 5
        assert order[-1] == "second"


async def test_a_turn_that_takes_too_long_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    leader = Leader()
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, error: errors.append(error))
    async with leader.taking_in(2 * BUSY_BYTES_PER_SECOND):
        async with leader.turns.turn():
            await asyncio.sleep(1.2 * MAX_TURN_SECONDS)
            now = loop.time
            # As with a loop that is early with its timers.
            monkeypatch.setattr(loop, "time", lambda: now() - MAX_TURN_SECONDS)
        monkeypatch.undo()
        assert await most_at_once(leader, 3) == 1
    assert not errors
