"""Units of systemd, from real journal files through journalctl: each invocation is a log, whole, with its end."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from tests.e2e.machine import until
from tests.fault.node import Node, node
from tests.journal_writer import Journal, Unit, journal_remote


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    found = journal_remote(tmp_path_factory.mktemp("journal-remote"))
    if isinstance(found, str):
        pytest.skip(f"no real journal can be written: {found}")
    made = Journal(tmp_path_factory.mktemp("journal"), *found)
    yield made
    made.close()


@pytest.fixture(scope="module")
def host(journal: Journal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(
        tmp_path_factory.mktemp("systemd-host"),
        JOBLOG_KUBERNETES_ENABLED="false",
        JOBLOG_JOURNALD_UNITS="web.service,backup@*.service,busy-*.service",
        JOBLOG_JOURNALD_DIRECTORY=str(journal.folder),
        JOBLOG_JOURNALD_SINCE="all",
        JOBLOG_JOURNALD_NAMESPACE="host",
    ) as made:
        made.start()
        yield made


def record(host: Node, name: LogName) -> logs_pb2.GetLogResponse | None:
    try:
        with Client(data_dir=host.cluster.leader_dir) as client:
            return client.log(name)
    except JoblogError:
        return None


def has_all(host: Node, name: LogName, unit: Unit) -> bool:
    found = record(host, name)
    return found is not None and found.log.next_offset == len(unit.printed)


def completed(host: Node, name: LogName) -> logs_pb2.GetLogResponse:
    def look() -> logs_pb2.GetLogResponse | None:
        found = record(host, name)
        return found if found is not None and found.log.state == types_pb2.LOG_STATE_COMPLETED else None

    found = until(look, f"{name} is completed")
    assert isinstance(found, logs_pb2.GetLogResponse)
    return found


def kinds(found: logs_pb2.GetLogResponse) -> set[str]:
    return {event.kind for event in found.events}


def test_each_invocation_is_an_attempt_with_its_bytes_and_its_end(host: Node, journal: Journal) -> None:
    unit = Unit(journal, "web.service")
    unit.start()
    unit.print("§ <b> \t".encode())
    unit.print(b"bytes \xff\xfe \x1b[31m that are no text")
    unit.print(b"to stderr", priority=3)
    unit.print(b"two\nlines")
    unit.print(b"")
    unit.print(b"x" * 48_000, line_break="line-max")
    unit.print(b"y" * 100_000)
    unit.print(b"no newline", line_break="eof")
    # Anybody may say so; process 1 did not.
    journal.write(
        MESSAGE="web.service: Failed", MESSAGE_ID="d9b373ed55a64feb8242e02dbe79a49c", UNIT=unit.name,
        INVOCATION_ID=unit.invocation, _PID="77", _SYSTEMD_UNIT="evil.service",
    )  # fmt: skip
    other = Unit(journal, "secret.service")
    other.start()
    other.print(b"not collected")
    first = bytes(unit.printed)
    unit.fail("oom-kill", code="killed", status=9)
    invocation = unit.invocation
    unit.start()
    unit.print(b"again")
    unit.fail("exit-code", status=7)
    again = bytes(unit.printed)
    unit.start()
    unit.stop()

    found = completed(host, LogName("host", "web", "web", 1))
    assert host.content(LogName("host", "web", "web", 1)) == first
    assert host.content(LogName("host", "web", "web", 1), 2) == b"to stderr\n"
    outcome = found.log.outcome
    assert (outcome.signal, outcome.oom_killed) == (9, True)
    assert "oom-kill" in outcome.message
    assert found.log.start.labels["systemd.unit"] == "web.service"
    assert found.log.start.labels["systemd.invocation"] == invocation
    assert "death_report" in kinds(found)

    found = completed(host, LogName("host", "web", "web", 2))
    assert host.content(LogName("host", "web", "web", 2)) == again
    assert (found.log.outcome.kind, found.log.outcome.exit_code) == (types_pb2.OUTCOME_KIND_EXITED, 7)
    found = completed(host, LogName("host", "web", "web", 3))
    assert (found.log.outcome.kind, found.log.outcome.exit_code) == (types_pb2.OUTCOME_KIND_EXITED, 0)
    assert found.log.next_offset == 0
    with Client(data_dir=host.cluster.leader_dir) as client:
        assert {run.run for run in client.runs("host")} == {"web"}


def test_nothing_is_twice_and_nothing_missing_through_kills_and_rotation(
    host: Node, journal: Journal, seed: int
) -> None:
    rng = random.Random(seed)
    units = [Unit(journal, f"busy-{number}.service") for number in range(3)]
    printed: dict[LogName, bytes] = {}
    attempts = dict.fromkeys(units, 1)

    def name(unit: Unit) -> LogName:
        run = unit.name.removesuffix(".service")
        return LogName("host", run, run, attempts[unit])

    for unit in units:
        unit.start()
    for step in range(6):
        for _ in range(40):
            unit = rng.choice(units)
            unit.print(rng.randbytes(rng.randrange(300)))
            if rng.random() < 0.05:
                unit.fail("exit-code", status=3)
                printed[name(unit)] = bytes(unit.printed)
                attempts[unit] += 1
                unit.start()
        if step == 2:
            journal.rotate()
        if step % 2:
            host.kill()
            for unit in units:
                unit.print(b"while nobody reads")
            host.start()
    for unit in units:
        unit.stop()
        printed[name(unit)] = bytes(unit.printed)
    for wanted, content in printed.items():
        found = completed(host, wanted)
        assert host.content(wanted) == content, (seed, wanted)
        assert not kinds(found) & {"lost_lines", "start_missing"}
        assert found.log.outcome.exit_code in (0, 3)
    host.cluster.assert_no_crash()


def test_what_was_deleted_unread_or_left_out_by_journald_is_said(host: Node, journal: Journal) -> None:
    unit, late = Unit(journal, "backup@daily.service"), Unit(journal, "backup@weekly.service")
    unit.start()
    unit.print(b"before")
    name = LogName("host", "backup", "daily", 1)
    until(lambda: has_all(host, name, unit), "it is stored")
    unit.drop(17)
    unit.print(b"not left out")
    until(lambda: has_all(host, name, unit), "it is stored")
    host.kill()
    late.start()
    late.print(b"gone too")
    unit.printed.clear()
    unit.print(b"gone")
    gone = journal.rotate()
    for path in journal.folder.glob("*.journal"):
        if path.name <= gone.name:
            path.unlink()
    late.print(b"the second line")
    unit.print(b"behind")
    host.start()
    until(lambda: record(host, LogName("host", "backup", "weekly", 1)), "the other one is there")
    unit.stop()
    found = completed(host, name)
    assert host.content(name) == b"before\nnot left out\nbehind\n"
    losses = [event.message for event in found.events if event.kind == "lost_lines"]
    assert len(losses) == 2, losses
    assert "journald left 17 lines out" in losses[0]
    assert "deleted before they were read" in losses[1]
    other = record(host, LogName("host", "backup", "weekly", 1))
    assert other is not None
    assert "start_missing" in kinds(other)


def test_a_machine_that_was_started_again_ends_what_ran_before(host: Node, journal: Journal) -> None:
    unit = Unit(journal, "backup@yearly.service")
    unit.start()
    unit.print(b"cut off")
    journal.boot = "c" * 32
    after = Unit(journal, "backup@other.service")
    after.start()
    found = completed(host, LogName("host", "backup", "yearly", 1))
    assert "started again" in found.log.outcome.message
    assert found.log.outcome.kind == types_pb2.OUTCOME_KIND_UNSPECIFIED


def test_a_worker_that_follows_no_unit_any_more_ends_its_logs(host: Node, journal: Journal) -> None:
    unit = Unit(journal, "backup@last.service")
    unit.start()
    unit.print(b"a line")
    name = LogName("host", "backup", "last", 1)
    until(lambda: has_all(host, name, unit), "it is stored")
    assert host.cluster.worker is not None
    assert host.cluster.worker.terminate() == 0
    host.cluster.environment["JOBLOG_JOURNALD_UNITS"] = ""
    host.start()
    assert "no more" in completed(host, name).log.outcome.message
