"""The gRPC service joblog.v1.Ingest: the streams of workers, and the keys of their spools."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Executor

from joblog.errors import InvalidInput
from joblog.identity import LogName, check_writable_name
from joblog.leader.api.errors import Context, answers
from joblog.leader.ingest.ingest import Ingest
from joblog.leader.ingest.outbox import PushContext
from joblog.leader.ingest.registry import WRITER_ID_BYTES
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.v1 import ingest_pb2, ingest_pb2_grpc, types_pb2

DEFAULT_TAIL_BYTES = 64 << 10
MAX_TAIL_BYTES = 1 << 20


class IngestService(ingest_pb2_grpc.IngestServicer):
    """Answers workers. pool: where the store and the KMS are waited for.

    Whoever gets a worker's spool keys and its disk can read what its tasks printed lately: the rules of access let each
    worker ask for its own alone.
    """

    def __init__(self, ingest: Ingest, spool_keys: SpoolKeys, pool: Executor, reader: LogReader) -> None:
        self._reader = reader
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

    @answers
    async def GetLogTail(
        self, request: ingest_pb2.GetLogTailRequest, context: Context
    ) -> ingest_pb2.GetLogTailResponse:
        """Where the log of a writer stands, and its last bytes."""
        name = check_writable_name(LogName(request.id.namespace, request.id.run, request.id.task, 0))
        if len(request.writer_id) != WRITER_ID_BYTES:
            raise InvalidInput(f"writer_id has {len(request.writer_id)} bytes, must be {WRITER_ID_BYTES}")
        limit = request.limit_bytes or DEFAULT_TAIL_BYTES
        if limit > MAX_TAIL_BYTES:
            raise InvalidInput(f"limit_bytes {limit} is out of range: at most {MAX_TAIL_BYTES}")
        record = await self._reader.run(lambda: self._ingest.registry.of_writer(name, request.writer_id))
        if record is None:
            return ingest_pb2.GetLogTailResponse()
        found = ingest_pb2.GetLogTailResponse(
            found=True,
            completed=record.state == types_pb2.LOG_STATE_COMPLETED,
            id=record.id,
            next_offset=record.next_offset,
            newlines=record.newlines,
        )
        if record.next_offset and not found.completed:
            await self._add_tail(found, record.number, limit)
        return found

    async def _add_tail(self, found: ingest_pb2.GetLogTailResponse, number: int, limit: int) -> None:
        begin = max(0, found.next_offset - limit)
        spec = ReadSpec(Start(StartKind.OFFSET, begin), limit_bytes=max(1, found.next_offset - begin), with_frames=True)
        data = bytearray()
        async with contextlib.aclosing(self._reader.read(number, spec)) as pieces:
            async for piece in pieces:
                if piece.gap is not None:
                    data.clear()
                    del found.times_ns[:], found.lengths[:]
                if piece.offset >= found.next_offset:
                    break
                data += piece.data
                found.times_ns.extend(piece.frames.times_ns)
                found.lengths.extend(piece.frames.lengths)
        found.data = bytes(data)
