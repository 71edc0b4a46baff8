"""The run log: what a driver says about its run. What was dispatched, when, and with what result.

::

    with RunLog("nightly") as log:
        log.dispatched("build", command=["make", "-j2"])
        ...
        log.finished("build", exit_code=0, seconds=12.5)

Each call writes one line: a time, a word, and `key=value` pairs, values with spaces as JSON strings. Each driver
process has an attempt of the task `@run` of its own, since a log has one writer: all attempts together are the run's.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from joblog.identity import DEFAULT_NAMESPACE, RUN_LOG_TASK, LogName
from joblog.runline import dispatched_pairs, finished_pairs, run_line, run_time
from joblog.writing import LogWriter


class RunLog:
    """A run's log, written by this process until close(), or until it ends. A context manager; thread-safe.

    A driver that ends with an exception closes it as failed. Raises InvalidInput for a run that has no valid name.
    """

    def __init__(
        self,
        run: str,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        data_dir: Path | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        name = LogName(namespace, run, RUN_LOG_TASK, 0)
        self._writer = LogWriter(name, data_dir=data_dir, labels=labels, kind="runlog")
        atexit.register(self.close)

    def write(self, text: str) -> None:
        """Writes a line; what holds line breaks becomes several, each with the time."""
        stamp = time.time_ns()
        lines = text.splitlines() or [""]
        self._writer.write("".join(f"{run_time(stamp)} {line}\n" for line in lines).encode(errors="surrogateescape"))

    def dispatched(
        self, task: str, attempt: int = 0, *, host: str = "", command: Sequence[str] = (), **more: object
    ) -> None:
        """Writes that a task was started: where, what. more: further pairs."""
        self._event("dispatched", {**dispatched_pairs(task, attempt, host, " ".join(command)), **more})

    def finished(
        self,
        task: str,
        attempt: int = 0,
        *,
        exit_code: int | None = None,
        signal: int | None = None,
        seconds: float | None = None,
        message: str = "",
        **more: object,
    ) -> None:
        """Writes how a task ended. more: further pairs."""
        pairs = finished_pairs(task, attempt, exit_code=exit_code, signal=signal, seconds=seconds, message=message)
        self._event("finished", {**pairs, **more})

    def _event(self, word: str, pairs: Mapping[str, object]) -> None:
        self._writer.write(run_line(time.time_ns(), word, pairs).encode(errors="surrogateescape"))

    def close(self, exit_code: int = 0, message: str = "") -> None:
        """Ends the run log; can be repeated."""
        atexit.unregister(self.close)
        self._writer.close(exit_code, message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        else:
            self.close(1, f"{type(error).__name__}: {error}")
