"""A request's records, sorted by log, as lines with their times and streams."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput
from joblog.worker.kubernetes.pods import LogTarget
from joblog.worker.otlp.naming import target_of
from joblog.worker.spool.pieces import Line

_MAX_PROBLEMS = 3
_STREAM_KEY = "log.iostream"
_STREAMS = {"stdout": STDOUT, "stderr": STDERR}


@dataclass
class Part:
    """What a request holds for one log. digest: names it, so that a sender's second try is known; empty: it can't be,
    as a record without a time may well come twice.
    """

    target: LogTarget
    lines: list[Line] = field(default_factory=list)
    timed: bool = True

    @property
    def digest(self) -> str:
        if not self.timed:
            return ""
        found = hashlib.sha256()
        for line in self.lines:
            found.update(b"%d %d %d\n" % (line.stream, line.time_ns, len(line.data)))
            found.update(line.data)
        return found.hexdigest()[:32]


class Sorted(NamedTuple):
    """A request by logs. rejected: records that belong to none; problem: why."""

    parts: dict[str, Part]
    rejected: int
    problem: str


def sort_request(
    request: logs_service_pb2.ExportLogsServiceRequest, *, namespace: str, may_choose: Sequence[str], as_json: bool
) -> Sorted:
    """Looks at all records of a request, once."""
    parts: dict[str, Part] = {}
    problems: list[str] = []
    rejected = 0
    now_ns = time.time_ns()
    for resource in request.resource_logs:
        attributes = {pair.key: _text(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_logs:
            try:
                source, target = target_of(attributes, scope.scope.name, namespace=namespace, may_choose=may_choose)
            except InvalidInput as error:
                rejected += len(scope.log_records)
                if str(error) not in problems and len(problems) < _MAX_PROBLEMS:
                    problems.append(str(error))
                continue
            part = parts.setdefault(source, Part(target))
            for record in scope.log_records:
                time_ns = record.time_unix_nano or record.observed_time_unix_nano
                part.timed = part.timed and time_ns > 0
                # A year that no clock shows is none.
                time_ns = time_ns if 0 < time_ns < 2**62 else now_ns
                part.lines.append(Line(_stream(record), time_ns, _line(record, as_json=as_json)))
    return Sorted({source: part for source, part in parts.items() if part.lines}, rejected, "; ".join(problems))


def _stream(record: logs_pb2.LogRecord) -> int:
    """What its sender says it came from (OpenTelemetry's `log.iostream`), else by its severity."""
    for pair in record.attributes:
        if pair.key == _STREAM_KEY and pair.value.string_value in _STREAMS:
            return _STREAMS[pair.value.string_value]
    return STDERR if record.severity_number >= logs_pb2.SEVERITY_NUMBER_ERROR else STDOUT


def _line(record: logs_pb2.LogRecord, *, as_json: bool) -> bytes:
    if as_json:
        said: dict[str, Any] = {"body": _value(record.body)}
        said["severity"] = record.severity_text or logs_pb2.SeverityNumber.Name(_severity(record)).rpartition("_")[2]
        if record.event_name:
            said["event"] = record.event_name
        if record.attributes:
            said["attributes"] = {pair.key: _value(pair.value) for pair in record.attributes}
        if record.trace_id:
            said["trace_id"], said["span_id"] = record.trace_id.hex(), record.span_id.hex()
        text = json.dumps(said, ensure_ascii=False)
    else:
        text = _text(record.body) or record.event_name
    return text.encode(errors="replace").removesuffix(b"\n") + b"\n"


def _severity(record: logs_pb2.LogRecord) -> logs_pb2.SeverityNumber.ValueType:
    known = record.severity_number in logs_pb2.SeverityNumber.values()
    return record.severity_number if known else logs_pb2.SEVERITY_NUMBER_UNSPECIFIED


def _text(value: common_pb2.AnyValue) -> str:
    """A text as it is, anything else as JSON; empty for no value."""
    if value.WhichOneof("value") == "string_value":
        return value.string_value
    found = _value(value)
    return "" if found is None else json.dumps(found, ensure_ascii=False)


def _value(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
