"""How errors become answers, decided once. What is not a JoblogError stays in the leader's log."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from joblog.errors import JoblogError

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Service = TypeVar("Service")
Request = TypeVar("Request")
Response = TypeVar("Response")

INTERNAL_MESSAGE = "the leader failed to answer; its log says why"
_MAX_MESSAGE = 1000


def message_of(error: JoblogError) -> str:
    """The error's message, as a client sees it."""
    text = str(error)
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 3] + "..."


async def _fail(context: Context, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, JoblogError):
        await context.abort(grpc.StatusCode[error.grpc_status], message_of(error))
    log.error("a gRPC call failed", exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)


def answers(
    method: Callable[[Service, Request, Context], Awaitable[Response]],
) -> Callable[[Service, Request, Context], Coroutine[Any, Any, Response]]:
    """Makes a unary method end its call with the status of what goes wrong in it."""

    @functools.wraps(method)
    async def answer(self: Service, request: Request, context: Context) -> Response:
        try:
            return await method(self, request, context)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a status
            await _fail(context, error)

    return answer


@contextlib.asynccontextmanager
async def answering(context: Context) -> AsyncIterator[None]:
    """The same for the inside of a streaming method."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a status
        await _fail(context, error)
