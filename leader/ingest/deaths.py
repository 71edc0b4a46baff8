"""Which ends of logs are deaths, and what is said of them. Pure: nothing here waits, reads or fails."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joblog import death
from joblog.death import Death
from joblog.formats import rfc3339_nano
from joblog.v1 import types_pb2

# Under these labels a worker says what it knows of a container.
POD_LABEL = "kubernetes.pod"
NODE_LABEL = "kubernetes.node"
CONTAINER_LABELS = ("kubernetes.container", "docker.name")
RESTART_LABELS = ("kubernetes.restart", "docker.restart")
MEMORY_LIMIT_LABELS = ("kubernetes.memory_limit_bytes", "docker.memory_limit_bytes")

_REASONS = {
    types_pb2.OUTCOME_KIND_SIGNALED: death.SIGNAL,
    types_pb2.OUTCOME_KIND_SUPERVISOR_DIED: death.SUPERVISOR_DIED,
    types_pb2.OUTCOME_KIND_TIMED_OUT: death.TIMED_OUT,
    types_pb2.OUTCOME_KIND_EVICTED: death.EVICTED,
    types_pb2.OUTCOME_KIND_NODE_LOST: death.NODE_LOST,
}
_WITH_CODE = (types_pb2.OUTCOME_KIND_EXITED, types_pb2.OUTCOME_KIND_NOT_STARTED)


@dataclass(frozen=True, slots=True)
class DeathRules:
    """exit_codes: those that count as deaths too, beside ends by a signal and the like.

    silent_after_seconds: after so long without a word from a log's worker, that is one. 0: never.
    """

    exit_codes: frozenset[int] = frozenset()
    silent_after_seconds: float = 300.0

    def at_end(self, record: types_pb2.LogRecord) -> types_pb2.Event | None:
        """The report of a log that is completed with this record; None where its end is none to report."""
        if is_own(record):
            return None
        reason = self._reason(record.outcome)
        return None if reason is None else _event(record, reason, record.next_offset)

    def at_silence(self, record: types_pb2.LogRecord, offset: int) -> types_pb2.Event | None:
        """The report of a log whose worker was silent for so long; offset: its length so far."""
        return None if is_own(record) else _event(record, death.WORKER_SILENT, offset)

    def _reason(self, outcome: types_pb2.Outcome) -> str | None:
        clean = outcome.kind == types_pb2.OUTCOME_KIND_EXITED and outcome.exit_code == 0
        if outcome.oom_killed and not clean:
            return death.OOM_KILLED
        if outcome.kind in _WITH_CODE and outcome.exit_code in self.exit_codes:
            return death.EXIT_CODE
        return _REASONS.get(outcome.kind)


def is_own(record: types_pb2.LogRecord) -> bool:
    """Whether it is a log of joblog's own: run logs, the audit log."""
    return record.id.task.startswith("@") or record.id.namespace.startswith("@")


def _event(record: types_pb2.LogRecord, reason: str, offset: int) -> types_pb2.Event:
    start, outcome, labels = record.start, record.outcome, record.start.labels
    started_ns = outcome.started_ns or start.started_ns
    ended = reason != death.WORKER_SILENT
    known = ended and outcome.kind not in (
        types_pb2.OUTCOME_KIND_SUPERVISOR_DIED,
        types_pb2.OUTCOME_KIND_NODE_LOST,
    )
    facts = Death(
        reason,
        node=labels.get(NODE_LABEL, "") or start.host,
        worker=start.worker_id,
        pod=labels.get(POD_LABEL, ""),
        container=_label(labels, CONTAINER_LABELS),
        started_at=rfc3339_nano(started_ns) if started_ns else "",
        ended_at=rfc3339_nano(outcome.ended_ns) if ended and outcome.ended_ns else "",
        exit_code=outcome.exit_code if known else None,
        signal=outcome.signal or None,
        peak_memory_bytes=outcome.peak_memory_bytes or None,
        memory_limit_bytes=_number(_label(labels, MEMORY_LIMIT_LABELS)),
        restarts=_number(_label(labels, RESTART_LABELS)),
        message=outcome.message[: death.MAX_MESSAGE_LENGTH],
    )
    return types_pb2.Event(offset=offset, time_ns=time.time_ns(), kind=death.EVENT_KIND, message=facts.to_json())


def _label(labels: Mapping[str, str], names: Sequence[str]) -> str:
    return next((labels[name] for name in names if name in labels), "")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
