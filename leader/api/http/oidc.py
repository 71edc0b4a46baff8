"""Routes of signing in at an OIDC provider; a browser follows them, and is told of errors by the sign-in page."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from joblog.errors import Conflict, Denied, InvalidInput, JoblogError, NotAuthenticated, NotFound, TooMany
from joblog.leader.api.http import cookies
from joblog.leader.api.http.context import Context, CookieJar, Where
from joblog.leader.api.http.gate import peer_of
from joblog.leader.api.oidc_sign_in import WAY_SECONDS, OidcSignIn, ProviderRefused, TooLate

router = APIRouter(prefix="/api/v1/oidc", tags=["access"], include_in_schema=False)

START = "api/v1/oidc/start"
_CALLBACK = "api/v1/oidc/callback"
_MAX_TO = 2000
# A path of ours, and nothing that a browser may take for the name of a host.
_TO = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def check_to(to: str) -> str:
    """Returns `to` when it is a path within the UI. Raises InvalidInput."""
    if len(to) > _MAX_TO or not _TO.fullmatch(to):
        raise InvalidInput("to must be a path of the UI, as /runs")
    return to


@router.get("/start")
async def start_oidc(
    context: Context, jar: CookieJar, where: Where, request: Request, to: str = "/"
) -> RedirectResponse:
    """Sends the browser to the provider. to: where in the UI it wants to go."""
    oidc = _needed(context.oidc)
    check_to(to)
    try:
        begun = await oidc.begin(to, where.origin(request.scope) + where.base_path + _CALLBACK)
    except JoblogError as error:
        context.sign_in.refused("oidc", error, peer_of(request.scope))
        return _to_sign_in_page(where.base_path, error, to)
    reply = RedirectResponse(begun.url, 303)
    # Lax: the provider sends the browser back from another site.
    jar.put(reply, cookies.OIDC, request.scope, begun.cookie, max_age_seconds=WAY_SECONDS, same_site="lax")
    return reply


@router.get("/callback")
async def finish_oidc(context: Context, jar: CookieJar, where: Where, request: Request) -> RedirectResponse:
    """The provider sends the browser back here."""
    oidc = _needed(context.oidc)
    cookie = jar.get(cookies.OIDC, request.scope) or ""
    to = oidc.to(cookie)
    try:
        signed_in = await oidc.finish(request.query_params, cookie, peer_of(request.scope))
    except JoblogError as error:
        reply = _to_sign_in_page(where.base_path, error, to)
    else:
        reply = RedirectResponse(where.base_path + to[1:], 303)
        jar.put(reply, cookies.SESSION, request.scope, signed_in.cookie, max_age_seconds=signed_in.max_age_seconds)
    jar.put(reply, cookies.OIDC, request.scope, "", max_age_seconds=0, same_site="lax")
    return reply


def _needed(oidc: OidcSignIn | None) -> OidcSignIn:
    if oidc is None:
        raise NotFound("this leader knows no OIDC provider: see oidc.issuer in its settings")
    return oidc


def _to_sign_in_page(base_path: str, error: JoblogError, to: str) -> RedirectResponse:
    """The page says what is wrong by a word: texts from elsewhere are none of its business, nor of an address's."""
    if isinstance(error, TooLate):
        problem = "expired"
    elif isinstance(error, TooMany):
        problem = "wait"
    elif isinstance(error, NotAuthenticated):
        problem = "failed"
    elif isinstance(error, ProviderRefused):
        problem = "refused"
    elif isinstance(error, Denied | Conflict):
        problem = "denied"
    else:
        problem = "unavailable"
    return RedirectResponse(f"{base_path}login?{urlencode({'problem': problem, 'to': to})}", 303)
