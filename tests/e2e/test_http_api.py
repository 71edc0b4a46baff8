from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import Conflict
from joblog.identity import LogName
from joblog.leader.api.http import paging
from joblog.leader.api.http.raw import ByteRange, file_name, parse_range
from joblog.leader.api.http_server import HttpServer, listen
from tests.e2e.api_server import Api, api_in
from tests.stored_log import fill

RUNS = "/api/v1/namespaces/default/runs"
LOG = f"{RUNS}/demo/tasks/build/attempts/1"
MIB = 1 << 20


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path) as running:
        yield running


def error_of(reply: httpx.Response) -> tuple[int, str, str]:
    body = reply.json()
    assert list(body) == ["error"]
    return reply.status_code, body["error"]["code"], body["error"]["message"]


async def test_runs_and_logs_are_listed(api: Api) -> None:
    for number in range(5):
        log = api.stored.log(LogName("default", f"run-{number}", "build", 1))
        log.append((STDOUT, b"hi\n"))
        if number % 2:
            log.complete()
    first = (await api.http.get(RUNS, params={"limit": 3})).json()
    assert [run["run"] for run in first["runs"]] == ["run-4", "run-3", "run-2"]
    rest = (await api.http.get(RUNS, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [run["run"] for run in rest["runs"]] == ["run-1", "run-0"]
    assert rest["next_cursor"] == ""
    live = (await api.http.get(RUNS, params={"state": "live", "label": "kind=test"})).json()
    assert [run["run"] for run in live["runs"]] == ["run-4", "run-2", "run-0"]
    assert not (await api.http.get(RUNS, params={"label": "kind=other"})).json()["runs"]
    assert not (await api.http.get(RUNS, params={"created_from": "2030-01-01T00:00:00Z"})).json()["runs"]
    assert len((await api.http.get(RUNS, params={"created_before": "2030-01-01T00:00:00Z"})).json()["runs"]) == 5
    assert (await api.http.get("/api/v1/namespaces")).json()["namespaces"] == ["default"]
    run = (await api.http.get(f"{RUNS}/run-1")).json()
    assert (run["state"], run["logs_completed"], run["labels"]) == ("succeeded", 1, {"kind": "test"})
    logs = (await api.http.get(f"{RUNS}/run-1/logs")).json()["logs"]
    assert [(log["task"], log["attempt"], log["length"], log["state"]) for log in logs] == [
        ("build", 1, 3, "completed")
    ]
    assert "writer_id" not in json.dumps(logs)
    assert logs[0]["created_at"] == "2023-11-14T22:13:20.000000002Z"


BAD_REQUESTS = [
    (f"{RUNS}/nope", 404, "no run default:nope"),
    (f"{RUNS}/nope/tasks/build/attempts/1", 404, "default:nope/build/1"),
    (f"{RUNS}/..%2Fx", 404, ""),
    (f"{RUNS}/.hidden", 400, "run '.hidden'"),
    (f"{RUNS}/{'x' * 10000}", 400, "10000 characters"),
    (f"{RUNS}/a%00b", 400, "run"),
    (f"{RUNS}/demo/tasks/@other/attempts/1", 400, "task '@other'"),
    (f"{RUNS}/demo/tasks/build/attempts/0", 400, "attempt '0'"),
    (f"{RUNS}/demo/tasks/build/attempts/-1", 400, "attempt '-1'"),
    (f"{RUNS}?limit=0", 400, "limit"),
    (f"{RUNS}?limit=1001", 400, "limit"),
    (f"{RUNS}?state=odd", 400, "state"),
    (f"{RUNS}?label=odd", 400, "KEY=VALUE"),
    (f"{RUNS}?cursor=odd", 400, "token"),
    (f"{LOG}/bytes?offset=-1", 400, "offset"),
    (f"{LOG}/bytes?offset=99", 400, "beyond the end"),
    (f"{LOG}/bytes?offset={2**63}", 400, "offset"),
    (f"{LOG}/bytes?offset=0&line=1", 400, "at most one"),
    (f"{LOG}/bytes?line=99", 400, "beyond the end"),
    (f"{LOG}/bytes?wait=61", 400, "wait"),
    (f"{LOG}/bytes?stream=stdin", 400, "stream"),
    (f"{LOG}/lines?from=0", 400, "from"),
    ("/api/v1/nothing", 404, "Not Found"),
]


async def test_bad_requests_say_what_is_wrong(api: Api) -> None:
    fill(api.stored.log(), [b"one\n"])
    for path, status, words in BAD_REQUESTS:
        found, _, message = error_of(await api.http.get(path))
        assert (found, words in message) == (status, True), (path[:100], message)
        assert "Traceback" not in message


async def test_a_parameter_that_is_not_known_is_refused(api: Api) -> None:
    for path, name in ((RUNS, "lable"), (f"{LOG}/lines", "line"), ("/api/v1/status", "x")):
        status, code, message = error_of(await api.http.get(path, params={name: "1"}))
        assert (status, code) == (400, "INVALID_ARGUMENT")
        assert repr(name) in message


async def test_bytes_with_gaps_lines_and_streams(api: Api) -> None:
    log = api.stored.log()
    log.append((STDOUT, b"out 1\n"), (STDERR, b"err 1\n"))
    log.gap(10, newlines=2)
    log.append((STDOUT, b"out \xff\n"))
    reply = await api.http.get(f"{LOG}/bytes")
    assert reply.content == b"out 1\nerr 1\n"
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "joblog-gaps" not in reply.headers
    assert (reply.headers["joblog-offset"], reply.headers["joblog-next-offset"]) == ("0", "12")
    reply = await api.http.get(f"{LOG}/bytes", params={"offset": 12})
    assert reply.content == b"out \xff\n"
    assert (reply.headers["joblog-offset"], reply.headers["joblog-next-offset"]) == ("22", "28")
    assert (reply.headers["joblog-line"], reply.headers["joblog-state"]) == ("5", "live")
    assert json.loads(reply.headers["joblog-gaps"]) == [
        {"offset": 12, "length": 10, "reason": "spool_full", "newlines": 2}
    ]
    chunk = (await api.http.get(f"{LOG}/bytes", params={"format": "json", "offset": 3, "limit": 5})).json()
    assert (chunk["text"], chunk["offset"], chunk["next_offset"], chunk["line"]) == (" 1\ner"[0:5], 3, 8, 1)
    chunk = (await api.http.get(f"{LOG}/bytes", params={"format": "json", "tail": 1})).json()
    assert (chunk["text"], base64.b64decode(chunk["data_base64"])) == (None, b"out \xff\n")
    assert (await api.http.get(f"{LOG}/bytes", params={"stream": "stderr"})).content == b"err 1\n"
    assert (await api.http.get(f"{LOG}/bytes", params={"line": 2})).content == b"err 1\n"
    assert (await api.http.get(f"{LOG}/bytes", params={"tail_bytes": 2})).content == b"\xff\n"
    latest = LOG.removesuffix("1") + "latest"
    assert (await api.http.get(f"{latest}/bytes", params={"tail_bytes": 2})).content == b"\xff\n"


async def test_lines(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"1\n2", b"2\n", b"\n4\xff\n"])
    log.gap(10, newlines=2)
    fill(log, [b"rest\n8\nunfini"])
    page = (await api.http.get(f"{LOG}/lines", params={"from": 2, "count": 2})).json()
    assert [(line["line"], line["offset"], line["text"]) for line in page["lines"]] == [(2, 2, "22"), (3, 5, "")]
    assert (page["next_line"], page["next_offset"]) == (4, 6)
    page = (await api.http.get(f"{LOG}/lines", params={"from": page["next_line"]})).json()
    lines = [(line["line"], line["text"], line["complete"]) for line in page["lines"]]
    assert lines == [(4, None, True), (7, "rest", True), (8, "8", True), (9, "unfini", False)]
    assert base64.b64decode(page["lines"][0]["data_base64"]) == b"4\xff"
    assert [gap["length"] for gap in page["gaps"]] == [10]
    assert page["state"] == "live"


async def test_a_long_poll_gets_bytes_as_they_come(api: Api) -> None:
    log = api.stored.log()

    async def poll(offset: int, wait: float, events_seen: str = "") -> dict[str, object]:
        params: dict[str, str | float] = {"offset": offset, "wait": wait, "format": "json", "events_seen": events_seen}
        reply = await api.http.get(f"{LOG}/bytes", params=params)
        assert reply.status_code == 200
        body = reply.json()
        assert isinstance(body, dict)
        return body

    waiting = asyncio.create_task(poll(0, 30))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    fill(log, [b"hello\n"])
    assert (await waiting)["text"] == "hello\n"
    assert time.monotonic() - began < 1
    assert (await poll(6, 0.2))["text"] == ""
    waiting = asyncio.create_task(poll(6, 30))
    await asyncio.sleep(0.1)
    log.event("worker_lost", 77)
    heard = await waiting
    assert [event["kind"] for event in heard["events"]] == ["worker_lost"]  # type: ignore[attr-defined]
    assert heard["events_seen"] == "77"
    # Neither one who keeps track of events nor one who does not is told at once again.
    for seen in ("77", ""):
        began = time.monotonic()
        await poll(6, 0.3, seen)
        assert time.monotonic() - began >= 0.29
    assert not (await poll(6, 0, "77"))["events"]
    waiting = asyncio.create_task(poll(6, 30))
    await asyncio.sleep(0.1)
    log.complete()
    assert (await waiting)["state"] == "completed"
    assert (await poll(6, 30))["state"] == "completed"


async def test_raw_ranges_and_tags(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"0123456789", b"abcdef"])
    raw = f"{LOG}/raw"
    reply = await api.http.get(raw)
    assert (reply.status_code, reply.content, "etag" in reply.headers) == (200, b"0123456789abcdef", False)
    log.complete()
    reply = await api.http.get(raw)
    etag = reply.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{64}-16"', etag)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    head = await api.http.head(raw)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "16", b"")
    cases = {
        "bytes=0-0": (206, b"0"),
        "bytes=8-11": (206, b"89ab"),
        "bytes=12-": (206, b"cdef"),
        "bytes=-3": (206, b"def"),
        "bytes=-99": (206, b"0123456789abcdef"),
        "bytes=10-999": (206, b"abcdef"),
        "bytes=16-": (416, None),
        "bytes=-0": (416, None),
        "bytes=0-1,4-5": (200, b"0123456789abcdef"),
        "bytes=5-2": (200, b"0123456789abcdef"),
        "lines=1-2": (200, b"0123456789abcdef"),
    }
    for asked, (status, content) in cases.items():
        reply = await api.http.get(raw, headers={"Range": asked})
        assert reply.status_code == status, asked
        if content is not None:
            assert reply.content == content, asked
        else:
            assert reply.headers["content-range"] == "bytes */16"
    reply = await api.http.get(raw, headers={"Range": "bytes=8-11", "If-Range": etag})
    assert (reply.status_code, reply.headers["content-range"]) == (206, "bytes 8-11/16")
    assert (await api.http.get(raw, headers={"Range": "bytes=8-11", "If-Range": '"other"'})).status_code == 200
    assert (await api.http.get(raw, headers={"If-None-Match": f'"x", {etag}'})).status_code == 304


async def test_a_raw_log_is_a_file_with_a_harmless_name(api: Api) -> None:
    page = b"<html><script>alert(1)</script>"
    fill(api.stored.log(), [page])
    for asked in ({}, {"Range": "bytes=0-5"}):
        reply = await api.http.get(f"{LOG}/raw", headers=asked)
        assert page.startswith(reply.content)
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]+\.log"', reply.headers["content-disposition"])
    name = LogName("n", "a:b=c", "@run", 1)
    assert file_name(name, 3) == "a_b_c-run-3.log"


def test_ranges_are_parsed_as_the_standard_says() -> None:
    assert parse_range("bytes=0-", 0) == ByteRange(0, 0)
    assert parse_range("bytes=-5", 0) == ByteRange(0, 0)
    assert parse_range("bytes=-", 9) is None
    assert parse_range("bytes=1", 9) is None
    assert parse_range(None, 9) is None
    assert parse_range("bytes=" + "9" * 30 + "-", 9) is None


async def test_raw_keeps_places_over_gaps(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"head"])
    log.gap(3 * MIB)
    fill(log, [b"tail"])
    log.complete()
    reply = await api.http.get(f"{LOG}/raw")
    assert reply.content == b"head" + bytes(3 * MIB) + b"tail"
    assert json.loads(reply.headers["joblog-gaps"])[0]["length"] == 3 * MIB
    reply = await api.http.get(f"{LOG}/raw", headers={"Range": f"bytes=2-{3 * MIB + 5}"})
    assert reply.content == b"ad" + bytes(3 * MIB) + b"ta"
    reply = await api.http.get(f"{LOG}/raw", headers={"Range": "bytes=10-20"})
    assert reply.content == bytes(11)


async def test_raw_breaks_off_where_bytes_are_lost(api: Api) -> None:
    log = api.stored.log()
    fill(log, [os.urandom(MIB) for _ in range(5)])
    log.complete()
    log.damage(3 * MIB)
    with pytest.raises(httpx.RemoteProtocolError):
        await api.http.get(f"{LOG}/raw")
    # A reader by pages is told, and gets the rest.
    reply = await api.http.get(f"{LOG}/bytes", params={"offset": 3 * MIB})
    assert json.loads(reply.headers["joblog-gaps"])[0]["reason"] == "lost"
    assert reply.content == bytes(log.model.data[4 * MIB :])


async def test_a_large_log_streams_in_bounded_memory_and_a_stuck_reader_harms_nobody(api: Api) -> None:
    log = api.stored.log()
    block = os.urandom(MIB)
    for _ in range(96):
        log.append((STDOUT, block))
    log.model.data, log.model.streams = bytearray(), bytearray()
    address = ("127.0.0.1", api.http_server.port)
    before = psutil.Process().memory_info().rss
    stuck = [await asyncio.open_connection(*address, limit=1024) for _ in range(8)]
    for reader, writer in stuck:
        writer.write(f"GET {LOG}/raw HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert await reader.readexactly(1024)
    got = 0
    async with api.http.stream("GET", f"{LOG}/raw") as reply:
        async for part in reply.aiter_raw(MIB):
            got += len(part)
    assert got == 96 * MIB
    # Of nine readers of the whole log, all but one stuck.
    assert psutil.Process().memory_info().rss - before < 96 * MIB
    for _, writer in stuck:
        writer.close()


async def test_events_verify_and_delete(api: Api) -> None:
    log = api.stored.log()
    fill(log, [b"one\n"])
    log.event("log_limit")
    assert [event["kind"] for event in (await api.http.get(f"{LOG}/events")).json()["events"]] == ["log_limit"]
    verdict = (await api.http.get(f"{LOG}/verify")).json()
    assert (verdict["complete"], verdict["sealed"], verdict["problems"]) == (False, False, [])
    log.complete()
    assert (await api.http.get(LOG)).json()["verified"]["outdated"] == "it was sealed"
    verdict = (await api.http.get(f"{LOG}/verify")).json()
    assert (verdict["complete"], verdict["expected"]["length"]) == (True, 4)
    kept = (await api.http.get(LOG)).json()["verified"]
    assert kept == verdict["verified"]
    assert (kept["complete"], kept["problems"], kept["says"]) == (True, 0, "complete, as it was written")
    assert (kept["unchanged"], kept["outdated"]) == (False, "")
    [listed] = (await api.http.get(LOG.partition("/tasks/")[0] + "/logs")).json()["logs"]
    assert listed["verified"] is None
    status, _, message = error_of(await api.http.delete(LOG.removesuffix("1") + "latest"))
    assert (status, "attempt" in message) == (400, True)
    assert (await api.http.delete(LOG)).json() == {"logs_deleted": 1, "bytes_deleted": 4}
    assert api.fence.told == [log.number]
    assert (await api.http.delete(LOG)).json() == {"logs_deleted": 0, "bytes_deleted": 0}
    assert (await api.http.get(f"{LOG}/bytes")).status_code == 404


async def test_foreign_hosts_and_origins_are_refused(api: Api) -> None:
    fill(api.stored.log(), [b"one\n"])
    port = api.http_server.port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[::1"):
        assert (await api.http.get(LOG, headers={"Host": host})).status_code in (400, 421), host
    for host in (f"localhost:{port}", "LOCALHOST", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert (await api.http.get(LOG, headers={"Host": host})).status_code == 200, host
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[", "Host": f"localhost:{port}"},
        {"Origin": f"http://localhost:{port + 1}", "Host": f"localhost:{port}"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert (await api.http.delete(LOG, headers=headers)).status_code == 403, headers
    same = {"Origin": f"http://localhost:{port}", "Host": f"localhost:{port}", "Sec-Fetch-Site": "same-origin"}
    assert (await api.http.delete(LOG, headers=same)).status_code == 200


async def test_probes_metrics_status_and_document(api: Api) -> None:
    fill(api.stored.log(), [b"one\n"])
    await api.http.get(f"{LOG}/bytes")
    assert (await api.http.get("/healthz")).status_code == 200
    assert (await api.http.get("/readyz")).status_code == 200
    api.not_ready.append("the store's disk is full")
    reply = await api.http.get("/readyz")
    assert (reply.status_code, reply.json()["reason"]) == (503, "the store's disk is full")
    metrics = (await api.http.get("/metrics")).text
    assert "joblog_read_bytes_total 4.0" in metrics
    assert 'joblog_http_requests_total{method="GET",status="503"} 1.0' in metrics
    status = (await api.http.get("/api/v1/status")).json()
    assert (status["leader_id"], status["logs_live"], status["workers"][0]["worker_id"]) == ("leader-1", 7, "w1")
    assert status["warnings"] == ["the store's disk is full"]
    document = (await api.http.get("/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    assert {"Log", "Run", "Chunk", "Verdict", "ErrorReply"} <= set(document["components"]["schemas"])


async def test_stopping_ends_what_waits(api: Api) -> None:
    api.stored.log()
    waiting = asyncio.create_task(api.http.get(f"{LOG}/bytes", params={"wait": 60}))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await api.http_server.drain(10)
    assert (await waiting).status_code == 200
    assert time.monotonic() - began < 3
    with pytest.raises(httpx.TransportError):
        await api.http.get("/healthz")


async def test_an_address_in_use_is_said(api: Api) -> None:
    with pytest.raises(Conflict, match="in use"):
        listen("127.0.0.1", api.http_server.port)
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        free.listen()
        server = HttpServer(api.http_server._context, host="127.0.0.1", port=free.getsockname()[1])
        with pytest.raises(Conflict, match="in use"):
            await server.start()


async def test_frames_of_a_page(api: Api) -> None:
    log = api.stored.log()
    log.append((STDOUT, b"out 1\n"), (STDERR, b"err 1\n"), (STDOUT, b"out 2\n"))
    page = (await api.http.get(f"{LOG}/bytes", params={"format": "json", "frames": True, "offset": 8})).json()
    assert page["data_base64"] == base64.b64encode(b"r 1\nout 2\n").decode()
    assert [page["frames"][name] for name in ("streams", "starts", "lengths")] == [[2, 1], [0, 4], [4, 6]]
    assert page["frames"]["times_us"][1] - page["frames"]["times_us"][0] == 1000
    assert (await api.http.get(f"{LOG}/bytes", params={"format": "json"})).json()["frames"] is None


async def test_a_page_of_many_frames_ends_early(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_PAGE_FRAMES", 10)
    log = api.stored.log()
    for _ in range(3000):
        log.append((STDOUT, b"x"), (STDERR, b"y"))
    params: dict[str, str | int] = {"format": "json", "frames": "true", "offset": 0}
    seen = 0
    while (page := (await api.http.get(f"{LOG}/bytes", params=params)).json())["data_base64"]:
        seen += sum(page["frames"]["lengths"])
        params["offset"] = page["next_offset"]
    assert seen == 6000
