"""Enumerations and times in words, as JSON says them: RFC 3339 with nanoseconds, in UTC."""

from __future__ import annotations

from typing import Literal

from joblog.formats import rfc3339_nano
from joblog.v1 import types_pb2

State = Literal["live", "completed", "interrupted", "unspecified"]
RunStateName = Literal["live", "succeeded", "failed", "interrupted"]
StreamName = Literal["stdout", "stderr"]

STREAMS: dict[str, int] = {"stdout": types_pb2.STREAM_STDOUT, "stderr": types_pb2.STREAM_STDERR}


def word(enum_name: str, prefix: str) -> str:
    """LOG_STATE_LIVE with prefix LOG_STATE_ as "live"."""
    return enum_name.removeprefix(prefix).lower()


def state_word(state: int) -> str:
    """A log's state in one word."""
    return word(types_pb2.LogState.Name(state), "LOG_STATE_")


def reason_word(reason: int) -> str:
    """A gap's reason in one word; one that this version does not know as its number."""
    if reason not in types_pb2.GapReason.values():
        return str(reason)
    return word(types_pb2.GapReason.Name(reason), "GAP_REASON_")


def outcome_word(kind: int) -> str:
    """How a task ended in one word; what this version does not know as its number."""
    if kind not in types_pb2.OutcomeKind.values():
        return str(kind)
    return word(types_pb2.OutcomeKind.Name(kind), "OUTCOME_KIND_")


def tier_word(tier: int) -> Literal["buffer", "archive"]:
    """Where bytes lie, in a word."""
    return "archive" if tier == types_pb2.TIER_ARCHIVE else "buffer"


def moment(time_ns: int) -> str | None:
    """Nanoseconds since the epoch in RFC 3339; None for 0."""
    try:
        return rfc3339_nano(time_ns) if time_ns else None
    except (OverflowError, ValueError, OSError):
        return None
