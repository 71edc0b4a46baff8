"""Routes for backups."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from joblog.errors import Conflict
from joblog.leader.api.http.context import ApiContext, Context
from joblog.leader.api.http.words import moment
from joblog.leader.backup.jobs import JobState
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import KeepRules
from joblog.leader.backup.service import BACKUP, VERIFY, BackupService
from joblog.leader.backup.verify import VerifiedNote

router = APIRouter(prefix="/api/v1", tags=["backups"])

BackupId = Annotated[str, Path(max_length=64, description="The backup's id, or `latest`")]
_MAX_PROBLEMS = 100


class Verified(BaseModel):
    """What verifying a backup has found."""

    at: str | None
    restored: bool = Field(description="It was restored into a scratch folder, and every log there read whole")
    problems: int


class Backup(BaseModel):
    """One backup."""

    id: str
    created_at: str | None = Field(description="The moment that it holds")
    finished_at: str | None
    store_id: str
    host: str
    version: str = Field(description="Of joblog")
    files: int
    bytes: int
    sent_bytes: int = Field(description="Bytes of objects that were new")
    kms: str
    kms_key_id: str
    reason: str = Field(description="`schedule` or `asked`")
    verified: Verified | None

    @classmethod
    def of(cls, summary: Summary, note: VerifiedNote | None) -> Backup:
        """From a summary."""
        verified = note and Verified(at=moment(note.verified_ns), restored=note.restored, problems=note.problems)
        return cls(
            id=summary.id,
            created_at=moment(summary.created_ns),
            finished_at=moment(summary.finished_ns),
            store_id=summary.store_id,
            host=summary.host,
            version=summary.joblog,
            files=summary.files,
            bytes=summary.bytes,
            sent_bytes=summary.sent_bytes,
            kms=summary.kms,
            kms_key_id=summary.kms_key_id,
            reason=summary.reason,
            verified=verified,
        )


class Unreadable(BaseModel):
    """A backup that can't be used."""

    id: str
    why: str


class BackupJob(BaseModel):
    """Something that is done with a backup, or was done last."""

    kind: Literal["backup", "verify", "restore"]
    backup_id: str
    reason: str
    started_at: str | None
    finished_at: str | None = Field(description="None: it runs")
    done_bytes: int
    total_bytes: int = Field(description="0: not known yet")
    sent_bytes: int
    logs: int = Field(description="Logs that were verified or restored")
    error: str = Field(description="Why it failed; empty: it did not")
    problems: list[str] = Field(description="What verifying found, or what is missing of restored runs")

    @classmethod
    def of(cls, state: JobState) -> BackupJob:
        """From its state."""
        return cls(
            kind=state.kind,  # type: ignore[arg-type]
            backup_id=state.backup_id,
            reason=state.reason,
            started_at=moment(state.started_ns),
            finished_at=moment(state.finished_ns),
            done_bytes=state.done_bytes,
            total_bytes=state.total_bytes,
            sent_bytes=state.sent_bytes,
            logs=state.logs,
            error=state.error[:1000],
            problems=[problem[:1000] for problem in state.problems[:_MAX_PROBLEMS]],
        )


class Rules(BaseModel):
    """Which backups a prune keeps: those that one of the rules keeps. 0: that rule keeps none."""

    last: int = Field(default=0, ge=0, le=100_000, description="So many of the newest")
    days: float = Field(default=0, ge=0, le=36_500, description="Those that are younger")
    daily: int = Field(default=0, ge=0, le=36_500, description="The newest one of so many days")
    weekly: int = Field(default=0, ge=0, le=5_200)
    monthly: int = Field(default=0, ge=0, le=1_200)


class Backups(BaseModel):
    """All backups, the newest first, and what is done with them."""

    target: str
    backups: list[Backup]
    unreadable: list[Unreadable]
    job: BackupJob | None = Field(description="What runs, or ran last since the leader started")
    next_backup_at: str | None = Field(description="By schedule")
    next_verify_at: str | None
    keep: Rules = Field(description="What a scheduled prune keeps; all 0: nothing is pruned")


class FileInBackup(BaseModel):
    """A file of the store."""

    path: str
    size: int
    pieces: int


class BackupDetails(BaseModel):
    """One backup in full."""

    backup: Backup
    files: list[FileInBackup]
    objects: int
    stored_bytes: int
    missing: int = Field(description="Objects that it needs and that are not in the target")


class VerifyWanted(BaseModel):
    """How a backup is verified."""

    restore: bool = Field(default=False, description="Restore it into a scratch folder, and read every log there whole")


class PruneWanted(BaseModel):
    """What a prune is to do. Without rules, those of the leader's settings count, unless backups are dropped by id."""

    keep: Rules = Rules()
    drop: list[str] = Field(default=[], max_length=1000, description="Ids of backups that go whatever the rules say")
    dry_run: bool = False


class Kept(BaseModel):
    """A backup that is kept, and the rules that keep it."""

    id: str
    rules: list[str]


class PruneResult(BaseModel):
    """What a prune did, or would do."""

    kept: list[Kept]
    deleted: list[str]
    deleted_objects: int
    deleted_bytes: int
    waits_for: list[str] = Field(description="Backups that are being made, for whose end some objects wait")


class RunWanted(BaseModel):
    """A run to be restored."""

    namespace: str = Field(min_length=1, max_length=250)
    run: str = Field(min_length=1, max_length=250)


class RestoreWanted(BaseModel):
    """Runs to be taken from a backup into the running leader."""

    runs: list[RunWanted] = Field(min_length=1, max_length=1000)


def _backups(context: ApiContext) -> BackupService:
    backups = context.operated.backups
    if backups is None:
        raise Conflict("no place for backups is set: set backup.url (JOBLOG_BACKUP_URL), and start the leader again")
    return backups


@router.get("/backups")
async def list_backups(context: Context) -> Backups:
    """All backups, and what is done with them now."""
    service = _backups(context)
    found = await asyncio.to_thread(service.listed)
    last = service.jobs.last
    keep = service.plan.keep
    return Backups(
        target=found.target,
        backups=[Backup.of(summary, note) for summary, note in found.backups],
        unreadable=[Unreadable(id=backup_id, why=why) for backup_id, why in found.unreadable],
        job=BackupJob.of(last.state) if last is not None else None,
        next_backup_at=moment(service.next_ns(BACKUP)),
        next_verify_at=moment(service.next_ns(VERIFY)),
        keep=Rules(last=keep.last, days=keep.days, daily=keep.daily, weekly=keep.weekly, monthly=keep.monthly),
    )


@router.post("/backups", status_code=202)
async def create_backup(context: Context) -> BackupJob:
    """Begins a backup; `list_backups` says how far it is. 409 while another job runs."""
    return BackupJob.of(_backups(context).start_backup().state)


@router.get("/backups/{backup_id}")
async def get_backup(context: Context, backup_id: BackupId) -> BackupDetails:
    """One backup with its files."""
    found = await asyncio.to_thread(_backups(context).show, backup_id)
    return BackupDetails(
        backup=Backup.of(found.manifest.summary, found.verified),
        files=[FileInBackup(path=one.path, size=one.size, pieces=len(one.pieces)) for one in found.manifest.files],
        objects=found.objects,
        stored_bytes=found.stored_bytes,
        missing=found.missing,
    )


@router.post("/backups/{backup_id}/verify", status_code=202)
async def verify_backup(context: Context, backup_id: BackupId, wanted: VerifyWanted) -> BackupJob:
    """Begins to read a backup back and to check it; `list_backups` says how far it is."""
    return BackupJob.of((await _backups(context).start_verify(backup_id, restore=wanted.restore)).state)


@router.post("/backups/prune")
async def prune_backups(context: Context, wanted: PruneWanted) -> PruneResult:
    """Deletes backups that no rule keeps, and what no backup needs; safe beside a backup that is being made."""
    rules = KeepRules(**wanted.keep.model_dump())
    drop = set(wanted.drop)
    found = await _backups(context).prune_now(rules, drop=drop, dry_run=wanted.dry_run)
    return PruneResult(
        kept=[Kept(id=backup_id, rules=why) for backup_id, why in sorted(found.kept.items())],
        deleted=found.deleted,
        deleted_objects=found.deleted_pieces,
        deleted_bytes=found.deleted_bytes,
        waits_for=found.waits_for,
    )


@router.post("/backups/{backup_id}/restore", status_code=202)
async def restore_runs(context: Context, backup_id: BackupId, wanted: RestoreWanted) -> BackupJob:
    """Begins to take runs from a backup into this leader; they read as before, under the same links."""
    runs = [(one.namespace, one.run) for one in wanted.runs]
    return BackupJob.of((await _backups(context).start_restore(backup_id, runs)).state)
