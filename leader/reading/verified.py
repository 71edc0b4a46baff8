"""What is kept of a log's last verification, and whether it still says something of the bytes that are there."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from joblog.errors import JoblogError
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.reading.damage import EVENT_KIND as BYTES_MISSING
from joblog.leader.reading.verify import Verdict
from joblog.v1.types_pb2 import LOG_STATE_COMPLETED, TIER_ARCHIVE, Event, LogRecord, Verification

log = logging.getLogger(__name__)

# Events that tell of bytes which went, or came to be others.
_CHANGES = {
    BYTES_MISSING: "bytes of it turned out to be missing",
    "bytes_restored": "bytes that were missing came back",
    "archive_loss": "bytes of it were lost on the way to the archive",
    "restored": "it was restored from a backup",
}
_MAX_PROBLEM_CHARS = 500


def keep_verification(store: Store, verdict: Verdict, began_ns: int, ended_ns: int) -> Verification | None:
    """Keeps what a verification has found; blocks. None when that can't be: the verdict stands, and it is logged."""
    record = verdict.record
    kept = Verification(
        began_ns=began_ns,
        ended_ns=ended_ns,
        complete=verdict.complete,
        unchanged=verdict.unchanged,
        problem_count=len(verdict.problems),
        problem=verdict.problems[0][:_MAX_PROBLEM_CHARS] if verdict.problems else "",
        sealed=verdict.expected is not None,
        length=record.next_offset,
        sha256=verdict.found.sha256,
        gap_count=len(verdict.found.gaps),
        tier=record.tier,
        archived_offset=record.archived_offset,
        stored_bytes=record.stored_bytes,
    )
    changes = Changes()
    changes.put_verified(record.number, kept)
    try:
        store.write(changes)
    except JoblogError as error:
        log.warning("log %d: that it was verified can't be kept: %s", record.number, error)
        return None
    kept.says = _says(kept)
    return kept


def shown_verification(
    verification: Verification | None, record: LogRecord, events: Iterable[Event], restored_ns: int
) -> Verification | None:
    """For readers, with what it says in words, and what has happened to the log since, up to `record` and `events`.

    restored_ns: when the store was last restored from a backup; 0: never.
    """
    if verification is None:
        return None
    shown = Verification()
    shown.CopyFrom(verification)
    shown.says = _says(shown)
    shown.outdated = _outdated(shown, record, events, restored_ns)
    return shown


def _says(found: Verification) -> str:
    if found.problem_count:
        more = f", and {found.problem_count - 1} more" if found.problem_count > 1 else ""
        return f"not complete: {found.problem}{more}"
    ranges = "1 range is" if found.gap_count == 1 else f"{found.gap_count} ranges are"
    missing = f"; {ranges} missing, as its record says" if found.gap_count else ""
    if found.unchanged:
        return f"unchanged since it was adopted{missing}"
    if found.complete:
        return f"as it was written{missing}" if found.gap_count else "complete, as it was written"
    return f"nothing wrong in the {found.length:,} bytes that there were{missing}; it was not sealed yet"


def _outdated(found: Verification, record: LogRecord, events: Iterable[Event], restored_ns: int) -> str:
    if restored_ns > found.began_ns:
        return "the leader's store was restored from a backup"
    is_sealed = record.state == LOG_STATE_COMPLETED
    if found.length != record.next_offset:
        return f"it has {record.next_offset:,} bytes now, {found.length:,} were verified"
    if is_sealed != found.sealed:
        return "it was sealed" if is_sealed else "it is written again"
    if is_sealed and not found.problem_count and record.seal.sha256 not in (b"", found.sha256):
        return "its seal is another one"
    for event in events:
        # Of what it has found itself it tells.
        is_own = event.kind == BYTES_MISSING and found.problem_count
        if event.kind in _CHANGES and event.time_ns > found.began_ns and not is_own:
            return _CHANGES[event.kind]
    if (found.tier, found.archived_offset) != (record.tier, record.archived_offset):
        return "its bytes were moved to the archive" if record.tier == TIER_ARCHIVE else "some of its bytes were moved"
    if found.stored_bytes != record.stored_bytes:
        return "its bytes were written anew"
    return ""
