"""How errors become HTTP replies, decided once."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from joblog.errors import JoblogError, NotAuthenticated
from joblog.leader.api.errors import message_of


def problem_reply(status: int, code: str, message: str) -> JSONResponse:
    """A reply that says what was wrong. code: a gRPC status name."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def error_reply(error: JoblogError) -> JSONResponse:
    """The reply for an error."""
    reply = problem_reply(error.http_status, error.grpc_status, message_of(error))
    if isinstance(error, NotAuthenticated):
        reply.headers["WWW-Authenticate"] = "Bearer"
    return reply
