"""The gRPC service joblog.v1.Ingest: the streams of workers, and the keys of their spools."""

# ruff: noqa: N802 - gRPC gives the names of methods

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from joblog.leader.api.errors import Context, answers
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.session import PushContext
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.v1 import ingest_pb2, ingest_pb2_grpc


class IngestService(ingest_pb2_grpc.IngestServicer):
    """Answers workers. pool: where the store and the KMS are waited for."""

    def __init__(self, ingest: Ingest, spool_keys: SpoolKeys, pool: Executor) -> None:
        self._ingest = ingest
        self._spool_keys = spool_keys
        self._pool = pool

    async def Push(self, requests: object, context: PushContext) -> None:
        """One worker's stream."""
        await self._ingest.Push(requests, context)

    @answers
    async def KeepSpoolKey(
        self, request: ingest_pb2.KeepSpoolKeyRequest, context: Context
    ) -> ingest_pb2.KeepSpoolKeyResponse:
        """Keeps a key of the worker's spools."""
        worker_id = _own_worker_id(context, request.worker_id)
        await asyncio.get_running_loop().run_in_executor(self._pool, self._spool_keys.keep, worker_id, request.key)
        return ingest_pb2.KeepSpoolKeyResponse()

    @answers
    async def GetSpoolKeys(
        self, request: ingest_pb2.GetSpoolKeysRequest, context: Context
    ) -> ingest_pb2.GetSpoolKeysResponse:
        """The keys that are kept for the worker."""
        worker_id = _own_worker_id(context, request.worker_id)
        keys = await asyncio.get_running_loop().run_in_executor(self._pool, self._spool_keys.get, worker_id)
        return ingest_pb2.GetSpoolKeysResponse(keys=keys)

    @answers
    async def DropSpoolKeys(
        self, request: ingest_pb2.DropSpoolKeysRequest, context: Context
    ) -> ingest_pb2.DropSpoolKeysResponse:
        """Forgets keys that no spool needs."""
        worker_id = _own_worker_id(context, request.worker_id)
        key_ids = frozenset(request.key_ids)
        await asyncio.get_running_loop().run_in_executor(self._pool, self._spool_keys.drop, worker_id, key_ids)
        return ingest_pb2.DropSpoolKeysResponse()


def _own_worker_id(_context: Context, worker_id: str) -> str:
    """The worker id of a request, when the caller may use it: the one place where spool keys are guarded.

    Whoever gets a worker's spool keys and its disk can read what its tasks printed lately.
    """
    return worker_id
