"""The HTTP application: routes, errors, the OpenAPI document."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from joblog import __version__
from joblog.errors import InvalidInput, JoblogError
from joblog.leader.api import rules
from joblog.leader.api.errors import INTERNAL_MESSAGE
from joblog.leader.api.http import (
    access,
    audit,
    backups,
    catalog,
    data,
    jobs,
    keys,
    oidc,
    raw,
    retention,
    search,
    session,
    storage,
    workers,
)
from joblog.leader.api.http.context import ApiContext
from joblog.leader.api.http.cookies import Cookies
from joblog.leader.api.http.gate import HttpGate, admit
from joblog.leader.api.http.guard import Guard
from joblog.leader.api.http.methods import methods_of
from joblog.leader.api.http.place import Place
from joblog.leader.api.http.replies import ErrorReply, error_reply, problem_reply
from joblog.leader.api.http.ui import add_ui
from joblog.leader.metrics import CONTENT_TYPE

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": text}
    for status, text in {
        400: "A value is not allowed",
        401: "Nobody was recognised: send a token, Authorization: Bearer TOKEN",
        403: "The token is not allowed to do this",
        404: "No such thing",
        409: "The state of things, or how the leader is set up, does not allow it",
        414: "The address is too long",
        429: "Too much, or too often; Retry-After says when to ask again",
        503: "Not now: try again",
    }.items()
}
_CODES = {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}


def make_app(context: ApiContext, *, hosts: Collection[str] | None, place: Place | None = None) -> ASGIApp:
    """The application. hosts: see Guard."""
    place = place or Place()
    cookies = Cookies(context.status.leader_id, place.base_path)
    gated = HttpGate(make_routes(context, place, cookies), context.gate, cookies)
    guarded = Guard(gated, hosts=hosts, metrics=context.metrics.api, base_path=place.base_path, url=place.url)
    if not place.trusted_proxies:
        return guarded
    return ProxyHeadersMiddleware(guarded, list(place.trusted_proxies))  # type: ignore[arg-type, return-value]


def make_routes(context: ApiContext, place: Place | None = None, cookies: Cookies | None = None) -> FastAPI:
    """All routes, which answer only behind an HttpGate."""
    place = place or Place()
    app = FastAPI(
        title="joblog",
        version=__version__,
        description="Logs of jobs: lists, records, bytes. Errors: {error: {code, message}}.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        responses=_ERRORS,
        dependencies=[Depends(admit)],
        # A route that is not there is not there: what the gate was not asked about does not answer.
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.place = place
    app.state.cookies = cookies or Cookies("")
    routed = (catalog, jobs, data, raw, search, access, session, audit, workers, storage, keys, backups, retention)
    for router in (one.router for one in routed):
        app.include_router(router, dependencies=[Depends(_known_parameters)])
    # Providers add parameters of their own.
    app.include_router(oidc.router)
    _add_probes(app, context)
    _add_document(app)
    add_ui(app, base_path=place.base_path)
    app.add_exception_handler(JoblogError, _joblog_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _query_names(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*map(_query_names, dependant.dependencies))


async def _known_parameters(request: Request) -> None:
    """Refuses a parameter that the route does not have: a misspelt filter would let everything through."""
    route: APIRoute = request.scope["route"]
    known = _query_names(route.dependant)
    for name in request.query_params:
        if name not in known:
            takes = ", ".join(sorted(known)) or "none"
            raise InvalidInput(f"parameter {name[:60]!r} is not known here; this address takes: {takes}")


def _add_probes(app: FastAPI, context: ApiContext) -> None:
    @app.get("/healthz", tags=["leader"])
    async def healthz() -> dict[str, str]:
        """200 as long as the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["leader"], responses={503: {"description": "It can't take anything now; says why"}})
    async def readyz() -> JSONResponse:
        """200 when the leader takes and gives logs; else 503 with the reason."""
        reason = "the leader is stopping" if context.closing.is_set() else context.status.not_ready()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)

    @app.get("/metrics", tags=["leader"], response_class=Response)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(context.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})


def _add_document(app: FastAPI) -> None:
    @app.get("/api/v1/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        document = app.openapi()
        document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for operation in (one for path in document["paths"].values() for one in path.values()):
            if rules.HTTP[operation["operationId"]].where is rules.Where.PUBLIC:
                operation["security"] = []
        return JSONResponse(document)


async def _joblog_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, JoblogError)
    return error_reply(error)


async def _invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(str(part) for part in entry['loc'][1:])}: {entry['msg']}, got {str(entry.get('input'))[:60]!r}"
        for entry in error.errors()[:5]
    ]
    return problem_reply(400, "INVALID_ARGUMENT", "; ".join(problems))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, JoblogError):
        return error_reply(error.__cause__)
    status, detail, headers = error.status_code, str(error.detail), dict(error.headers or {})
    # A path that only other methods have falls to the UI's pages, and of several routes the router names one.
    methods = methods_of(request.app, request.url.path) if status in (404, 405) else []
    if methods and request.method not in methods:
        status, detail, headers = 405, "Method Not Allowed", {"Allow": ", ".join(methods)}
    reply = problem_reply(status, _CODES.get(status, "UNKNOWN"), detail)
    reply.headers.update(headers)
    return reply


async def _unexpected(_: Request, __: Exception) -> Response:
    return problem_reply(500, "INTERNAL", INTERNAL_MESSAGE)
