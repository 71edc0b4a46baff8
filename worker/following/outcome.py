"""How a followed log ends, as its spool's end record says it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from joblog.worker.capture.spec import EXITED, SIGNALED, TIMED_OUT, Outcome

if TYPE_CHECKING:
    from joblog.worker.kubernetes.pods import ContainerEnd

# As in the proto's OutcomeKind: not known.
UNKNOWN = 0
_SIGNAL_CODE = 128
_TIMED_OUT_REASON = "DeadlineExceeded"


def outcome_of(end: ContainerEnd | None, why: str, started_ns: int) -> dict[str, object]:
    """The outcome's fields. why: for an end of which nothing more is known."""
    if end is None:
        message = f"how it ended is not known: {why}"
        return Outcome(UNKNOWN, started_ns=started_ns, ended_ns=time.time_ns(), message=message).fields()
    if end.reason == _TIMED_OUT_REASON:
        kind = TIMED_OUT
    elif end.signal:
        kind = SIGNALED
    elif end.exit_code is not None:
        kind = EXITED
    else:
        kind = UNKNOWN
    code = _SIGNAL_CODE + end.signal if end.signal and end.exit_code is None else end.exit_code or 0
    message = ": ".join(part for part in (end.reason, end.message) if part and part != "Completed")
    return Outcome(
        kind,
        exit_code=code,
        signal=end.signal,
        oom_killed=end.oom_killed,
        started_ns=end.started_ns or started_ns,
        ended_ns=end.ended_ns or time.time_ns(),
        message=message[:1000],
    ).fields()
