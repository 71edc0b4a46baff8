"""Which units are collected, and which log an invocation of one is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from joblog.errors import InvalidInput
from joblog.identity import LogName, check_name
from joblog.worker.journald.entry import JournalEntry
from joblog.worker.kubernetes.pods import ContainerEnd, LogTarget, allowed_name
from joblog.worker.kubernetes.rules import shown

_PLACEHOLDERS = ("unit", "prefix", "instance", "host")
_PLACE = re.compile(r"\{(" + "|".join(_PLACEHOLDERS) + r")\}")
# What systemd calls the ways in which a unit failed, as the words that outcomes are known by.
_REASONS = {"oom-kill": "OOMKilled", "timeout": "DeadlineExceeded", "watchdog": "DeadlineExceeded"}


@dataclass(frozen=True, slots=True)
class Units:
    """patterns: globs over units' names. run, task: templates. Raises InvalidInput."""

    patterns: Sequence[str]
    namespace: str = "default"
    run: str = "{prefix}"
    task: str = "{instance}"
    host: str = ""

    def __post_init__(self) -> None:
        check_name("namespace", self.namespace)
        for template in (self.run, self.task):
            if not template or set("{}") & set(_PLACE.sub("", template)):
                known = " ".join(f"{{{word}}}" for word in _PLACEHOLDERS)
                raise InvalidInput(f"{template[:80]!r} must be a text with {known} in it")

    def wants(self, unit: str) -> bool:
        """Whether a unit is collected."""
        return any(fnmatchcase(unit, pattern) for pattern in self.patterns)

    def target(self, entry: JournalEntry) -> LogTarget:
        """Which log an invocation is, by its first entry; its attempt is the next free one."""
        name, _, _ = entry.unit.rpartition(".")
        prefix, at, instance = (name or entry.unit).partition("@")
        values = {
            "unit": entry.unit,
            "prefix": prefix,
            "instance": instance if at and instance else prefix,
            "host": self.host,
        }
        run, task = (allowed_name(_PLACE.sub(lambda found: values[found[1]], text)) for text in (self.run, self.task))
        labels = {
            "systemd.unit": entry.unit,
            "systemd.invocation": entry.invocation,
            "systemd.boot": entry.cursor.boot,
        }
        return LogTarget(
            LogName(self.namespace, run, task, 0),
            {label: shown(value) for label, value in labels.items() if value},
            host=self.host,
            started_ns=entry.time_ns,
        )


def end_of(result: str, code: int, signal: int, ended_ns: int) -> ContainerEnd:
    """How an invocation ended. result: see JournalEntry; code: -1 where no exit was told; signal: 0 for none."""
    message = "" if result == "success" else f"systemd says: {result}"
    if signal:
        return ContainerEnd(128 + signal, signal, _REASONS.get(result, ""), message, 0, ended_ns)
    if code < 0 and result == "success":
        # systemd tells of a clean exit in its debug messages only.
        code = 0
    return ContainerEnd(code if code >= 0 else None, 0, _REASONS.get(result, ""), message, 0, ended_ns)
