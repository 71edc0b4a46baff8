"""Quotas at ingest: what is refused, until when, for whom; what counts outlives the leader."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from joblog.leader.access.quota import QuotaRules, Scope, parse_namespace_quota
from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.records import Quota
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.access.usage import DAY_NS, Meter
from joblog.leader.api.gate import Gate
from joblog.leader.buffer.changes import Changes
from joblog.leader.ingest.quotas import Quotas
from joblog.leader.metrics import Metrics
from joblog.token import Token
from joblog.v1 import ingest_pb2, types_pb2
from tests.e2e.push_stream import Leader, append_of, close_of, leader_in, open_of

QUOTA = ingest_pb2.REFUSAL_CODE_QUOTA
MIDDAY_NS = 20_000 * DAY_NS + DAY_NS // 2


class Clock:
    def __init__(self) -> None:
        self.now_ns = MIDDAY_NS

    def __call__(self) -> int:
        return self.now_ns


@asynccontextmanager
async def limited(
    folder: Path, *quotas: str, store: AccessStore | None = None, clock: Clock | None = None
) -> AsyncIterator[tuple[Leader, Quotas]]:
    """A leader with these quotas of namespaces; with an access store, tokens are asked for and have theirs."""

    def token_quota(token_id: str) -> Quota:
        assert store is not None
        record = store.find_token(token_id)
        assert record is not None
        return record.quota

    rules = QuotaRules([parse_namespace_quota(text) for text in quotas], token_quota)
    found = Quotas(rules, Meter(store.usage if store else None, clock or Clock()), Metrics().quotas)
    gate = Gate(store, Recogniser(store)) if store else None
    async with leader_in(folder, gate, found) as leader:
        yield leader, found


def bearer(store: AccessStore, name: str, quota: Quota) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A writer's token: its id, and what goes with a call."""
    record, secret = store.create_token(name, [Grant("writer")], created_by="test", quota=quota)
    return record.id, (("authorization", f"Bearer {Token(record.id, secret).text}"),)


async def until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_live_logs_of_a_namespace(tmp_path: Path) -> None:
    async with limited(tmp_path, "team-*: live_logs=2") as (leader, quotas), leader.push() as push:
        # In one message: they must see each other.
        refusal = await push.refusal(opens=[open_of(n, task=f"t{n}", namespace="team-a") for n in (1, 2, 3)])
        assert (refusal.code, refusal.handle, refusal.permanent) == (QUOTA, 3, False)
        assert "quota live_logs of namespace team-a, 2, is reached (2 logs are live or" in refusal.message
        assert refusal.retry_seconds > 0
        assert quotas.warnings() == [refusal.message]
        # Each namespace has the quota for itself, and another one none.
        await push.open(
            open_of(4, namespace="team-b"), *[open_of(n, task=f"t{n}", namespace="free") for n in (5, 6, 7)]
        )
        await push.send(closes=[close_of(1, b"")])
        await push.until(lambda: 1 in push.closed)
        await push.open(open_of(8, task="t8", namespace="team-a"))


async def test_bytes_per_day(tmp_path: Path) -> None:
    store, clock = AccessStore(tmp_path / "access.sqlite3"), Clock()
    line = b"x" * 99 + b"\n"
    writer = b"w" * 16
    try:
        _, other = bearer(store, "other", Quota())
        token_id, metadata = bearer(store, "limited", Quota(bytes_per_day=150))
        async with limited(tmp_path, store=store, clock=clock) as (leader, quotas):
            async with leader.push(metadata=metadata) as push:
                await push.open(open_of(1, writer_id=writer), open_of(2, task="t2"))
                # The second batch begins below the quota: it is taken whole.
                await push.send(appends=[append_of(1, 0, line), append_of(2, 0, line)])
                await push.until(lambda: push.acks.get(1) == push.acks.get(2) == 100)
                refusal = await push.refusal(appends=[append_of(1, 100, line)])
                assert (refusal.code, refusal.next_offset, refusal.permanent) == (QUOTA, 100, False)
                assert f"quota bytes_per_day of token {token_id}, 150 bytes, is used up (200 bytes" in refusal.message
                # UTC: 20,000 days and one after 1970 began.
                assert "begins anew at 2024-10-05 00:00 UTC" in refusal.message
                assert 10 < refusal.retry_seconds <= 60
                # What is here already is acked again, and the log can be closed.
                await push.send(appends=[append_of(2, 0, line)], closes=[close_of(2, line)])
                await push.until(lambda: 2 in push.closed)
            async with leader.push("w2", metadata=other) as push:
                await push.open(open_of(1, task="t3"))
                await push.send(appends=[append_of(1, 0, line), append_of(1, 100, line)])
                await push.until(lambda: push.acks.get(1) == 200)
        async with (
            limited(tmp_path, store=store, clock=clock) as (leader, quotas),
            leader.push(metadata=metadata) as push,
        ):
            assert quotas.use_of_token(token_id).bytes_today == 200
            assert quotas.use_of_token(token_id).live_logs == 1
            await push.open(open_of(1, writer_id=writer))
            assert (await push.refusal(appends=[append_of(1, 100, line)])).code == QUOTA
            clock.now_ns += DAY_NS // 2
            await push.send(appends=[append_of(1, 100, line)])
            await push.until(lambda: push.acks.get(1) == 200)
            assert quotas.use_of_token(token_id).bytes_today == 100
    finally:
        store.close()


async def test_stored_bytes_until_logs_are_deleted(tmp_path: Path) -> None:
    data = os.urandom(2048)
    async with limited(tmp_path, "full: stored_bytes=3000") as (leader, quotas), leader.push() as push:

        def stored() -> int:
            return quotas.meter.use(Scope("namespace", "full")).stored_bytes

        await push.open(open_of(1, namespace="full"), open_of(2, task="t2", namespace="full"), open_of(3))
        for handle in (1, 2, 3):
            await push.send(appends=[append_of(handle, 0, data), append_of(handle, 2048, data)])
        await push.until(lambda: push.refusals and push.acks.get(1) == push.acks.get(3) == 4096)
        assert [(one.code, one.handle) for one in push.refusals] == [(QUOTA, 2)]
        assert "quota stored_bytes of namespace full, 3000 bytes, is reached" in push.refusals[0].message
        assert (await push.refusal(opens=[open_of(4, task="t4", namespace="full")])).code == QUOTA
        number = push.opened[1].number
        await push.send(closes=[close_of(1, data * 2)])
        await push.until(lambda: 1 in push.closed)
        record = leader.store.get_log(number)
        assert record is not None
        # What the log took while it was live does not count twice.
        await until(lambda: stored() == record.stored_bytes)
        changes = Changes()
        changes.delete_log(number)
        leader.store.write(changes)
        assert stored() == 0
        await push.open(open_of(5, task="t5", namespace="full"))


async def test_what_is_stored_is_counted_at_the_start(tmp_path: Path) -> None:
    data = b"y\n" * 50
    async with limited(tmp_path, "full: stored_bytes=1MiB") as (leader, quotas), leader.push() as push:
        await push.open(open_of(1, namespace="full"), open_of(2, task="t2", namespace="full"))
        await push.send(appends=[append_of(1, 0, data), append_of(2, 0, data)], closes=[close_of(1, data)])
        await push.until(lambda: 1 in push.closed and push.acks.get(2) == 100)
        before = quotas.meter.use(Scope("namespace", "full"))
        assert before.stored_bytes > 0
    async with limited(tmp_path, "full: stored_bytes=1MiB") as (_, quotas):
        await until(lambda: abs(quotas.meter.use(Scope("namespace", "full")).stored_bytes - before.stored_bytes) < 64)
        assert quotas.meter.use(Scope("namespace", "full")).live_logs == 1


async def test_a_failed_write_counts_for_nothing(tmp_path: Path) -> None:
    async with limited(tmp_path, "n: bytes_per_day=1GiB") as (leader, quotas), leader.push() as push:
        await push.open(open_of(1, namespace="n"))
        leader.store.close()
        await push.send(appends=[append_of(1, 0, b"lost\n")])
        await until(lambda: not leader.ingest._sessions)
        assert quotas.meter.use(Scope("namespace", "n")).bytes_today == 0


def test_usage_is_kept_for_a_month(tmp_path: Path) -> None:
    store, clock = AccessStore(tmp_path / "access.sqlite3"), Clock()
    try:
        meter = Meter(store.usage, clock)
        scope = Scope("token", "abc")
        meter.add_bytes([scope], 5)
        meter.write()
        meter.add_bytes([scope], 7)
        meter.write()
        day = meter.today()
        assert store.usage.of_day(day) == {scope: 12}
        clock.now_ns += 40 * DAY_NS
        meter.add_bytes([scope], 1)
        meter.write()
        assert store.usage.of_day(day) == {}
        assert store.usage.of_day(day + 40) == {scope: 1}
        assert time.gmtime(MIDDAY_NS / 1e9).tm_hour == 12
    finally:
        store.close()


async def test_an_interrupted_log_keeps_its_place_for_its_worker(tmp_path: Path) -> None:
    """Nobody takes it meanwhile: who is back goes on at once. Deleted, it makes room."""
    rules = QuotaRules([parse_namespace_quota("team: live_logs=1")], lambda _id: Quota())
    quotas = Quotas(rules, Meter(None, Clock()), Metrics().quotas)
    writer = b"w" * 16
    async with leader_in(tmp_path, None, quotas, lost_after_seconds=0.5) as leader:
        async with leader.push() as push:
            await push.open(open_of(1, namespace="team", writer_id=writer))
            number = push.opened[1].number

        def is_interrupted() -> bool:
            record = leader.store.get_log(number)
            return record is not None and record.state == types_pb2.LOG_STATE_INTERRUPTED

        await until(is_interrupted)
        async with leader.push("w2") as push:
            refusal = await push.refusal(opens=[open_of(1, task="other", namespace="team")])
            assert refusal.code == QUOTA and "(1 logs are live or interrupted)" in refusal.message
        async with leader.push() as push:
            await push.open(open_of(1, namespace="team", writer_id=writer))
            assert push.opened[1].number == number and not is_interrupted()
        leader.ingest.forget(number)
        changes = Changes()
        changes.delete_log(number)
        leader.store.write(changes)
        async with leader.push("w2") as push:
            await push.open(open_of(1, task="other", namespace="team"))
