"""Routes that search: hits stream in as lines of JSON, with how far the search is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from joblog.identity import LogName
from joblog.leader.api.http import names
from joblog.leader.api.http.context import LOG_PATH, Context, NamedLog
from joblog.leader.api.http.filters import RunsWanted
from joblog.leader.api.http.found import MarksReport, SearchReport
from joblog.leader.api.http.words import STREAMS, StreamName
from joblog.leader.api.searching import limits_of, response_of, scope_of, spec_of
from joblog.leader.api.waiting import until
from joblog.leader.reading.piece import MAX_OFFSET
from joblog.leader.search.log_search import SearchSpec
from joblog.leader.search.marks import CANDIDATES, MAX_MARKS
from joblog.leader.search.scope import MAX_RUNS, Scope, SearchLimits
from joblog.leader.search.searcher import Report
from joblog.v1 import logs_pb2

router = APIRouter(prefix="/api/v1", tags=["search"])

MEDIA_TYPE = "application/x-ndjson"
_MARKS_SECONDS = 600.0


async def _asked(
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=1000,
            description="What to look for, within lines",
            json_schema_extra={"pattern": "^[^\\n]*$"},
        ),
    ],
    *,
    regex: Annotated[bool, Query(description="q is a regular expression in RE2's syntax")] = False,
    ignore_case: Annotated[bool, Query(description="Upper and lower case are the same")] = False,
    stream: Annotated[StreamName | None, Query(description="Only lines that this stream wrote")] = None,
    context_lines: Annotated[int, Query(ge=0, le=20, description="Lines to show around each hit")] = 0,
    max_hits: Annotated[int, Query(ge=1, le=10_000, description="Then it ends")] = 1000,
    max_hits_per_log: Annotated[int, Query(ge=0, le=10_000, description="Then on to the next log; 0: all")] = 0,
    max_seconds: Annotated[float, Query(gt=0, le=600, description="Then it ends")] = 60,
) -> logs_pb2.SearchRequest:
    return logs_pb2.SearchRequest(
        pattern=q,
        regex=regex,
        ignore_case=ignore_case,
        stream=STREAMS[stream] if stream else None,  # type: ignore[arg-type]
        context_lines=context_lines,
        max_hits=max_hits,
        max_hits_per_log=max_hits_per_log,
        max_seconds=max_seconds,
    )


Asked = Annotated[logs_pb2.SearchRequest, Depends(_asked)]

_REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SearchReport,
        "description": "Lines of JSON, a report each (application/x-ndjson); the last one has done = true.",
        "content": {MEDIA_TYPE: {}},
    }
}

_MARKS_REPLY: dict[int | str, dict[str, Any]] = {
    200: {
        "model": MarksReport,
        "description": "Lines of JSON, a report each (application/x-ndjson); the last one has done = true.",
        "content": {MEDIA_TYPE: {}},
    }
}


async def _answer(context: Context, request: logs_pb2.SearchRequest) -> StreamingResponse:
    reports = context.searcher.search(scope_of(request), spec_of(request), limits_of(request))
    return await _stream(context, reports, _line)


async def _settled(context: Context, name: LogName) -> LogName:
    """The name with the attempt's number."""
    if name.attempt:
        return name
    return name._replace(attempt=(await context.reader.details(name)).record.id.attempt)


async def _stream(
    context: Context, reports: AsyncGenerator[Report, None], line_of: Callable[[Report], bytes]
) -> StreamingResponse:
    stopping = until(context.closing, reports)
    # What is refused is refused before the reply begins.
    first = await anext(stopping)

    async def lines() -> AsyncIterator[bytes]:
        try:
            yield line_of(first)
            async for report in stopping:
                yield line_of(report)
        finally:
            await stopping.aclose()

    return StreamingResponse(lines(), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})


@router.get(LOG_PATH + "/search", response_class=StreamingResponse, responses=_REPLY)
async def search_log(
    *,
    context: Context,
    name: NamedLog,
    asked: Asked,
    from_offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Only from this byte on")] = 0,
    until_offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Only up to this byte; 0: to the end")] = 0,
) -> StreamingResponse:
    """Looks for a pattern in one log, as far as it has been written."""
    asked.namespace, asked.run, asked.task, asked.attempt = await _settled(context, name)
    asked.from_offset, asked.until_offset = from_offset, until_offset
    return await _answer(context, asked)


@router.get(LOG_PATH + "/marks", response_class=StreamingResponse, responses=_MARKS_REPLY)
async def get_marks(
    *,
    context: Context,
    name: NamedLog,
    from_offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Only from this byte on")] = 0,
    max_marks: Annotated[int, Query(ge=1, le=MAX_MARKS, description="Then it ends")] = MAX_MARKS,
) -> StreamingResponse:
    """Lines that stand out: errors, warnings, begins and ends of groups; streams them in as it finds them."""
    name = await _settled(context, name)
    spec = SearchSpec(CANDIDATES, from_offset=from_offset)
    reports = context.searcher.search(Scope(*name), spec, SearchLimits(max_marks, max_marks, _MARKS_SECONDS))
    return await _stream(context, reports, _marks_line)


@router.get("/namespaces/{namespace}/runs/{run}/search", response_class=StreamingResponse, responses=_REPLY)
async def search_run(
    *,
    context: Context,
    namespace: names.Namespace,
    run: names.Run,
    asked: Asked,
    task: names.OneTask = "",
) -> StreamingResponse:
    """Looks for a pattern in all logs of a run."""
    asked.namespace, asked.run, asked.task = namespace, run, task
    return await _answer(context, asked)


@router.get("/namespaces/{namespace}/search", response_class=StreamingResponse, responses=_REPLY)
async def search_namespace(
    *,
    context: Context,
    namespace: names.Namespace,
    asked: Asked,
    wanted: RunsWanted,
    max_runs: Annotated[
        int, Query(ge=0, le=MAX_RUNS, description="Only the newest so many of the runs that are wanted; 0: all")
    ] = 0,
) -> StreamingResponse:
    """Looks for a pattern in the logs of a namespace's runs, the newest run first."""
    asked.namespace = namespace
    asked.run_text, asked.max_runs = wanted.text, max_runs
    asked.states.extend(wanted.states)  # type: ignore[arg-type]
    asked.labels.update(dict(wanted.labels))
    asked.created_from_ns, asked.created_before_ns = wanted.created_from_ns, wanted.created_before_ns
    return await _answer(context, asked)


def _line(report: Report) -> bytes:
    return SearchReport.of(response_of(report)).model_dump_json().encode() + b"\n"


def _marks_line(report: Report) -> bytes:
    return MarksReport.of(report).model_dump_json().encode() + b"\n"
