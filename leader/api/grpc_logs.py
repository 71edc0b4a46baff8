"""The gRPC service Logs; see logs.proto."""

# ruff: noqa: ARG002, N802 - gRPC gives the names and signatures of methods

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator
from typing import TypeVar

from joblog.errors import NotFound
from joblog.identity import RUN_LOG_TASK, check_name
from joblog.leader.access.principal import current
from joblog.leader.api import searching
from joblog.leader.api.errors import Context, answering, answers
from joblog.leader.api.paging import page_size
from joblog.leader.api.seen import namespaces_seen
from joblog.leader.api.waiting import until
from joblog.leader.buffer.store import RunFilter, Store
from joblog.leader.reading.piece import MAX_OFFSET, FrameColumns, Piece, ReadSpec, Start, StartKind
from joblog.leader.reading.reader import LogReader
from joblog.leader.reading.records import name_of, shown
from joblog.leader.retention.keeping import Keeping
from joblog.leader.search.searcher import Searcher
from joblog.v1 import logs_pb2, logs_pb2_grpc, types_pb2

T = TypeVar("T")

# Frames are turned into messages in the pool when there are more of them.
_FEW_FRAMES = 200
_VERIFY_PROGRESS_SECONDS = 0.5

_STARTS = {
    "offset": StartKind.OFFSET,
    "line": StartKind.LINE,
    "last_lines": StartKind.LAST_LINES,
    "last_bytes": StartKind.LAST_BYTES,
}


def spec_of(request: logs_pb2.ReadRequest) -> ReadSpec:
    """What a request asks for; raises InvalidInput."""
    kind = request.WhichOneof("from") or "offset"
    value = min(getattr(request, kind), MAX_OFFSET + 1)
    return ReadSpec(
        Start(_STARTS[kind], value),
        limit_bytes=request.limit_bytes or None,
        stream=request.stream or None,
        with_frames=request.with_frames,
        follow=request.follow,
    ).check()


def response_of(piece: Piece) -> logs_pb2.ReadResponse:
    """A piece as a message."""
    return logs_pb2.ReadResponse(
        offset=piece.offset,
        data=piece.data,
        next_offset=piece.next_offset,
        frames=_frames(piece.frames),
        gap=piece.gap,
        state=piece.state,
        tier=piece.tier,
        first_offset=piece.first_offset,
        events=piece.events,
        line=piece.line,
    )


def _frames(columns: FrameColumns) -> list[logs_pb2.Frame]:
    return [
        logs_pb2.Frame(stream=stream, time_ns=time_ns, offset=offset, length=length)  # type: ignore[arg-type]
        for stream, time_ns, offset, length in zip(*columns, strict=True)
    ]


class LogsService(logs_pb2_grpc.LogsServicer):
    """Answers readers. `drain` ends open tails, so that a server can stop."""

    def __init__(self, store: Store, reader: LogReader, searcher: Searcher, keeping: Keeping) -> None:
        self._store = store
        self._keeping = keeping
        self._reader = reader
        self._searcher = searcher
        self._closing = asyncio.Event()

    def drain(self) -> None:
        """Ends all tails, now and from now on, with UNAVAILABLE: clients go on at their offset at the next leader."""
        self._closing.set()

    @answers
    async def ListNamespaces(
        self, request: logs_pb2.ListNamespacesRequest, context: Context
    ) -> logs_pb2.ListNamespacesResponse:
        """Namespaces that the caller may see, by name."""
        limit = page_size(request.page_size)
        seen = namespaces_seen(current())
        work = functools.partial(self._store.list_namespaces, request.page_token, limit, seen)
        names = await self._reader.run(work)
        token = names[-1] if len(names) == limit else ""
        return logs_pb2.ListNamespacesResponse(namespaces=names, next_page_token=token)

    @answers
    async def ListRuns(self, request: logs_pb2.ListRunsRequest, context: Context) -> logs_pb2.ListRunsResponse:
        """Runs, newest first."""
        check_name("namespace", request.namespace)
        where = RunFilter(
            frozenset(request.states),
            tuple(request.labels.items()),
            request.created_from_ns,
            request.created_before_ns,
        )
        runs, token = await self._reader.run(
            functools.partial(
                self._store.list_runs, request.namespace, where, request.page_token, page_size(request.page_size)
            )
        )
        for run, kept in zip(runs, await self._reader.run(lambda: list(map(self._keeping.kept, runs))), strict=True):
            run.kept.CopyFrom(kept)
        return logs_pb2.ListRunsResponse(runs=runs, next_page_token=token)

    @answers
    async def GetRun(self, request: logs_pb2.GetRunRequest, context: Context) -> types_pb2.RunRecord:
        """One run."""
        check_name("namespace", request.namespace)
        check_name("run", request.run)
        run = await self._reader.run(functools.partial(self._store.get_run, request.namespace, request.run))
        if run is None:
            raise NotFound(f"there is no run {request.namespace}:{request.run}")
        kept = await self._reader.run(functools.partial(self._keeping.kept, run, counting=True))
        run.kept.CopyFrom(kept)
        return run

    @answers
    async def ListLogs(self, request: logs_pb2.ListLogsRequest, context: Context) -> logs_pb2.ListLogsResponse:
        """Logs of a run."""
        check_name("namespace", request.namespace)
        check_name("run", request.run)
        if request.task:
            check_name("task", request.task, reserved=request.task == RUN_LOG_TASK)
        work = functools.partial(
            self._store.list_logs,
            request.namespace,
            request.run,
            request.task,
            request.page_token,
            page_size(request.page_size),
        )
        logs, token = await self._reader.run(work)
        kept = await self._reader.run(functools.partial(self._keeping.of, request.namespace, request.run))
        return logs_pb2.ListLogsResponse(logs=map(shown, logs), next_page_token=token, kept=kept)

    @answers
    async def GetLog(self, request: logs_pb2.GetLogRequest, context: Context) -> logs_pb2.GetLogResponse:
        """One log's record and events."""
        details = await self._reader.details(name_of(request.id))
        kept = await self._reader.run(functools.partial(self._keeping.of, request.id.namespace, request.id.run))
        return logs_pb2.GetLogResponse(
            log=shown(details.record), events=details.events, kept=kept, verified=details.verified
        )

    async def Read(
        self, request: logs_pb2.ReadRequest, context: Context
    ) -> AsyncGenerator[logs_pb2.ReadResponse, None]:
        """A log's bytes. Sends the next message only when the client has taken the one before."""
        async with answering(context):
            spec = spec_of(request)
            number = await self._reader.find(name_of(request.id))
            reading = self._reader.read(number, spec)
            async with contextlib.aclosing(until(self._closing, reading) if spec.follow else reading) as pieces:
                async for piece in pieces:
                    if len(piece.frames.streams) > _FEW_FRAMES:
                        yield await self._reader.run(functools.partial(response_of, piece))
                    else:
                        yield response_of(piece)

    async def Verify(
        self, request: logs_pb2.VerifyRequest, context: Context
    ) -> AsyncGenerator[logs_pb2.VerifyResponse, None]:
        """Holds a log against its seal."""
        async with answering(context):
            number = await self._reader.find(name_of(request.id))
            done = (0, 0)

            def note(bytes_done: int, bytes_total: int) -> None:
                nonlocal done
                done = (bytes_done, bytes_total)

            verifying = asyncio.ensure_future(self._reader.verify(number, note))
            try:
                while not (await asyncio.wait([verifying], timeout=_VERIFY_PROGRESS_SECONDS))[0]:
                    yield logs_pb2.VerifyResponse(bytes_done=done[0], bytes_total=done[1])
                verdict = verifying.result()
            finally:
                verifying.cancel()
            yield logs_pb2.VerifyResponse(
                bytes_done=done[0],
                bytes_total=done[1],
                done=True,
                complete=verdict.complete,
                expected=verdict.expected,
                found=verdict.found,
                problems=verdict.problems,
                unchanged=verdict.unchanged,
                verified=verdict.kept,
            )

    async def Search(
        self, request: logs_pb2.SearchRequest, context: Context
    ) -> AsyncGenerator[logs_pb2.SearchResponse, None]:
        """Looks for a pattern."""
        async with answering(context):
            reports = self._searcher.search(
                searching.scope_of(request), searching.spec_of(request), searching.limits_of(request)
            )
            async with contextlib.aclosing(until(self._closing, reports)) as found:
                async for report in found:
                    yield searching.response_of(report)
