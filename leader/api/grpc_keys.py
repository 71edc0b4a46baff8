"""The gRPC service Keys; see keys.proto."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from typing import TypeVar

from joblog.leader.api.errors import Context, answering, answers
from joblog.leader.api.key_status import key_status
from joblog.leader.key_service import KeyService
from joblog.v1 import keys_pb2, keys_pb2_grpc

T = TypeVar("T")


class KeysService(keys_pb2_grpc.KeysServicer):
    """Answers operators. pool: for what reads the store or asks a KMS."""

    def __init__(self, keys: KeyService, pool: Executor) -> None:
        self._keys = keys
        self._pool = pool

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    @answers
    async def GetKeys(self, request: keys_pb2.GetKeysRequest, context: Context) -> keys_pb2.GetKeysResponse:
        """What keys there are."""
        return await self._run(lambda: key_status(self._keys, count_logs=request.count_logs))

    @answers
    async def RotateKeys(self, request: keys_pb2.RotateKeysRequest, context: Context) -> keys_pb2.RotateKeysResponse:
        """A new store key, and with `kek` a new version of the KEK before it."""
        version = await self._run(self._keys.rotate_kek) if request.kek else ""
        return keys_pb2.RotateKeysResponse(store_key_id=await self._run(self._keys.rotate), kms_key_version=version)

    async def RewrapKeys(
        self, request: keys_pb2.RewrapKeysRequest, context: Context
    ) -> AsyncIterator[keys_pb2.RewrapKeysResponse]:
        """Wraps store keys anew."""
        async with answering(context), aclosing(self._keys.rewrap(dict(request.to))) as steps:
            async for step in steps:
                present = self._keys.keys.kms.present
                yield keys_pb2.RewrapKeysResponse(
                    done=step.done,
                    total=step.total,
                    archived=step.archived,
                    finished=step.finished,
                    kms=present.name,
                    kms_key_id=present.key_id,
                    settings=self._keys.settings() if step.finished else {},
                )

    @answers
    async def ExportKeys(self, request: keys_pb2.ExportKeysRequest, context: Context) -> keys_pb2.ExportKeysResponse:
        """Store keys to be kept elsewhere."""
        return await self._run(lambda: self._export(request.passphrase))

    def _export(self, passphrase: str) -> keys_pb2.ExportKeysResponse:
        exported, count = self._keys.export(passphrase)
        return keys_pb2.ExportKeysResponse(keys=exported, store_keys=count)
