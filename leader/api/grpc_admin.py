"""The gRPC service Admin; see admin.proto."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

from joblog.leader.access.principal import current
from joblog.leader.api.errors import Context, answers
from joblog.leader.api.seen import status_seen
from joblog.leader.api.status import LeaderStatus
from joblog.leader.deletion import Deleter
from joblog.leader.reading.reader import LogReader
from joblog.v1 import admin_pb2, admin_pb2_grpc


class AdminService(admin_pb2_grpc.AdminServicer):
    """Answers operators."""

    def __init__(self, reader: LogReader, deleter: Deleter, status: LeaderStatus) -> None:
        self._reader = reader
        self._deleter = deleter
        self._status = status

    @answers
    async def GetStatus(self, request: admin_pb2.GetStatusRequest, context: Context) -> admin_pb2.GetStatusResponse:
        """Who the leader is and how it does, as far as the caller may know."""
        return status_seen(await self._reader.run(self._status.collect), current())

    @answers
    async def Delete(self, request: admin_pb2.DeleteRequest, context: Context) -> admin_pb2.DeleteResponse:
        """Deletes a log, a task's logs or a run."""
        done = await self._deleter.delete(request.namespace, request.run, request.task, request.attempt)
        return admin_pb2.DeleteResponse(logs_deleted=done.logs, bytes_deleted=done.bytes)
