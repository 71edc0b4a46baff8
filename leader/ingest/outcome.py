"""What a worker says of its task's end, brought into what all who show it can take: a worker may say anything."""

from __future__ import annotations

from joblog.v1 import types_pb2

MAX_MESSAGE_CHARACTERS = 4096
_MOST_CPU_SECONDS = 1e12


def bounded_outcome(said: types_pb2.Outcome) -> types_pb2.Outcome:
    """The same with a kind that this version knows, a CPU time that is a number, and a message of some length."""
    outcome = types_pb2.Outcome()
    outcome.CopyFrom(said)
    if outcome.kind not in types_pb2.OutcomeKind.values():
        outcome.kind = types_pb2.OUTCOME_KIND_UNSPECIFIED
    # Not so for NaN either.
    if not 0 <= outcome.cpu_seconds <= _MOST_CPU_SECONDS:
        outcome.cpu_seconds = 0
    outcome.message = outcome.message[:MAX_MESSAGE_CHARACTERS]
    return outcome


def known_reason(said: int) -> types_pb2.GapReason:
    """A gap's reason; LOST for one that says nothing, or that this version does not know."""
    # Only who reads finds out that an adopted object was changed.
    not_theirs = types_pb2.GAP_REASON_UNSPECIFIED, types_pb2.GAP_REASON_SOURCE_CHANGED
    known = said in types_pb2.GapReason.values() and said not in not_theirs
    return said if known else types_pb2.GAP_REASON_LOST  # type: ignore[return-value]
