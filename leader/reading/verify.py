"""Verifying a log: every chunk is opened and checked, and all of it is held against the seal."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from joblog.errors import Interrupted, InvalidInput, NotFound
from joblog.leader.archive.fetch import ExtentReader, ObjectGone
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.reading.damage import DamageNotes
from joblog.leader.reading.scan import Opened, Scan
from joblog.leader.reading.tiers import Reach, TieredSource
from joblog.v1 import types_pb2

# progress(bytes done, bytes in all)
Progress = Callable[[int, int], None]

_MAX_PROBLEMS = 100
_PROGRESS_SECONDS = 0.2
_VIEW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a log found.

    expected: its seal; None when the log is not sealed yet (then only what is there so far was checked).
    complete: sealed, nothing is missing beyond the gaps that the seal declares, and all is as it was written.
    unchanged: of an adopted log, the same; but its seal was made when it was adopted, and proves nothing of before.
    problems: what is wrong, for people; the first 100. record: of the log, as it was when the verification began.
    kept: what the leader keeps of it; None where nothing is kept, or could be.
    """

    complete: bool
    expected: types_pb2.Seal | None
    found: types_pb2.Seal
    record: types_pb2.LogRecord
    problems: list[str] = field(default_factory=list)
    unchanged: bool = False
    kept: types_pb2.Verification | None = None


class _Check:
    """The running totals of one verification."""

    def __init__(self) -> None:
        self.at = 0
        self.newlines = 0
        self.sha256 = hashlib.sha256()
        self.gaps: list[types_pb2.Gap] = []
        self.problems: list[str] = []
        self.damaged: list[tuple[int, int]] = []

    def problem(self, message: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(message)
        elif len(self.problems) == _MAX_PROBLEMS:
            self.problems.append("there are more problems than these")

    def add(self, chunk: Opened) -> None:
        place = f"offsets {chunk.offset} to {chunk.end}"
        if chunk.lines_before != self.newlines:
            self.problem(f"{place}: stored as following {chunk.lines_before} newlines, {self.newlines} were found")
        newlines = chunk.newlines
        if chunk.raw is None:
            if chunk.damaged:
                if chunk.reason == types_pb2.GAP_REASON_SOURCE_CHANGED:
                    self.problem(f"{place}: the adopted object was changed or deleted since it was adopted")
                else:
                    self.problem(f"{place}: missing or damaged in the store, see the leader's log for why")
                if len(self.damaged) < _MAX_PROBLEMS and chunk.reason == types_pb2.GAP_REASON_LOST:
                    self.damaged.append((chunk.offset, chunk.end))
            self.gaps.append(chunk.gap())
        else:
            self.sha256.update(chunk.raw)
            newlines = chunk.raw.count(b"\n")
            if newlines != chunk.newlines:
                self.problem(f"{place}: stored as holding {chunk.newlines} newlines, {newlines} were found")
            try:
                chunk.frames()
            except InvalidInput as error:
                self.problem(f"{place}: {error}")
        self.newlines += newlines
        self.at = chunk.end

    def found(self) -> types_pb2.Seal:
        return types_pb2.Seal(length=self.at, sha256=self.sha256.digest(), newlines=self.newlines, gaps=self.gaps)

    def compare(self, seal: types_pb2.Seal) -> None:
        found = self.found()
        if found.length != seal.length:
            self.problem(f"the seal says {seal.length} bytes, {found.length} were found")
        if found.newlines != seal.newlines:
            self.problem(f"the seal says {seal.newlines} newlines, {found.newlines} were found")
        if seal.sha256 and found.sha256 != seal.sha256:
            self.problem(f"the seal says SHA-256 {seal.sha256.hex()}, the bytes have {found.sha256.hex()}")
        if _places(found) != _places(seal):
            self.problem(f"the seal lists {len(seal.gaps)} gaps, {len(found.gaps)} other ones were found")


def _places(seal: types_pb2.Seal) -> list[tuple[int, int, int]]:
    return [(gap.offset, gap.length, gap.reason) for gap in seal.gaps]


def verify_log(
    store: Store,
    number: int,
    open_cipher: Callable[[int], LogCipher],
    progress: Progress,
    *,
    stopped: Callable[[], bool] = lambda: False,
    archive: ExtentReader | None = None,
    notes: DamageNotes | None = None,
) -> Verdict:
    """Reads the whole log and holds it against its seal; blocks. Memory does not grow with the log.

    progress is called a few times a second. Raises NotFound, Corrupt when the log's key does not open, Interrupted once
    `stopped` says so.
    """
    check = _Check()
    first = _record(store.get_log(number), number)
    length = first.next_offset
    finished = False
    missing: set[str] = set()
    reach = Reach(sequential=True)
    while not finished:
        with store.view() as view:
            record = _record(view.get_log(number), number)
            source = TieredSource(view, number, record.uid, archive, reach=reach, missing=missing)
            scan = Scan(source, number, open_cipher(number), check.at, record.next_offset, foreign=source.foreign)
            try:
                finished = _scan_some(scan, check, length, progress, stopped)
            except ObjectGone as gone:
                # Its bytes have moved; when the next view names it too, they are lost.
                missing.add(gone.key)
    progress(check.at, length)
    if notes is not None:
        for begin, end in check.damaged:
            notes.note(number, begin, end)
    sealed = first.state == types_pb2.LOG_STATE_COMPLETED
    if sealed:
        check.compare(first.seal)
    good, adopted = sealed and not check.problems, first.HasField("adopted")
    return Verdict(
        good and not adopted,
        first.seal if sealed else None,
        check.found(),
        first,
        check.problems,
        unchanged=good and adopted,
    )


def _record(record: types_pb2.LogRecord | None, number: int) -> types_pb2.LogRecord:
    if record is None:
        raise NotFound(f"log number {number} was deleted")
    return record


def _scan_some(scan: Scan, check: _Check, length: int, progress: Progress, stopped: Callable[[], bool]) -> bool:
    """Checks chunks until the end (True), or until the view should be taken anew (False)."""
    began = told = time.monotonic()
    while check.at < length:
        chunk = scan.next()
        if chunk is None:
            return True
        check.add(chunk)
        if stopped():
            raise Interrupted("verifying was stopped")
        now = time.monotonic()
        if now - told > _PROGRESS_SECONDS:
            told = now
            progress(check.at, length)
        if now - began > _VIEW_SECONDS:
            return False
    return True
