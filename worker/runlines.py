"""The two lines that `joblog run` adds to its run's log: what was dispatched, and how it ended."""

from __future__ import annotations

import os
import time

from joblog.errors import JoblogError
from joblog.identity import RUN_LOG_TASK, new_run_id
from joblog.runline import dispatched_pairs, finished_pairs, run_line
from joblog.worker.order import Order, Place
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.format import TRUNCATE, SpoolTask
from joblog.worker.spool.writer import SpoolWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from joblog.worker.spool.sealing import SpoolKey

_SPOOL_BYTES = 1 << 20
_EXITED = 1


class RunLines:
    """An attempt of the run's log that holds one task's dispatch and result.

    A disk that has no room for it takes nothing away from the task: the lines are left out then.
    """

    def __init__(
        self, order: Order, place: Place, command: Sequence[str], host: str, key: SpoolKey | None = None
    ) -> None:
        self._order = order
        self._started_ns = time.time_ns()
        self.folder = f"{place.spool_root}/{new_run_id()}"
        task = SpoolTask(
            writer_id=os.urandom(16),
            namespace=order.namespace,
            run=order.run,
            task=RUN_LOG_TASK,
            host=host,
            started_ns=self._started_ns,
            max_spool_bytes=_SPOOL_BYTES,
            policy=TRUNCATE,
            kind="runlog",
        )
        self._writer: SpoolWriter | None
        try:
            self._writer = SpoolWriter(self.folder, task, SpoolBounds(_SPOOL_BYTES), key=key)
        except JoblogError:
            self._writer = None
            return
        self._write("dispatched", dispatched_pairs(order.task, order.attempt, host, " ".join(command)))

    @property
    def folders(self) -> list[str]:
        """The spool's folder, where there is one."""
        return [] if self._writer is None else [self.folder]

    def finish(self, exit_code: int | None, signal: int | None, message: str) -> None:
        """Says how the task ended, and ends the log."""
        if self._writer is None:
            return
        now_ns = time.time_ns()
        seconds = (now_ns - self._started_ns) / 1e9
        order = self._order
        pairs = finished_pairs(
            order.task, order.attempt, exit_code=exit_code, signal=signal, seconds=seconds, message=message
        )
        self._write("finished", pairs)
        outcome = {"kind": _EXITED, "exit_code": 0, "started_ns": self._started_ns, "ended_ns": now_ns}
        try:
            if self._writer.end(outcome):
                return
        except OSError:
            pass  # the task's own result counts, whatever became of the line about it
        self._writer.close()

    def _write(self, word: str, pairs: Mapping[str, object]) -> None:
        assert self._writer is not None
        now_ns = time.time_ns()
        line = bytearray(run_line(now_ns, word, pairs).encode(errors="surrogateescape"))
        for at in range(0, len(line), self._writer.record_bytes):
            piece = line[at : at + self._writer.record_bytes]
            self._writer.append_data(piece, len(piece), b"\1", [now_ns], [len(piece)])
