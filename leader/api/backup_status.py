"""Backups and what is done with them, as both APIs say it."""

from __future__ import annotations

import math

from joblog.errors import InvalidInput
from joblog.leader.backup.jobs import JobState
from joblog.leader.backup.listing import Listed, Shown
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import KeepRules
from joblog.leader.backup.prune import Pruned
from joblog.leader.backup.service import BACKUP, VERIFY, BackupService
from joblog.leader.backup.verify import VerifiedNote
from joblog.v1 import backup_pb2

# Of a job's problems, what fits into a message.
_MAX_PROBLEMS = 100
_MAX_DAYS = 36_500.0


def backup_message(summary: Summary, verified: VerifiedNote | None) -> backup_pb2.Backup:
    """One backup."""
    note = verified or VerifiedNote(0, restored=False, problems=0)
    return backup_pb2.Backup(
        id=summary.id,
        created_ns=summary.created_ns,
        finished_ns=summary.finished_ns,
        store_id=summary.store_id,
        host=summary.host,
        version=summary.joblog,
        files=summary.files,
        bytes=summary.bytes,
        sent_bytes=summary.sent_bytes,
        kms=summary.kms,
        kms_key_id=summary.kms_key_id,
        reason=summary.reason,
        verified_ns=note.verified_ns,
        verified_restored=note.restored,
        verified_problems=note.problems,
    )


def job_message(state: JobState) -> backup_pb2.BackupJob:
    """How far a job is."""
    return backup_pb2.BackupJob(
        kind=state.kind,
        backup_id=state.backup_id,
        started_ns=state.started_ns,
        finished_ns=state.finished_ns,
        done_bytes=state.done_bytes,
        total_bytes=state.total_bytes,
        sent_bytes=state.sent_bytes,
        logs=state.logs,
        error=state.error[:1000],
        problems=[problem[:1000] for problem in state.problems[:_MAX_PROBLEMS]],
        reason=state.reason,
    )


def listed_message(found: Listed, service: BackupService | None = None) -> backup_pb2.ListBackupsResponse:
    """All backups; with a service, what it does."""
    last = service.jobs.last if service is not None else None
    return backup_pb2.ListBackupsResponse(
        target=found.target,
        backups=[backup_message(summary, verified) for summary, verified in found.backups],
        unreadable=[backup_pb2.UnreadableBackup(id=backup_id, why=why[:1000]) for backup_id, why in found.unreadable],
        job=job_message(last.state) if last is not None else None,
        next_backup_ns=service.next_ns(BACKUP) if service is not None else 0,
        next_verify_ns=service.next_ns(VERIFY) if service is not None else 0,
    )


def shown_message(found: Shown, *, files: bool = True) -> backup_pb2.GetBackupResponse:
    """One backup, with its files."""
    return backup_pb2.GetBackupResponse(
        backup=backup_message(found.manifest.summary, found.verified),
        files=[
            backup_pb2.BackedUpFile(path=file.path, size=file.size, content=file.content, pieces=len(file.pieces))
            for file in found.manifest.files
            if files
        ],
        objects=found.objects,
        stored_bytes=found.stored_bytes,
        missing=found.missing,
    )


def pruned_message(found: Pruned) -> backup_pb2.PruneBackupsResponse:
    """What a prune did."""
    return backup_pb2.PruneBackupsResponse(
        kept=[backup_pb2.KeptBackup(id=backup_id, rules=rules) for backup_id, rules in sorted(found.kept.items())],
        deleted=found.deleted,
        deleted_objects=found.deleted_pieces,
        deleted_bytes=found.deleted_bytes,
        waits_for=found.waits_for,
    )


def rules_of(request: backup_pb2.PruneBackupsRequest) -> KeepRules:
    """Which backups a request keeps. Raises InvalidInput."""
    if not (math.isfinite(request.keep_days) and 0 <= request.keep_days <= _MAX_DAYS):
        raise InvalidInput(f"keep_days: must be a number of 0 to {_MAX_DAYS:.0f}")
    return KeepRules(
        request.keep_last, request.keep_days, request.keep_daily, request.keep_weekly, request.keep_monthly
    )
