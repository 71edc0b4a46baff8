"""What a running leader does with backups by itself, and a target that is not as it was."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from joblog.errors import Denied, Interrupted, OutOfSpace
from joblog.identity import LogName
from joblog.leader.backup import failpoints, scheduled
from joblog.leader.backup.fence import Replaced, fenced_at, keep_fence
from joblog.leader.backup.jobs import Job
from joblog.leader.backup.layout import backup_key
from joblog.leader.backup.options import CreateLimits
from joblog.leader.backup.restore import Keys, Restore
from joblog.leader.backup.schedule import Schedule
from joblog.leader.backup.service import VERIFY, BackupPlan, BackupService
from joblog.leader.backup.verify import verified_note
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import open_present
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.leader.reading.reader import CipherCache
from joblog.leader.reading.verify import verify_log
from joblog.leader.recovery import RecoveryKms, wrap_again
from joblog.paths import DataFolder
from tests.backing_up import BackedUpLeader, FileSource, opened, service_of
from tests.stored_log import fill

HOURLY = Schedule(interval_seconds=3600.0)


class Usage(NamedTuple):
    """What shutil.disk_usage() says."""

    total: int
    used: int
    free: int


@asynccontextmanager
async def running(service: BackupService) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await service.jobs.close()


async def comes(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_damaged_backup_does_not_end_the_schedule(leader: BackedUpLeader) -> None:
    fill(leader.log(), [b"text\n"])
    key = backup_key(leader.backup().id)
    leader.target.put(key, leader.target.get(key)[:100])
    service = service_of(leader, BackupPlan(schedule=HOURLY))
    async with running(service):
        await comes(lambda: service.jobs.last and service.jobs.last.state.finished_ns)
    assert len(service.listed().backups) == 1


async def test_a_damaged_backup_is_told_by_the_scheduled_verification(leader: BackedUpLeader) -> None:
    good, bad = leader.backup(), leader.backup()
    key = backup_key(bad.id)
    leader.target.put(key, leader.target.get(key)[:100])
    service = service_of(leader, BackupPlan(verify_schedule=HOURLY))
    async with running(service):
        await comes(service.warnings)
    assert bad.id in service.warnings()[0] and "cut short" in service.warnings()[0]
    assert verified_note(leader.repository, good.id) is not None


async def test_a_target_with_nothing_but_a_damaged_backup_is_told_of(leader: BackedUpLeader) -> None:
    bad = leader.backup()
    leader.target.put(backup_key(bad.id), leader.target.get(backup_key(bad.id))[:100])
    service = service_of(leader, BackupPlan(verify_schedule=HOURLY))
    async with running(service):
        await comes(service.warnings)
    assert bad.id in service.warnings()[0]


async def test_a_verification_waits_for_a_job_that_was_quicker(
    leader: BackedUpLeader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leader.backup()
    service = service_of(leader, BackupPlan(verify_schedule=HOURLY))
    start_verify, quicker = service.start_verify, iter([service.start_backup])

    async def late(name: str, *, restore: bool, reason: str) -> Job:
        for start in quicker:
            start("asked")
        return await start_verify(name, restore=restore, reason=reason)

    monkeypatch.setattr(service, "start_verify", late)
    async with running(service):
        await comes(lambda: any(note is not None for _, note in service.listed().backups))
    assert len(service.listed().backups) == 2
    assert "failed" not in caplog.text


async def test_what_is_stopped_with_the_leader_has_not_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduled, "_FIRST_PAUSE_SECONDS", 0.01)
    tried: list[int] = []

    async def work() -> None:
        tried.append(1)
        raise Interrupted("the leader is stopping")

    one = scheduled.Scheduled("backup", HOURLY, lambda: 0, work)
    task = asyncio.create_task(one.run())
    await comes(lambda: len(tried) > 1)
    task.cancel()
    assert not one.failure and not caplog.text


async def test_a_running_leader_that_was_replaced_ends(leader: BackedUpLeader) -> None:
    leader.backup()
    service = service_of(leader)
    await service.start()
    keep_fence(leader.repository, leader.store.store_id, 7)
    with pytest.raises(Replaced, match="by another leader"):
        await asyncio.wait_for(service.run(), 60)
    with pytest.raises(Replaced):
        await service.start()


async def test_in_a_target_of_two_stores_each_verifies_its_own(leader: BackedUpLeader, tmp_path: Path) -> None:
    (tmp_path / "other/leader").mkdir(parents=True)
    shutil.copy2(leader.source.path, tmp_path / "other/leader/kek.key")
    other = BackedUpLeader(tmp_path / "other", leader.target)
    try:
        own, others = leader.backup(), other.backup()
        assert own.store_id != others.store_id and others.id > own.id
        service = service_of(leader, BackupPlan(verify_schedule=HOURLY))
        async with running(service):
            await comes(lambda: verified_note(leader.repository, own.id))
            # It is done for now.
            noted = verified_note(leader.repository, own.id)
            assert noted is not None
            await comes(lambda: service.next_ns(VERIFY) > noted.verified_ns + 3000 * 10**9)
        assert verified_note(leader.repository, others.id) is None
    finally:
        other.close()


def test_a_leader_restored_with_a_recovery_file_opens_the_target_of_before(
    leader: BackedUpLeader, tmp_path: Path
) -> None:
    """The KMS that has wrapped the target's key is gone; the store keys, which do so too, are not."""
    fill(leader.log(), [b"text\n"])
    manifest = leader.repository.manifest(leader.backup().id)
    store_keys, recovery_kms = leader.keyring.store_keys, RecoveryKms("correct horse battery staple")
    described = [store_keys.describe(key.key_id) for key in store_keys.all()]
    recovery = [wrap_again(key, leader.kms, recovery_kms) for key in described]
    source = FileSource(tmp_path / "new.key")
    to = DataFolder(tmp_path / "new")
    Restore(leader.repository, manifest, to, Keys(source, recovery, recovery_kms)).run()
    with pytest.raises(Denied, match="need KMS"):
        opened(leader.target, source.path)
    store = Store.open(to.store)
    try:
        keyring = Keyring(StoreKeys(store, open_present(store, source).kms, store.store_id))
        service = service_of(leader)
        service = BackupService(leader.target, service.source._replace(store=store), keyring, source, BackupPlan())
        service.keep_fence()
        assert fenced_at(leader.repository, store.store_id) > 0
        assert service.listed().backups
        # From now on the new KMS alone opens it.
        service.write_keys()
        assert opened(leader.target, source.path).backup_ids() == [manifest.summary.id]
    finally:
        store.close()


async def test_verifying_does_not_fill_the_leaders_disk(
    leader: BackedUpLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(leader.log(), [b"text\n"])
    leader.backup()
    service = service_of(leader)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100, 90, 10))
    job = await service.start_verify("latest", restore=True)
    with pytest.raises(OutOfSpace, match="10 are free"):
        async for _ in job.watch():
            pass
    await service.jobs.close()


def test_a_backup_that_keeps_to_a_low_rate_ends_when_it_is_told_to(leader: BackedUpLeader) -> None:
    fill(leader.log(), [bytes(range(256)) * 2000])
    creator = leader.creator(CreateLimits(piece_bytes=64 << 10, at_once=2, bytes_per_second=1))
    sent = threading.Event()
    failpoints.arm("backup.piece", sent.set)
    found: list[BaseException] = []

    def create() -> None:
        try:
            creator.create()
        except Interrupted as error:
            found.append(error)

    thread = threading.Thread(target=create, daemon=True)
    thread.start()
    assert sent.wait(60)
    creator.stop()
    thread.join(60)
    assert not thread.is_alive() and "was stopped" in str(found[0])


async def test_one_run_is_taken_with_no_more_of_the_backup_than_it_needs(
    leader: BackedUpLeader, tmp_path: Path
) -> None:
    logs = [leader.log(LogName("default", run, "t", 1)) for run in ("a", "b", "c", "live")]
    # Each moment writes what is new to a file of its own.
    for half in range(2):
        for log in logs:
            fill(log, [os.urandom(60_000) for _ in range(5)])
            leader.store.checkpoint(tmp_path / f"{log.number}-{half}")
    for log in logs[:3]:
        log.complete()
    summary = leader.backup()
    blobs = [file.size for file in leader.repository.manifest(summary.id).files if file.path.endswith(".blob")]
    assert len(blobs) >= 8
    changes = Changes()
    for log in logs:
        changes.delete_log(log.number)
    leader.store.write(changes)
    service = service_of(leader)
    for run in ("b", "live"):
        job = await service.start_restore(summary.id, [("default", run)])
        await job.ended()
        assert (job.state.error, job.state.logs) == ("", 1)
        assert job.state.total_bytes == job.state.done_bytes < summary.bytes - sum(blobs) / 2
    for log in (logs[1], logs[3]):
        number = leader.store.find_log(LogName("default", log.record.id.run, "t", 1))
        assert number is not None
        found = verify_log(leader.store, number, CipherCache(leader.store, leader.keyring).open, lambda _d, _a: None)
        assert not found.problems
        assert found.found.sha256 == hashlib.sha256(log.model.present(0, log.length, None)).digest()
    assert not list(leader.store.path.parent.glob(".backup-*"))
