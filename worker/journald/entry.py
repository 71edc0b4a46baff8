"""An entry of the journal: a line of a unit, or what systemd says about one.

Fields that begin with _ are journald's own words about who wrote an entry; all others are the writer's, and anybody may
write anything. So what systemd says counts only where journald says that process 1 wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joblog.batch import STDERR, STDOUT
from joblog.errors import InvalidInput
from joblog.worker.journald.cursor import Cursor

# What journalctl is asked for; it adds cursor, times and boot by itself.
FIELDS = (
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "UNIT",
    "INVOCATION_ID",
    "COMMAND",
    "EXIT_CODE",
    "EXIT_STATUS",
    "UNIT_RESULT",
    "N_DROPPED",
    "OBJECT_SYSTEMD_UNIT",
    "OBJECT_SYSTEMD_INVOCATION_ID",
    "_PID",
    "_TRANSPORT",
    "_LINE_BREAK",
    "_MACHINE_ID",
    "_SYSTEMD_UNIT",
    "_SYSTEMD_INVOCATION_ID",
)
# systemd, src/systemd/sd-messages.h.
STARTING, STARTED = "7d4958e842da4a758f6c1cdc7b36dcc5", "39f53479d3a045ac8e11786248231fbf"
STOPPED, SUCCESS = "9d1aaa27d60140bd96365438aad20286", "7ad2d189f7e94e70a38c781354912448"
FAILURE_RESULT, PROCESS_EXIT = "d9b373ed55a64feb8242e02dbe79a49c", "98e322203f7a4ed290d09fe03c09fe15"
DROPPED = "a596d6fe7bfa4994828e72309e95d61e"
# How a line was ended that ends with no newline (systemd.journal-fields, _LINE_BREAK).
_UNENDED = frozenset({"line-max", "eof", "pid-change"})
_MAX_UNIT_LENGTH = 255
_ERROR_PRIORITIES = frozenset({"0", "1", "2", "3"})
# The process that a unit is about, not one that only prepares or stops it.
_MAIN_COMMAND = "ExecStart"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """cursor: where it is. unit: empty for what belongs to none. invocation: which start of the unit; empty: not known.

    data: what a unit's process wrote. said: what systemd says about the unit (`started`, `exited`, `ended`), or
    journald (`dropped`); empty: it is a line. code, signal: of `exited`, -1 and 0 where they are not known. result: of
    `ended`, `success` or systemd's word for it. dropped: lines of which journald kept nothing.
    """

    cursor: Cursor
    unit: str = ""
    invocation: str = ""
    data: bytes = b""
    stream: int = STDOUT
    said: str = ""
    code: int = -1
    signal: int = 0
    result: str = ""
    dropped: int = 0

    @property
    def time_ns(self) -> int:
        """When journald got it."""
        return self.cursor.realtime_us * 1000


def parse_entry(line: bytes, machine: str = "") -> JournalEntry:
    """An entry as journalctl writes it in JSON. machine: whose units count; empty: all. Raises InvalidInput."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"journalctl gave what is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidInput("journalctl gave what is no entry")
    cursor = Cursor.parse(fields.get("__CURSOR"))
    if machine and _text(fields, "_MACHINE_ID") not in ("", machine):
        return JournalEntry(cursor)
    if _text(fields, "_TRANSPORT") == "driver" and _text(fields, "MESSAGE_ID") == DROPPED:
        unit, invocation = _unit(fields, "OBJECT_SYSTEMD_UNIT"), _text(fields, "OBJECT_SYSTEMD_INVOCATION_ID")
        return JournalEntry(cursor, unit, invocation, said="dropped", dropped=_number(fields, "N_DROPPED"))
    if _text(fields, "_PID") == "1" and (unit := _unit(fields, "UNIT")):
        return _about_unit(cursor, unit, fields)
    unit = _unit(fields, "_SYSTEMD_UNIT")
    if not unit:
        return JournalEntry(cursor)
    return JournalEntry(
        cursor,
        unit,
        _text(fields, "_SYSTEMD_INVOCATION_ID"),
        _bytes(fields.get("MESSAGE")) + (b"" if _text(fields, "_LINE_BREAK") in _UNENDED else b"\n"),
        STDERR if _text(fields, "PRIORITY") in _ERROR_PRIORITIES else STDOUT,
    )


def _about_unit(cursor: Cursor, unit: str, fields: Mapping[str, Any]) -> JournalEntry:
    kind, invocation = _text(fields, "MESSAGE_ID"), _text(fields, "INVOCATION_ID")
    if kind in (STARTING, STARTED):
        return JournalEntry(cursor, unit, invocation, said="started")
    if kind == PROCESS_EXIT and _text(fields, "COMMAND") == _MAIN_COMMAND:
        status = _number(fields, "EXIT_STATUS")
        if _text(fields, "EXIT_CODE") == "exited":
            return JournalEntry(cursor, unit, invocation, said="exited", code=status)
        return JournalEntry(cursor, unit, invocation, said="exited", signal=max(0, status))
    if kind in (SUCCESS, STOPPED, FAILURE_RESULT):
        result = (_text(fields, "UNIT_RESULT") or "failed") if kind == FAILURE_RESULT else "success"
        return JournalEntry(cursor, unit, invocation, said="ended", result=result)
    return JournalEntry(cursor)


def _text(fields: Mapping[str, Any], name: str) -> str:
    """A field's text; of several values the first; empty for bytes that are none."""
    value = fields.get(name)
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = value[0]
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _unit(fields: Mapping[str, Any], name: str) -> str:
    text = _text(fields, name)
    return text if len(text) <= _MAX_UNIT_LENGTH else ""


def _number(fields: Mapping[str, Any], name: str) -> int:
    text = _text(fields, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _bytes(value: object) -> bytes:
    """A field's bytes: journalctl gives text as it is, other bytes as numbers, several values as a list of these."""
    if isinstance(value, str):
        return value.encode(errors="replace")
    if isinstance(value, list) and value:
        if all(type(one) is int and 0 <= one < 256 for one in value):
            return bytes(value)
        return _bytes(value[0])
    return b""
