"""A line of the audit log: one JSON object, canonical, that holds the hash of the line before it.

docs/format.md, "Audit log", describes it. Pure functions.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from joblog.errors import Corrupt
from joblog.formats import rfc3339_nano
from joblog.leader.access.audit import AuditEvent

# The first line and the last one of each log of the chain.
BEGIN, END = "audit.begin", "audit.end"
# How many events could not be kept.
LOST = "audit.lost"
NOTHING_BEFORE = "0" * 64
MAX_TEXT = 400
MAX_DETAILS = 12
MAX_KEY = 60
# Of hostile texts of that length, each character escaped; no line is longer.
MAX_LINE_BYTES = 128 << 10
FIELDS = frozenset({"action", "count", "detail", "outcome", "peer", "previous", "sequence", "subject", "time", "who"})

_SECRETS = (
    (re.compile(r"(?i)\b(jl1\.[a-z0-9]{1,40})\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*){0,2}"), r"\1.***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 ***"),
)
_HASH = re.compile(r"[0-9a-f]{64}")


_MONTH_CHARACTERS = len("2026-11")


def chain_of(run: str) -> str:
    """What the names of the runs of one chain begin with; empty for that of the store's leaders."""
    return run[:-_MONTH_CHARACTERS]


def chain_apart(store_id: str) -> str:
    """The chain of a leader that began without knowing whether there is one that it has to go on with."""
    # Sorts before any year.
    return f"0-{store_id[:12]}-"


class Head(NamedTuple):
    """Where the chain stands: the last line's sequence and SHA-256, and the log that it is in (RUN/TASK/ATTEMPT)."""

    sequence: int = 0
    sha256: str = NOTHING_BEFORE
    log: str = ""


def bounded(text: str, limit: int = MAX_TEXT) -> str:
    """A text from anywhere as it may stand in the log: without secrets, and short."""
    # Of a text of any length no more is looked at than could be left of it.
    text = text[: 8 * limit]
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def make_line(event: AuditEvent, time_ns: int, before: Head, *, count: int = 1) -> bytes:
    """The line that follows `before`, with its newline. count: so many acts alike."""
    principal = event.principal
    detail = list(event.detail.items())[:MAX_DETAILS]
    record = {
        "time": rfc3339_nano(time_ns),
        "sequence": before.sequence + 1,
        "action": bounded(event.action, MAX_KEY),
        "outcome": bounded(event.outcome, MAX_KEY),
        "who": {
            "kind": principal.kind if principal else "",
            "name": bounded(principal.name) if principal else "",
            "id": bounded(principal.id) if principal else "",
        },
        "peer": bounded(event.peer or (principal.peer if principal else "")),
        "subject": bounded(event.subject),
        "detail": {bounded(key, MAX_KEY): bounded(value) for key, value in detail},
        "count": count,
        "previous": before.sha256,
    }
    return canonical(record) + b"\n"


def canonical(record: dict[str, Any]) -> bytes:
    """The only way to write it: keys sorted, no spaces, nothing but printable ASCII."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def head_of(line: bytes, log: str) -> Head:
    """Where the chain stands after `line`, which may have its newline, in `log`. Raises Corrupt."""
    return Head(parse_line(line)["sequence"], line_hash(line), log)


def line_hash(line: bytes) -> str:
    """What the line after it holds: SHA-256 without the newline, in hex."""
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def parse_line(line: bytes) -> dict[str, Any]:
    """The line's object. Raises Corrupt when it is not one that make_line() could have made."""
    line = line.removesuffix(b"\n")
    try:
        record = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.keys() != FIELDS or not _is_canonical(record, line):
        raise Corrupt("is not a line of an audit log")
    sequence, previous, count = record["sequence"], record["previous"], record["count"]
    if not (
        _is_count(sequence)
        and _is_count(count)
        and isinstance(previous, str)
        and _HASH.fullmatch(previous)
        and all(isinstance(record[name], str) for name in ("action", "outcome", "peer", "subject", "time"))
        and all(isinstance(record[name], dict) for name in ("detail", "who"))
        and all(isinstance(text, str) for name in ("detail", "who") for text in record[name].values())
    ):
        raise Corrupt("has fields that no audit log has")
    return record


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_canonical(record: dict[str, Any], line: bytes) -> bool:
    try:
        return canonical(record) == line
    except (ValueError, RecursionError):
        return False
