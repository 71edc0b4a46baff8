"""How daemons log: one line per record to stderr, as text or JSON, with nothing in it that was said to be secret."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import TextIO

# A record is one line, whatever somebody managed to put into a name or message.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_LINE_BREAK = {10: "\n    "}


class _Formatter(logging.Formatter):
    """Common to both formats: time stamps in UTC with milliseconds, secrets out."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self.converter = time.gmtime
        # The longest first: one may be part of another.
        self.secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def clean(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record)} {record.levelname.lower():<8} {record.name}: "
        message = self.clean(record.getMessage()).translate(_CONTROL).translate(_LINE_BREAK)
        trace = "\n" + self.clean(self.formatException(record.exc_info)) if record.exc_info else ""
        return head + message + trace.translate(_CONTROL).translate(_LINE_BREAK)


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.clean(record.getMessage()),
        }
        if record.exc_info:
            entry["trace"] = self.clean(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not what gRPC says of each client that went away while it was written to, with a trace: nobody's fault."""
    return not (record.exc_info and type(record.exc_info[1]).__name__ == "ExecuteBatchError")


def set_up_logging(
    level: str = "info", form: str = "text", *, secrets: Sequence[str] = (), output: TextIO | None = None
) -> None:
    """Sends all of this process's log records from `level` up to stderr (or `output`).

    form: "text" or "json". secrets: texts that are replaced by *** wherever they turn up.
    """
    handler = logging.StreamHandler(output or sys.stderr)
    handler.setFormatter(_JsonFormatter(secrets) if form == "json" else _TextFormatter(secrets))
    handler.addFilter(_is_worth_a_line)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # Libraries that log each request at "info".
    for name in ("httpx", "uvicorn.access", "botocore"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
