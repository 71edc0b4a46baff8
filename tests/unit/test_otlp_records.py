"""What a request's records become, and in which pieces they are written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from joblog.batch import MAX_FRAMES, STDERR, STDOUT
from joblog.errors import InvalidInput
from joblog.identity import LogName
from joblog.worker.kubernetes.pods import LogTarget
from joblog.worker.otlp.naming import target_of
from joblog.worker.otlp.records import Part, Sorted, sort_request
from joblog.worker.settings import WorkerSettings
from joblog.worker.spool.pieces import Line, pieces

TARGET = LogTarget(LogName("n", "r", "t", 0))


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def request(*records: LogRecord, scope: str = "", **attributes: str) -> ExportLogsServiceRequest:
    resource = ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])
    resource.scope_logs[0].scope.name = scope
    for key, value in attributes.items():
        resource.resource.attributes.add(key=key.replace("_", "."), value=text(value))
    return ExportLogsServiceRequest(resource_logs=[resource])


def sort(asked: ExportLogsServiceRequest, *, as_json: bool = False) -> Sorted:
    return sort_request(asked, namespace="default", may_choose=["team-*"], as_json=as_json)


@given(
    st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=40)), min_size=1, max_size=30),
    st.integers(1, 50),
    st.data(),
)
def test_pieces_are_the_part_wherever_it_is_taken_up(
    lines: list[tuple[int, bytes]], piece_bytes: int, data: st.DataObject
) -> None:
    part = Part(TARGET, [Line(stream, at + 1, raw) for at, (stream, raw) in enumerate(lines)])
    whole = b"".join(raw for _, raw in lines)
    by_byte = [(line.stream, line.time_ns) for line in part.lines for _ in line.data]
    skip = data.draw(st.integers(0, len(whole) - 1))
    at = skip
    for piece in pieces(part.lines, skip, piece_bytes):
        assert 0 < len(piece.raw) <= piece_bytes
        assert len(piece.streams) == len(piece.times_ns) == len(piece.lengths) <= MAX_FRAMES
        assert sum(piece.lengths) == len(piece.raw)
        assert piece.raw == whole[at : at + len(piece.raw)]
        said = [
            (stream, time_ns)
            for stream, time_ns, length in zip(piece.streams, piece.times_ns, piece.lengths, strict=True)
            for _ in range(length)
        ]
        assert said == by_byte[at : at + len(piece.raw)]
        at += len(piece.raw)
        assert piece.end == at
    assert at == len(whole)


def test_a_body_is_a_line_and_severity_a_stream() -> None:
    nested = AnyValue()
    nested.kvlist_value.values.append(KeyValue(key="a", value=AnyValue(int_value=1)))
    nested.kvlist_value.values.add(key="b").value.array_value.values.append(AnyValue(bool_value=True))
    found = sort(
        request(
            LogRecord(time_unix_nano=5, body=text("fine\n"), severity_number=9),  # type: ignore[arg-type]
            LogRecord(time_unix_nano=6, body=nested, severity_number=17),  # type: ignore[arg-type]
            LogRecord(observed_time_unix_nano=7, event_name="happened"),
            LogRecord(time_unix_nano=8),
        )
    )

    (part,) = found.parts.values()
    assert part.lines == [
        Line(STDOUT, 5, b"fine\n"),
        Line(STDERR, 6, b'{"a": 1, "b": [true]}\n'),
        Line(STDOUT, 7, b"happened\n"),
        Line(STDOUT, 8, b"\n"),
    ]
    assert (found.rejected, part.timed) == (0, True)


def test_as_json_nothing_is_left_out() -> None:
    record = LogRecord(
        time_unix_nano=5, body=text("b"), severity_text="INFO", trace_id=b"\1" * 16, span_id=b"\2" * 8, event_name="e"
    )
    record.attributes.add(key="k", value=AnyValue(double_value=0.5))
    (part,) = sort(request(record), as_json=True).parts.values()

    assert json.loads(part.lines[0].data) == {
        "body": "b",
        "severity": "INFO",
        "event": "e",
        "attributes": {"k": 0.5},
        "trace_id": "01" * 16,
        "span_id": "02" * 8,
    }


def test_only_records_with_times_are_known_again() -> None:
    timed = LogRecord(time_unix_nano=5, body=text("x"))
    (part,) = sort(request(timed)).parts.values()
    (again,) = sort(request(timed)).parts.values()
    (other,) = sort(request(LogRecord(time_unix_nano=6, body=text("x")))).parts.values()
    (untimed,) = sort(request(timed, LogRecord(body=text("x")))).parts.values()

    assert part.digest == again.digest != other.digest
    assert untimed.digest == ""


def test_names_come_from_the_resource_and_the_scope() -> None:
    def named(scope: str = "", **attributes: str) -> LogName:
        given = {key.replace("_", "."): value for key, value in attributes.items()}
        return target_of(given, scope, namespace="default", may_choose=["team-*"])[1].name

    assert named(service_name="shop", scope="web.cart") == ("default", "shop", "web.cart", 0)
    assert named() == ("default", "main", "main", 0)
    assert named(joblog_run="r", joblog_task="t", joblog_attempt="3", service_name="s") == ("default", "r", "t", 3)
    assert named(joblog_namespace="team-a", service_name="s").namespace == "team-a"
    # What joblog does not allow as a name becomes one that nothing else gets.
    assert named(service_name="a b").run != named(service_name="a/b").run


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"joblog.namespace": "other"}, "otlp.may_choose"),
        ({"joblog.namespace": "@audit"}, "otlp.may_choose"),
        ({"joblog.attempt": "zero"}, "is no number"),
        ({"joblog.attempt": "0"}, "out of range"),
    ],
)
def test_what_a_sender_may_not_is_told(attributes: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        target_of(attributes, "", namespace="default", may_choose=["team-*"])


def test_instances_have_logs_of_their_own_and_labels() -> None:
    def asked(instance: str) -> tuple[str, LogTarget]:
        attributes = {"service.name": "s", "service.instance.id": instance, "odd": "a\nb", "joblog.run": "r"}
        return target_of(attributes, "", namespace="default", may_choose=[])

    assert asked("1")[0] != asked("2")[0]
    assert asked("1")[1].labels == {"service.name": "s", "service.instance.id": "1"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"JOBLOG_OTLP_LISTEN": "0.0.0.0:4317"}, "otlp.listen"),
        ({"JOBLOG_OTLP_TOKEN": "short"}, "otlp.token"),
        ({"JOBLOG_OTLP_KEY": "/k"}, "otlp.certificate"),
    ],
)
def test_an_endpoint_for_all_asks_for_a_token(changes: dict[str, str], key: str) -> None:
    from joblog.errors import InvalidSettings
    from joblog.settings import load

    with pytest.raises(InvalidSettings, match=key):
        load(WorkerSettings, environ=changes)
    load(WorkerSettings, environ={"JOBLOG_OTLP_LISTEN": "0.0.0.0:4317", "JOBLOG_OTLP_TOKEN": "0123456789abcdef"})
