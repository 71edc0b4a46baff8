"""Writes what units print into the spools of their logs, each line once, wherever reading begins again."""

from __future__ import annotations

import json
import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from joblog.errors import JoblogError, Unavailable
from joblog.uncounted import LOST_LINES, START_MISSING
from joblog.worker.following.finished import Finished, FinishedLogs
from joblog.worker.following.outcome import outcome_of
from joblog.worker.following.spools import FROM_JOURNAL, PART, FollowedSpools, key_of_source, spool_source
from joblog.worker.journald.cursor import Cursor
from joblog.worker.journald.entry import JournalEntry
from joblog.worker.journald.units import Units, end_of
from joblog.worker.kubernetes.pods import ContainerEnd
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.pieces import Line, append_piece, pieces
from joblog.worker.spool.sealing import SpoolKey

log = logging.getLogger(__name__)

# What a process printed last may come to journald after systemd's word that it has ended.
END_SETTLE_SECONDS = 2.0
# Logs that are over are known again when reading begins before them: more of them than end between two such places.
_MAX_FINISHED = 5000
# How long the keys of sealed spools that were left are waited for.
_KEYS_SECONDS = 60.0


class _Log:
    """One that is open. last: its last entry that is written whole; behind it, `done` bytes of the next one are.

    code, signal, result: what systemd said of the end, see JournalEntry; empty until then. why: that it has ended,
    where nobody says how.
    """

    __slots__ = ("code", "done", "ended_ns", "heard_at", "last", "last_ns", "result", "signal", "why", "writer")

    def __init__(self, writer: FollowedWriter) -> None:
        self.writer = writer
        self.last: Cursor | None = None
        self.done = 0
        self.code, self.signal, self.result, self.why, self.ended_ns = -1, 0, "", "", 0
        self.last_ns = 0
        self.heard_at = time.monotonic()
        if writer.recovered is not None:
            self.last_ns = writer.recovered.last_time_ns
            self._resume(writer.recovered.position)

    def _resume(self, position: bytes) -> None:
        try:
            said = json.loads(position or b"{}")
            self.last = Cursor.parse(said["last"]) if said.get("last") else None
            self.done = int(said.get("done", 0))
            self.code, self.signal = int(said.get("code", -1)), int(said.get("signal", 0))
            self.result, self.why = str(said.get("result", "")), str(said.get("why", ""))
            self.ended_ns = int(said.get("ended", 0))
        except (JoblogError, ValueError, TypeError, AttributeError):
            log.warning("%s: how far the journal was read can't be read; what comes again is in it twice", self.source)

    def position(self) -> bytes:
        """What _resume takes."""
        said = {"last": self.last.text if self.last else "", "done": self.done, "code": self.code}
        said |= {"signal": self.signal, "result": self.result, "why": self.why, "ended": self.ended_ns}
        return json.dumps(said).encode()

    @property
    def source(self) -> str:
        """By this its spool is known again."""
        return self.writer.task.source

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.result or self.why)

    @property
    def unit(self) -> str:
        """Whose it is."""
        return self.writer.task.labels.get("systemd.unit", "")

    def has(self, entry: JournalEntry) -> bool:
        """Whether the entry is written already."""
        return self.last is not None and not entry.cursor.is_behind(self.last)

    def say(self, **said: object) -> None:
        """Notes this of it, beside no data. Raises Unavailable where there is no room."""
        before = {name: getattr(self, name) for name in said}
        for name, value in said.items():
            setattr(self, name, value)
        if not self.writer.append_decoded(b"", b"", 0, self.position()):
            for name, value in before.items():
                setattr(self, name, value)
            raise Unavailable(f"the spool of {self.writer.task.run}/{self.writer.task.task} is full")
        self.heard_at = time.monotonic()


class Recorder:
    """Belongs to one thread. spools: of the journal's logs alone. adopt: told of each new spool, so that it is shipped.

    is_whole: whether the journal is read from where each unit's first line is, as far as anybody knows.
    """

    def __init__(
        self, spools: FollowedSpools, finished: FinishedLogs, units: Units, adopt: Callable[[str], None]
    ) -> None:
        self._spools = spools
        self._finished = finished
        self._units = units
        self._adopt = adopt
        self._logs: dict[str, _Log] = {}
        self._started: dict[str, None] = {}
        self._boot = ""
        self._began = time.monotonic()
        self.is_whole = True
        spools.look()
        self._take_up()

    def _take_up(self) -> None:
        """Opens the logs that were left, where they are not ended."""
        known = {entry.source for entry in self._logs.values()}
        for source, writer in self._spools.left(known):
            log_key = key_of_source(source)
            if writer is not None:
                self._logs[log_key] = _Log(writer)
            elif self._finished.get(log_key) is None:
                self._finished.add(log_key, Finished(_part_of(source), proven=True))

    def take(self, entries: Sequence[JournalEntry], key: SpoolKey | None) -> None:
        """Writes entries, in their order. Raises Unavailable where there is no room now, OutOfSpace: what was written
        by then is not written again when they come again.
        """
        self._find_sealed()
        lines: dict[str, list[JournalEntry]] = {}
        for entry in entries:
            if entry.cursor.boot != self._boot:
                self._write_all(lines, key)
                self._see_boot(entry)
            if not entry.unit or not self._units.wants(entry.unit):
                continue
            if entry.said:
                # Behind what came before it.
                self._write_all(lines, key)
                self._hear(entry, key)
            else:
                lines.setdefault(key_of(entry), []).append(entry)
        self._write_all(lines, key)

    def _find_sealed(self) -> None:
        if self._spools.unread:
            self._spools.look(set(self._spools.unread))
            self._take_up()
            # A log whose spool may be among them must not get a second one.
            if self._spools.unread and time.monotonic() - self._began < _KEYS_SECONDS:
                raise Unavailable("the keys of this worker's spools are on their way")

    # Lines

    def _write_all(self, lines: dict[str, list[JournalEntry]], key: SpoolKey | None) -> None:
        for log_key in list(lines):
            entry = self._open(lines[log_key][0], key)
            if entry is not None:
                self._write(entry, [one for one in lines[log_key] if not entry.has(one)])
            del lines[log_key]

    def _open(self, first: JournalEntry, key: SpoolKey | None) -> _Log | None:
        """The log of an entry; None where it was ended with this entry in it."""
        log_key = key_of(first)
        if (found := self._logs.get(log_key)) is not None:
            return found
        before = self._finished.get(log_key)
        if before is not None and not _is_behind(first.cursor, before):
            return None
        part = before.part + 1 if before is not None else 1
        source = spool_source(log_key, part)
        writer = self._spools.make(source, self._units.target(first), part, key, is_certain=False)
        found = self._logs[log_key] = _Log(writer)
        if part == 1 and not self.is_whole and log_key not in self._started:
            message = "the unit had been started before the journal was read; what it printed until then is missing"
            writer.append_event(START_MISSING, message)
        self._adopt(writer.spool_id)
        return found

    def _write(self, entry: _Log, new: Sequence[JournalEntry]) -> None:
        if not new:
            return
        entry.heard_at = time.monotonic()
        ends = list(accumulate(len(one.data) for one in new))
        lines = [Line(one.stream, one.time_ns, one.data) for one in new]
        for piece in pieces(lines, entry.done, entry.writer.record_bytes):
            before = entry.last, entry.done
            whole = bisect_right(ends, piece.end)
            if whole:
                entry.last = new[whole - 1].cursor
            entry.done = piece.end - (ends[whole - 1] if whole else 0)
            last_ns = append_piece(entry.writer, piece, entry.last_ns, entry.position())
            if last_ns is None:
                entry.last, entry.done = before
                raise Unavailable(f"the spool of {entry.writer.task.run}/{entry.writer.task.task} is full")
            entry.last_ns = last_ns

    # What systemd says

    def _hear(self, entry: JournalEntry, key: SpoolKey | None) -> None:
        log_key = key_of(entry)
        if entry.said == "dropped":
            found = self._logs.get(log_key) or self._latest(entry.unit)
            if found is not None and not found.has(entry):
                self._lose(found, f"journald left {max(0, entry.dropped)} lines out, as the unit printed too fast")
                found.say(last=entry.cursor)
            return
        if entry.said == "started":
            self._started[log_key] = None
            while len(self._started) > _MAX_FINISHED:
                del self._started[next(iter(self._started))]
            self._succeed(entry)
            opened = self._open(entry, key)
            if opened is not None and not opened.has(entry):
                opened.say(last=entry.cursor)
            return
        found = self._logs.get(log_key) or (None if entry.invocation else self._latest(entry.unit))
        if found is None or found.is_over or found.has(entry):
            return
        if entry.said == "exited":
            found.say(last=entry.cursor, code=entry.code, signal=entry.signal)
        else:
            found.say(last=entry.cursor, result=entry.result, ended_ns=entry.time_ns)

    def _latest(self, unit: str) -> _Log | None:
        return next((one for one in reversed(list(self._logs.values())) if one.unit == unit), None)

    def _succeed(self, entry: JournalEntry) -> None:
        """A unit has one invocation at a time."""
        own = key_of(entry)
        for log_key, found in self._logs.items():
            if found.unit == entry.unit and log_key != own and not found.has(entry):
                self._close_without_word(found, "its unit was started again")

    def _see_boot(self, entry: JournalEntry) -> None:
        boot = entry.cursor.boot
        for found in self._logs.values():
            before = found.writer.task.started_ns < entry.time_ns
            if before and found.writer.task.labels.get("systemd.boot") != boot and not found.has(entry):
                self._close_without_word(found, "its machine was started again")
        self._boot = boot

    def _close_without_word(self, found: _Log, why: str) -> None:
        if not found.is_over:
            found.say(why=why)

    # Losses

    def lose(self, message: str) -> None:
        """Entries are missing here, nobody knows whose."""
        self.is_whole = False
        self._started.clear()
        for found in self._logs.values():
            if not found.is_over:
                self._lose(found, message)

    @staticmethod
    def _lose(found: _Log, message: str) -> None:
        log.warning("%s: %s", found.source, message)
        found.writer.append_event(LOST_LINES, message)

    # Ending

    def end_ended(self, *, why: str = "") -> None:
        """Ends logs for which nothing comes any more. why: all of them, for this reason."""
        now = time.monotonic()
        for log_key, found in list(self._logs.items()):
            if why or (found.is_over and now - found.heard_at >= END_SETTLE_SECONDS):
                self._end(log_key, found, why)

    def _end(self, log_key: str, found: _Log, why: str) -> None:
        place = found.last.text if found.last is not None else ""
        started_ns = found.writer.task.started_ns
        end: ContainerEnd | None = None
        if found.result:
            end = end_of(found.result, found.code, found.signal, found.ended_ns)
        # Before the end is written: one that is noted and not written is taken up from its spool.
        finished = Finished(_part_of(found.source), True, place)
        if self._finished.get(log_key) != finished:
            self._finished.add(log_key, finished)
        if not found.writer.end(outcome_of(end, found.why or why, started_ns)):
            return
        del self._logs[log_key], self._spools.by_source[found.source]
        known = self._finished.known()
        if len(known) > 2 * _MAX_FINISHED:
            self._finished.forget_others({*known[-_MAX_FINISHED:], *self._logs})

    @property
    def open_logs(self) -> int:
        """How many there are."""
        return len(self._logs)

    def close(self) -> None:
        """Lets go of all logs; they go on where they are taken up again."""
        for found in self._logs.values():
            found.writer.close()
        self._logs.clear()


def key_of(entry: JournalEntry) -> str:
    """By this an invocation's log is known again; where systemd gives none, a boot has one."""
    return f"{FROM_JOURNAL}{entry.unit}/{entry.invocation or entry.cursor.boot}"


def _part_of(source: str) -> int:
    _, _, part = source.partition(PART)
    return int(part) if part.isdigit() else 1


def _is_behind(cursor: Cursor, finished: Finished) -> bool:
    """Whether an entry came after a log that was ended."""
    try:
        return cursor.is_behind(Cursor.parse(finished.place))
    except JoblogError:
        # It printed nothing, or is not known: what comes later than a log's end is little.
        return False
