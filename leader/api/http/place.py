"""Where browsers find this leader: names, a path, proxies before it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from joblog.errors import InvalidInput

# A proxy may or may not take the base path off: an address of ours must not begin like one.
_OURS = frozenset({"api", "assets", "healthz", "readyz", "metrics", "favicon.svg"}) | frozenset(
    {"login", "runs", "logs", "search", "workers", "storage", "access"}
)
_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Place:
    """base_path: the path of the UI's start page, with a slash at both ends. url: of that page; empty: as seen here.

    names: that a Host header may have besides those that follow from the address; each may begin with `*.`.
    trusted_proxies: addresses and networks whose X-Forwarded-For and X-Forwarded-Proto count.
    """

    base_path: str = "/"
    url: str = ""
    names: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()

    def origin(self, scope: Scope) -> str:
        """Scheme, host and port as the browser that sent a request sees them."""
        return self.url or f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}"


def check_base_path(text: str) -> str:
    """Returns `text` when it is a path that a leader can be served under. Raises InvalidInput."""
    if text == "/":
        return text
    segments = text[1:-1].split("/")
    if not (text.startswith("/") and text.endswith("/") and len(text) <= _MAX_LENGTH):
        raise InvalidInput(f"{text[:100]!r} does not begin and end with a slash, as /joblog/ does")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidInput(f"{text[:100]!r} may only have letters, digits and -._~ between its slashes")
    if segments[0] in _OURS:
        raise InvalidInput(f"{text[:100]!r} begins like an address of the leader itself: take another word")
    return text


def check_url(text: str) -> str:
    """Returns `text` when it is empty or http(s)://HOST[:PORT]. Raises InvalidInput."""
    if not text:
        return text
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    rest = (parts.path.strip("/"), parts.query, parts.fragment)
    if parts.scheme not in ("http", "https") or not host or port == 0 or any(rest) or "@" in parts.netloc:
        raise InvalidInput(f"{text[:100]!r} is not https://HOST or https://HOST:PORT (a path goes into http.base_path)")
    return text


def check_proxy(text: str) -> str:
    """Returns `text` when it is an IP address or network. Raises InvalidInput."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise InvalidInput(f"{text[:60]!r} is neither an IP address nor a network as 10.0.0.0/8") from None
    return text
