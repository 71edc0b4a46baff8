"""How errors become HTTP replies, decided once."""

from __future__ import annotations

import math

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from joblog.errors import JoblogError, NotAuthenticated, TooMany
from joblog.leader.api.errors import message_of


class Problem(BaseModel):
    """Why a request was not answered."""

    code: str = Field(description="A gRPC status name, as NOT_FOUND")
    message: str


class ErrorReply(BaseModel):
    """The body of every reply with a status of 400 and up."""

    error: Problem


def problem_reply(status: int, code: str, message: str) -> JSONResponse:
    """A reply that says what was wrong. code: a gRPC status name."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def error_reply(error: JoblogError) -> JSONResponse:
    """The reply for an error."""
    reply = problem_reply(error.http_status, error.grpc_status, message_of(error))
    if isinstance(error, NotAuthenticated):
        reply.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooMany):
        reply.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    return reply
