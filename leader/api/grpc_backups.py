"""The gRPC service Backups; see backup.proto."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from joblog.errors import Conflict
from joblog.leader.api.backup_status import job_message, listed_message, pruned_message, rules_of, shown_message
from joblog.leader.api.errors import Context, answering, answers
from joblog.leader.backup.jobs import Job
from joblog.leader.backup.service import BackupService
from joblog.v1 import backup_pb2, backup_pb2_grpc


class BackupsService(backup_pb2_grpc.BackupsServicer):
    """Answers operators. backups: None where no target is set."""

    def __init__(self, backups: BackupService | None) -> None:
        self._backups = backups

    def _service(self) -> BackupService:
        if self._backups is None:
            raise Conflict(
                "no place for backups is set: set backup.url (JOBLOG_BACKUP_URL), and start the leader again"
            )
        return self._backups

    async def CreateBackup(
        self, request: backup_pb2.CreateBackupRequest, context: Context
    ) -> AsyncIterator[backup_pb2.BackupJob]:
        """Begins a backup."""
        async with answering(context):
            async for state in self._service().start_backup().watch():
                yield job_message(state)

    @answers
    async def ListBackups(
        self, request: backup_pb2.ListBackupsRequest, context: Context
    ) -> backup_pb2.ListBackupsResponse:
        """The newest first."""
        service = self._service()
        return listed_message(await asyncio.to_thread(service.listed), service)

    @answers
    async def GetBackup(self, request: backup_pb2.GetBackupRequest, context: Context) -> backup_pb2.GetBackupResponse:
        """One backup."""
        return shown_message(await asyncio.to_thread(self._service().show, request.backup_id))

    async def VerifyBackup(
        self, request: backup_pb2.VerifyBackupRequest, context: Context
    ) -> AsyncIterator[backup_pb2.BackupJob]:
        """Begins to verify one."""
        async with answering(context):
            job: Job = await self._service().start_verify(request.backup_id, restore=request.restore)
            async for state in job.watch():
                yield job_message(state)

    @answers
    async def PruneBackups(
        self, request: backup_pb2.PruneBackupsRequest, context: Context
    ) -> backup_pb2.PruneBackupsResponse:
        """Deletes what no rule keeps."""
        service, rules = self._service(), rules_of(request)
        found = await service.prune_now(rules, drop=set(request.drop), dry_run=request.dry_run)
        return pruned_message(found)

    async def RestoreRuns(
        self, request: backup_pb2.RestoreRunsRequest, context: Context
    ) -> AsyncIterator[backup_pb2.BackupJob]:
        """Begins to restore runs."""
        async with answering(context):
            runs = [(one.namespace, one.run) for one in request.runs]
            job: Job = await self._service().start_restore(request.backup_id, runs)
            async for state in job.watch():
                yield job_message(state)
