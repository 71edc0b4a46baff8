"""The HTTP gate around an application of its own: who asks is known in threads and streams; what skips it is shut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from joblog.errors import JoblogError
from joblog.leader.access.principal import current
from joblog.leader.access.recognition import Recogniser
from joblog.leader.access.roles import Grant, Permission
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate
from joblog.leader.api.http.cookies import Cookies
from joblog.leader.api.http.gate import HttpGate, admit
from joblog.leader.api.http.replies import error_reply
from joblog.leader.api.rules import Rule, Where
from joblog.token import Token

ANYBODY = Rule(None, Where.ANYBODY)
RULES = {
    "in_thread": ANYBODY,
    "streamed": ANYBODY,
    "skips": ANYBODY,
    "not_there": ANYBODY,
    "whole": Rule(Permission.KEYS_MANAGE, Where.WHOLE),
}


def application() -> FastAPI:
    app = FastAPI(dependencies=[Depends(admit)], redirect_slashes=False)

    @app.get("/thread")
    def in_thread() -> str:
        time.sleep(0.01)
        return current().name

    @app.get("/streamed")
    async def streamed() -> StreamingResponse:
        async def names() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield current().name + "\n"

        return StreamingResponse(names())

    @app.get("/whole")
    async def whole() -> str:
        return "whole"

    @app.get("/no-rule")
    async def no_rule() -> str:
        return "no rule"

    async def skips(_: Request) -> Response:
        return PlainTextResponse("not asked")

    # Starlette's own routes have no dependencies.
    app.add_route("/skips", skips)
    app.mount("/mounted", PlainTextResponse("not asked"), "skips")

    async def told(_: Request, error: Exception) -> Response:
        assert isinstance(error, JoblogError)
        return error_reply(error)

    app.add_exception_handler(JoblogError, told)
    return app


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AccessStore]:
    store = AccessStore(tmp_path / "access.sqlite3")
    yield store
    store.close()


@pytest.fixture
async def client(store: AccessStore) -> AsyncIterator[httpx.AsyncClient]:
    gated = HttpGate(application(), Gate(store, Recogniser(store)), Cookies("leader-1"), rules=RULES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gated), base_url="http://h") as client:
        yield client


def headers_of(store: AccessStore, name: str, role: str = "reader") -> dict[str, str]:
    record, secret = store.create_token(name, [Grant(role)], created_by="t")
    return {"Authorization": f"Bearer {Token(record.id, secret).text}"}


async def test_who_asks_is_known_in_threads_and_in_streams(client: httpx.AsyncClient, store: AccessStore) -> None:
    shown = {name: headers_of(store, name) for name in ("ann", "bob", "eve")}
    asked = [(name, path) for name in shown for path in ("/thread", "/streamed") for _ in range(10)]
    replies = await asyncio.gather(*(client.get(path, headers=shown[name]) for name, path in asked))
    for (name, path), reply in zip(asked, replies, strict=True):
        assert reply.text == (f'"{name}"' if path == "/thread" else f"{name}\n" * 3)


async def test_what_the_gate_was_not_asked_about_does_not_answer(client: httpx.AsyncClient, store: AccessStore) -> None:
    admin = headers_of(store, "root", "admin")
    for path in ("/no-rule", "/skips", "/mounted/x"):
        for headers, status in (({}, 401), (admin, 403)):
            reply = await client.get(path, headers=headers)
            assert reply.status_code == status, path
            assert "not asked" not in reply.text and "no rule" not in reply.text.replace("has no rule", "")
    assert (await client.get("/absent", headers=admin)).status_code == 404


async def test_a_role_is_asked_for(client: httpx.AsyncClient, store: AccessStore) -> None:
    for role, status in (("admin", 200), ("operator", 200), ("reader", 403), ("writer", 403)):
        assert (await client.get("/whole", headers=headers_of(store, role, role))).status_code == status
    for header in ("Basic eDp5", "Bearer", "Bearer ", "jl1.x", "bearer jl1.x", ""):
        reply = await client.get("/whole", headers={"Authorization": header})
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
