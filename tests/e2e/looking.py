"""Looks at a machine's logs from within the test's own process: quicker than a command each time."""

from __future__ import annotations

from joblog.client import Client
from joblog.errors import JoblogError, NotFound, Unavailable
from joblog.identity import DEFAULT_NAMESPACE, parse_log_path
from joblog.v1 import types_pb2
from tests.e2e.machine import Machine


def text_of(machine: Machine, log: str) -> bytes:
    """What is stored of a log, read in this process; empty where there is none, or no leader."""
    try:
        with Client(data_dir=machine.data_dir) as client:
            return b"".join(part.data for part in client.read(parse_log_path(log, DEFAULT_NAMESPACE)))
    except (NotFound, Unavailable):
        return b""


def is_up(machine: Machine) -> bool:
    """Whether a leader answers."""
    try:
        with Client(data_dir=machine.data_dir, timeout_seconds=1.0) as client:
            client.status()
    except JoblogError:
        return False
    return True


def record_of(machine: Machine, log: str) -> types_pb2.LogRecord:
    """A log's record; an empty one where there is none."""
    try:
        with Client(data_dir=machine.data_dir) as client:
            return client.log(parse_log_path(log, DEFAULT_NAMESPACE)).log
    except (NotFound, Unavailable):
        return types_pb2.LogRecord()
