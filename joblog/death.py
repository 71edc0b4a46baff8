"""Death reports: what is said, once, of a task or container that ended abnormally, or whose worker went silent.

The facts are an event of the log, as JSON; its last lines are the log's own bytes before the event's offset, so that
text lies nowhere but in the log itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from joblog.v1 import types_pb2
from joblog.values import format_size

EVENT_KIND = "death_report"
MAX_TAIL_LINES = 200
MAX_TAIL_BYTES = 64 << 10
MAX_MESSAGE_LENGTH = 1000
_MAX_JSON_LENGTH = 16 << 10

OOM_KILLED = "oom_killed"
SIGNAL = "signal"
EXIT_CODE = "exit_code"
EVICTED = "evicted"
NODE_LOST = "node_lost"
TIMED_OUT = "timed_out"
SUPERVISOR_DIED = "supervisor_died"
WORKER_SILENT = "worker_silent"


@dataclass(frozen=True, slots=True)
class Death:
    """The facts. Texts that are empty, and numbers that are None, are not known.

    reason: one of the words above. node: the machine. started_at, ended_at: RFC 3339. memory_limit_bytes: what the
    container was allowed. restarts: how often it had been started before.
    """

    reason: str
    node: str = ""
    worker: str = ""
    pod: str = ""
    container: str = ""
    started_at: str = ""
    ended_at: str = ""
    exit_code: int | None = None
    signal: int | None = None
    peak_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    restarts: int | None = None
    message: str = ""

    def known(self) -> dict[str, Any]:
        """The facts that are known, by name."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in found.items() if value not in (None, "")}

    def text(self) -> str:
        """The facts in a line, for people."""
        facts = {
            "on": self.node,
            "at": self.ended_at,
            "pod": self.pod,
            "container": self.container,
            "exit code": self.exit_code,
            "signal": self.signal,
            "restarts": self.restarts,
            "peak memory": format_size(self.peak_memory_bytes) if self.peak_memory_bytes else "",
            "memory limit": format_size(self.memory_limit_bytes) if self.memory_limit_bytes else "",
        }
        said = ", ".join(f"{name} {value}" for name, value in facts.items() if value not in ("", None))
        return self.reason.replace("_", " ") + (f" ({said})" if said else "")

    def to_json(self) -> str:
        """What the event's message is."""
        return json.dumps(self.known())


def parse_death(event: types_pb2.Event) -> Death | None:
    """The facts in an event; None where it is no death report, or is damaged."""
    if event.kind != EVENT_KIND or len(event.message) > _MAX_JSON_LENGTH:
        return None
    try:
        said = json.loads(event.message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("reason"), str):
        return None
    facts: dict[str, Any] = {}
    for item in fields(Death):
        value = said.get(item.name)
        kind = int if "int" in str(item.type) else str
        if type(value) is kind:
            facts[item.name] = value
    return Death(**facts)


def last_death(events: Any) -> tuple[types_pb2.Event, Death] | None:
    """The newest death report among a log's events, and its event."""
    found = [(event, death) for event in events if (death := parse_death(event)) is not None]
    return max(found, key=lambda one: one[0].time_ns, default=None)


def tail_of(data: bytes) -> bytes:
    """The last MAX_TAIL_LINES lines, or MAX_TAIL_BYTES, whichever is less."""
    data = data[-MAX_TAIL_BYTES:]
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(MAX_TAIL_LINES):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return data
    return data[at + 1 :]
