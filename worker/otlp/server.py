"""The endpoint: OTLP's LogsService over gRPC.

A request is answered when all that it holds is in spools. Where there is no room, RESOURCE_EXHAUSTED with the time
after which to try again (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-throttling), so that senders wait; what
will never be taken, as a namespace that is not allowed, is told as partial success.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

from joblog.errors import Conflict, JoblogError, OutOfSpace, Unavailable
from joblog.reread import Reread, server_credentials
from joblog.service import Service
from joblog.worker.otlp.receiver import Receiver
from joblog.worker.otlp.records import sort_request
from joblog.worker.spool.sealing import SpoolKey

log = logging.getLogger(__name__)

# Requests that are being taken at once: with the size of a request they bound the memory.
_REQUESTS = 16
_RETRY_SECONDS = 2
_SWEEP_SECONDS = 5.0
_GRACE_SECONDS = 5.0
_STATUS = "grpc-status-details-bin"
# Where Python's SDK looks for it.
_RETRY_INFO = "google.rpc.retryinfo-bin"


@dataclass(frozen=True, slots=True)
class OtlpOptions:
    """listen: HOST:PORT. certificate: chain and key in PEM; None: without encryption. token: see the settings."""

    listen: str
    token: str
    certificate: Reread[tuple[bytes, bytes]] | None
    namespace: str
    may_choose: Sequence[str]
    as_json: bool
    max_request_bytes: int


class OtlpServer(Service, logs_service_pb2_grpc.LogsServiceServicer):
    """receiver: makes what writes, in a thread. spool_key: what new spools are sealed with; None: they are not."""

    name = "otlp"

    def __init__(
        self,
        options: OtlpOptions,
        receiver: Callable[[], Receiver],
        spool_key: Callable[[], Awaitable[SpoolKey]] | None,
    ) -> None:
        self._options = options
        self._make = receiver
        self._spool_key = spool_key
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="otlp")
        self._receiver: Receiver
        self._server: grpc.aio.Server
        self.port = 0

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writing, call, *arguments)

    async def start(self) -> None:
        """Listens. Raises Conflict when the address is in use."""
        options = self._options
        self._receiver = await self._in_thread(self._make)
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_REQUESTS,
            options=[("grpc.max_receive_message_length", options.max_request_bytes), ("grpc.so_reuseport", 0)],
        )
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        try:
            if options.certificate is None:
                self.port = self._server.add_insecure_port(options.listen)
            else:
                credentials = server_credentials(options.certificate.current, _configuration)
                self.port = self._server.add_secure_port(options.listen, credentials)
        except RuntimeError:
            raise Conflict(f"otlp.listen {options.listen}: is in use, or is none of this machine's addresses") from None
        await self._server.start()
        host = options.listen.rpartition(":")[0]
        log.info("otlp: takes logs at %s:%d%s", host, self.port, "" if options.certificate else ", without encryption")

    async def run(self) -> None:
        """Ends logs for which nothing comes any more."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._in_thread(self._receiver.end_quiet)

    async def stop(self) -> None:
        """Answers what has arrived, and lets go of the logs where they are."""
        await self._server.stop(_GRACE_SECONDS)
        await self._in_thread(self._receiver.close)
        self._writing.shutdown()

    async def Export(  # noqa: N802 - the protocol's name
        self,
        request: logs_service_pb2.ExportLogsServiceRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> logs_service_pb2.ExportLogsServiceResponse:
        """OTLP's call."""
        await self._recognise(context)
        try:
            key = await self._spool_key() if self._spool_key is not None else None
            rejected, problem = await self._in_thread(self._take, request, key)
        except (Unavailable, OutOfSpace) as error:
            await _try_again(context, str(error))
        except (OSError, JoblogError) as error:
            log.error("otlp: %s", error)
            await _try_again(context, "this worker can't write it now; its messages say why")
        reply = logs_service_pb2.ExportLogsServiceResponse()
        if rejected:
            reply.partial_success.rejected_log_records = rejected
            reply.partial_success.error_message = problem
        return reply

    def _take(self, request: logs_service_pb2.ExportLogsServiceRequest, key: SpoolKey | None) -> tuple[int, str]:
        options = self._options
        found = sort_request(
            request, namespace=options.namespace, may_choose=options.may_choose, as_json=options.as_json
        )
        self._receiver.take(found.parts, key)
        return found.rejected, found.problem

    async def _recognise(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        token = self._options.token
        if not token:
            return
        metadata = context.invocation_metadata() or ()
        shown = next((str(value) for name, value in metadata if name == "authorization"), "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "show otlp.token: authorization: Bearer TOKEN")


def _configuration(shown: tuple[bytes, bytes]) -> grpc.ServerCertificateConfiguration:
    chain, key = shown
    return grpc.ssl_server_certificate_configuration([(key, chain)])


async def _try_again(context: grpc.aio.ServicerContext[Any, Any], message: str) -> NoReturn:
    info = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=_RETRY_SECONDS))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(info)
    metadata = ((_STATUS, status.SerializeToString()), (_RETRY_INFO, info.SerializeToString()))
    await context.abort(code, message, metadata)
