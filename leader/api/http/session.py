"""Routes of browsers' sessions: how one may sign in here, signing in, signing out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from joblog.errors import InvalidInput
from joblog.leader.access.principal import CURRENT
from joblog.leader.api.http import cookies
from joblog.leader.api.http.access import WhoAmI, who_is
from joblog.leader.api.http.context import Context, CookieJar
from joblog.leader.api.http.gate import peer_of
from joblog.leader.api.http.oidc import START

router = APIRouter(prefix="/api/v1", tags=["access"])

_MAX_SECRET = 2000
_GIVEN: dict[str, JsonValue] = {"minLength": 1}


class OidcWay(BaseModel):
    """Signing in at an OIDC provider."""

    name: str = Field(description="For people, as `Company login`")
    start: str = Field(description="Relative to the UI's base; takes the parameter `to`, a path of the UI")


class SignInWays(BaseModel):
    """How one may sign in here."""

    needed: bool = Field(description="false: access control is off, and everybody may do everything")
    token: bool = Field(description="Whether POST takes a token or a code")
    oidc: OidcWay | None


class SignInWanted(BaseModel):
    """What one signs in with: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["token"]}, {"required": ["code"]}]})

    token: Annotated[str, Field(max_length=_MAX_SECRET, json_schema_extra=_GIVEN)] = ""
    code: Annotated[
        str, Field(max_length=_MAX_SECRET, json_schema_extra=_GIVEN, description="Of a link that `joblog ui` printed")
    ] = ""


class SignedOut(BaseModel):
    """A session that has ended, if there was one."""

    ended: bool
    provider_url: str = Field(description="Where the browser signs out at the OIDC provider too; empty: nowhere")


@router.get("/session")
async def get_session(context: Context) -> SignInWays:
    """How one may sign in here; for everybody."""
    is_needed = context.sign_in.is_needed
    way = OidcWay(name=context.oidc.provider.options.name, start=START) if context.oidc else None
    return SignInWays(needed=is_needed, token=is_needed, oidc=way)


@router.post("/session", status_code=201)
async def create_session(
    context: Context, jar: CookieJar, request: Request, response: Response, wanted: SignInWanted
) -> WhoAmI:
    """Signs a browser in: the reply sets its cookie. Takes the header `Joblog-Request: 1`."""
    if bool(wanted.token) == bool(wanted.code):
        raise InvalidInput("give either token or code")
    peer = peer_of(request.scope)
    sign_in = context.sign_in
    signed_in = await (sign_in.by_token(wanted.token, peer) if wanted.token else sign_in.by_code(wanted.code, peer))
    jar.put(response, cookies.SESSION, request.scope, signed_in.cookie, max_age_seconds=signed_in.max_age_seconds)
    return who_is(signed_in.principal)


@router.delete("/session")
async def delete_session(context: Context, jar: CookieJar, request: Request, response: Response) -> SignedOut:
    """Signs out, and has the browser forget its cookie. Can be repeated. Takes the header `Joblog-Request: 1`."""
    principal = CURRENT.get(None)
    is_session = principal is not None and principal.kind == "session"
    if principal is not None and is_session:
        await context.sign_in.end(principal)
    jar.drop(response, cookies.SESSION, request.scope)
    is_theirs = principal is not None and is_session and not principal.token_id
    url = context.oidc.provider.sign_out_url if context.oidc and is_theirs else ""
    return SignedOut(ended=is_session, provider_url=url)
