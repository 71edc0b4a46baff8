"""Reads a spool back: checked records in order, what is missing declared as gaps, torn tails cut.

One reader per spool at a time (the shipper). All calls are synchronous and quick; none waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from joblog.errors import Corrupt, NotFound
from joblog.worker.spool.bound import segment_sizes
from joblog.worker.spool.control import Control
from joblog.worker.spool.format import (
    CODEC_NONE,
    CONTROL_ACKED,
    CONTROL_DAMAGED,
    CONTROL_DROPPED,
    CONTROL_ENDED,
    CONTROL_LENGTH,
    CONTROL_RELEASED,
    CONTROL_WAKE_AT,
    DATA,
    END,
    EVENT,
    FOLLOWED,
    GAP,
    LOCK_FILE,
    LOST,
    POSITION,
    SPOOL_FULL,
    TASK_FILE,
    Header,
    SpoolTask,
    segment_name,
)
from joblog.worker.spool.merge import merge
from joblog.worker.spool.record import EndRecord, Record, cut_before, record_at
from joblog.worker.spool.scan import DAMAGED, EOF, SHORT, WHOLE, SegmentScan, segment_numbers
from joblog.worker.spool.sealing import SpoolKey, no_keys, open_task

__all__ = ["EndRecord", "Record", "SpoolReader", "list_spools", "merge"]


class SpoolReader:
    """A spool folder opened for reading, at offset 0.

    task: what task.json says. offset: where the next read goes on. lines: newlines in the log before it.
    ended: the end record, once the reader has come to it; nothing follows it. keys: finds the key of a sealed spool by
    its id. Raises NotFound when the folder has no task.json (yet), Unavailable when its key is not at hand, Corrupt,
    WrongVersion.
    """

    def __init__(
        self, folder: Path, keys: Callable[[str], SpoolKey | None] = no_keys, *, is_second: bool = False
    ) -> None:
        """is_second: see second()."""
        self.folder = folder
        self._keys = keys
        self._is_second = is_second
        self.spool_id = folder.name
        try:
            self.task: SpoolTask
            self.task, self._cipher = open_task(str(folder), keys)
            self._control = Control(str(folder))
            self._lock = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"{error.filename}: not there; {folder} is no spool, or not one yet") from None
        except ValueError as error:
            raise Corrupt(f"{error}; move {folder} away to go on") from None
        self.offset = 0
        self.lines = 0
        self._lines_known = True
        self.ended: EndRecord | None = None
        self._alive = True
        self._scan: SegmentScan | None = None
        self._passed = 0
        # No segment before it is there any more.
        self._oldest = 1
        self._damage_seen = False
        self._first_offsets: dict[int, int] = {}

    def second(self) -> SpoolReader:
        """Another reader of the same spool, at offset 0, which leaves it as it is: what this one meets is not noted."""
        return SpoolReader(self.folder, self._keys, is_second=True)

    @property
    def length(self) -> int:
        """The log's length so far, as the supervisor last said."""
        return self._control.get(CONTROL_LENGTH)

    def alive(self) -> bool:
        """Whether the supervisor lives. Dead, `read` answering [] and `ended` None: the log ends at `offset`.

        Who follows files counts as alive until it has ended the log: it goes on when it is started again.
        """
        if self.task.kind == FOLLOWED:
            return self._control.get(CONTROL_ENDED) == 0
        if self._alive:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._alive = False
        return False

    def seek(self, offset: int, lines: int | None = None) -> None:
        """Goes on at `offset`, also inside a record (the next read splits it) or before what is still kept (a gap).

        Events tied to `offset` come again. lines: newlines before `offset`, for a caller that knows; a gap that begins
        there tells its newlines exactly then.
        """
        if lines is not None or offset == 0:
            self.lines, self._lines_known = lines or 0, True
        elif offset != self.offset:
            self.lines, self._lines_known = 0, False
        self._close_scan()
        self.offset = offset
        self.ended = None
        self._damage_seen = False
        numbers = segment_numbers(self.folder)
        self._passed = numbers[0] - 1 if numbers else 0
        for number in numbers:
            first = self._first_offset(number)
            # What ends where another one begins may end with events that are tied to that offset.
            if first is not None and first >= offset:
                break
            if first is not None:
                self._passed = number - 1

    def _first_offset(self, number: int) -> int | None:
        if number not in self._first_offsets:
            try:
                scan = SegmentScan(self.folder, number, sealed=self._cipher is not None)
            except FileNotFoundError:
                return None
            scan.close()
            if scan.first_offset is None:
                return None
            self._first_offsets[number] = scan.first_offset
        return self._first_offsets[number]

    def read(self, max_bytes: int) -> list[Record]:
        """The next records, up to max_bytes raw bytes together but at least one where there is one; [] at the end.

        When the supervisor is dead, a torn tail is cut, and what it is known to have captured beyond it is a gap.
        """
        records: list[Record] = []
        room = max_bytes
        while self.ended is None:
            record = self._next(room if records else None)
            if record is None:
                break
            records.append(record)
            room -= record.raw_length if record.kind == DATA else 0
            if room <= 0:
                break
        return records

    def _next(self, room: int | None) -> Record | None:
        """The next record; None where there is none (yet), or where a data record has more bytes than `room`."""
        while True:
            scan = self._scan or self._open_next()
            if scan is None:
                return None if self.alive() or self._open_next() is not None else self._rest_lost()
            if scan.first_offset is None or scan.look() != WHOLE:
                go_on = self._pass_obstacle(scan)
                if go_on is None:
                    return self._rest_lost()
                if not go_on:
                    return None
                continue
            header = scan.header
            if header.kind == POSITION:
                scan.skip()
            elif self._is_behind(header):
                if header.offset + header.raw_length == self.offset:
                    self.lines, self._lines_known = header.lines_before + header.newlines, True
                scan.skip()
            elif header.offset > self.offset:
                return self._gap_to(header)
            elif room is not None and header.kind == DATA and header.raw_length > room:
                return None
            else:
                record = self._take(scan, header)
                if record is not None or self.ended is not None:
                    return record

    def _is_behind(self, header: Header) -> bool:
        if header.kind in (DATA, GAP):
            return header.offset + header.raw_length <= self.offset
        return header.kind == EVENT and header.offset < self.offset

    def _take(self, scan: SegmentScan, header: Header) -> Record | None:
        """Hands out the record at the scan's position, its first part cut off where the reader is inside it.

        None for the end record, and for one that does not open: what it held becomes a gap.
        """
        try:
            record = record_at(header, scan.data, scan.at, self._cipher)
        except Corrupt:
            scan.skip()
            self._damage_seen = True
            return None
        scan.skip()
        self.lines, self._lines_known = header.lines_before + header.newlines, True
        if header.kind == END:
            self.ended = self._end(record)
            return None
        if header.kind == EVENT:
            return record
        if record.offset < self.offset:
            record = cut_before(record, self.offset)
        self._damage_seen = False
        self.offset = record.offset + record.raw_length
        return record

    def _end(self, record: Record) -> EndRecord:
        try:
            fields = json.loads(record.body)
            sha256 = b"" if self._control.get(CONTROL_DAMAGED) else bytes.fromhex(fields["sha256"])
            return EndRecord(int(fields["length"]), sha256, int(fields["newlines"]), dict(fields["outcome"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{self.folder}: the end record is not as it must be: {error!r}") from None

    def _gap_to(self, header: Header) -> Record:
        dropped = header.offset <= self._control.get(CONTROL_DROPPED) and not self._damage_seen
        newlines = max(0, header.lines_before - self.lines) if self._lines_known else 0
        return self._gap(header.offset, newlines, SPOOL_FULL if dropped else LOST)

    def _gap(self, end: int, newlines: int, reason: str) -> Record:
        """Declares [offset, end) missing and goes on behind it. A hash of all bytes is no proof any more then."""
        if reason == LOST and not self._is_second:
            self._control.put(CONTROL_DAMAGED, 1)
        body = json.dumps({"reason": reason}).encode()
        gap = Record(GAP, self.offset, end - self.offset, CODEC_NONE, b"", b"", newlines, self.lines, 0, 0, body)
        self.offset = end
        self.lines += newlines
        self._damage_seen = False
        return gap

    def _open_next(self) -> SegmentScan | None:
        """Opens the first segment behind those passed; None when there is none."""
        for number in segment_numbers(self.folder):
            if number > self._passed:
                try:
                    self._scan = SegmentScan(self.folder, number, sealed=self._cipher is not None)
                except FileNotFoundError:
                    continue  # dropped just now
                return self._scan
        return None

    def _pass_obstacle(self, scan: SegmentScan) -> bool | None:
        """What to do where no whole record is: True: look again; False: wait; None: the log ends here.

        Whether there is a later segment and whether the supervisor lives is asked before the file is looked at again:
        what is not whole after that never will be.
        """
        numbers = segment_numbers(self.folder)
        is_last = not numbers or numbers[-1] <= scan.number
        is_dead = is_last and not self.alive()
        state = self._look_again(scan)
        if state == WHOLE:
            return True
        if state == DAMAGED and scan.skip_damaged():
            self._damage_seen = True
            return True
        if not is_last:
            self._damage_seen |= state != EOF
            self._close_scan()
            return True
        if not is_dead:
            return False
        if state != EOF and self._scan is scan and not self._is_second:
            scan.cut()
        return None

    def _look_again(self, scan: SegmentScan) -> int:
        if scan.first_offset is not None:
            return scan.look(afresh=True)
        self._close_scan()
        try:
            self._scan = SegmentScan(self.folder, scan.number, sealed=self._cipher is not None)
        except FileNotFoundError:
            return EOF
        return SHORT if self._scan.first_offset is None else WHOLE

    def _rest_lost(self) -> Record | None:
        """At the end of a log whose supervisor is dead: what it had captured and is not there, as a gap."""
        end = self.length
        return self._gap(end, 0, LOST) if end > self.offset else None

    def arm(self, wake_at: int) -> bool:
        """Asks the supervisor for one datagram to D/worker/notify.sock once the log has wake_at bytes, or ends.

        Returns True when that is so already (then none may come: read on). A supervisor that dies sends none: look at
        `alive` now and then.
        """
        self._control.put(CONTROL_WAKE_AT, wake_at)
        return self.length >= wake_at or not self.alive()

    def set_acked(self, offset: int) -> None:
        """Notes that the leader has every byte below `offset`, for those who show a status."""
        self._control.put(CONTROL_ACKED, offset)

    def release(self, acked_offset: int) -> None:
        """Unlinks the segments all of whose bytes lie below acked_offset and which are no longer written to.

        The supervisor does the same on its own when its spool is full.
        """
        self.allow_release(acked_offset)
        if self._scan is not None and self._scan.number <= self._oldest:
            # The usual case of a short log, whose folder need not be looked at with each ack.
            return
        numbers = segment_numbers(self.folder)
        for number, following in pairwise(numbers):
            end = self._first_offset(following)
            if end is None or end > acked_offset or (self._scan is not None and number >= self._scan.number):
                break
            (self.folder / segment_name(number)).unlink(missing_ok=True)
            self._first_offsets.pop(number, None)
            self._oldest = following

    def allow_release(self, offset: int) -> None:
        """Lets the supervisor unlink what lies below the offset, which it does when its spool is full."""
        self._control.put(CONTROL_RELEASED, offset)

    def pending_bytes(self) -> int:
        """Bytes of the log captured and not yet acked."""
        return max(0, self.length - self._control.get(CONTROL_ACKED))

    def disk_bytes(self) -> int:
        """Bytes that the spool's segments take on disk."""
        return sum(segment_sizes(str(self.folder)).values())

    def _close_scan(self) -> None:
        if self._scan is not None:
            self._passed = self._scan.number
            self._scan.close()
            self._scan = None

    def close(self) -> None:
        """Closes the files; the spool stays."""
        self._close_scan()
        self._control.close()
        os.close(self._lock)

    def remove(self) -> None:
        """Closes, and deletes the folder with all it holds. For after the leader's Closed."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def list_spools(spool_root: Path) -> list[Path]:
    """The spool folders below D/worker/spool that have a task.json, oldest first; [] when there is none."""
    try:
        names = sorted(os.listdir(spool_root))
    except FileNotFoundError:
        return []
    return [spool_root / name for name in names if (spool_root / name / TASK_FILE).is_file()]
