"""The audit log as the leader writes it: durable acts, counted ones, starts and crashes, months, a store that fails."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from joblog.errors import Denied, OutOfSpace, Unavailable
from joblog.identity import AUDIT_NAMESPACE
from joblog.leader.access.audit import AuditEvent
from joblog.leader.auditing import AuditOptions
from joblog.leader.buffer.changes import Changes
from joblog.leader.deletion import Deleter
from joblog.leader.reading.verify import Verdict
from joblog.v1 import types_pb2
from tests.audit_leader import AuditLeader, act, audit_leader
from tests.e2e.archive_leader import until

OCTOBER_NS = 1_793_000_000 * 10**9  # 2026-10-26
DAY_NS = 86_400 * 10**9


async def lines_of(leader: AuditLeader, action: str, count: int) -> list[dict[str, object]]:
    """The records of an action, once there are so many of them, or counted acts, on disk."""
    deadline = time.monotonic() + 20
    while True:
        found = await leader.records(action)
        if sum(record["count"] for record in found) >= count:
            return found
        assert time.monotonic() < deadline, f"{found}, not {count} of {action}"
        await asyncio.sleep(0.02)


async def test_what_is_recorded_is_on_disk(tmp_path: Path) -> None:
    async with audit_leader(tmp_path, crash=True) as leader:
        await asyncio.gather(*(leader.auditing.record(act("log.delete", f"r/{number}")) for number in range(20)))
        deleted = await leader.records("log.delete")
        assert sorted(str(record["subject"]) for record in deleted) == sorted(f"r/{number}" for number in range(20))
        assert deleted[0]["who"] == {"kind": "token", "name": "ann", "id": "abcdefghijkl"}
        assert deleted[0]["peer"] == "ipv4:127.0.0.1:5000"
        assert leader.auditing.head == (await leader.verdict()).head


async def test_the_chain_goes_on_over_starts_and_crashes(tmp_path: Path) -> None:
    for start in range(4):
        async with audit_leader(tmp_path, crash=start % 2 == 0) as leader:
            await leader.auditing.record(act("token.create", f"t{start}"))
            logs = leader.logs()
            assert [log.id.attempt for log in logs] == list(range(1, start + 2))
            # The earlier ones are completed, those that a crash left open too.
            states = [log.state for log in logs]
            assert states == [types_pb2.LOG_STATE_COMPLETED] * start + [types_pb2.LOG_STATE_LIVE]
            verdict = await leader.verdict()
            assert verdict.sound, verdict.problems
            assert verdict.head == leader.auditing.head
            for log in logs[:-1]:
                sealed: Verdict = await leader.reader.verify(log.number, lambda _done, _total: None)
                assert sealed.complete, sealed.problems
                assert sealed.expected is not None
    async with audit_leader(tmp_path) as leader:
        assert [record["subject"] for record in await leader.records("token.create")] == ["t0", "t1", "t2", "t3"]
        # Two of four were stopped properly.
        assert len(await leader.records("audit.end")) == 2


async def test_a_log_that_was_opened_and_never_written_is_passed_over(tmp_path: Path) -> None:
    async with audit_leader(tmp_path, crash=True) as leader:
        await leader.auditing.record(act("login"))
        head = leader.auditing.head
        from joblog.leader.ingest.own_log import OwnLog

        await OwnLog(leader.ingest).open(leader.auditing._name())
    async with audit_leader(tmp_path) as leader:
        assert len(leader.logs()) == 3
        begin = (await leader.records("audit.begin"))[-1]
        assert begin["previous"] == head.sha256
        assert begin["detail"]["after"] == head.log
        assert (await leader.verdict()).sound


async def test_the_head_is_read_from_the_log_where_it_was_not_noted(tmp_path: Path) -> None:
    """As after a rebuild from the archive, which has lines and no notes beside them."""
    async with audit_leader(tmp_path) as leader:
        await leader.auditing.record(act("login"))
    async with audit_leader(tmp_path, crash=True) as leader:
        leader.store.events = lambda _number: []  # type: ignore[method-assign,assignment]
        await leader.auditing._begin()
        verdict = await leader.verdict()
        assert verdict.sound, verdict.problems
        assert len(leader.logs()) == 3


async def test_acts_alike_are_counted(tmp_path: Path) -> None:
    """A flood of bad logins from everywhere, and somebody who polls."""
    async with audit_leader(tmp_path) as leader:
        for number in range(20_000):
            peer = f"ipv4:10.{number % 7}.{number % 11}.{number % 200}:{number}"
            leader.auditing.note(AuditEvent("login", None, "refused", f"token {number}", peer))
            if number % 10 == 0:
                leader.auditing.note(act("log.read", "default:r/t/1"))
    async with audit_leader(tmp_path) as leader:
        logins, reads = await leader.records("login"), await leader.records("log.read")
        assert sum(record["count"] for record in logins) == 20_000
        assert len(logins) < 120
        assert [record["count"] for record in reads] == [1, 1999]
        assert not await leader.records("audit.lost")
        assert (await leader.verdict()).sound


async def test_counted_acts_are_written_when_their_time_is_over(tmp_path: Path) -> None:
    async with audit_leader(tmp_path, AuditOptions(alike_seconds=0.2), crash=True) as leader:
        for _ in range(5):
            leader.auditing.note(act("log.read", "default:r/t/1"))
        found = await lines_of(leader, "log.read", 5)
        assert [record["count"] for record in found] == [1, 4]


async def test_what_there_is_no_room_for_is_counted(tmp_path: Path) -> None:
    async with audit_leader(tmp_path, AuditOptions(max_waiting=100), crash=True) as leader:
        for number in range(1000):
            leader.auditing.note(act("log.read", f"default:r/t/{number}"))
        (lost,) = await lines_of(leader, "audit.lost", 900)
        assert lost["count"] == 900
        assert len(await leader.records("log.read")) == 100
        assert leader.metrics.registry.get_sample_value("joblog_audit_lost_events_total") == 900


async def test_reads_may_be_left_out(tmp_path: Path) -> None:
    async with audit_leader(tmp_path, AuditOptions(reads=False)) as leader:
        leader.auditing.note(act("log.read"))
        leader.auditing.note(act("log.read", outcome="refused"))
    async with audit_leader(tmp_path) as leader:
        assert [record["outcome"] for record in await leader.records("log.read")] == ["refused"]


async def test_a_month_has_a_log_of_its_own(tmp_path: Path) -> None:
    now = [OCTOBER_NS]
    async with audit_leader(tmp_path, clock_ns=lambda: now[0]) as leader:
        await leader.auditing.record(act("login"))
        now[0] += 10 * DAY_NS
        await leader.auditing.record(act("login"))
        # A clock that goes back does not take the chain with it.
        now[0] -= 10 * DAY_NS
        await leader.auditing.record(act("login"))
        logs = leader.logs()
        assert [(log.id.run, log.id.attempt) for log in logs] == [("2026-10", 1), ("2026-11", 1)]
        assert [log.state for log in logs] == [types_pb2.LOG_STATE_COMPLETED, types_pb2.LOG_STATE_LIVE]
        assert logs[0].seal.sha256
        verdict = await leader.verdict()
        assert verdict.sound, verdict.problems
        assert [record["action"] for record in await leader.records()] == [
            *("audit.begin", "login", "audit.end"),
            *("audit.begin", "login", "login"),
        ]


async def test_a_long_log_goes_on_in_the_next(tmp_path: Path) -> None:
    async with audit_leader(tmp_path, AuditOptions(max_log_bytes=2000)) as leader:
        for number in range(12):
            await leader.auditing.record(act("login", f"{number}"))
        assert len(leader.logs()) > 1
        assert (await leader.verdict()).sound
        assert len(await leader.records("login")) == 12


async def test_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acts that need it fail, notes wait, and the chain goes on where its durable lines end."""
    async with audit_leader(tmp_path, crash=True) as leader:
        await leader.auditing.record(act("login", "before"))
        write = leader.store.write

        def full(changes: Changes, *, sync: bool = True) -> None:
            raise OutOfSpace("no space left on device")

        monkeypatch.setattr(leader.store, "write", full)
        leader.auditing.note(act("log.read", "meanwhile"))
        with pytest.raises(Unavailable, match="no space left"):
            await leader.auditing.record(act("token.create", "refused"))
        assert "no space left" in leader.auditing.warnings()[0]
        monkeypatch.setattr(leader.store, "write", write)
        await leader.auditing.record(act("login", "after"))
        assert leader.auditing.warnings() == []
        await until(lambda: not len(leader.auditing._queue), "all is written")
        verdict = await leader.verdict()
        assert verdict.sound, verdict.problems
        subjects = [record["subject"] for record in await leader.records() if record["subject"]]
        assert sorted(map(str, subjects)) == ["after", "before", "meanwhile"]


async def test_the_limit_of_logs_is_not_that_of_the_audit_log(tmp_path: Path) -> None:
    for _ in range(2):
        async with audit_leader(tmp_path, max_log_bytes=1000) as leader:
            for number in range(10):
                await leader.auditing.record(act("login", f"{number}"))
            assert (await leader.verdict()).sound
            assert not [gap for log in leader.logs() for gap in leader.store.gaps(log.number)]


async def test_nobody_deletes_it(tmp_path: Path) -> None:
    async with audit_leader(tmp_path) as leader:
        deleter = Deleter(leader.store, leader.ingest, leader.reader.forget, leader.ingest.pool)
        run = leader.logs()[0].id.run
        for target in [(run,), (run, "audit"), (run, "audit", 1)]:
            with pytest.raises(Denied, match="audit log"):
                await deleter.delete(AUDIT_NAMESPACE, *target)  # type: ignore[arg-type]
        assert len(leader.logs()) == 1
