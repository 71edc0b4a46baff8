"""OTLP/gRPC to one collector: one request at a time, and what its answer means.

What may be sent again, and what never, is as in OTLP's specification (1.x, "OTLP/gRPC Response", "Failures"), but for
answers that say who may send, and not what may be sent: see WAITS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from joblog import __version__
from joblog.address import is_loopback
from joblog.errors import Corrupt, Denied, NotFound
from joblog.printable import printable

_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_DETAILS = "grpc-status-details-bin"
_MAX_MESSAGE = 300
_MAX_RESPONSE_BYTES = 4 << 20

RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
# The specification has a client drop what is answered so. These say that credentials or address are wrong: nothing is
# wrong with the lines, which are kept, and are sent when that was put right.
WAITS = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED})


class Answer(NamedTuple):
    """What became of a request. rejected: records that the collector does not take, and will not. code: why, if all."""

    rejected: int = 0
    message: str = ""
    code: str = ""


class NotTaken(Exception):
    """The collector takes nothing now. code: as a metric's label. after_seconds: it asks for so long a pause."""

    def __init__(self, code: str, message: str, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.after_seconds = after_seconds


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is shown to the collector. ca: PEM; empty: the system's CAs. pair: key and certificate in PEM."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca: bytes = b""
    pair: tuple[bytes, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Collector:
    """endpoint: http://HOST:PORT or https://HOST:PORT. secrets: read anew for each connection."""

    endpoint: str
    secrets: Callable[[], Secrets]
    timeout_seconds: float = 10.0
    compress: bool = True


class Sender:
    """Belongs to the event loop. A connection is made when it is needed, and anew after a failure."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._channel: grpc.aio.Channel | None = None
        self._call: Any = None
        self._headers: tuple[tuple[str, str], ...] = ()

    async def send(self, request: bytes, records: int) -> Answer:
        """Sends so many records, and says what became of them. Raises NotTaken: they may be sent again, later."""
        if self._channel is None:
            self._connect()
        try:
            response = await self._call(
                request,
                timeout=self._collector.timeout_seconds,
                metadata=self._headers or None,
                wait_for_ready=False,
            )
        except grpc.aio.AioRpcError as error:
            return await self._failed(error, records)
        except (ValueError, TypeError) as error:
            # As of a header that gRPC does not take.
            await self.close()
            raise NotTaken("CLIENT", f"the request can't be sent: {type(error).__name__}") from None
        partial = response.partial_success
        rejected = min(max(0, partial.rejected_log_records), records)
        return Answer(rejected, _shown(partial.error_message))

    async def _failed(self, error: grpc.aio.AioRpcError, records: int) -> Answer:
        code, message = error.code(), _shown(error.details() or "")
        said = f"{code.name}: {message}" if message else code.name
        after_seconds = _retry_seconds(error)
        exhausted = code is grpc.StatusCode.RESOURCE_EXHAUSTED and after_seconds is not None
        if code in RETRYABLE or code in WAITS or exhausted:
            # What is shown, and whom is trusted, may be other files by then.
            await self.close()
            raise NotTaken(code.name, said, after_seconds or 0.0)
        return Answer(records, said, code.name)

    def _connect(self) -> None:
        collector = self._collector
        parts = urlsplit(collector.endpoint)
        try:
            secrets = collector.secrets()
        except (OSError, NotFound, Denied, Corrupt) as error:
            raise NotTaken("CLIENT", f"what is shown to the collector can't be read: {error}") from None
        options: list[tuple[str, int | str]] = [
            ("grpc.primary_user_agent", f"OTel-OTLP-Exporter-joblog/{__version__}"),
            ("grpc.max_receive_message_length", _MAX_RESPONSE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0 if is_loopback(parts.netloc) else 1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        compression = grpc.Compression.Gzip if collector.compress else grpc.Compression.NoCompression
        if parts.scheme == "http":
            self._channel = grpc.aio.insecure_channel(parts.netloc, options=options, compression=compression)
        else:
            key, certificate = secrets.pair or (None, None)
            credentials = grpc.ssl_channel_credentials(secrets.ca or None, key, certificate)
            self._channel = grpc.aio.secure_channel(parts.netloc, credentials, options=options, compression=compression)
        self._headers = secrets.headers
        self._call = self._channel.unary_unary(
            _METHOD,
            request_serializer=bytes,
            response_deserializer=logs_service_pb2.ExportLogsServiceResponse.FromString,
        )

    async def close(self) -> None:
        """Closes the connection."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            await channel.close(None)


def _retry_seconds(error: grpc.aio.AioRpcError) -> float | None:
    """How long the collector asks to wait (RetryInfo); None where it does not."""
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == _DETAILS and isinstance(value, bytes):
            with contextlib.suppress(Exception):
                for detail in status_pb2.Status.FromString(value).details:
                    info = error_details_pb2.RetryInfo()
                    if detail.Unpack(info):
                        return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    return None


def _shown(text: str) -> str:
    return printable(text[:_MAX_MESSAGE])
