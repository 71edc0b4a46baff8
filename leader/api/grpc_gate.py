"""The gate before every gRPC method."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from joblog.errors import JoblogError, TooMany
from joblog.leader.access.principal import Principal
from joblog.leader.api.errors import Context, message_of
from joblog.leader.api.gate import Gate
from joblog.leader.api.rules import GRPC, Rule, Where

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Interceptor = grpc.aio.ServerInterceptor

_AUTHORIZATION = "authorization"
# A client that reads nothing does not hear why its call ends; then it is just cut.
_SAY_SECONDS = 0.5


def value_at(message: Any, path: str) -> str:
    """The text in a field of a message, as `id.namespace`."""
    for name in path.split("."):
        message = getattr(message, name)
    assert isinstance(message, str)
    return message


def subject_of(request: Any) -> str:
    """What a request is about, as the audit log names it: NAMESPACE:RUN/TASK/ATTEMPT, as far as that is given.

    Of a backup its id.
    """
    if backup_id := getattr(request, "backup_id", ""):
        return str(backup_id)
    named = getattr(request, "id", request)
    namespace = getattr(named, "namespace", "")
    parts = [str(getattr(named, name, "") or "") for name in ("run", "task", "attempt")]
    return f"{namespace}:{'/'.join(filter(None, parts))}" if namespace else ""


class GrpcGate(Interceptor):
    """Wraps every handler: it runs only for those whom the rules let in."""

    def __init__(self, gate: Gate, rules: dict[str, Rule] | None = None) -> None:
        self._gate = gate
        self._rules = GRPC if rules is None else rules
        # Wrapped once: which method it is, is all that the wrapping depends on.
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler behind the gate."""
        method: str = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        # None: there is no such method, and gRPC says so.
        if handler is not None:
            handler = self._wrapped[method] = self._wrap(method, handler)
        return handler

    def _wrap(self, method: str, handler: Any) -> Handler:
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.request_streaming:
            assert handler.response_streaming
            inner = _writing(handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(self._guarded(method, inner, first=None), **coders)
        if handler.response_streaming:
            inner = _writing(handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(self._guarded(method, inner), **coders)
        return grpc.unary_unary_rpc_method_handler(self._guarded(method, handler.unary_unary), **coders)

    def _guarded(
        self, method: str, inner: Callable[[Any, Context], Awaitable[Any]], **stream: None
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        """The handler that asks first. stream: given where the request is none of its own, but a stream of them."""
        gate = self._gate
        rule = self._rules.get(method)

        async def answer(request: Any, context: Context) -> Any:
            try:
                principal = await self._admit(method, rule, None if stream else request, context)
                with gate.reading(principal, rule):
                    async with gate.answering(principal):
                        return await inner(request, context)
            except JoblogError as error:
                await _say(context, error)

        return answer

    async def _admit(self, method: str, rule: Rule | None, request: Any, context: Context) -> Principal:
        gate = self._gate
        peer = context.peer() or ""
        principal: Principal | None = None
        subject = ""
        try:
            principal = self._principal(context, peer)
            named = rule is not None and rule.where in (Where.NAMESPACE, Where.OWN_WORKER)
            asked = value_at(request, rule.field) if named and rule is not None else ""
            if rule is None or rule.act:
                subject = subject_of(request)
            gate.check(principal, rule, method, asked)
        except JoblogError as error:
            gate.refused(error, method, principal, peer, subject or (subject_of(request) if request else ""))
            raise
        assert rule is not None
        await gate.admitted(principal, rule, subject)
        return principal

    def _principal(self, context: Context, peer: str) -> Principal:
        """Who calls: a bearer token, or the connection's client certificate. Raises NotAuthenticated."""
        for key, value in context.invocation_metadata() or ():
            if key == _AUTHORIZATION:
                return self._gate.bearer(value if isinstance(value, str) else value.decode(errors="replace"), peer)
        certificates = context.auth_context().get("x509_pem_cert") if context.auth_context() else None
        if certificates:
            return self._gate.certificate(next(iter(certificates)), peer)
        return self._gate.nobody(peer)


def _writing(handler: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Awaitable[None]]:
    """A streaming handler as a coroutine that writes what it has to say itself, so that ending it is up to us."""
    if not inspect.isasyncgenfunction(handler):
        return handler

    async def write(request: Any, context: Context) -> None:
        messages = handler(request, context)
        try:
            async for message in messages:
                await context.write(message)
        finally:
            await messages.aclose()

    return write


async def _say(context: Context, error: JoblogError) -> None:
    """Ends the call with what is wrong; cuts it when the client does not even take that."""
    try:
        if isinstance(error, TooMany):
            context.set_trailing_metadata((("retry-after", str(max(1, math.ceil(error.retry_after_seconds)))),))
        async with asyncio.timeout(_SAY_SECONDS):
            await context.abort(grpc.StatusCode[error.grpc_status], message_of(error))
    except TimeoutError:
        raise asyncio.CancelledError from None
