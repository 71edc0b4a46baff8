"""What is derived from a log's record for those who read it."""

from __future__ import annotations

from joblog.identity import LogName
from joblog.v1 import types_pb2


def name_of(log_id: types_pb2.LogId) -> LogName:
    """The message as a LogName; not checked."""
    return LogName(log_id.namespace, log_id.run, log_id.task, log_id.attempt)


def first_offset(record: types_pb2.LogRecord) -> int:
    """The first offset whose byte is kept: behind the gaps that the log begins with."""
    first: int = record.first_offset
    for gap in record.gaps or record.seal.gaps:
        if gap.offset > first:
            break
        first = max(first, gap.offset + gap.length)
    return first


def shown(record: types_pb2.LogRecord) -> types_pb2.LogRecord:
    """A copy for readers: without the writer id, which lets its holder write, and with first_offset filled in."""
    copy = types_pb2.LogRecord()
    copy.CopyFrom(record)
    copy.ClearField("writer_id")
    copy.ClearField("token_id")
    copy.first_offset = first_offset(record)
    return copy
