"""Names of namespaces, runs, tasks and attempts: what is allowed, and ids made where none was given.

Imports next to nothing, because the supervisor of every task imports it.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from joblog.errors import InvalidInput

MAX_NAME_LENGTH = 250
MAX_ATTEMPT = 2**31 - 1
MAX_LABELS = 64
MAX_LABEL_VALUE_LENGTH = 1000
DEFAULT_NAMESPACE = "default"
RUN_LOG_TASK = "@run"
# The leader's record of who did what: read as any other log, written by the leader alone.
AUDIT_NAMESPACE = "@audit"
AUDIT_TASK = "audit"

_NAME = re.compile(r"[A-Za-z0-9_\-:+=~][A-Za-z0-9._\-:+=~]*\Z")
_ALLOWED = "1-250 characters of A-Z a-z 0-9 . _ - : + = ~, not starting with '.'"
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class LogName(NamedTuple):
    """A log's identity. Attempt 0 means: not said (the newest when reading, the next free one when writing)."""

    namespace: str
    run: str
    task: str
    attempt: int

    def __str__(self) -> str:
        place = f"{self.namespace}:{self.run}/{self.task}"
        return f"{place}/{self.attempt}" if self.attempt else place


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")


def check_name(kind: str, value: str, *, reserved: bool = False) -> str:
    """Returns `value` when it is a valid name.

    kind: what it names, for the message ("run", "task", ...). reserved: names that start with "@" are allowed too.
    The audit log's namespace is one of them. Raises InvalidInput.
    """
    reserved = reserved or (kind == "namespace" and value == AUDIT_NAMESPACE)
    body = value[1:] if reserved and value.startswith("@") else value
    if len(value) > MAX_NAME_LENGTH or not _NAME.match(body):
        raise InvalidInput(f"{kind} {_shown(value)} ({len(value)} characters) is not a valid name: {_ALLOWED}")
    return value


def check_attempt(value: int) -> int:
    """Returns `value` when it is an attempt from 1 to 2**31-1; raises InvalidInput."""
    if not 1 <= value <= MAX_ATTEMPT:
        raise InvalidInput(f"attempt {value} is out of range: an attempt is an integer from 1 to {MAX_ATTEMPT}")
    return value


def check_log_name(name: LogName, *, open_attempt: bool = False) -> LogName:
    """Returns `name` when all its parts are valid; with open_attempt, attempt 0 is too. Raises InvalidInput."""
    check_name("namespace", name.namespace)
    check_name("run", name.run)
    check_name("task", name.task, reserved=name.task == RUN_LOG_TASK)
    if not (open_attempt and name.attempt == 0):
        check_attempt(name.attempt)
    return name


def check_writable_name(name: LogName) -> LogName:
    """check_log_name() for who writes the log: joblog's own namespaces are the leader's. Raises InvalidInput."""
    if name.namespace.startswith("@"):
        raise InvalidInput(f"namespace {_shown(name.namespace)} is joblog's own: only the leader writes there")
    return check_log_name(name, open_attempt=True)


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """Returns `labels` when there are at most 64, keys are names, and values short printable texts.

    Raises InvalidInput.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"{len(labels)} labels given: at most {MAX_LABELS} are allowed")
    for key, value in labels.items():
        check_name("label", key)
        if len(value) > MAX_LABEL_VALUE_LENGTH:
            raise InvalidInput(
                f"label {key}: its value has {len(value)} characters, at most {MAX_LABEL_VALUE_LENGTH} are allowed"
            )
        if not value.isprintable():
            raise InvalidInput(f"label {key}: its value holds characters that can't be printed")
    return labels


def parse_log_path(path: str, namespace: str = DEFAULT_NAMESPACE) -> LogName:
    """RUN/TASK[/ATTEMPT] as a LogName; raises InvalidInput."""
    parts = path.split("/")
    if len(parts) not in (2, 3):
        raise InvalidInput(f"{_shown(path)} does not name a log: write RUN/TASK or RUN/TASK/ATTEMPT")
    attempt = 0
    if len(parts) == 3:
        if not parts[2].isascii() or not parts[2].isdigit() or len(parts[2]) > 10:
            raise InvalidInput(f"attempt {_shown(parts[2])} is not an integer from 1 to {MAX_ATTEMPT}")
        attempt = check_attempt(int(parts[2]))
    return check_log_name(LogName(namespace, parts[0], parts[1], attempt), open_attempt=True)


def new_run_id(now_ns: int | None = None) -> str:
    """A run id that sorts by when it was made: 10 characters of milliseconds, 10 random ones (Crockford base 32)."""
    value = ((now_ns or time.time_ns()) // 1_000_000) << 50 | int.from_bytes(os.urandom(7), "big") >> 6
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(95, -1, -5))


def name_from_command(command: str) -> str:
    """A valid task name made from a command's path: its last part, what is not allowed replaced by "-"."""
    base = re.sub(r"[^A-Za-z0-9._\-:+=~]", "-", os.path.basename(command)).lstrip(".")[:MAX_NAME_LENGTH]
    return base or "task"
