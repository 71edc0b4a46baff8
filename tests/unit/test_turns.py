"""How viewers step aside while logs are written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable

import pytest

from joblog.leader.api.http.turns import (
    ADVANCE_SECONDS,
    AT_ONCE,
    BUSY_BYTES_PER_SECOND,
    FOLLOWERS_EVERY,
    MAX_CREDIT_SECONDS,
    MAX_DEBT_SECONDS,
    MAX_TURN_SECONDS,
    SHARE,
    Turns,
)

CORES_USED = 0.5
CORES = SHARE * CORES_USED


class Leader:
    """One that takes in so many bytes a second and uses half a core, with a clock of its own."""

    def __init__(self, *, busy: bool = True) -> None:
        self.received = 0
        self.now = 0.0
        self.turns = Turns(lambda: self.received, lambda: self.now, lambda: CORES_USED * self.now)
        self.inside = self.most = 0
        self.order: list[Hashable] = []
        self.take_in(2 * BUSY_BYTES_PER_SECOND if busy else 0.5 * BUSY_BYTES_PER_SECOND)

    def take_in(self, bytes_per_second: float) -> None:
        self.now += 2.0
        self.received += round(2.0 * bytes_per_second)

    def spend(self, seconds: float) -> None:
        """As if a turn's work had used so much CPU time."""
        self.turns.meter.seconds += seconds

    async def look(self, key: Hashable, *, following: bool = False, until: asyncio.Event | None = None) -> Hashable:
        async def read() -> Hashable:
            self.order.append(key)
            self.inside += 1
            self.most = max(self.most, self.inside)
            await (until.wait() if until else asyncio.sleep(0))
            self.inside -= 1
            return key

        return await self.turns.take(key, read, following=following)


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def asked() -> None:
    """Lets tasks go as far as they come without time."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_everybody_has_a_turn_at_once_while_little_comes_in() -> None:
    leader = Leader(busy=False)
    leader.spend(10)
    await asyncio.gather(*(leader.look(number) for number in range(20)))
    assert leader.most == 20


async def test_few_at_once_and_in_order_while_logs_are_written() -> None:
    leader = Leader()
    await asyncio.gather(*(leader.look(number) for number in range(20)))
    assert leader.most == AT_ONCE
    assert leader.order == list(range(20))
    # And all at once again, when that is over.
    leader.take_in(0)
    leader.most = 0
    await asyncio.gather(*(leader.look(number) for number in range(20)))
    assert leader.most == 20


async def test_turns_use_no_more_than_a_part_of_the_leaders_cpu_time() -> None:
    leader = Leader()
    loop = asyncio.get_running_loop()
    leader.spend(MAX_CREDIT_SECONDS + ADVANCE_SECONDS + 0.01)
    began = loop.time()
    late = asyncio.create_task(leader.look("late"))
    await asked()
    assert leader.order == []
    # The timer asks again, until the leader's own clock says that it is paid.
    await settled(lambda: loop.time() - began > 0.01 / CORES)
    assert leader.order == []
    leader.now += 0.02 / CORES
    assert await late == "late"
    # However much one took, nobody waits for longer than the bound.
    leader.spend(100.0)
    later = asyncio.create_task(leader.look("later"))
    await asked()
    assert leader.order == ["late"]
    leader.now += 1.01 * MAX_DEBT_SECONDS / CORES
    assert await later == "later"


async def test_who_looks_comes_before_who_follows_and_starves_nobody() -> None:
    leader = Leader()
    held = asyncio.Event()
    holding = [asyncio.create_task(leader.look(f"held {number}", until=held)) for number in range(AT_ONCE)]
    await settled(lambda: leader.inside == AT_ONCE)
    following = [asyncio.create_task(leader.look(f"follow {number}", following=True)) for number in range(4)]
    looking = [asyncio.create_task(leader.look(f"look {number}")) for number in range(20)]
    await asked()
    held.set()
    await asyncio.gather(*holding, *following, *looking)
    kinds = [str(key).split()[0] for key in leader.order[AT_ONCE:]]
    assert kinds[:16].count("follow") == 16 // FOLLOWERS_EVERY
    assert kinds.count("follow") == 4


async def test_who_follows_waits_until_what_others_had_in_advance_is_paid() -> None:
    leader = Leader()
    await leader.look("first")
    leader.spend(MAX_CREDIT_SECONDS + ADVANCE_SECONDS / 2)
    following = asyncio.create_task(leader.look("follow", following=True))
    await asked()
    assert await leader.look("look") == "look"
    assert leader.order == ["first", "look"]
    leader.now += ADVANCE_SECONDS / CORES
    assert await following == "follow"


async def test_who_asks_for_the_same_while_waiting_shares_an_answer_that_is_not_older_than_the_question() -> None:
    leader = Leader()
    held, reading = asyncio.Event(), asyncio.Event()
    holding = [asyncio.create_task(leader.look(f"held {number}", until=held)) for number in range(AT_ONCE)]
    await settled(lambda: leader.inside == AT_ONCE)
    same = [asyncio.create_task(leader.look("same", until=reading)) for _ in range(30)]
    # One of them goes away, which is nothing to the others.
    await asked()
    same[0].cancel()
    held.set()
    await settled(lambda: "same" in leader.order)
    after = asyncio.create_task(leader.look("same", until=reading))
    reading.set()
    assert await asyncio.gather(*same[1:], after) == ["same"] * 30
    assert leader.order.count("same") == 2
    await asyncio.gather(*holding)


async def test_who_gave_up_has_no_turn_and_holds_none() -> None:
    leader = Leader()
    held = asyncio.Event()
    holding = [asyncio.create_task(leader.look(f"held {number}", until=held)) for number in range(AT_ONCE)]
    await settled(lambda: leader.inside == AT_ONCE)
    for number in range(3 * AT_ONCE):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leader.look(f"gone {number}"), 0.001)
    for task in holding:
        # They had theirs already.
        task.cancel()
    assert await leader.look("next") == "next"
    assert not [key for key in leader.order if str(key).startswith("gone")]
    leader.most = leader.inside = 0
    await asyncio.gather(*(leader.look(number) for number in range(20)))
    assert leader.most == AT_ONCE


async def test_errors_reach_all_who_asked_and_end_the_turn() -> None:
    leader = Leader()

    async def fail() -> Awaitable[None]:
        raise LookupError("not there")

    for _ in range(2 * AT_ONCE):
        answers = await asyncio.gather(*(leader.turns.take("key", fail) for _ in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["not there"] * 3
    assert await leader.look("next") == "next"


async def test_a_turn_that_takes_too_long_makes_room_once() -> None:
    leader = Leader()
    held = asyncio.Event()
    began = asyncio.get_running_loop().time()
    holding = [asyncio.create_task(leader.look(f"held {number}", until=held)) for number in range(AT_ONCE)]
    await settled(lambda: leader.inside == AT_ONCE)
    assert await leader.look("next") == "next"
    assert asyncio.get_running_loop().time() - began >= 0.9 * MAX_TURN_SECONDS
    held.set()
    await asyncio.gather(*holding)
    leader.most = leader.inside = 0
    await asyncio.gather(*(leader.look(number) for number in range(20)))
    assert leader.most == AT_ONCE
