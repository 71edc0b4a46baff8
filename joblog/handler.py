"""A handler for Python's logging: a program's records as a log of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from joblog.identity import DEFAULT_NAMESPACE, LogName
from joblog.writing import LogWriter

DEFAULT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogHandler(logging.Handler):
    """Writes each record, formatted, as a line of the log run/task; records of several lines stay as they are.

    ::

        logging.getLogger().addHandler(joblog.LogHandler("nightly", "train"))

    A log has one writer: a process that is forked from this one gets the next attempt. The log is closed when logging
    shuts down, at the interpreter's end. Raises InvalidInput for names that are not allowed.
    """

    def __init__(
        self,
        run: str,
        task: str,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        attempt: int = 0,
        data_dir: Path | None = None,
        labels: Mapping[str, str] | None = None,
        level: int = logging.NOTSET,
    ) -> None:
        self._log_name = LogName(namespace, run, task, attempt)
        self._data_dir = data_dir
        self._labels = labels
        self._writer = self._open()
        super().__init__(level)
        self.setFormatter(logging.Formatter(DEFAULT_FORMAT))

    def _open(self) -> LogWriter:
        self._pid = os.getpid()
        return LogWriter(self._log_name, data_dir=self._data_dir, labels=self._labels)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; what goes wrong is reported as logging does it, and never to the program."""
        try:
            if self._pid != os.getpid():
                self._log_name = self._log_name._replace(attempt=0)
                self._writer = self._open()
            self._writer.write(self.format(record).encode(errors="backslashreplace") + b"\n")
        except Exception:  # noqa: BLE001 - the contract of logging's handlers
            self.handleError(record)

    def close(self) -> None:
        """Ends the log; records that come later are refused."""
        self._writer.close()
        super().close()
