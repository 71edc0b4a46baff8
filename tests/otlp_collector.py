"""A collector of tests: OTLP's LogsService on a real gRPC server, which answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

Request = logs_service_pb2.ExportLogsServiceRequest


@dataclass(frozen=True)
class Refused:
    """An answer that is none of success. retry_seconds: with RetryInfo."""

    code: grpc.StatusCode
    retry_seconds: float | None = None
    message: str = "not now"


@dataclass(frozen=True)
class Partial:
    """Partial success."""

    rejected: int
    message: str = "too old"


@dataclass(frozen=True)
class Taken:
    """A record that was taken. attributes: of resource and record."""

    attributes: dict[str, Any]
    body: str
    time_ns: int
    event: str

    @property
    def key(self) -> tuple[str, int]:
        """By this a record that comes twice is known."""
        return self.attributes["joblog.uid"], self.attributes["joblog.offset"]

    @property
    def text(self) -> str:
        """As it was in the log."""
        return self.body + "\n" * (not self.attributes.get("joblog.partial"))


@dataclass
class Collector(logs_service_pb2_grpc.LogsServiceServicer):
    """answers: to the next requests, in order; then all is taken. before: waited for before each answer."""

    answers: list[Refused | Partial] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: int = 0
    token: str = ""
    before: Callable[[], Any] | None = None
    address: str = ""
    server: Any = None

    async def Export(self, request: Request, context: Any) -> logs_service_pb2.ExportLogsServiceResponse:  # noqa: N802
        self.asked += 1
        self.headers.append({str(key): str(value) for key, value in context.invocation_metadata()})
        if self.before is not None:
            await self.before()
        if self.token and self.headers[-1].get("authorization") != f"Bearer {self.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Refused):
            await self._refuse(answer, context)
        self.requests.append(request)
        reply = logs_service_pb2.ExportLogsServiceResponse()
        if isinstance(answer, Partial):
            reply.partial_success.rejected_log_records = answer.rejected
            reply.partial_success.error_message = answer.message
        return reply

    async def _refuse(self, answer: Refused, context: Any) -> None:
        metadata = ()
        if answer.retry_seconds is not None:
            status = status_pb2.Status(code=answer.code.value[0], message=answer.message)
            seconds = int(answer.retry_seconds)
            delay = Duration(seconds=seconds, nanos=int((answer.retry_seconds - seconds) * 1e9))
            status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            metadata = (("grpc-status-details-bin", status.SerializeToString()),)  # type: ignore[assignment]
        await context.abort(answer.code, answer.message, metadata)

    @property
    def taken(self) -> list[Taken]:
        """All records, in order."""
        found = []
        for request in self.requests:
            for resource in request.resource_logs:
                about = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
                for scope in resource.scope_logs:
                    for record in scope.log_records:
                        more = {pair.key: _value(pair.value) for pair in record.attributes}
                        body = record.body.string_value
                        found.append(Taken(about | more, body, record.time_unix_nano, record.event_name))
        return found

    def texts(self) -> dict[tuple[str, str], str]:
        """What came of each task's streams, each record once, in the log's order."""
        once = {one.key: one for one in self.taken if not one.event}
        found: dict[tuple[str, str], str] = {}
        for _, one in sorted(once.items()):
            place = one.attributes["joblog.task"], one.attributes["log.iostream"]
            found[place] = found.get(place, "") + one.text
        return found

    def text(self, task: str, stream: str = "stdout") -> str:
        """The same of one stream."""
        return self.texts()[task, stream]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@asynccontextmanager
async def collector(
    address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[Collector]:
    """Takes 4 MiB at most, as most do."""
    found = Collector()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 4 << 20), ("grpc.so_reuseport", 0)])
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    host = address.rpartition(":")[0]
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    found.address, found.server = f"{host}:{port}", server
    await server.start()
    try:
        yield found
    finally:
        await server.stop(0)
