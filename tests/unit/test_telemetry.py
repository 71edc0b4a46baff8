"""joblog.telemetry: one line per record, nothing secret in it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from joblog.telemetry import set_up_logging


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_text(output: io.StringIO) -> None:
    set_up_logging("info", "text", secrets=["sesame", "opensesame"], output=output)
    logging.getLogger("joblog.x").info("log %s: %s", "a\x1b[31m\rb", "opensesame")
    logging.getLogger("joblog.x").debug("not shown")
    (line,) = output.getvalue().splitlines()
    assert line.endswith("Z info     joblog.x: log a\\x1b[31m\\x0db: ***")


def test_a_message_can_not_look_like_two(output: io.StringIO) -> None:
    set_up_logging(output=output)
    logging.getLogger("joblog.x").warning("a\n2026-01-01 critical: b")
    assert output.getvalue().splitlines()[1].startswith("    ")


def test_json(output: io.StringIO) -> None:
    set_up_logging("debug", "json", secrets=["opensesame"], output=output)
    try:
        raise ValueError("opensesame\nsecond line")
    except ValueError:
        logging.getLogger("joblog.x").exception("failed")
    (line,) = output.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["level"] == "error"
    assert entry["message"] == "failed"
    assert "ValueError: ***" in entry["trace"]
    assert entry["time"].endswith("Z")


def test_warnings_are_logged(output: io.StringIO) -> None:
    set_up_logging(output=output)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in output.getvalue()


def test_a_client_that_went_away_is_not_worth_a_trace(output: io.StringIO) -> None:
    class ExecuteBatchError(Exception):
        """As gRPC has it, in a module that can't be imported from."""

    set_up_logging(output=output)
    grpc_log = logging.getLogger("grpc._cython.cygrpc")
    for error in (ExecuteBatchError("gone"), ValueError("a fault")):
        grpc_log.error("raised in core by servicer method [%s]", "/joblog.v1.Logs/Read", exc_info=error)
    assert "a fault" in output.getvalue()
    assert "gone" not in output.getvalue()
