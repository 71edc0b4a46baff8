from __future__ import annotations

import pytest

from joblog.cli.words import as_dict, bytes_text, duration_text, outcome_text, printable
from joblog.v1 import logs_pb2, types_pb2


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"), (3 << 50, "3072 TiB")],
)
def test_bytes_text(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0s"), (59.94, "59.9s"), (60, "1m 0s"), (7500, "2h 5m"), (200_000, "2d 7h")]
)
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_message_as_plain_values() -> None:
    log = types_pb2.LogRecord(uid=b"\x00\xff", state=types_pb2.LOG_STATE_LIVE, next_offset=2**63)
    log.id.run = "r"
    log.start.labels["a"] = "b"
    log.gaps.add(offset=1, length=2, reason=types_pb2.GAP_REASON_LOST)
    found = as_dict(logs_pb2.GetLogResponse(log=log))
    assert found["events"] == []
    assert found["log"]["uid"] == "00ff"
    assert found["log"]["state"] == "live"
    assert found["log"]["tier"] == "unspecified"
    assert found["log"]["next_offset"] == 2**63
    assert found["log"]["id"] == {"namespace": "", "run": "r", "task": "", "attempt": 0}
    assert found["log"]["start"]["labels"] == {"a": "b"}
    assert found["log"]["seal"] is None
    assert found["log"]["gaps"] == [{"offset": 1, "length": 2, "reason": "lost", "newlines": 0}]


def test_an_enum_value_of_a_later_version_is_its_number() -> None:
    assert as_dict(types_pb2.Gap(reason=77))["reason"] == "77"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (types_pb2.Outcome(), ""),
        (types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_EXITED, exit_code=3), "exit 3"),
        (types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_SIGNALED, signal=9), "signal 9"),
        (types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_SIGNALED, signal=9, oom_killed=True), "out of memory"),
        (types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_SUPERVISOR_DIED), "supervisor died"),
    ],
)
def test_outcome_text(outcome: types_pb2.Outcome, text: str) -> None:
    assert outcome_text(outcome) == text


def test_what_could_steer_a_terminal_is_shown() -> None:
    assert printable("ok ü \x1b[2J\r\n") == r"ok ü \x1b[2J\r\n"
