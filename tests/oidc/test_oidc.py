"""Signing in at a real OpenID Connect provider, over TLS, and answers of it that must not be taken."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from joblog.leader.access.attempts import AttemptLimits, Attempts
from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.authority import Authority
from joblog.leader.access.oidc_grants import parse_group_grant
from joblog.leader.access.oidc_options import OidcOptions
from joblog.leader.access.oidc_provider import OidcProvider
from joblog.leader.access.recognition import Recogniser, SessionRules
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate
from joblog.leader.api.oidc_sign_in import OidcSignIn
from joblog.leader.api.signing_in import SignIn
from tests.e2e.api_server import Api, Web, api_in
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, Browser, Provider, running

START = "/api/v1/oidc/start"
CALLBACK = "/api/v1/oidc/callback"
GRANTS = ("platform=admin:*", "team-a=reader:team-a-*", "team-a=viewer:shared", "cn=ops,ou=groups=operator:*")


@dataclass
class Notes:
    """An auditor that keeps what it is told."""

    events: list[AuditEvent] = field(default_factory=list)

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)


@dataclass
class Clock:
    """Seconds by which the leader's clock is off."""

    off: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.off


@dataclass
class Stage:
    """A leader, its provider, and a browser."""

    api: Api
    provider: Provider
    browser: Browser
    notes: Notes
    clock: Clock

    @property
    def oidc(self) -> OidcSignIn:
        found = self.api.http_server._context.oidc
        assert found is not None
        return found

    async def sign_in(self, login: str, to: str = "/runs") -> httpx.Response:
        """What the leader answers in the end."""
        return await self.browser.sign_in(f"{START}?to={to}", login)

    async def whoami(self) -> httpx.Response:
        return await self.browser.get("/api/v1/whoami")

    async def refused(self, login: str = "alice") -> str:
        """Signs in in vain; gives why, as the audit log says it."""
        assert_problem(await self.sign_in(login), "failed")
        assert (await self.whoami()).status_code == 401
        event = self.notes.events[-2]
        assert (event.action, event.outcome, event.detail["by"]) == ("login", "refused", "oidc")
        return event.detail["reason"]


def assert_problem(reply: httpx.Response, problem: str) -> None:
    """The browser is sent to the sign-in page, without a session."""
    assert reply.status_code == 303, reply.text
    where = urlsplit(reply.headers["location"])
    assert (where.path, where.netloc) == ("/login", "")
    assert parse_qs(where.query)["problem"] == [problem]
    assert all(cookie.startswith("__Host-joblog-oidc-") for cookie in reply.headers.get_list("set-cookie"))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with running(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


def options_for(provider: Provider, **more: object) -> OidcOptions:
    """What a leader is told of it."""
    given = {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "name": "The company",
        "scopes": ("openid", "profile", "groups"),
        "grants": tuple(map(parse_group_grant, GRANTS)),
        "ca_file": provider.ca,
        "timeout_seconds": 5.0,
    }
    return OidcOptions(**{**given, **more})  # type: ignore[arg-type]


@asynccontextmanager
async def stage_in(folder: Path, provider: Provider, **more: object) -> AsyncIterator[Stage]:
    """A leader over TLS that knows the provider. more: options for it."""
    pair = Authority.open(provider.ca.parent).server_pair(["127.0.0.1"], 3600)
    shown = folder / "leader.pem"
    shown.write_bytes(pair.chain + pair.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(shown)
    notes, clock = Notes(), Clock()
    options = options_for(provider, **more)

    def gate(store: AccessStore) -> Gate:
        rules = SessionRules(3600, frozenset({options.origin}))
        return Gate(store, Recogniser(store, sessions=rules, attempts=Attempts(AttemptLimits(5, 100))), notes)

    def oidc(sign_in: SignIn, gate: Gate) -> OidcSignIn:
        return OidcSignIn(OidcProvider(options, clock), sign_in, gate, clock)

    async with api_in(folder, gate, web=Web(tls=tls, verify=provider.verify, oidc=oidc)) as api:
        stage = Stage(api, provider, Browser(api.http), notes, clock)
        provider.control(redirect_uri=api.http_server.url + CALLBACK)
        yield stage
        await stage.oidc.stop()


@pytest.fixture
async def stage(tmp_path: Path, provider: Provider) -> AsyncIterator[Stage]:
    async with stage_in(tmp_path, provider) as stage:
        yield stage


async def test_the_provider_says_who_one_is_and_groups_what_one_may(stage: Stage) -> None:
    ways = (await stage.browser.get("/api/v1/session")).json()
    assert ways == {"needed": True, "token": True, "oidc": {"name": "The company", "start": START.lstrip("/")}}
    begun = await stage.browser.get(f"{START}?to=/logs/a/b?c=d%23e")
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])
    assert asked["redirect_uri"] == [stage.api.http_server.url + CALLBACK]
    assert asked["state"] and asked["nonce"] and CLIENT_SECRET not in begun.headers["location"]
    carried = begun.headers["set-cookie"]
    assert carried.startswith("__Host-joblog-oidc-")
    for attribute in ("HttpOnly", "Max-Age=600", "Path=/", "SameSite=lax", "Secure"):
        assert attribute in carried
    assert not any(value[0] in carried for value in (asked["state"], asked["nonce"]))

    done = await stage.sign_in("bob", "/logs/a/b?c=d%23e")
    assert (done.status_code, done.headers["location"]) == (303, "/logs/a/b?c=d#e")
    dropped, kept = sorted(done.headers.get_list("set-cookie"), key=len)
    assert "Max-Age=0" in dropped
    assert kept.startswith("__Host-joblog-")
    for attribute in ("HttpOnly", "Path=/", "SameSite=strict", "Secure"):
        assert attribute in kept
    me = (await stage.whoami()).json()
    assert (me["kind"], me["name"]) == ("session", "bob")
    assert me["grants"] == [
        {"role": "reader", "namespaces": ["team-a-*"]},
        {"role": "viewer", "namespaces": ["shared"]},
    ]
    (event,) = [event for event in stage.notes.events if event.action == "login"]
    assert (event.outcome, event.detail) == ("ok", {"by": "oidc", "subject": "bob"})
    assert (await stage.browser.get("/api/v1/namespaces/team-b/runs")).status_code == 403
    assert (await stage.browser.get("/api/v1/namespaces/team-a-1/runs")).status_code == 200
    out = await stage.api.http.delete("/api/v1/session", headers={"Joblog-Request": "1"})
    assert out.json()["ended"]
    where = urlsplit(out.json()["provider_url"])
    assert (f"{where.scheme}://{where.netloc}", parse_qs(where.query)) == (
        stage.provider.issuer,
        {"client_id": [CLIENT_ID]},
    )
    assert (await stage.whoami()).status_code == 401


async def test_who_is_in_no_group_that_counts_may_not_come_in(stage: Stage) -> None:
    for login in ("mallory", "somebody"):
        stage.api.http.cookies.clear()
        assert_problem(await stage.sign_in(login), "denied")
        assert (await stage.whoami()).status_code == 401
    stage.api.http.cookies.clear()
    assert (await stage.sign_in("carol")).headers["location"] == "/runs"
    assert [grant["role"] for grant in (await stage.whoami()).json()["grants"]] == ["operator"]


async def test_who_changes_their_mind_at_the_provider_is_told_so(stage: Stage) -> None:
    form = await stage.browser.to_provider(START)
    back = await stage.browser._follow(await stage.browser.get(f"{form.url}/abort"))
    assert_problem(await stage.browser.get(back.headers["location"]), "refused")
    assert "access_denied" in stage.notes.events[-1].detail["reason"]


async def test_an_answer_counts_once_in_the_browser_that_asked_and_with_its_state(stage: Stage) -> None:
    browser = stage.browser
    back = await browser.answer(await browser.to_provider(START), "alice")
    target = back.headers["location"]
    cookies = {cookie.name: cookie.value or "" for cookie in stage.api.http.cookies.jar if "oidc" in cookie.name}
    # Somebody else's browser, as one that was given this link.
    stage.api.http.cookies.clear()
    assert_problem(await browser.get(target), "expired")
    stage.api.http.cookies.update(cookies)
    parts = urlsplit(target)
    for query in (
        {**parse_qs(parts.query), "state": ["other"]},
        {name: value for name, value in parse_qs(parts.query).items() if name != "state"},
    ):
        stage.api.http.cookies.update(cookies)
        assert_problem(await stage.api.http.get(parts.path, params=query), "expired")
    stage.api.http.cookies.update(cookies)
    assert (await browser.get(target)).headers["location"] == "/"
    # The same once more, with the cookie that the browser was told to drop.
    stage.api.http.cookies.clear()
    stage.api.http.cookies.update(cookies)
    assert_problem(await browser.get(target), "expired")


async def test_a_code_that_was_used_or_is_nonsense_is_refused_by_the_provider(stage: Stage) -> None:
    browser = stage.browser
    first = await browser.answer(await browser.to_provider(START), "alice")
    used = parse_qs(urlsplit(first.headers["location"]).query)
    assert (await browser.get(first.headers["location"])).headers["location"] == "/"
    stage.api.http.cookies.clear()
    for code in (used["code"][0], "nonsense"):
        begun = await browser.get(START)
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        answer = {"code": code, "state": state, "iss": stage.provider.issuer}
        assert_problem(await stage.api.http.get(CALLBACK, params=answer), "failed")
        reason = stage.notes.events[-1].detail["reason"]
        assert "invalid_grant" in reason
        assert code not in reason


async def test_an_answer_of_another_issuer_is_refused(stage: Stage) -> None:
    for issuer in ("https://evil.example", None):
        stage.api.http.cookies.clear()
        back = await stage.browser.answer(await stage.browser.to_provider(START), "alice")
        query = {**parse_qs(urlsplit(back.headers["location"]).query)}
        query = {name: value for name, value in query.items() if name != "iss"}
        if issuer:
            query["iss"] = [issuer]
        assert_problem(await stage.api.http.get(CALLBACK, params=query), "failed")
        assert "issuer" in stage.notes.events[-1].detail["reason"]


NOW = int(time.time())
BAD_TOKENS: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"claims": {"aud": "other"}}, "aud"),
    "several audiences, for another": ({"claims": {"aud": [CLIENT_ID, "other"], "azp": "other"}}, "azp"),
    "several audiences, for nobody": ({"claims": {"aud": [CLIENT_ID, "other"]}}, "azp"),
    "another nonce": ({"claims": {"nonce": "other"}}, "nonce"),
    "no nonce": ({"claims": {"nonce": None}}, "nonce"),
    "another issuer": ({"claims": {"iss": "https://evil.example"}}, "iss"),
    "expired": ({"claims": {"exp": NOW - 3600, "iat": NOW - 7200}}, "expired"),
    "not yet": ({"claims": {"iat": NOW + 3600}}, "iat"),
    "no subject": ({"claims": {"sub": None}}, "sub"),
    "another access token": ({"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}, "at_hash"),
    "not signed": ({"algorithm": "none"}, "not good"),
    "signed with the client's secret": ({"algorithm": "HS256"}, "not good"),
    "signed by another key": ({"key": "other"}, "bad_signature"),
    "no token": ({"token": "nonsense"}, "not good"),
}


async def test_an_id_token_that_is_not_right_is_refused(stage: Stage) -> None:
    attempts = stage.api.gate.recogniser.attempts  # type: ignore[union-attr]
    attempts._limits = AttemptLimits(0, 0)
    attempts._total = None
    for name, (how, word) in BAD_TOKENS.items():
        stage.provider.control(**how)
        stage.api.http.cookies.clear()
        reason = await stage.refused()
        assert word in reason, (name, reason)
    stage.provider.control(userinfo={"sub": "bob"})
    stage.api.http.cookies.clear()
    assert "somebody else" in await stage.refused()
    # One of an earlier sign-in, which is good but for its nonce.
    earlier = stage.provider.control()
    stage.provider.control(token=earlier)
    stage.api.http.cookies.clear()
    assert "nonce" in await stage.refused()
    stage.provider.control()
    stage.api.http.cookies.clear()
    assert (await stage.sign_in("alice")).headers["location"] == "/runs"


async def test_new_keys_of_the_provider_are_found(stage: Stage) -> None:
    assert (await stage.sign_in("alice")).headers["location"] == "/runs"
    # What a session makes for a worker outlives it, and not for ever who made it.
    for lifetime_seconds, status in ((90 * 86_400, 201), (100 * 86_400, 403), (0, 403)):
        grants = [{"role": "writer", "namespaces": ["*"]}]
        wanted = {"name": "a worker", "grants": grants, "lifetime_seconds": lifetime_seconds}
        made = await stage.api.http.post("/api/v1/tokens", json=wanted, headers={"Joblog-Request": "1"})
        assert made.status_code == status, made.text
    stage.provider.control(rotate=True)
    stage.api.http.cookies.clear()
    assert (await stage.sign_in("bob")).headers["location"] == "/runs"
    assert (await stage.whoami()).json()["name"] == "bob"


async def test_clocks_may_differ_a_little(stage: Stage) -> None:
    stage.clock.off = -50
    assert (await stage.sign_in("alice")).headers["location"] == "/runs"
    stage.clock.off = -90
    stage.api.http.cookies.clear()
    assert "iat" in await stage.refused()
    stage.clock.off = 0
    stage.provider.control(claims={"iat": NOW - 600, "exp": int(time.time()) - 30})
    stage.api.http.cookies.clear()
    assert (await stage.sign_in("alice")).headers["location"] == "/runs"


async def test_who_takes_too_long_begins_again(stage: Stage) -> None:
    back = await stage.browser.answer(await stage.browser.to_provider(START), "alice")
    stage.clock.off = 601
    assert_problem(await stage.browser.get(back.headers["location"]), "expired")


async def test_where_one_goes_afterwards_is_always_the_leader(stage: Stage) -> None:
    for to in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "/a\\b",
        "/a b",
        "/\x7f",
        "/a" * 1001,
    ):
        reply = await stage.api.http.get(START, params={"to": to})
        assert (reply.status_code, "location" in reply.headers) == (400, False), to
    assert (await stage.api.http.get(START, params={"to": "/runs"})).status_code == 303


async def test_who_guesses_codes_has_to_wait(stage: Stage) -> None:
    for _ in range(5):
        begun = await stage.browser.get(START)
        state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
        answer = {"code": "guess", "state": state, "iss": stage.provider.issuer}
        assert_problem(await stage.api.http.get(CALLBACK, params=answer), "failed")
    assert_problem(await stage.sign_in("alice"), "wait")


async def test_a_provider_that_is_not_there_is_said_and_holds_up_nobody(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections and says nothing.
        issuer = f"https://localhost:{silent.getsockname()[1]}"
        stage.oidc.provider.options = replace(stage.oidc.provider.options, issuer=issuer, timeout_seconds=2.0)
        slow = [asyncio.create_task(stage.browser.get(START)) for _ in range(8)]
        assert (await stage.browser.get("/healthz")).status_code == 200
        assert not any(task.done() for task in slow)
        for reply in await asyncio.gather(*slow):
            assert_problem(reply, "unavailable")
    assert_problem(await stage.browser.get(f"{START}?to=/runs"), "unavailable")
    assert "can't be reached" in stage.notes.events[-1].detail["reason"]


async def test_a_provider_that_nobody_vouches_for_is_not_believed(tmp_path: Path, provider: Provider) -> None:
    async with stage_in(tmp_path, provider, ca_file=None) as stage:
        assert_problem(await stage.browser.get(START), "unavailable")


async def test_a_provider_that_calls_itself_otherwise_is_not_believed(tmp_path: Path, provider: Provider) -> None:
    async with stage_in(tmp_path, provider, issuer=provider.issuer + "/") as stage:
        assert_problem(await stage.browser.get(START), "failed")
        assert provider.issuer in stage.notes.events[-1].detail["reason"]


async def test_a_wrong_client_secret_is_said_and_not_told(tmp_path: Path, provider: Provider) -> None:
    async with stage_in(tmp_path, provider, client_secret="wrong secret") as stage:
        reason = await stage.refused()
        assert "invalid_client" in reason
        assert "wrong secret" not in reason


async def test_a_session_counts_as_long_as_the_settings_that_it_came_by(stage: Stage) -> None:
    await stage.sign_in("alice")
    assert (await stage.whoami()).status_code == 200
    recogniser = stage.api.gate.recogniser
    assert recogniser is not None
    recogniser._rules = SessionRules(3600, frozenset({"oidc:other"}))
    recogniser.forget()
    assert (await stage.whoami()).status_code == 401
