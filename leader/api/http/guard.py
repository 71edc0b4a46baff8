"""Around every request: who may ask (Host, Origin), what every reply carries, and what is counted."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from joblog.errors import JoblogError
from joblog.leader.metrics import ApiMetrics

log = logging.getLogger(__name__)

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = _SAFE_METHODS | {"DELETE", "POST", "PUT", "PATCH"}
_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _CONTENT_SECURITY,
    "Cache-Control": "no-store",
}


def host_name(host: str) -> str:
    """The name in a Host header, without its port, in lower case; empty when it is not one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


class Guard:
    """ASGI middleware. hosts: names that a Host header may have; None: any.

    A server on the loopback address must be given names: a page from elsewhere could otherwise make its own name point
    to this machine and read the logs. Requests that change something are refused when a page of another origin sends
    them.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None, metrics: ApiMetrics) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(name.lower() for name in hosts)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                self._metrics.requests.labels(method, str(message["status"])).inc()
                self._metrics.seconds.labels(method).observe(time.monotonic() - began)
            await send(message)

        refusal = self._refuse(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await _reply(send_guarded, *refusal)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            # Starlette wraps what is raised once the body has begun.
            cause = error if isinstance(error, JoblogError) else error.__cause__
            if not isinstance(cause, JoblogError):
                raise
            # A body left unfinished makes the server close the connection: the client sees that it is not whole.
            log.warning("%s: broken off: %s", scope["path"], cause)

    def _refuse(self, method: str, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if self._hosts is not None and host_name(host) not in self._hosts:
            names = ", ".join(sorted(self._hosts))
            return 421, "PERMISSION_DENIED", f"Host {host[:100]!r} is not a name of this leader: {names}"
        if method in _SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "PERMISSION_DENIED", "a page of another origin may not change anything here"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "PERMISSION_DENIED", "a page of another site may not change anything here"
        return None


async def _reply(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
