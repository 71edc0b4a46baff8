"""The gRPC service joblog.v1.Ingest: the streams of workers, and the keys of their spools."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from joblog.leader.api.errors import Context, answers
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.session import PushContext
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.v1 import ingest_pb2, ingest_pb2_grpc


class IngestService(ingest_pb2_grpc.IngestServicer):
    """Answers workers. pool: where the store and the KMS are waited for.

    Whoever gets a worker's spool keys and its disk can read what its tasks printed lately: the rules of access let each
    worker ask for its own alone.
    """

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
        await asyncio.get_running_loop().run_in_executor(
            self._pool, self._spool_keys.keep, request.worker_id, request.key
        )
        return ingest_pb2.KeepSpoolKeyResponse()

    @answers
    async def GetSpoolKeys(
        self, request: ingest_pb2.GetSpoolKeysRequest, context: Context
    ) -> ingest_pb2.GetSpoolKeysResponse:
        """The keys that are kept for the worker."""
        keys = await asyncio.get_running_loop().run_in_executor(self._pool, self._spool_keys.get, request.worker_id)
        return ingest_pb2.GetSpoolKeysResponse(keys=keys)

    @answers
    async def DropSpoolKeys(
        self, request: ingest_pb2.DropSpoolKeysRequest, context: Context
    ) -> ingest_pb2.DropSpoolKeysResponse:
        """Forgets keys that no spool needs."""
        key_ids = frozenset(request.key_ids)
        await asyncio.get_running_loop().run_in_executor(self._pool, self._spool_keys.drop, request.worker_id, key_ids)
        return ingest_pb2.DropSpoolKeysResponse()
