"""How a container ended, in the words of joblog's outcome."""

from __future__ import annotations

from joblog.v1 import types_pb2
from joblog.worker.kubernetes.pods import ContainerEnd

_SIGNAL_BASE, _LAST_SIGNAL = 128, 64
_MAX_MESSAGE_LENGTH = 4000
_KINDS = {
    "Evicted": types_pb2.OUTCOME_KIND_EVICTED,
    "Preempting": types_pb2.OUTCOME_KIND_EVICTED,
    "Shutdown": types_pb2.OUTCOME_KIND_EVICTED,
    "NodeShutdown": types_pb2.OUTCOME_KIND_EVICTED,
    "Terminated": types_pb2.OUTCOME_KIND_EVICTED,
    "NodeLost": types_pb2.OUTCOME_KIND_NODE_LOST,
    "DeadlineExceeded": types_pb2.OUTCOME_KIND_TIMED_OUT,
    "ContainerCannotRun": types_pb2.OUTCOME_KIND_NOT_STARTED,
    "StartError": types_pb2.OUTCOME_KIND_NOT_STARTED,
}


def outcome_of(end: ContainerEnd) -> dict[str, object]:
    """The fields of an Outcome, as a spool's end holds them."""
    code = end.exit_code
    signal = end.signal
    if not signal and code is not None and _SIGNAL_BASE < code <= _SIGNAL_BASE + _LAST_SIGNAL:
        signal = code - _SIGNAL_BASE
    said = ": ".join(part for part in (end.reason, end.message) if part)
    return {
        "kind": int(_kind(end, signal)),
        "exit_code": code or (_SIGNAL_BASE + signal if signal else 0),
        "signal": signal,
        "oom_killed": end.oom_killed,
        "started_ns": end.started_ns,
        "ended_ns": end.ended_ns,
        "message": "" if said == "Completed" else said[:_MAX_MESSAGE_LENGTH],
    }


def _kind(end: ContainerEnd, signal: int) -> types_pb2.OutcomeKind:
    if end.exit_code != 0 and (kind := _KINDS.get(end.reason)) is not None:
        return kind
    if end.exit_code is None:
        return types_pb2.OUTCOME_KIND_UNSPECIFIED
    return types_pb2.OUTCOME_KIND_SIGNALED if signal else types_pb2.OUTCOME_KIND_EXITED
