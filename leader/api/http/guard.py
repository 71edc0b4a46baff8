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
from joblog.leader.access.host_names import is_address
from joblog.leader.metrics import ApiMetrics

log = logging.getLogger(__name__)

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = SAFE_METHODS | {"DELETE", "POST", "PUT", "PATCH"}
# Of what is not the UI's: were it shown as a page, it could do nothing.
_CONTENT_SECURITY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), bluetooth=(), "
        "display-capture=(), browsing-topics=()"
    ),
    "Content-Security-Policy": _CONTENT_SECURITY,
    "Cache-Control": "no-store",
}
_STRICT_TRANSPORT = "max-age=31536000"
_STANDARD_PORTS = {"http": 80, "https": 443}
_ANOTHER_ORIGIN = (
    "a page of another origin may not change anything here "
    "(the leader's own behind a proxy: let that pass the Host header on with its port, or set http.url)"
)


def host_name(host: str) -> str:
    """The name in a Host header, without its port, in lower case; empty when it is not one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _knows(names: Collection[str], host: str) -> bool:
    return host in names or f"*.{host.partition('.')[2]}" in names


def _is_browsers_for_good(scope: Scope, host: str) -> bool:
    """Whether browsers are told to use TLS alone at a name: not for loopback, where other programs have servers too."""
    return scope["scheme"] == "https" and host not in LOOPBACK_HOSTS and not is_address(host)


class Guard:
    """ASGI middleware. hosts: names that a Host header may have, each may begin with `*.`; None: any.

    base_path: taken off the paths of requests where a proxy left it there; a slash at both ends. url: where browsers
    find the leader, whatever Host a proxy passes on; empty: by that Host.

    A server on the loopback address must be given names: a page from elsewhere could otherwise make its own name point
    to this machine and read the logs. Requests that change something are refused when a page of another origin sends
    them.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] | None, metrics: ApiMetrics, base_path: str = "/", url: str = ""
    ) -> None:
        self._app = app
        self._origin = _origin_of(url)
        self._base = base_path.rstrip("/")
        self._hosts = None if hosts is None else frozenset(name.lower() for name in hosts)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        asked = Headers(scope=scope)
        host = host_name(asked.get("host", ""))
        if self._base:
            _take_off(scope, self._base)
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if _is_browsers_for_good(scope, host):
                    headers["Strict-Transport-Security"] = _STRICT_TRANSPORT
                self._metrics.requests.labels(method, str(message["status"])).inc()
                self._metrics.seconds.labels(method).observe(time.monotonic() - began)
            await send(message)

        refusal = self._refuse(scope, asked, host)
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

    def _refuse(self, scope: Scope, headers: Headers, host: str) -> tuple[int, str, str] | None:
        asked = headers.get("host", "")
        if self._hosts is not None and not _knows(self._hosts, host):
            names = ", ".join(sorted(self._hosts))
            return 421, "PERMISSION_DENIED", f"Host {asked[:100]!r} is not a name of this leader: {names}"
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin, scope["scheme"], asked):
            return 403, "PERMISSION_DENIED", _ANOTHER_ORIGIN
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "PERMISSION_DENIED", "a page of another site may not change anything here"
        return None

    def _is_ours(self, origin: str, scheme: str, host: str) -> bool:
        if self._origin is not None and _origin_of(origin) == self._origin:
            return True
        return _is_same_origin(origin, scheme, host)


def _origin_of(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where it is no address of a web page."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    standard = _STANDARD_PORTS.get(parts.scheme)
    return (parts.scheme, host, port or standard) if host and standard else None


def _is_same_origin(origin: str, scheme: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A proxy that is not known as one may have ended TLS; a page that came without it is never ours where we have it.
    return parts.netloc.lower() == host.lower() and not (scheme == "https" and parts.scheme != "https")


def _take_off(scope: Scope, base: str) -> None:
    path: str = scope["path"]
    if path == base or path.startswith(f"{base}/"):
        scope["path"] = path[len(base) :] or "/"


async def _reply(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
