"""The last thing that a supervisor does: the end record."""

from __future__ import annotations

import time

from joblog.worker.capture.intake import STUCK_SECONDS
from joblog.worker.capture.signals import ENDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.capture.signals import Signals
    from joblog.worker.capture.spec import Outcome
    from joblog.worker.spool.writer import SpoolWriter


def end_spool(spool: SpoolWriter, outcome: Outcome, signals: Signals) -> None:
    """Ends the spool; on a disk without room for even that, once there is some.

    A signal that asks this process to end ends the waiting too: the log then counts as one whose supervisor died.
    """
    while not spool.end(outcome.fields()):
        time.sleep(STUCK_SECONDS)
        if ENDING.intersection(signals.read()):
            spool.close()
            return
