"""Single runs from an older backup in a living leader: they read as before, by the same names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from joblog.errors import Conflict, NotFound, OutOfSpace
from joblog.identity import LogName
from joblog.leader.backup import failpoints
from joblog.leader.backup.after import AfterRestore
from joblog.leader.backup.fetch import Fetcher
from joblog.leader.backup.runs import RunTaker, TakenRuns, drop_half_taken
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.reading.reader import CipherCache
from joblog.leader.reading.verify import verify_log
from joblog.leader.start_note import StartNote
from joblog.v1 import types_pb2
from joblog.v1.retention_pb2 import Hold
from tests.backing_up import BackedUpLeader
from tests.stored_log import StoredLog, fill


class Killed(BaseException):
    """The leader was killed."""


NAME = LogName("team", "run-7", "build", 2)


def take(leader: BackedUpLeader, backup: str, folder: Path, *runs: tuple[str, str]) -> TakenRuns:
    manifest = leader.repository.manifest(backup)
    Fetcher(leader.repository, folder).run(manifest.files)
    old = Store.open(folder / "store")
    try:
        keyring = Keyring.open(old, FileKms(leader.source.path), old.store_id)
        taker = RunTaker(backup, old, keyring, leader.store, leader.keyring, archive=None, exists=None)
        return taker.take(runs)
    finally:
        old.close()


def delete(leader: BackedUpLeader, log: StoredLog) -> None:
    changes = Changes()
    changes.delete_log(log.number)
    leader.store.write(changes)


def verdict(leader: BackedUpLeader, name: LogName) -> tuple[types_pb2.LogRecord, bytes, list[str]]:
    number = leader.store.find_log(name)
    assert number is not None
    record = leader.store.get_log(number)
    assert record is not None
    found = verify_log(leader.store, number, CipherCache(leader.store, leader.keyring).open, lambda _d, _a: None)
    return record, found.found.sha256, found.problems


def test_a_deleted_run_reads_as_before(leader: BackedUpLeader, tmp_path: Path) -> None:
    log, other = leader.log(NAME), leader.log(LogName("team", "other", "t", 1))
    fill(log, [os.urandom(50_000) for _ in range(10)])
    log.gap(100, 3)
    log.event("note")
    seal = log.complete()
    fill(other, [b"other\n"])
    backup = leader.backup().id
    delete(leader, log)
    done = take(leader, backup, tmp_path / "scratch", ("team", "run-7"))
    assert (done.logs, done.there, done.problems) == (1, 0, [])
    record, sha256, problems = verdict(leader, NAME)
    assert not problems and sha256 == seal.sha256 and record.seal == seal
    assert record.number != log.number and record.uid == log.record.uid
    assert record.start == log.record.start and record.created_ns == log.record.created_ns
    assert [event.kind for event in leader.store.events(record.number)][:1] == ["note"]
    assert "restored" in {event.kind for event in leader.store.events(record.number)}
    assert leader.store.get_run("team", "run-7") is not None
    # Again: it is there.
    again = take(leader, backup, tmp_path / "scratch2", ("team", "run-7"))
    assert (again.logs, again.there) == (0, 1)


def test_a_log_that_was_live_then_is_completed_with_what_there_was(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log(NAME)
    fill(log, [b"first\n", b"second\n"])
    backup = leader.backup().id
    delete(leader, log)
    take(leader, backup, tmp_path / "scratch", ("team", "run-7"))
    record, _, problems = verdict(leader, NAME)
    assert not problems
    assert record.state == types_pb2.LOG_STATE_COMPLETED and record.seal.length == log.length
    assert backup in record.outcome.message


def test_what_is_there_is_never_replaced(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log(NAME)
    fill(log, [b"first\n"])
    backup = leader.backup().id
    with pytest.raises(Conflict, match="is here"):
        take(leader, backup, tmp_path / "one", ("team", "run-7"))
    delete(leader, log)
    fresh = leader.log(NAME)
    fill(fresh, [b"another log of that name\n"])
    fresh.complete()
    with pytest.raises(Conflict, match="another log of that name"):
        take(leader, backup, tmp_path / "two", ("team", "run-7"))
    _, sha256, _ = verdict(leader, NAME)
    assert sha256 == fresh.record.seal.sha256
    with pytest.raises(NotFound, match="holds no run team:nothing"):
        take(leader, backup, tmp_path / "three", ("team", "nothing"))


def test_one_conflict_keeps_all_from_being_written(leader: BackedUpLeader, tmp_path: Path) -> None:
    good, bad = leader.log(LogName("team", "good", "t", 1)), leader.log(NAME)
    for log in (good, bad):
        fill(log, [b"text\n"])
    good.complete()
    backup = leader.backup().id
    delete(leader, good)
    with pytest.raises(Conflict):
        take(leader, backup, tmp_path / "scratch", ("team", "good"), ("team", "run-7"))
    assert leader.store.find_log(LogName("team", "good", "t", 1)) is None


def test_a_run_of_a_store_key_that_was_rotated_since(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log(NAME)
    fill(log, [b"text\n"])
    log.complete()
    backup = leader.backup().id
    delete(leader, log)
    leader.keyring.store_keys.rotate()
    take(leader, backup, tmp_path / "scratch", ("team", "run-7"))
    record, sha256, problems = verdict(leader, NAME)
    assert not problems and sha256 == record.seal.sha256


@pytest.mark.parametrize("step", ["taking.begun", "taking.written", "taking.completed"])
@pytest.mark.parametrize("again", ["start", "restore"])
async def test_a_kill_leaves_no_half_log(
    leader: BackedUpLeader, tmp_path: Path, step: str, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written from the kill on. A hold keeps what was restored, and no half of it."""
    logs = [leader.log(NAME._replace(task=f"t{at}")) for at in range(3)]
    for log in logs:
        fill(log, [os.urandom(9000) for _ in range(3)])
        log.complete()
    backup = leader.backup().id
    for log in logs:
        delete(leader, log)
    leader.store.holds.set(Hold(label="kind", value="test"))
    reached = 0

    def kill() -> None:
        nonlocal reached
        reached += 1
        if reached == 2:
            monkeypatch.setattr(leader.store._engine, "write", refuse)
            raise Killed

    def refuse(*_: object) -> None:
        raise Killed

    failpoints.arm(step, kill)
    with pytest.raises(Killed):
        take(leader, backup, tmp_path / "scratch", ("team", "run-7"))
    failpoints.disarm()
    monkeypatch.undo()

    whole = 2 if step == "taking.completed" else 1
    if again == "start":
        await AfterRestore(leader.store, leader.keyring, None, StartNote(leader.folder.leader_file)).start()
        assert len(leader.store.list_logs("team", "run-7")[0]) == whole
        assert not leader.store.open_numbers()
    done = take(leader, backup, tmp_path / "again", ("team", "run-7"))
    assert (done.logs, done.there, done.problems) == (3 - whole, whole, [])
    for log in logs:
        record, sha256, problems = verdict(leader, NAME._replace(task=log.record.id.task))
        assert not problems and sha256 == record.seal.sha256 == log.record.seal.sha256
    assert drop_half_taken(leader.store) == 0


async def test_an_error_in_the_middle_leaves_no_half_log_either(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log(NAME)
    fill(log, [b"text\n"])
    log.complete()
    backup = leader.backup().id
    delete(leader, log)

    def fail() -> None:
        raise OutOfSpace("the disk is full")

    failpoints.arm("taking.written", fail)
    with pytest.raises(OutOfSpace):
        take(leader, backup, tmp_path / "scratch", ("team", "run-7"))
    assert leader.store.find_log(NAME) is None
