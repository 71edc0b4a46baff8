"""Searches over gRPC and HTTP, in the buffer, with gaps and damage, in many logs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from joblog.batch import STDERR, STDOUT
from joblog.identity import LogName
from joblog.leader.api.searching import limits_of, scope_of, spec_of
from joblog.leader.search import log_search, places, searcher
from joblog.leader.search.searcher import Report, Searcher
from joblog.v1 import logs_pb2, types_pb2
from tests.archived_log import Archived, CountedFolder
from tests.e2e.api_server import Api, api_in
from tests.many_runs import put_runs, run_of
from tests.stored_log import StoredLeader, fill, stored_leader

LOG = "/api/v1/namespaces/default/runs/demo/tasks/build/attempts"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path) as running:
        yield running


async def found(api: Api, **fields: Any) -> list[logs_pb2.SearchResponse]:
    request = logs_pb2.SearchRequest(**({"namespace": "default"} | fields))
    responses = [response async for response in api.logs.Search(request)]
    assert responses[-1].done
    assert not any(response.done for response in responses[:-1])
    return responses


def hits_of(responses: list[logs_pb2.SearchResponse]) -> list[tuple[str, int, bytes]]:
    return [
        (f"{response.id.run}/{response.id.task}", hit.line.line, hit.line.text)
        for response in responses
        for hit in response.hits
    ]


async def test_one_log(api: Api) -> None:
    log = api.stored.log()
    log.append((STDOUT, b"one\ntwo err"), (STDERR, b"or\nthree error\n"))
    log.gap(10, newlines=2)
    log.append((STDOUT, b"error six\nlast Error"))
    where = {"run": "demo", "task": "build", "attempt": 1, "pattern": "error"}
    responses = await found(api, **where)
    assert hits_of(responses) == [
        ("demo/build", 2, b"two error"),
        ("demo/build", 3, b"three error"),
        ("demo/build", 6, b"error six"),
    ]
    assert [(gap.offset, gap.length) for response in responses for gap in response.skipped] == [(26, 10)]
    [first, second, _] = [hit for response in responses for hit in response.hits]
    assert (first.stream, second.stream, second.time_ns - first.time_ns) == (1, 2, 1_000_000)
    assert first.offset == 8
    assert list(first.spans) == [4, 9]
    assert responses[-2].at == responses[-2].length == log.length == responses[-1].bytes_done
    assert len(hits_of(await found(api, **where, ignore_case=True))) == 4
    assert hits_of(await found(api, **where, stream=types_pb2.STREAM_STDERR)) == [("demo/build", 3, b"three error")]
    assert len(hits_of(await found(api, **(where | {"pattern": r"^\w+ err.r$", "regex": True})))) == 2
    assert hits_of(await found(api, **where, from_offset=20, until_offset=40))[0][1] == 3
    truncated = await found(api, **where, max_hits=1)
    assert len(hits_of(truncated)) == 1
    assert truncated[-1].stopped == "hits"
    rest = await found(api, **where, from_offset=truncated[-2].at)
    assert [line for _, line, _ in hits_of(rest)] == [3, 6]


async def test_context_over_chunks(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"1\n2", b"\n3 here\n", b"4\n5\n6\n"])
    [hit] = (await found(api, run="demo", task="build", attempt=1, pattern="here", context_lines=2))[0].hits
    assert [line.text for line in hit.before] == [b"1", b"2"]
    assert [(line.line, line.text) for line in hit.after] == [(4, b"4"), (5, b"5")]


async def test_a_damaged_chunk_is_said_to_be_skipped(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"here 1\n", b"here 2\n", b"here 3\n"])
    log.damage(7)
    responses = await found(api, run="demo", pattern="here")
    assert [line for _, line, _ in hits_of(responses)] == [1, 3]
    assert [(gap.offset, gap.length) for response in responses for gap in response.skipped] == [(7, 7)]


async def test_runs_and_namespaces(api: Api) -> None:
    for run in range(5):
        for task in ("build", "test"):
            log = api.stored.log(LogName("default", f"run-{run}", task, 1))
            fill(log, [b"out of memory\n" * 3 if run % 2 else b"fine\n"])
    fill(api.stored.log(LogName("other", "run-9", "build", 1)), [b"out of memory\n"])
    responses = await found(api, pattern="out of memory", max_hits_per_log=1)
    # The newest run first; nothing of another namespace.
    assert [path for path, _, _ in hits_of(responses)] == ["run-3/build", "run-3/test", "run-1/build", "run-1/test"]
    assert (responses[-1].logs_done, responses[-1].runs_done) == (10, 5)
    assert all(response.log_truncated for response in responses if response.hits)
    assert len(hits_of(await found(api, pattern="out of memory", run="run-1"))) == 6
    assert len(hits_of(await found(api, pattern="out of memory", run="run-1", task="test"))) == 3
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await found(api, pattern="x", run="none")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND

    # The last runs of those that the filters let through; how many there are is counted.
    wanted: list[tuple[list[str], int, dict[str, Any]]] = [
        (["run-3", "run-1"], 4, {"max_runs": 4}),
        (["run-3"], 3, {"max_runs": 3}),
        ([], 1, {"max_runs": 1}),
        (["run-1"], 1, {"max_runs": 3, "run_text": "RUN-1"}),
        ([], 0, {"max_runs": 3, "states": [types_pb2.RUN_STATE_FAILED]}),
    ]
    for names, count, fields in wanted:
        responses = await found(api, pattern="out of memory", **fields)
        assert list(dict.fromkeys(response.id.run for response in responses if response.hits)) == names, fields
        end = responses[-1]
        assert (end.runs_done, end.runs_total, end.logs_done) == (count, count, 2 * count), fields


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"pattern": ""}, "pattern"),
        ({"pattern": "a(", "regex": True}, "regular expression"),
        ({"pattern": "a", "context_lines": 21}, "context"),
        ({"pattern": "a", "max_hits": 10_001}, "hits"),
        ({"pattern": "a", "max_seconds": 601}, "seconds"),
        ({"pattern": "a", "task": "build"}, "whole path"),
        ({"pattern": "a", "namespace": "../x"}, "namespace"),
        ({"pattern": "a", "max_runs": 100_001}, "max_runs 100001 is out of range: 1 to 100000"),
        ({"pattern": "a", "run": "demo", "max_runs": 1}, "leave the run out"),
        ({"pattern": "a", "run": "demo", "labels": {"a": "b"}}, "leave the run out"),
        ({"pattern": "a", "states": [17]}, "run state 17 is not known"),
    ],
)
async def test_refused(api: Api, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=why) as error:
        await found(api, **fields)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_http(api: Api) -> None:
    log = api.stored.log()
    fill(log, ["ein Fähler\n".encode(), b"\xff here \xfe\n"])
    reply = await api.http.get(f"{LOG}/latest/search", params={"q": "fähler", "ignore_case": True})
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    first, *_, last = [json.loads(line) for line in reply.text.splitlines()]
    assert first["hits"][0]["line"]["parts"] == [{"text": "ein ", "match": False}, {"text": "Fähler", "match": True}]
    assert last["done"]
    reply = await api.http.get("/api/v1/namespaces/default/runs/demo/search", params={"q": "here"})
    [hit] = json.loads(reply.text.splitlines()[0])["hits"]
    assert (hit["line"]["line"], hit["stream"], hit["line"]["parts"][0]["text"]) == (2, "stdout", "\ufffd ")
    reply = await api.http.get("/api/v1/namespaces/default/search", params={"q": "here", "state": "failed"})
    assert json.loads(reply.text.splitlines()[0])["runs_done"] == 0
    for query, runs in (("max_runs=1", 1), ("text=dem", 1), ("text=none", 0)):
        reply = await api.http.get(f"/api/v1/namespaces/default/search?q=here&{query}")
        last = json.loads(reply.text.splitlines()[-1])
        assert (last["runs_done"], last["runs_total"], last["logs_done"]) == (runs, runs, runs), query
    wrong: list[tuple[dict[str, str | int], int]] = [
        ({"q": "a(", "regex": True}, 400),
        ({}, 400),
        ({"q": "a", "what": 1}, 400),
        ({"q": "a", "max_runs": 3}, 400),
    ]
    for params, status in wrong:
        assert (await api.http.get(f"{LOG}/1/search", params=params)).status_code == status
    assert (await api.http.get(f"{LOG}/2/search", params={"q": "a"})).status_code == 404
    for most in ("-1", "100001", "many"):
        reply = await api.http.get("/api/v1/namespaces/default/search", params={"q": "a", "max_runs": most})
        assert (reply.status_code, "max_runs" in reply.text) == (400, True), most


async def test_marks(api: Api) -> None:
    fill(api.stored.log(), [b"::group::one\nfine\nwarning: x\n::end", b"group::\nerror: 0\nerror: y\n"])
    reply = await api.http.get(f"{LOG}/latest/marks")
    reports = [json.loads(line) for line in reply.text.splitlines()]
    assert [(mark["kind"], mark["line"], mark["title"]) for report in reports for mark in report["marks"]] == [
        ("group", 1, "one"),
        ("warning", 3, "warning: x"),
        ("end", 4, ""),
        ("error", 6, "error: y"),
    ]
    assert reports[-1]["done"]
    again = await api.http.get(f"{LOG}/1/marks", params={"from_offset": 40})
    assert [mark["line"] for line in again.text.splitlines() for mark in json.loads(line)["marks"]] == [6]


async def collect(searcher_: Searcher, request: logs_pb2.SearchRequest) -> list[Report]:
    return [report async for report in searcher_.search(scope_of(request), spec_of(request), limits_of(request))]


@pytest.fixture
def leader(tmp_path: Path) -> Any:
    with stored_leader(tmp_path) as stored:
        yield stored


async def test_in_both_tiers(leader: StoredLeader, tmp_path: Path) -> None:
    objects = CountedFolder(tmp_path / "archive")
    archived = Archived(leader, objects)
    log = leader.log()
    fill(log, [b"needle %d\n" % number + b"hay\n" * 1000 for number in range(20)])
    archived.mover.flush([log])
    fill(log, [b"needle %d\n" % number for number in range(20, 30)])
    searching = Searcher(leader.store, leader.reader.open_cipher, archived.extents)
    request = logs_pb2.SearchRequest(namespace="default", run="demo", pattern="needle")
    reports = await collect(searching, request)
    assert [hit.shown.text for report in reports for hit in report.hits] == [b"needle %d" % n for n in range(30)]
    await searching.stop()
    archived.close()


async def test_many_runs_are_told_of_and_stopped_in_time(leader: StoredLeader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(places, "_PAGE", 7)
    put_runs(leader.store, "default", 300)
    fill(leader.log(LogName("default", run_of(5, 300), "t", 1)), [b"needle\n"])
    searching = Searcher(leader.store, leader.reader.open_cipher)
    request = logs_pb2.SearchRequest(namespace="default", pattern="needle", max_runs=150)
    reports = await collect(searching, request)
    assert [str(report.name) for report in reports if report.hits] == [f"default:{run_of(5, 300)}/t/1"]
    # Also where runs have no logs, it is told how far it is, and of how many.
    assert [report.runs_done for report in reports] == sorted(report.runs_done for report in reports)
    assert {report.runs_total for report in reports[100:]} == {150}
    assert len(reports) > 150
    assert (reports[-1].runs_done, reports[-1].logs_done) == (150, 1)
    monkeypatch.setattr(searcher, "_REPORT_SECONDS", 60.0)
    assert len(await collect(searching, request)) == 2
    # The time is looked at between runs without logs, too.
    request.max_seconds = 1e-6
    [last] = await collect(searching, request)
    assert (last.done, last.stopped, last.runs_done) == (True, "time", 0)
    await searching.stop()


async def test_ends_in_time_and_when_nobody_listens(leader: StoredLeader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "_STEP_SECONDS", 0.0)
    log = leader.log()
    fill(log, [b"hay\n"] * 3000)
    searching = Searcher(leader.store, leader.reader.open_cipher)
    request = logs_pb2.SearchRequest(namespace="default", run="demo", pattern="needle", max_seconds=0.05)
    [*_, last] = await collect(searching, request)
    assert (last.done, last.stopped) == (True, "time")
    assert 0 < last.bytes_done < log.length
    monkeypatch.setattr(searcher, "MAX_SEARCHES", 1)
    request.max_seconds = 60
    reports = searching.search(scope_of(request), spec_of(request), limits_of(request))
    waiting = asyncio.ensure_future(anext(reports))
    await asyncio.sleep(0)
    with pytest.raises(Exception, match="1 searches are under way"):
        await collect(searching, request)
    waiting.cancel()
    await asyncio.wait([waiting])
    await reports.aclose()
    assert (await collect(searching, request))[-1].stopped == ""
    await searching.stop()
