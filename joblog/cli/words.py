"""Messages, states, sizes and times as words: for people, and as plain values for programs."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf.message import Message

from joblog.printable import printable
from joblog.v1 import types_pb2

__all__ = [
    "as_dict",
    "bytes_text",
    "duration_text",
    "enum_word",
    "log_state",
    "outcome_text",
    "printable",
    "run_state",
    "succeeded",
    "time_text",
]


def as_dict(message: Message) -> dict[str, Any]:
    """A message's fields under their names in the contract: numbers as numbers, bytes in hex, enums in lower case.

    Fields without a value are there too, so that a program need not ask whether they are.
    """
    return {field.name: _field_value(message, field) for field in message.DESCRIPTOR.fields}


def _field_value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_plain(field, item) for item in value]
    if field.message_type is not None and not message.HasField(field.name):
        return None
    return _plain(field, value)


def _plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_dict(value)
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    return value.hex() if isinstance(value, bytes) else value


def enum_word(enum_type: Any, value: int) -> str:
    """An enum's value without its prefix: LOG_STATE_LIVE is "live"."""
    known = enum_type.values_by_number.get(value)
    if known is None:
        return str(value)
    prefix = enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(known.name.removeprefix(prefix).lower())


def log_state(state: types_pb2.LogState) -> str:
    """A log's state in a word."""
    return enum_word(types_pb2.LogState.DESCRIPTOR, state)


def run_state(state: types_pb2.RunState) -> str:
    """A run's state in a word."""
    return enum_word(types_pb2.RunState.DESCRIPTOR, state)


def bytes_text(count: int) -> str:
    """A size with a binary unit, three digits or so: 1.5 MiB."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1024 or unit == "TiB":
            break
    return f"{size:.1f} {unit}" if size < 100 else f"{size:.0f} {unit}"


def time_text(time_ns: int) -> str:
    """A moment in local time, to the second; empty for none."""
    if not time_ns:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns // 1_000_000_000))


def duration_text(seconds: float) -> str:
    """A duration in the two largest units: 2h 5m, 3m 4s, 1.5s."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"


def outcome_text(outcome: types_pb2.Outcome) -> str:
    """How a task ended, in a few words; empty while it has not."""
    kind = outcome.kind
    if kind == types_pb2.OUTCOME_KIND_UNSPECIFIED:
        return ""
    if outcome.oom_killed:
        return "out of memory"
    if kind == types_pb2.OUTCOME_KIND_EXITED:
        return f"exit {outcome.exit_code}"
    if kind == types_pb2.OUTCOME_KIND_SIGNALED:
        return f"signal {outcome.signal}"
    return enum_word(types_pb2.OutcomeKind.DESCRIPTOR, kind).replace("_", " ")


def succeeded(outcome: types_pb2.Outcome) -> bool:
    """Whether a task ended as it should."""
    return outcome.kind == types_pb2.OUTCOME_KIND_EXITED and outcome.exit_code == 0
