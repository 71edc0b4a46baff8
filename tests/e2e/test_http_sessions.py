"""Signing in to the HTTP API: with a token, with a code, and how that ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.leader.access.attempts import AttemptLimits, Attempts
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.recognition import Recogniser, SessionRules
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import AccessStore
from joblog.leader.api import signing_in
from joblog.leader.api.gate import Gate
from joblog.leader.api.http.cookies import SESSION, Cookies
from joblog.token import Token
from joblog.v1 import access_pb2
from tests.e2e.api_server import Api, api_in

MEANT = {"Joblog-Request": "1"}
SESSION_URL = "/api/v1/session"
LOG = "/api/v1/namespaces/default/runs/r/tasks/t/attempts/1"
COOKIE = Cookies("leader-1").name(SESSION, {"scheme": "http"})
IDLE_SECONDS = 600.0


@dataclass
class Clock:
    """The time of store and recogniser, in nanoseconds."""

    now: int = 1_800_000_000 * 10**9

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)


@dataclass
class Notes:
    """An auditor that keeps what it is told."""

    events: list[AuditEvent] = field(default_factory=list)

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def of(self, action: str) -> list[AuditEvent]:
        return [event for event in self.events if event.action == action]


@dataclass
class Leader:
    """A leader that asks who one is."""

    api: Api
    notes: Notes
    clock: Clock

    def token(self, role: str = "reader", lifetime_seconds: int = 0) -> Token:
        """A new token."""
        store = self.api.access_store
        record, secret = store.create_token(role, [Grant(role)], created_by="test", lifetime_seconds=lifetime_seconds)
        return Token(record.id, secret)

    async def sign_in(self, **what: str) -> httpx.Response:
        """Asks for a session; the client then has its cookie."""
        return await self.api.http.post(SESSION_URL, json=what, headers=MEANT)

    async def code(self, token: Token) -> str:
        """A code for a link."""
        metadata = (("authorization", f"Bearer {token.text}"),)
        made = await self.api.access.CreateSignInCode(access_pb2.CreateSignInCodeRequest(), metadata=metadata)
        return str(made.code)

    async def status(self) -> int:
        """Whether the client is signed in."""
        return (await self.api.http.get("/api/v1/whoami")).status_code


@pytest.fixture
async def leader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Leader]:
    notes, clock = Notes(), Clock()

    def gate(store: AccessStore) -> Gate:
        for part in (store, store.sessions):
            monkeypatch.setattr(part, "_clock", clock)
        rules = SessionRules(IDLE_SECONDS)
        attempts = Attempts(AttemptLimits(5, 20))
        return Gate(store, Recogniser(store, clock=clock, sessions=rules, attempts=attempts), notes)

    async with api_in(tmp_path, gate) as api:
        monkeypatch.setattr(api.http_server._context.sign_in, "_clock_ns", clock)
        log = api.stored.log(LogName("default", "r", "t", 1))
        log.append((STDOUT, b"hello\n"))
        yield Leader(api, notes, clock)


async def test_a_session_makes_tokens_for_as_long_as_its_own_is_good(leader: Leader) -> None:
    async def made(lifetime_seconds: int) -> int:
        grants = [{"role": "writer", "namespaces": ["*"]}]
        body = {"name": "a worker", "grants": grants, "lifetime_seconds": lifetime_seconds}
        return (await leader.api.http.post("/api/v1/tokens", json=body, headers=MEANT)).status_code

    day = 86_400
    await leader.sign_in(token=leader.token("admin").text)
    assert [await made(seconds) for seconds in (0, 30 * day)] == [201, 201]
    await leader.sign_in(token=leader.token("admin", lifetime_seconds=2 * day).text)
    assert [await made(seconds) for seconds in (day, 365 * day, 0)] == [201, 403, 403]


async def test_a_token_makes_a_session(leader: Leader, tmp_path: Path) -> None:
    ways = await leader.api.http.get(SESSION_URL)
    assert (ways.status_code, ways.json()) == (200, {"needed": True, "token": True, "oidc": None})
    assert await leader.status() == 401
    token = leader.token()
    reply = await leader.sign_in(token=token.text)
    assert reply.status_code == 201
    me = reply.json()
    assert (me["kind"], me["name"], "log.read" in me["permissions"]) == ("session", "reader", True)
    cookie = reply.headers["set-cookie"]
    assert re.fullmatch(
        rf"{COOKIE}=[a-z0-9]{{12}}\.[\w-]{{43}}; HttpOnly; Max-Age=43200; Path=/; SameSite=strict", cookie
    )
    assert (await leader.api.http.get("/api/v1/whoami")).json() == me
    assert (await leader.api.http.get(f"{LOG}/bytes")).content == b"hello\n"
    assert (await leader.api.http.get("/api/v1/tokens")).status_code == 403
    (event,) = leader.notes.of("login")
    assert event.principal is not None
    assert (event.outcome, event.principal.kind, event.detail, event.subject) == (
        "ok",
        "session",
        {"by": "token"},
        event.principal.id,
    )
    secret = cookie.partition(".")[2].partition(";")[0]
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.sqlite3*"))


async def test_signing_out_ends_the_session_and_what_is_open_in_it(leader: Leader) -> None:
    await leader.sign_in(token=leader.token().text)
    cookies = dict(leader.api.http.cookies)
    waiting = asyncio.create_task(leader.api.http.get(f"{LOG}/bytes", params={"offset": 6, "wait": 60}))
    await asyncio.sleep(0.1)
    reply = await leader.api.http.delete(SESSION_URL, headers=MEANT)
    assert (reply.status_code, reply.json()) == (200, {"ended": True, "provider_url": ""})
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert COOKIE not in leader.api.http.cookies
    assert (await asyncio.wait_for(waiting, 1)).status_code == 401
    leader.api.http.cookies.update(cookies)
    assert await leader.status() == 401
    assert (await leader.api.http.delete(SESSION_URL, headers=MEANT)).json() == {"ended": False, "provider_url": ""}
    assert [event.outcome for event in leader.notes.of("logout")] == ["ok"]


async def test_revoking_the_token_ends_its_sessions_within_a_second(leader: Leader) -> None:
    token = leader.token()
    await leader.sign_in(token=token.text)
    waiting = asyncio.create_task(leader.api.http.get(f"{LOG}/bytes", params={"offset": 6, "wait": 60}))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(leader.api.access_store.revoke_token, token.id)
    assert (await asyncio.wait_for(waiting, 1)).status_code == 401
    assert await leader.status() == 401


async def test_a_session_ends_when_it_is_old_or_idle_or_its_token_expires(leader: Leader) -> None:
    token = leader.token()
    await leader.sign_in(token=token.text)
    for _ in range(3):
        leader.clock.pass_seconds(IDLE_SECONDS - 1)
        assert await leader.status() == 200
    leader.clock.pass_seconds(IDLE_SECONDS + 1)
    assert await leader.status() == 401
    # Nor is it taken for used because it was asked for, nor after the leader has forgotten whom it knew.
    leader.api.gate.recogniser.forget()  # type: ignore[union-attr]
    assert await leader.status() == 401

    await leader.sign_in(token=token.text)
    for _ in range(int(signing_in.DEFAULT_SESSION_SECONDS / 500)):
        leader.clock.pass_seconds(500)
        assert await leader.status() == 200
    leader.clock.pass_seconds(500)
    assert await leader.status() == 401

    reply = await leader.sign_in(token=leader.token("reader", lifetime_seconds=60).text)
    assert "Max-Age=60;" in reply.headers["set-cookie"]
    leader.clock.pass_seconds(59)
    assert await leader.status() == 200
    leader.clock.pass_seconds(1)
    assert await leader.status() == 401


async def test_when_a_session_was_used_survives_a_restart(leader: Leader) -> None:
    await leader.sign_in(token=leader.token().text)
    leader.clock.pass_seconds(IDLE_SECONDS - 1)
    assert await leader.status() == 200
    leader.api.access_store.write_used()
    leader.api.access_store.sessions._used.clear()
    leader.api.gate.recogniser.forget()  # type: ignore[union-attr]
    leader.clock.pass_seconds(IDLE_SECONDS - 1)
    assert await leader.status() == 200


async def test_a_code_signs_in_once_and_soon(leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    token = leader.token("operator")
    code = await leader.code(token)
    reply = await leader.sign_in(code=code)
    assert (reply.status_code, reply.json()["name"]) == (201, "operator")
    again = await leader.sign_in(code=code)
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)
    assert "joblog ui" in again.json()["error"]["message"]
    sign_in = leader.api.http_server._context.sign_in
    late = await leader.code(token)
    now = sign_in._clock()
    monkeypatch.setattr(sign_in, "_clock", lambda: now + signing_in.CODE_SECONDS + 1)
    assert (await leader.sign_in(code=late)).status_code == 401
    monkeypatch.undo()
    revoked = await leader.code(token)
    leader.api.access_store.revoke_token(token.id)
    reply = await leader.sign_in(code=revoked)
    assert (reply.status_code, "revoked" in reply.json()["error"]["message"]) == (401, True)
    assert await leader.status() == 401
    outcomes = [(event.outcome, event.detail["by"]) for event in leader.notes.of("login")]
    assert outcomes == [("ok", "code"), ("refused", "code"), ("refused", "code"), ("refused", "code")]


async def test_what_is_asked_for_a_session_is_checked(leader: Leader) -> None:
    token = leader.token().text
    for body in ({}, {"token": token, "code": "x"}, {"token": "x" * 3000}, {"token": 1}):
        reply = await leader.api.http.post(SESSION_URL, json=body, headers=MEANT)
        assert (reply.status_code, "set-cookie" in reply.headers) == (400, False), body
        assert token not in reply.text
    for bad in ("nothing", Token("a" * 12, bytes(32)).text, leader.token("reader", lifetime_seconds=-1).text):
        reply = await leader.sign_in(token=bad)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert bad not in reply.text
    assert {event.outcome for event in leader.notes.of("login")} == {"refused"}


async def test_another_page_can_neither_sign_in_nor_change_anything_with_a_cookie(leader: Leader) -> None:
    token = leader.token("admin").text
    http = leader.api.http
    assert (await http.post(SESSION_URL, json={"token": token})).status_code == 403
    form = {"Content-Type": "text/plain", **MEANT}
    assert (await http.post(SESSION_URL, content=f'{{"token": "{token}"}}', headers=form)).status_code == 400
    await leader.sign_in(token=token)
    assert (await http.delete(LOG)).status_code == 403
    assert (await http.delete(LOG, headers={"Joblog-Request": "0"})).status_code == 403
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        assert (await http.delete(LOG, headers={**headers, **MEANT})).status_code == 403
    assert (await http.delete(SESSION_URL)).status_code == 403
    preflight = await http.options(LOG, headers={"Origin": "http://evil.example"})
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    # A page of another origin that shows or loads something of ours gets it as if nobody were signed in.
    for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")):
        fetched = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        assert (await http.get(LOG, headers=fetched)).status_code == 401
    link = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await http.get(LOG, headers=link)).status_code == 200
    own = {"Origin": str(http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin", **MEANT}
    assert (await http.delete(LOG, headers=own)).status_code == 200
    # Who shows a token is no browser.
    http.cookies.clear()
    assert (await http.delete(LOG, headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_a_token_counts_before_a_cookie(leader: Leader) -> None:
    await leader.sign_in(token=leader.token("admin").text)
    shown = {"Authorization": f"Bearer {leader.token('reader').text}"}
    assert (await leader.api.http.get("/api/v1/whoami", headers=shown)).json()["kind"] == "token"
    shown = {"Authorization": "Bearer nonsense"}
    assert (await leader.api.http.get("/api/v1/whoami", headers=shown)).status_code == 401


async def test_who_guesses_has_to_wait_and_others_do_not(leader: Leader) -> None:
    http = leader.api.http
    known, unknown = leader.token(), leader.token()
    shown = {"Authorization": f"Bearer {known.text}"}
    assert (await http.get("/api/v1/whoami", headers=shown)).status_code == 200
    await leader.sign_in(token=known.text)
    guesses = [Token("b" * 12, bytes([number]) * 32).text for number in range(8)]
    replies = [
        await leader.sign_in(token=guesses[0]),
        await leader.sign_in(code="guess"),
        await http.get("/api/v1/whoami", headers={"Authorization": f"Bearer {guesses[1]}"}),
        await http.get("/api/v1/whoami", headers={"Authorization": f"Bearer {guesses[2]}"}),
        await http.get("/healthz", headers={"Cookie": f"{COOKIE}=guess"}),
    ]
    assert [reply.status_code for reply in replies] == [401, 401, 401, 401, 200]
    for reply in (
        await leader.sign_in(token=guesses[3]),
        await leader.sign_in(code="another guess"),
        await http.get("/api/v1/whoami", headers={"Authorization": f"Bearer {guesses[4]}"}),
    ):
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "RESOURCE_EXHAUSTED")
        assert 1 <= int(reply.headers["retry-after"]) <= 12
        assert "try again in" in reply.json()["error"]["message"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await leader.code(Token("b" * 12, bytes([9]) * 32))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    # A token that is good is let in, also for the first time and from the same address.
    shown_first = {"Authorization": f"Bearer {unknown.text}"}
    assert (await http.get("/api/v1/whoami", headers=shown_first)).status_code == 200
    assert (await leader.sign_in(code=await leader.code(leader.token()))).status_code == 201
    # Whoever was recognised before is served, the cookie of a browser too, also when all are looked up anew.
    leader.api.gate.recogniser.forget()  # type: ignore[union-attr]
    assert (await http.get("/api/v1/whoami", headers=shown)).status_code == 200
    assert await leader.status() == 200
    assert (await http.get("/healthz")).status_code == 200


async def test_a_leader_without_access_control_needs_no_session(tmp_path: Path) -> None:
    async with api_in(tmp_path) as api:
        assert (await api.http.get(SESSION_URL)).json() == {"needed": False, "token": False, "oidc": None}
        reply = await api.http.post(SESSION_URL, json={"token": "x"}, headers=MEANT)
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "FAILED_PRECONDITION")
        assert (await api.access.CreateSignInCode(access_pb2.CreateSignInCodeRequest())).code == ""
