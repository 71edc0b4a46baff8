"""How a followed log ends, as its spool's end record says it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from joblog.worker.capture.spec import Outcome
from joblog.worker.kubernetes.outcome import outcome_of as container_outcome

if TYPE_CHECKING:
    from joblog.worker.kubernetes.pods import ContainerEnd

# As in the proto's OutcomeKind: not known.
UNKNOWN = 0


def outcome_of(end: ContainerEnd | None, why: str, started_ns: int) -> dict[str, object]:
    """The outcome's fields. why: for an end of which nothing more is known."""
    if end is None:
        message = f"how it ended is not known: {why}"
        return Outcome(UNKNOWN, started_ns=started_ns, ended_ns=time.time_ns(), message=message).fields()
    found = container_outcome(end)
    return {**found, "started_ns": end.started_ns or started_ns, "ended_ns": end.ended_ns or time.time_ns()}
