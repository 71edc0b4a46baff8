"""Lines as OTLP log records."""

from __future__ import annotations

import time
from collections.abc import Iterable

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2

from joblog import __version__
from joblog.batch import STDERR, STDOUT
from joblog.leader.export.lines import Line
from joblog.v1.types_pb2 import LogRecord

GAP_EVENT = "joblog.gap"
_STREAMS = {STDOUT: "stdout", STDERR: "stderr"}


class Request:
    """One request's records, by log. size_bytes: about what it takes on the wire."""

    def __init__(self) -> None:
        self._message = logs_service_pb2.ExportLogsServiceRequest()
        self.size_bytes = 0
        self.records = 0
        # Bytes of logs.
        self.log_bytes = 0
        self.missing_bytes = 0
        # When the last line was read that it holds.
        self.newest_ns = 0

    def add(self, record: LogRecord, lines: Iterable[Line]) -> None:
        """Adds lines of one log."""
        found = self._message.resource_logs.add()
        _describe(found.resource.attributes, record)
        scope = found.scope_logs.add()
        scope.scope.name, scope.scope.version = "joblog", __version__
        now_ns = time.time_ns()
        count = 0
        for line in lines:
            _fill(scope.log_records.add(), line, now_ns)
            count += 1
            self.log_bytes += len(line.data) + line.is_ended if not line.missing else 0
            self.missing_bytes += line.missing
            self.newest_ns = max(self.newest_ns, line.time_ns)
        self.records += count
        self.size_bytes += found.ByteSize()

    def encode(self) -> bytes:
        """As it is sent."""
        return self._message.SerializeToString()


def _describe(attributes: object, record: LogRecord) -> None:
    """Which log it is. joblog.uid and a record's joblog.offset name a record for good."""
    name = record.id
    texts = {
        "service.namespace": name.namespace,
        "service.name": name.task,
        "service.instance.id": record.uid.hex(),
        "host.name": record.start.host,
        "joblog.namespace": name.namespace,
        "joblog.run": name.run,
        "joblog.task": name.task,
        "joblog.uid": record.uid.hex(),
        "joblog.worker": record.start.worker_id,
    }
    texts |= {f"joblog.label.{key}": value for key, value in sorted(record.start.labels.items())}
    add = attributes.add  # type: ignore[attr-defined]
    for key, text in texts.items():
        if text:
            add(key=key, value=common_pb2.AnyValue(string_value=text))
    add(key="joblog.attempt", value=common_pb2.AnyValue(int_value=name.attempt))


def _fill(found: logs_pb2.LogRecord, line: Line, now_ns: int) -> None:
    found.time_unix_nano = line.time_ns
    found.observed_time_unix_nano = now_ns
    offset = found.attributes.add()
    offset.key = "joblog.offset"
    offset.value.int_value = line.offset
    if line.missing:
        found.event_name = GAP_EVENT
        found.severity_number = logs_pb2.SEVERITY_NUMBER_WARN
        why = line.data.decode()
        found.body.string_value = f"{line.missing} bytes of the log are missing: {why}"
        found.attributes.add(key="joblog.missing_bytes", value=common_pb2.AnyValue(int_value=line.missing))
        return
    # What is no UTF-8 can be no text of a message.
    found.body.string_value = line.data.decode(errors="replace")
    stream = found.attributes.add()
    stream.key = "log.iostream"
    stream.value.string_value = _STREAMS[line.stream]
    if not line.is_ended:
        found.attributes.add(key="joblog.partial", value=common_pb2.AnyValue(bool_value=True))
