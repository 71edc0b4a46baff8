"""Requests that no honest client sends, byte for byte to the leader's HTTP server: none reaches what it should not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from joblog.batch import STDOUT
from joblog.identity import LogName
from tests.e2e.access_callers import OTHER, OWN, Callers, closed_gate, make_callers
from tests.e2e.api_server import Api, api_in

SECRET = b"what the other namespace says"
READER = f"reader of {OWN}"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path, closed_gate) as api:
        for namespace, text in ((OWN, b"own"), (OTHER, SECRET)):
            log = api.stored.log(LogName(namespace, "r", "t", 1))
            log.append((STDOUT, text))
            log.complete()
        yield api


@pytest.fixture
def callers(api: Api) -> Callers:
    return make_callers(api.access_store)


async def raw(api: Api, request: bytes) -> bytes:
    """All that the server answers to these bytes, until it closes, or has answered and says nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(api.http_server.url).port)
    found = b""
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(10):
            while True:
                # More than was asked for would come at once.
                wait = 0.2 if found else 10.0
                try:
                    more = await asyncio.wait_for(reader.read(1 << 16), wait)
                except TimeoutError:
                    return found
                if not more:
                    return found
                found += more
    finally:
        writer.close()


def request(target: str, *headers: str, host: str = "127.0.0.1", method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def status(reply: bytes) -> int:
    assert reply.startswith(b"HTTP/1.1 "), reply[:200]
    return int(reply.split()[1])


def bearer(callers: Callers, caller: str = READER) -> str:
    return f"Authorization: Bearer {callers.tokens[caller]}"


def the_raw_path(api: Api, namespace: str) -> str:
    """Where a log's bytes are, as the OpenAPI document has it."""
    from fastapi.routing import iter_route_contexts

    from joblog.leader.api.http.app import make_routes

    routes = iter_route_contexts(make_routes(api.http_server._context).routes)
    path = next(route.path for route in routes if route.name == "get_raw")
    assert path is not None
    return path.format(namespace=namespace, run="r", task="t", attempt="1")


async def test_the_own_log_is_given_and_the_other_is_not(api: Api, callers: Callers) -> None:
    reply = await raw(api, request(the_raw_path(api, OWN), bearer(callers)))
    assert status(reply) == 200 and reply.endswith(b"own")
    reply = await raw(api, request(the_raw_path(api, OTHER), bearer(callers)))
    assert status(reply) == 403


async def test_tricks_with_paths(api: Api, callers: Callers) -> None:
    own, other = the_raw_path(api, OWN), the_raw_path(api, OTHER)
    targets = [
        own.replace(f"/{OWN}/", f"/{OWN}/../{OTHER}/"),
        own.replace(f"/{OWN}/", f"/{OWN}/%2e%2e/{OTHER}/"),
        own.replace(f"/{OWN}/", f"/{OWN}%2f..%2f{OTHER}/"),
        own.replace(f"/{OWN}/", f"/./{OTHER}/"),
        own.replace(f"/{OWN}/", f"//{OTHER}/"),
        own.replace(f"/{OWN}/", f"/{OWN}%00{OTHER}/"),
        own.replace(f"/{OWN}/", f"/{OWN}\\..\\{OTHER}/"),
        own.replace(f"/{OWN}/", f"/{OTHER}%20/"),
        own.replace(f"/{OWN}/", f"/{OTHER.upper()}/"),
        own.replace(f"/{OWN}/", "/%74eam-b/"),
        own.replace(f"/{OWN}/", f"/{OWN};namespace={OTHER}/"),
        f"{own}?namespace={OTHER}",
        f"{own}#/../../{OTHER}",
        f"/{other}", f"/api/v1/../v1/{other.removeprefix('/api/v1/')}", f"/assets/../..{other}",
        f"http://127.0.0.1{other}", f"http://elsewhere.example{other}", f"//elsewhere.example{other}",
        other.replace("team-b", "team%c2%adb"), other.replace("team-b", "%c0%af"), other.replace("team-b", "%ff"),
        other.replace("team-b", "@audit"), other.replace("team-b", "%40audit"), "/..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets/..\\..\\etc\\passwd", "/%00", "*",
        "/%e2%80%ae", "/" + "a" * 60_000,
    ]  # fmt: skip
    for target in targets:
        reply = await raw(api, request(target, bearer(callers), "Connection: close"))
        assert SECRET not in reply, target
        assert b"root:" not in reply, target
        # The page of the UI, or a refusal; never an error of the server.
        assert reply == b"" or status(reply) < 500, (target, reply[:300])


async def test_who_asks_is_said_once(api: Api, callers: Callers) -> None:
    """Two Authorization headers, and what proxies say of a caller, give nobody another one's rights."""
    other = the_raw_path(api, OTHER)
    admin, reader, nobody = bearer(callers, "admin"), bearer(callers), "Authorization: Bearer jl1.garbage"
    for headers in (
        (reader, nobody),
        (nobody, reader),
        (reader, "X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: admin", "X-Remote-User: admin"),
        (reader, "Forwarded: for=127.0.0.1;host=127.0.0.1;proto=https", "X-Original-URL: /healthz"),
        (reader, "X-HTTP-Method-Override: OPTIONS", "X-Forwarded-Prefix: /healthz"),
        (reader, f"X-Rewrite-URL: {other}"),
        ("Cookie: session=admin; token=admin",),
        ("Authorization: Basic YWRtaW46YWRtaW4=",),
        ("Authorization: bearer",),
        (reader.replace("Authorization:", "Proxy-Authorization:"),),
        (reader.replace("Authorization:", "Authorization :"),),
        (reader.replace("Bearer ", "Bearer\t\x0b"),),
    ):
        reply = await raw(api, request(other, *headers, "Connection: close"))
        assert SECRET not in reply, headers
        assert status(reply) in (400, 401, 403), (headers, reply[:200])
    # A second one that is worth more is not looked at: it is refused, or the first counts.
    reply = await raw(api, request(other, reader, admin, "Connection: close"))
    assert status(reply) in (400, 401, 403)


async def test_other_names_of_this_machine(api: Api, callers: Callers) -> None:
    path = the_raw_path(api, OWN)
    for lines in (
        ["Host: elsewhere.example"],
        ["Host: 127.0.0.1", "Host: elsewhere.example"],
        ["Host: elsewhere.example", "Host: 127.0.0.1"],
        ["Host: 127.0.0.1@elsewhere.example"],
        ["Host: 127.0.0.1, elsewhere.example"],
        ["Host: "],
        [],
        ["X-Forwarded-Host: 127.0.0.1", "Host: elsewhere.example"],
    ):
        whole = [f"GET {path} HTTP/1.1", *lines, bearer(callers), "Connection: close", "", ""]
        reply = await raw(api, "\r\n".join(whole).encode())
        if lines[:1] != ["Host: 127.0.0.1"]:
            assert reply == b"" or status(reply) in (400, 421), (lines, reply[:200])
        assert not reply.endswith(b"own") or lines[0] == "Host: 127.0.0.1", lines


SMUGGLED = b"GET /api/v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Smuggled: yes\r\n\r\n"


@pytest.mark.parametrize(
    "lengths",
    [
        ["Content-Length: 5", f"Content-Length: {5 + len(SMUGGLED)}"],
        [f"Content-Length: {len(SMUGGLED)}", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Content-Length: +5"],
        ["Content-Length: -1"],
        ["Content-Length: 5, 6"],
        ["Content-Length: 0x5"],
        ["Content-Length: 99999999999999999999999"],
    ],
)
async def test_a_length_that_can_be_read_in_two_ways(api: Api, callers: Callers, lengths: list[str]) -> None:
    """What stands behind the first request's end for one reading is no request of its own for another: 400, closed."""
    body = b"0\r\n\r\n" + SMUGGLED
    sent = request("/api/v1/tokens", bearer(callers, "admin"), *lengths, method="POST", body=body)
    reply = await raw(api, sent)
    assert status(reply) == 400
    assert reply.count(b"HTTP/1.1 ") == 1


async def test_what_is_no_http(api: Api) -> None:
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n\r\nG\0ET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\r\n folded: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA\0: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: a=b\r\n\r\n",
    ):
        reply = await raw(api, data)
        assert b"HTTP/1.1 5" not in reply, (data, reply[:200])
        assert b"Cookie" not in reply
    assert status(await raw(api, request("/healthz"))) == 200


async def test_an_answer_is_never_split_by_what_was_asked(api: Api, callers: Callers) -> None:
    for value in ("x%0d%0aSet-Cookie:%20a=b", "x%0aX-Injected:%20yes", "%22%3b%20filename=%22evil"):
        for path in (f"/api/v1/{value}", f"/{value}", the_raw_path(api, OWN).replace("/t/", f"/{value}/")):
            reply = await raw(api, request(path, bearer(callers), "Connection: close"))
            head = reply.split(b"\r\n\r\n", 1)[0].lower()
            assert b"set-cookie" not in head and b"x-injected" not in head, reply[:300]
            if b"application/json" in head:
                json.loads(reply.split(b"\r\n\r\n", 1)[1])
