"""The gRPC service Retention; see retention.proto."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from joblog.identity import check_name
from joblog.leader.access.principal import current
from joblog.leader.api.errors import Context, answering, answers
from joblog.leader.api.retention_status import done_message, due_message, retention_status
from joblog.leader.retention.holding import Holding
from joblog.leader.retention.service import Retention
from joblog.v1 import retention_pb2, retention_pb2_grpc
from joblog.v1.retention_pb2 import Hold


class RetentionService(retention_pb2_grpc.RetentionServicer):
    """Answers operators, and admins about holds."""

    def __init__(self, retention: Retention, holding: Holding) -> None:
        self._retention = retention
        self._holding = holding

    @answers
    async def GetRetention(
        self, request: retention_pb2.GetRetentionRequest, context: Context
    ) -> retention_pb2.GetRetentionResponse:
        """The policies, and how it does."""
        return await asyncio.to_thread(retention_status, self._retention)

    async def PreviewRetention(
        self, request: retention_pb2.PreviewRetentionRequest, context: Context
    ) -> AsyncIterator[retention_pb2.PreviewRetentionResponse]:
        """What a pass would delete."""
        async with answering(context):
            if request.namespace:
                check_name("namespace", request.namespace)
            async with aclosing(self._retention.preview(request.namespace, request.ahead_seconds)) as slices:
                async for found, total in slices:
                    yield retention_pb2.PreviewRetentionResponse(due=map(due_message, found), total=done_message(total))

    async def RunRetention(
        self, request: retention_pb2.RunRetentionRequest, context: Context
    ) -> AsyncIterator[retention_pb2.RunRetentionResponse]:
        """A pass now."""
        async with answering(context), aclosing(self._retention.run_now()) as steps:
            async for done, finished in steps:
                yield retention_pb2.RunRetentionResponse(done=done_message(done), finished=finished)

    @answers
    async def SetHold(self, request: retention_pb2.SetHoldRequest, context: Context) -> retention_pb2.SetHoldResponse:
        """Sets a hold."""
        hold = Hold(
            namespace=request.namespace,
            run=request.run,
            label=request.label,
            value=request.value,
            reason=request.reason,
        )
        done = await self._holding.set(hold, current())
        return retention_pb2.SetHoldResponse(
            hold=done.hold, created=done.created, archived=done.archived, runs=done.runs
        )

    @answers
    async def LiftHold(
        self, request: retention_pb2.LiftHoldRequest, context: Context
    ) -> retention_pb2.LiftHoldResponse:
        """Lifts a hold."""
        hold = Hold(namespace=request.namespace, run=request.run, label=request.label, value=request.value)
        if request.unreadable:
            lifted, archived = await self._holding.go_on_without(current())
        else:
            lifted, archived = await self._holding.lift(hold, current())
        return retention_pb2.LiftHoldResponse(lifted=lifted, archived=archived)

    @answers
    async def ListHolds(
        self, request: retention_pb2.ListHoldsRequest, context: Context
    ) -> retention_pb2.ListHoldsResponse:
        """All holds."""
        holds, archived, unreadable = self._holding.list()
        return retention_pb2.ListHoldsResponse(holds=holds, archived=archived, unreadable=unreadable)
