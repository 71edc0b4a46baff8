"""The gRPC service Adoption; see adoption.proto."""

# ruff: noqa: N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from joblog.errors import Conflict
from joblog.leader.access.principal import current
from joblog.leader.adoption.service import Adoption
from joblog.leader.api.errors import Context, answering
from joblog.v1 import adoption_pb2, adoption_pb2_grpc


class AdoptionService(adoption_pb2_grpc.AdoptionServicer):
    """Answers operators. adoption: None where no archive is set."""

    def __init__(self, adoption: Adoption | None) -> None:
        self._adoption = adoption

    async def Adopt(
        self, request: adoption_pb2.AdoptRequest, context: Context
    ) -> AsyncIterator[adoption_pb2.AdoptResponse]:
        """Adopts logs."""
        async with answering(context):
            if self._adoption is None:
                raise Conflict(
                    "adopting needs an archive, for what is known of adopted logs: set archive.url "
                    "(JOBLOG_ARCHIVE_URL), and start the leader again"
                )
            async with aclosing(self._adoption.adopt(request, current())) as steps:
                async for step in steps:
                    yield step
