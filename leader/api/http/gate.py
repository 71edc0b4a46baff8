"""The gate before every HTTP route."""

from __future__ import annotations

import contextlib

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from joblog.errors import Denied, JoblogError, NotAuthenticated
from joblog.leader.access.principal import Principal
from joblog.leader.api.errors import message_of
from joblog.leader.api.gate import Gate
from joblog.leader.api.http.cookies import SESSION, Cookies
from joblog.leader.api.http.guard import SAFE_METHODS
from joblog.leader.api.http.replies import error_reply
from joblog.leader.api.rules import HTTP, Rule

_STATE = "joblog.asking"
_GATE = "joblog.gate"
_FIRST_REFUSAL = 400
_SIGN_IN = "create_session"

MEANT_HEADER = "Joblog-Request"


class _Asking:
    """One request on its way through the gate. refusal: why nobody was recognised."""

    __slots__ = ("admitted", "answered", "held", "principal", "refusal", "shut_out")

    def __init__(self, principal: Principal | None, refusal: JoblogError | None) -> None:
        self.principal = principal
        self.refusal = refusal
        self.admitted = False
        self.answered = False
        # Until it is answered.
        self.held = contextlib.ExitStack()
        self.shut_out = False


class HttpGate:
    """ASGI middleware around the application, which has `admit` as a dependency of all its routes.

    The middleware says who asks; once the route is known, and before anything of the body is read, whether they may. A
    reply of a route that was not asked about does not get out.
    """

    def __init__(self, app: ASGIApp, gate: Gate, cookies: Cookies, rules: dict[str, Rule] | None = None) -> None:
        self._app = app
        self._gate = gate
        self._cookies = cookies
        self._rules = HTTP if rules is None else rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise Denied(f"{scope['type']} is not spoken here")
        asking = scope[_STATE] = self._ask(scope)
        scope[_GATE] = self

        async def receive_admitted() -> Message:
            # FastAPI reads a body before it asks a dependency, and takes any other error for one in the body.
            try:
                await self._admit(scope, asking)
            except JoblogError as error:
                raise HTTPException(error.http_status, message_of(error)) from error
            return await receive()

        async def send_admitted(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < _FIRST_REFUSAL:
                    try:
                        await self._admit(scope, asking)
                    except JoblogError as error:
                        # A route of another kind, which has no dependencies. What it says goes nowhere.
                        asking.shut_out = True
                        await error_reply(error)(scope, receive, send)
                asking.answered = True
            if not asking.shut_out:
                await send(message)

        if asking.principal is None:
            await self._app(scope, receive_admitted, send_admitted)
            return
        try:
            async with self._gate.answering(asking.principal):
                with asking.held:
                    await self._app(scope, receive_admitted, send_admitted)
        except NotAuthenticated as error:
            # It was revoked meanwhile. A reply that has begun is broken off by whoever is around us.
            if asking.answered:
                raise
            await error_reply(error)(scope, receive, send)

    async def admit(self, scope: Scope) -> None:
        """Lets the request go on, or raises NotAuthenticated or Denied."""
        await self._admit(scope, scope[_STATE])

    def authenticate(self, scope: Scope) -> Principal:
        """Who asks: a bearer token counts, else a session's cookie. Raises NotAuthenticated, TooMany."""
        peer = peer_of(scope)
        headers = Headers(scope=scope)
        header = headers.get("authorization")
        if header is not None:
            return self._gate.bearer(header, peer)
        cookie = self._cookies.get(SESSION, scope)
        if not cookie or _is_embedded(headers):
            return self._gate.nobody(peer)
        return self._gate.session(cookie, peer)

    def _ask(self, scope: Scope) -> _Asking:
        try:
            return _Asking(self.authenticate(scope), None)
        except JoblogError as error:
            return _Asking(None, error)

    async def _admit(self, scope: Scope, asking: _Asking) -> None:
        """Lets the request go on, or raises; asked once per request."""
        if asking.admitted:
            return
        gate = self._gate
        name = getattr(scope.get("route"), "name", "")
        rule = self._rules.get(name)
        if scope["method"] not in SAFE_METHODS and (name == _SIGN_IN or _is_session(asking.principal)):
            _check_meant(scope)
        if rule is None or not gate.is_public(rule):
            subject = _subject(scope)
            try:
                if asking.principal is None:
                    raise asking.refusal or Denied("nobody was recognised")
                gate.check(asking.principal, rule, name or scope["path"], str(_parameter(scope, "namespace")))
            except JoblogError as error:
                gate.refused(error, name or scope["path"][:200], asking.principal, peer_of(scope), subject)
                raise
            assert rule is not None
            asking.held.enter_context(gate.reading(asking.principal, rule))
            # Before the audit log is asked: what it refuses must not be asked again.
            asking.admitted = True
            await gate.admitted(asking.principal, rule, subject)
        asking.admitted = True


async def admit(request: Request) -> None:
    """The dependency of all routes. Raises NotAuthenticated, Denied."""
    gate = request.scope[_GATE]
    assert isinstance(gate, HttpGate)
    await gate.admit(request.scope)


def peer_of(scope: Scope) -> str:
    """The address that a request comes from, HOST:PORT."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


def _is_session(principal: Principal | None) -> bool:
    return principal is not None and principal.kind == "session"


def _check_meant(scope: Scope) -> None:
    """Raises Denied where a page of somebody else's may have made the browser send this.

    Browsers let no page add a header of that name to a request to another origin, unless that allows it beforehand.
    """
    if Headers(scope=scope).get(MEANT_HEADER) != "1":
        raise Denied(f"a browser must send the header {MEANT_HEADER}: 1 with what changes something")


def _is_embedded(headers: Headers) -> bool:
    """Whether a page of another origin asks in a browser's name, other than by a link: its session is none of its."""
    if headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none"):
        return False
    return headers.get("sec-fetch-mode") != "navigate" or headers.get("sec-fetch-dest") != "document"


def _parameter(scope: Scope, name: str) -> str:
    value = scope.get("path_params", {}).get(name, "")
    assert isinstance(value, str)
    return value


def _subject(scope: Scope) -> str:
    """What the request is about, as the audit log names it: NAMESPACE:RUN/TASK/ATTEMPT, as far as the path says.

    Of a backup its id.
    """
    if backup_id := _parameter(scope, "backup_id"):
        return backup_id
    namespace = _parameter(scope, "namespace")
    parts = [_parameter(scope, name) for name in ("run", "task", "attempt")]
    return f"{namespace}:{'/'.join(filter(None, parts))}" if namespace else ""
