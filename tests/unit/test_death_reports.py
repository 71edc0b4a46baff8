"""Death reports: which ends are deaths, what is said of them and where, once, and what may not stop them."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from joblog.death import MAX_TAIL_BYTES, MAX_TAIL_LINES, Death, last_death, parse_death, tail_of
from joblog.errors import InvalidInput
from joblog.identity import MAX_ATTEMPT
from joblog.leader.ingest.deaths import DeathRules
from joblog.leader.report_settings import parse_exit_codes
from joblog.v1 import ingest_pb2, types_pb2
from tests.death_leader import DeathLeader, death_leader
from tests.e2e.push_stream import append_of, close_of, open_of

EXITED = types_pb2.OUTCOME_KIND_EXITED
SIGNALED = types_pb2.OUTCOME_KIND_SIGNALED


def outcome(kind: types_pb2.OutcomeKind, **fields: Any) -> types_pb2.Outcome:
    return types_pb2.Outcome(kind=kind, **fields)


def ended(what: types_pb2.Outcome, task: str = "t") -> types_pb2.LogRecord:
    return types_pb2.LogRecord(
        id=types_pb2.LogId(namespace="default", run="r", task=task, attempt=1), outcome=what, next_offset=7
    )


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (outcome(EXITED), None),
        (outcome(EXITED, exit_code=1), None),
        (outcome(EXITED, exit_code=3), "exit_code"),
        (outcome(EXITED, exit_code=1, oom_killed=True), "oom_killed"),
        (outcome(EXITED, oom_killed=True), None),  # a process of it was killed, and it went on to a clean end
        (outcome(SIGNALED, signal=9, exit_code=137, oom_killed=True), "oom_killed"),
        (outcome(SIGNALED, signal=11, exit_code=139), "signal"),
        (outcome(types_pb2.OUTCOME_KIND_EVICTED, exit_code=143), "evicted"),
        (outcome(types_pb2.OUTCOME_KIND_NODE_LOST), "node_lost"),
        (outcome(types_pb2.OUTCOME_KIND_TIMED_OUT, exit_code=143, signal=15), "timed_out"),
        (outcome(types_pb2.OUTCOME_KIND_SUPERVISOR_DIED), "supervisor_died"),
        (outcome(types_pb2.OUTCOME_KIND_NOT_STARTED, exit_code=127), None),
        (outcome(types_pb2.OUTCOME_KIND_UNSPECIFIED), None),
    ],
)
def test_which_ends_are_deaths(what: types_pb2.Outcome, reason: str | None) -> None:
    event = DeathRules(frozenset({3})).at_end(ended(what))
    found = None if event is None else parse_death(event)
    assert (found.reason if found else None) == reason


@pytest.mark.parametrize("task", ["@run", "@audit"])
def test_joblogs_own_logs_have_no_deaths(task: str) -> None:
    record = ended(outcome(SIGNALED, signal=9), task)
    assert DeathRules().at_end(record) is None
    assert DeathRules().at_silence(record, 7) is None


def test_exit_codes_are_numbers_and_ranges() -> None:
    assert parse_exit_codes(("1", "3-5", " 127 ")) == {1, 3, 4, 5, 127}
    for bad in ("0", "256", "1-", "-1", "5-3", "x", "1-2-3", "", "９"):
        with pytest.raises(InvalidInput, match=r"exit code|begins behind"):
            parse_exit_codes((bad,))


def test_what_is_no_report_is_read_as_none() -> None:
    for message in ("", "{", "[]", '{"reason": 1}', "[" * 100_000, '"x"', "{}"):
        assert parse_death(types_pb2.Event(kind="death_report", message=message)) is None
    odd = '{"reason": "signal", "node": 5, "exit_code": "1", "signal": 9, "restarts": true, "more": {}}'
    assert parse_death(types_pb2.Event(kind="death_report", message=odd)) == Death("signal", signal=9)


def test_the_tail_is_the_last_lines_or_bytes_whichever_is_less() -> None:
    lines = b"".join(b"%d\n" % number for number in range(1000))
    assert tail_of(lines) == b"".join(b"%d\n" % number for number in range(1000 - MAX_TAIL_LINES, 1000))
    assert tail_of(lines + b"open").count(b"\n") == MAX_TAIL_LINES - 1
    assert tail_of(b"x" * 100_000) == b"x" * MAX_TAIL_BYTES
    assert tail_of(b"a\nb") == b"a\nb"
    assert tail_of(b"") == b""
    assert tail_of(b"\n") == b"\n"


async def end_log(dead: DeathLeader, data: bytes, what: types_pb2.Outcome, **fields: Any) -> int:
    async with dead.leader.push(fields.pop("worker_id", "w1")) as push:
        await push.open(open_of(1, **fields))
        if data:
            await push.send(appends=[append_of(1, 0, data)])
        await push.send(closes=[close_of(1, data, outcome=what)])
        await push.until(lambda: push.closed)
        return push.opened[1].number


async def test_a_death_is_told_with_the_log_in_the_run_log_and_once_on_standard_output(tmp_path: Path) -> None:
    labels = {
        "kubernetes.pod": "build-x7",
        "kubernetes.container": "main",
        "kubernetes.node": "node-3",
        "kubernetes.restart": "2",
        "kubernetes.memory_limit_bytes": "536870912",
    }
    start = types_pb2.TaskStart(host="agent-host", started_ns=10**18, labels=labels)
    data = b"".join(b"line %d\n" % number for number in range(500))
    killed = outcome(SIGNALED, signal=9, exit_code=137, oom_killed=True, ended_ns=10**18 + 5, message="OOMKilled")
    async with death_leader(tmp_path) as dead:
        number = await end_log(dead, data, killed, start=start)
        await end_log(dead, b"fine\n", outcome(EXITED), task="clean")
        await dead.settled()
        (said,) = dead.lines()
        expected = {
            "type": "death_report",
            "reason": "oom_killed",
            "node": "node-3",
            "worker": "w1",
            "pod": "build-x7",
            "container": "main",
            "restarts": 2,
            "memory_limit_bytes": 536870912,
            "signal": 9,
            "exit_code": 137,
            "message": "OOMKilled",
            "started_at": "2001-09-09T01:46:40.000000000Z",
            "ended_at": "2001-09-09T01:46:40.000000005Z",
            "namespace": "default",
            "run": "r",
            "task": "t",
            "attempt": 1,
            "length": len(data),
            "tail": "".join(f"line {number}\n" for number in range(300, 500)),
        }
        assert {name: said.get(name) for name in expected} == expected
        found = last_death(dead.leader.store.events(number))
        assert found is not None
        assert found[1].reason == "oom_killed"
        told = await dead.run_log()
        assert told.count(" died task=t attempt=1 reason=oom_killed ") == 1
        assert told.count(" tail task=t attempt=1 ") == 200
        assert told.endswith('text="line 499"\n')
        run = dead.leader.store.get_run("default", "r")
        assert run is not None
        assert run.logs_live == 0
        assert not dead.lines()


async def test_what_a_log_says_can_forge_nothing(tmp_path: Path) -> None:
    hostile = b'\x1b[2J"}\n{"type": "death_report"}\n\xff\xfe 2026-01-01T00:00:00.000000Z finished task=t exit_code=0\n'
    async with death_leader(tmp_path) as dead:
        await end_log(dead, hostile, outcome(SIGNALED, signal=6))
        await dead.settled()
        (said,) = dead.lines()
        assert said["tail"] == hostile.decode(errors="replace")
        told = await dead.run_log()
        assert all(line.split(" ")[1] in ("died", "tail") for line in told.splitlines())
        assert "\x1b" not in told


@pytest.mark.parametrize(("stdout", "lines", "tail"), [("on", 1, True), ("without_tail", 1, False), ("off", 0, False)])
async def test_the_text_leaves_only_where_that_is_set(tmp_path: Path, stdout: str, lines: int, tail: bool) -> None:
    async with death_leader(tmp_path, stdout=stdout) as dead:
        await end_log(dead, b"secret\n", outcome(SIGNALED, signal=6))
        await dead.settled()
        said = dead.lines()
        assert len(said) == lines
        assert any("tail" in one for one in said) == tail
        assert "secret" in await dead.run_log()


async def test_a_report_that_was_not_sent_out_is_sent_by_the_next_start_once(tmp_path: Path) -> None:
    async with death_leader(tmp_path, sending=False) as dead:
        number = await end_log(dead, b"last words\n", outcome(SIGNALED, signal=6))
        assert dead.leader.store.deaths() == [number]
    for count in (1, 0):
        async with death_leader(tmp_path) as dead:
            await dead.settled()
            assert len(dead.lines()) == count
            assert (await dead.run_log()).count(" died ") == 1


async def test_a_silent_worker_is_reported_once_whatever_comes_of_it(tmp_path: Path) -> None:
    rules = DeathRules(silent_after_seconds=0.6)
    writer = os.urandom(16)
    async with death_leader(tmp_path, rules, lost_after_seconds=0.3, heartbeat_seconds=0.1) as dead:
        async with dead.leader.push() as push:
            await push.open(open_of(1, writer_id=writer), open_of(2, task="@run"))
            await push.send(appends=[append_of(1, 0, b"so far\n")])
            await push.until(lambda: push.acks.get(1) == 7)
            number = push.opened[1].number
        async with asyncio.timeout(20):
            while not (said := dead.lines()):
                await asyncio.sleep(0.05)
        assert [(one["reason"], one["tail"], one["length"]) for one in said] == [("worker_silent", "so far\n", 7)]
        async with dead.leader.push() as push:
            await push.open(open_of(1, writer_id=writer))
            data = b"so far\nand on\n"
            await push.send(
                appends=[append_of(1, 7, b"and on\n")],
                closes=[close_of(1, data, outcome=outcome(SIGNALED, signal=9))],
            )
            await push.until(lambda: push.closed)
        await dead.settled()
        assert not dead.lines()
        found = last_death(dead.leader.store.events(number))
        assert found is not None
        assert (found[1].reason, found[0].offset) == ("signal", len(data))


async def test_a_silence_that_was_told_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    rules = DeathRules(silent_after_seconds=0.6)
    for count in (1, 0):
        async with death_leader(tmp_path, rules, lost_after_seconds=0.3, heartbeat_seconds=0.1) as dead:
            if count:
                async with dead.leader.push() as push:
                    await push.open(open_of(1))
            said: list[dict[str, Any]] = []
            live = dead.leader.ingest.registry.all()[0]
            async with asyncio.timeout(20):
                while live.death_reported is not True or (count and not said):
                    await asyncio.sleep(0.05)
                    said += dead.lines()
            await dead.settled()
            assert len(said) == count


async def test_standard_output_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    data = b"x" * 60_000
    async with death_leader(tmp_path) as dead:
        async with dead.leader.push() as push:
            for handle in range(1, 21):
                task = f"t{handle}"
                await push.open(open_of(handle, task=task))
                close = close_of(handle, data, outcome=outcome(SIGNALED, signal=6))
                await push.send(appends=[append_of(handle, 0, data)], closes=[close])
            await push.until(lambda: len(push.closed) == 20)
        async with asyncio.timeout(20):
            while dead.leader.store.deaths():
                await asyncio.sleep(0.02)
        assert (await dead.run_log()).count(" died ") == 20
        assert dead.reports._output._lines.unfinished_tasks
        printed = b""
        async with asyncio.timeout(20):
            while printed.count(b"\n") < 20:
                try:
                    printed += os.read(dead.printed, 1 << 20)
                except BlockingIOError:
                    await asyncio.sleep(0.01)
        assert {json.loads(line)["task"] for line in printed.splitlines()} == {f"t{n}" for n in range(1, 21)}


async def test_a_worker_can_not_make_a_report_of_its_own(tmp_path: Path) -> None:
    async with death_leader(tmp_path) as dead, dead.leader.push() as push:
        await push.open(open_of(1))
        event = types_pb2.Event(kind="death_report", message=Death("signal").to_json())
        refusal = await push.refusal(events=[ingest_pb2.LogEvent(handle=1, event=event)])
        assert refusal.code == ingest_pb2.REFUSAL_CODE_INVALID
        assert not dead.leader.store.events(push.opened[1].number)


async def test_the_report_of_a_deleted_log_is_forgotten(tmp_path: Path) -> None:
    from joblog.leader.buffer.changes import Changes

    async with death_leader(tmp_path, sending=False) as dead:
        number = await end_log(dead, b"x\n", outcome(SIGNALED, signal=6))
        changes = Changes()
        changes.delete_log(number)
        dead.leader.store.write(changes)
        assert dead.leader.store.deaths() == []


async def test_a_run_whose_log_takes_nothing_holds_no_other_up(tmp_path: Path) -> None:
    """Whoever may write to a run can take the last attempt that its log can have."""
    async with death_leader(tmp_path, sending=False) as dead:
        await end_log(dead, b"", outcome(EXITED), task="@run", attempt=MAX_ATTEMPT)
        for run in ("r", "other"):
            await end_log(dead, b"x\n", outcome(SIGNALED, signal=9), run=run)
        running = asyncio.create_task(dead.reports.run())
        await dead.reports.start()
        await dead.settled()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert {line["run"] for line in dead.lines()} == {"r", "other"}
        assert " died " in await dead.run_log("other")


async def test_there_is_no_attempt_behind_the_last(tmp_path: Path) -> None:
    async with death_leader(tmp_path) as dead, dead.leader.push() as push:
        await push.open(open_of(1, attempt=MAX_ATTEMPT))
        refusal = await push.refusal(opens=[open_of(2)])
        assert refusal.code == ingest_pb2.REFUSAL_CODE_INVALID
        assert str(MAX_ATTEMPT) in refusal.message
        await push.open(open_of(3, attempt=7))
