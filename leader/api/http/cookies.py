"""The cookies of a leader: what they are called, and what browsers may do with them."""

from __future__ import annotations

import hashlib
from typing import Literal

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

SESSION = "joblog"
OIDC = "joblog-oidc"


class Cookies:
    """base_path: as browsers see it, with a slash at both ends.

    Browsers keep one jar for all ports of a host: names hold a part of the leader's id, so that two leaders on one
    machine do not sign each other's users out.
    """

    def __init__(self, leader_id: str, base_path: str = "/") -> None:
        self._suffix = hashlib.sha256(leader_id.encode()).hexdigest()[:8]
        self._path = base_path

    def name(self, kind: str, scope: Scope) -> str:
        """What it is called in a request's scheme; the prefixes keep other hosts and plaintext from setting it."""
        prefix = "" if scope["scheme"] != "https" else "__Host-" if self._path == "/" else "__Secure-"
        return f"{prefix}{kind}-{self._suffix}"

    def get(self, kind: str, scope: Scope) -> str | None:
        """What a request shows; None where it shows none."""
        header = Headers(scope=scope).get("cookie")
        return cookie_parser(header).get(self.name(kind, scope)) if header else None

    def put(
        self,
        response: Response,
        kind: str,
        scope: Scope,
        value: str,
        *,
        max_age_seconds: int,
        same_site: Literal["lax", "strict"] = "strict",
    ) -> None:
        """Has the browser keep it, out of reach of scripts; over TLS alone where the request came so."""
        response.set_cookie(
            self.name(kind, scope),
            value,
            max_age=max_age_seconds,
            path=self._path,
            secure=scope["scheme"] == "https",
            httponly=True,
            samesite=same_site,
        )

    def drop(self, response: Response, kind: str, scope: Scope) -> None:
        """Has the browser forget it."""
        self.put(response, kind, scope, "", max_age_seconds=0)
