"""Logs over OTLP/gRPC: from OpenTelemetry's own SDK, through kills and full spools, each record once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from tests.e2e.machine import until
from tests.fault.cluster import Cluster
from tests.object_servers import free_port

TOKEN = "0123456789abcdef"


class Receiving(Cluster):
    """A cluster whose worker takes logs over OTLP."""

    def __init__(self, folder: Path, *, token: str = "", **settings: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._token = token
        super().__init__(folder, JOBLOG_OTLP_LISTEN=self.address, JOBLOG_OTLP_TOKEN=token, **settings)
        self._channel = grpc.insecure_channel(self.address)

    def send(self, asked: ExportLogsServiceRequest, *, token: str = "") -> ExportLogsServiceResponse:
        stub = logs_service_pb2_grpc.LogsServiceStub(self._channel)  # type: ignore[no-untyped-call]
        metadata = [("authorization", f"Bearer {token or self._token}")]
        reply: ExportLogsServiceResponse = stub.Export(asked, metadata=metadata, timeout=60, wait_for_ready=True)
        return reply

    def content(self, name: LogName) -> bytes:
        try:
            with Client(data_dir=self.leader_dir) as client:
                return b"".join(part.data for part in client.read(name))
        except JoblogError:
            return b""

    def log(self, name: LogName) -> logs_pb2.GetLogResponse:
        with Client(data_dir=self.leader_dir) as client:
            return client.log(name)

    def __exit__(self, *error: object) -> None:
        self._channel.close()
        super().__exit__(*error)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    with Receiving(tmp_path_factory.mktemp("otlp"), JOBLOG_OTLP_MAY_CHOOSE="team-*") as cluster:
        cluster.start_leader()
        cluster.start_worker()
        cluster.send(asked("begin", "x"))
        yield cluster


def asked(run: str, *lines: str, namespace: str = "", start_ns: int = 0) -> ExportLogsServiceRequest:
    found = ExportLogsServiceRequest()
    resource = found.resource_logs.add()
    resource.resource.attributes.add(key="joblog.run").value.string_value = run
    if namespace:
        resource.resource.attributes.add(key="joblog.namespace").value.string_value = namespace
    scope = resource.scope_logs.add()
    for number, line in enumerate(lines):
        record = scope.log_records.add(time_unix_nano=(start_ns or time.time_ns()) + number)
        record.body.string_value = line
    return found


def test_a_program_with_opentelemetrys_sdk(receiving: Receiving) -> None:
    resource = Resource.create({"service.name": "shop", "service.instance.id": "one", "joblog.namespace": "team-a"})
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPLogExporter(endpoint=f"http://{receiving.address}", insecure=True)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("shop.cart")
    for number in range(1000):
        severity = SeverityNumber.ERROR if number % 10 == 0 else SeverityNumber.INFO
        logger.emit(LogRecord(timestamp=time.time_ns(), severity_number=severity, body=f"line {number}"))
    provider.shutdown()

    name = LogName("team-a", "shop", "shop.cart", 1)
    expected = b"".join(b"line %d\n" % number for number in range(1000))
    until(lambda: receiving.content(name) == expected, "all that the program logged is at the leader")
    with Client(data_dir=receiving.leader_dir) as client:
        errors = b"".join(part.data for part in client.read(name, stream=types_pb2.STREAM_STDERR))
    assert errors == b"".join(b"line %d\n" % number for number in range(0, 1000, 10))
    found = receiving.log(name).log
    assert found.start.labels["service.name"] == "shop"
    assert found.state == types_pb2.LOG_STATE_LIVE


def test_what_a_sender_tries_again_is_there_once_whatever_was_killed_between(receiving: Receiving) -> None:
    first = asked("again", "a", "b")
    receiving.send(first)
    receiving.send(first)
    for number in range(3):
        assert receiving.worker is not None
        receiving.worker.kill()
        receiving.start_worker()
        receiving.send(first)
        receiving.send(asked("again", f"after {number}"))

    name = LogName("default", "again", "main", 1)
    until(lambda: receiving.content(name).endswith(b"after 2\n"), "all is at the leader")
    assert receiving.content(name) == b"a\nb\nafter 0\nafter 1\nafter 2\n"


def test_records_that_will_never_be_taken_are_told_and_the_others_are_taken(receiving: Receiving) -> None:
    both = asked("allowed", "x")
    both.MergeFrom(asked("refused", "y", "z", namespace="other"))
    reply = receiving.send(both)

    assert reply.partial_success.rejected_log_records == 2
    assert "otlp.may_choose" in reply.partial_success.error_message
    until(lambda: receiving.content(LogName("default", "allowed", "main", 1)) == b"x\n", "what is allowed is there")


def test_a_token_is_asked_for_and_a_full_spool_tells_senders_when_to_try_again(tmp_path: Path) -> None:
    settings = {"JOBLOG_SPOOL_MAX_TASK_BYTES": "4MiB", "JOBLOG_SPOOL_SEGMENT_BYTES": "2MiB"}
    with Receiving(tmp_path, token=TOKEN, **settings) as cluster:
        leader = cluster.start_leader()
        cluster.start_worker()
        with pytest.raises(grpc.RpcError) as denied:
            cluster.send(asked("full", "by somebody"), token=TOKEN[:-1] + "e")
        assert denied.value.code() is grpc.StatusCode.UNAUTHENTICATED
        cluster.send(asked("full", "begins"))
        name = LogName("default", "full", "main", 1)
        until(lambda: cluster.content(name) == b"begins\n", "the log is open")
        leader.terminate()
        # Random, as a spool is compressed.
        noise = random.Random(7)
        sent = [asked("full", *(noise.randbytes(400).hex() for _ in range(600))) for _ in range(40)]
        refused: Any = None
        at = 0
        while refused is None:
            try:
                cluster.send(sent[at])
                at += 1
            except grpc.RpcError as error:
                refused = error
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(refused.trailing_metadata())
        status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
        info = RetryInfo()
        assert status.details[0].Unpack(info)
        assert info.retry_delay.seconds > 0

        cluster.start_leader(address=cluster.grpc_address)

        def taken() -> bool:
            try:
                cluster.send(sent[at])
            except grpc.RpcError:
                return False
            return True

        until(taken, "there is room again")
        expected = b"begins\n" + b"".join(
            record.body.string_value.encode() + b"\n"
            for request in sent[: at + 1]
            for record in request.resource_logs[0].scope_logs[0].log_records
        )
        until(lambda: len(cluster.content(name)) >= len(expected), "all is at the leader")
        assert cluster.content(name) == expected
        assert TOKEN not in cluster.messages("worker").read_text()
