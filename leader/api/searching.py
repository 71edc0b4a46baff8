"""A search as it is asked for over the wire, and what it found as messages; gRPC and HTTP share it."""

from __future__ import annotations

from joblog.leader.buffer.catalog import RunFilter
from joblog.leader.search.lines import Hit, ShownLine
from joblog.leader.search.log_search import SearchSpec
from joblog.leader.search.pattern import Pattern
from joblog.leader.search.scope import Scope, SearchLimits
from joblog.leader.search.searcher import Report
from joblog.v1 import logs_pb2, types_pb2

_DEFAULTS = SearchLimits()


def scope_of(request: logs_pb2.SearchRequest) -> Scope:
    """Where to search; raises InvalidInput."""
    where = RunFilter(
        frozenset(request.states),
        tuple(request.labels.items()),
        request.created_from_ns,
        request.created_before_ns,
        request.run_text,
    )
    return Scope(request.namespace, request.run, request.task, request.attempt, where, request.max_runs).check()


def spec_of(request: logs_pb2.SearchRequest) -> SearchSpec:
    """What to search for; raises InvalidInput."""
    return SearchSpec(
        Pattern(request.pattern, is_regex=request.regex, ignore_case=request.ignore_case),
        stream=request.stream,
        context_lines=request.context_lines,
        from_offset=request.from_offset,
        until_offset=request.until_offset,
    )


def limits_of(request: logs_pb2.SearchRequest) -> SearchLimits:
    """When it ends; raises InvalidInput."""
    hits = request.max_hits or _DEFAULTS.hits
    return SearchLimits(hits, request.max_hits_per_log or hits, request.max_seconds or _DEFAULTS.seconds).check()


def response_of(report: Report) -> logs_pb2.SearchResponse:
    """A report as a message."""
    response = logs_pb2.SearchResponse(
        hits=map(_hit, report.hits),
        at=report.at,
        length=report.length,
        skipped=[types_pb2.Gap(offset=begin, length=end - begin) for begin, end in report.skipped],
        log_truncated=report.log_truncated,
        logs_done=report.logs_done,
        runs_done=report.runs_done,
        runs_total=report.runs_total,
        bytes_done=report.bytes_done,
        done=report.done,
        stopped=report.stopped,
    )
    if report.name is not None:
        response.id.CopyFrom(types_pb2.LogId(**report.name._asdict()))
    return response


def _hit(hit: Hit) -> logs_pb2.SearchHit:
    return logs_pb2.SearchHit(
        line=_line(hit.shown),
        offset=hit.offset,
        spans=[place for span in hit.spans for place in span],
        stream=hit.stream,  # type: ignore[arg-type]
        time_ns=hit.time_ns,
        before=map(_line, hit.before),
        after=map(_line, hit.after),
    )


def _line(shown: ShownLine) -> logs_pb2.ShownLine:
    return logs_pb2.ShownLine(**shown._asdict())
