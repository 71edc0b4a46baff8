"""The audit log is told which runs are taken from a backup and which backups are deleted, before it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from joblog.errors import Unavailable
from joblog.identity import LogName
from joblog.leader.access.audit import AuditEvent, NoAudit
from joblog.leader.backup.options import KeepRules
from joblog.leader.backup.service import BackupPlan
from tests.backing_up import BackedUpLeader, service_of
from tests.stored_log import fill


class Audited(NoAudit):
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.is_full = False

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        if self.is_full:
            raise Unavailable("the audit log can't be written")
        self.events.append(event)

    def subjects(self, action: str) -> str:
        return " ".join(event.subject for event in self.events if event.action == action)


async def test_every_run_that_is_restored_is_named(leader: BackedUpLeader, tmp_path: Path) -> None:
    names = [LogName("team", f"a-run-with-a-long-name-{number}", "t", 1) for number in range(40)]
    for name in names:
        fill(leader.log(name), [b"x"])
    summary = leader.backup()
    audited = Audited()
    backups = service_of(leader, BackupPlan(keep=KeepRules(last=1)), lambda: audited)
    audited.is_full = True
    with pytest.raises(Unavailable):
        await backups.start_restore("latest", [(name.namespace, name.run) for name in names])
    assert backups.jobs.last is None
    audited.is_full = False
    job = await backups.start_restore("latest", [(name.namespace, name.run) for name in names])
    assert all(len(event.subject) <= 400 for event in audited.events)
    assert audited.subjects("backup.restore").split() == [f"team:{name.run}" for name in names]
    assert {event.detail["backup"] for event in audited.events} == {summary.id}
    with pytest.raises(Exception, match="is here"):
        async for _ in job.watch():
            pass
    await backups.jobs.close()


async def test_every_backup_that_is_deleted_is_named(leader: BackedUpLeader, tmp_path: Path) -> None:
    ids = [leader.backup().id for _ in range(4)]
    audited = Audited()
    backups = service_of(leader, BackupPlan(keep=KeepRules(last=1)), lambda: audited)
    audited.is_full = True
    with pytest.raises(Unavailable):
        await backups.prune_now(KeepRules(), drop={ids[0]})
    audited.is_full = False
    await backups.prune_now(KeepRules(), drop={ids[0]}, dry_run=True)
    assert not audited.events and backups.need().backup_ids() == ids[::-1]
    await backups.prune_now(KeepRules(), drop={ids[0]})
    assert audited.subjects("backup.prune") == audited.subjects("backup.delete") == ids[0]
    await backups.prune_now(KeepRules())
    assert audited.events[2].detail == {"keep_last": "1"}
    assert set(audited.subjects("backup.delete").split()) == set(ids[:3])
    assert backups.need().backup_ids() == ids[3:]
