"""Takes single runs from the store in a backup into a running leader's store, under the names that they had.

A log is written as one that is live, and becomes completed by the last write: so nobody takes a half for the whole. The
numbers of those under way are noted first: what a kill left of one is deleted by the next start, or the next restore.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from joblog.errors import Conflict, Interrupted, JoblogError, NotFound
from joblog.identity import LogName, check_name
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.backup import failpoints
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_GAP, pack_gap
from joblog.leader.buffer.every import logs_of_run
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.reading.reader import CipherCache
from joblog.leader.reading.verify import Verdict, verify_log
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogRecord

log = logging.getLogger(__name__)

_WRITE_BYTES = 8 << 20
# Among the keyring's records, which are synced one by one: u64 each.
_NOTE = b"restored/taking"
RunNames = Sequence[tuple[str, str]]


def drop_half_taken(store: Store) -> int:
    """Deletes logs that were being taken from a backup when the leader was killed; how many. Raises Unavailable."""
    noted = store.get_key(_NOTE) or b""
    if not noted:
        return 0
    changes, dropped = Changes(), 0
    for at in range(0, len(noted) - 7, 8):
        record = store.get_log(int.from_bytes(noted[at : at + 8], "big"))
        if record is not None and record.state != types_pb2.LOG_STATE_COMPLETED:
            changes.drop_half(record.number)
            dropped += 1
            log.warning("%s: was being restored when the leader was killed: restore its run again", _name(record))
    if dropped:
        store.write(changes)
    store.put_key(_NOTE, b"")
    return dropped


class TakenRuns(NamedTuple):
    """logs, bytes: that were taken. there: logs that were there already. problems: what is missing of those taken."""

    logs: int
    bytes: int
    there: int
    problems: list[str]


class _Wanted(NamedTuple):
    record: LogRecord
    verdict: Verdict


class RunTaker:
    """From one store into another. Blocks; stop() may be called from any thread.

    old, old_keyring: of the backup. exists(key): whether an archive object is there; None where no archive is set.
    progress(logs, of logs).
    """

    def __init__(
        self,
        backup_id: str,
        old: Store,
        old_keyring: Keyring,
        store: Store,
        keyring: Keyring,
        *,
        archive: ExtentReader | None,
        exists: Callable[[str], bool] | None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._backup_id = backup_id
        self._old = old
        self._old_keyring = old_keyring
        self._ciphers = CipherCache(old, old_keyring)
        self._store = store
        self._keyring = keyring
        self._archive = archive
        self._exists = exists
        self._progress = progress
        self._stopped = stopped
        self._problems: list[str] = []

    def take(self, runs: RunNames) -> TakenRuns:
        """All logs of these runs; before any is written, it is looked whether all can be.

        What a kill left of an earlier try is deleted first. Raises NotFound for a run that the backup does not hold,
        Conflict for a log whose name is another one's now.
        """
        drop_half_taken(self._store)
        wanted, there = [], 0
        for namespace, run in runs:
            found = list(self._wanted(check_name("namespace", namespace, reserved=True), check_name("run", run)))
            if not found:
                raise NotFound(
                    f"backup {self._backup_id} holds no run {namespace}:{run}; it may be of before that began"
                )
            for record in found:
                if self._is_there(record):
                    there += 1
                else:
                    wanted.append(record)
        checked = [_Wanted(record, self._verify(record)) for record in wanted]
        numbers = [self._store.next_number() for _ in checked]
        total = 0
        self._store.put_key(_NOTE, b"".join(number.to_bytes(8, "big") for number in numbers))
        try:
            for taken, (number, one) in enumerate(zip(numbers, checked, strict=True), start=1):
                self._check_stopped()
                self._write(number, one)
                total += int(one.verdict.found.length)
                self._progress(taken, len(checked))
        finally:
            # A half of the one that failed is worse than none.
            drop_half_taken(self._store)
        return TakenRuns(len(checked), total, there, self._problems)

    def _check_stopped(self) -> None:
        if self._stopped():
            raise Interrupted("the leader is stopping; logs that were taken stay, run it again for the others")

    def _wanted(self, namespace: str, run: str) -> Iterator[LogRecord]:
        return logs_of_run(self._old, namespace, run)

    def _is_there(self, record: LogRecord) -> bool:
        """Whether the leader has just this log. Raises Conflict when it has another of that name, or other bytes."""
        name = _name(record)
        number = self._store.find_log(name)
        mine = self._store.get_log(number) if number is not None else None
        if mine is None:
            return False
        if mine.uid != record.uid:
            raise Conflict(
                f"{name}: there is another log of that name here, begun later: delete that one first, or leave it"
            )
        if mine.state == types_pb2.LOG_STATE_COMPLETED and record.state == types_pb2.LOG_STATE_COMPLETED:
            if mine.seal == record.seal:
                return True
            raise Conflict(f"{name}: is here, and with another seal: delete it first, or leave it")
        if mine.next_offset >= record.next_offset and mine.state != types_pb2.LOG_STATE_INTERRUPTED:
            raise Conflict(
                f"{name}: is here, with {mine.next_offset} bytes; the backup has {record.next_offset}: leave it"
            )
        raise Conflict(f"{name}: is here, and not completed: delete it first, or leave it")

    def _verify(self, record: LogRecord) -> Verdict:
        """Reads the log whole, so that what is missing is known before anything is written."""
        name = _name(record)
        archived = any(True for _ in self._old.extents(record.number))
        if archived and self._archive is None:
            raise Conflict(f"{name}: its bytes lie in an archive, not in the backup, and none is set: set archive.url")
        try:
            verdict = verify_log(
                self._old,
                record.number,
                self._ciphers.open,
                lambda _done, _all: None,
                stopped=self._stopped,
                archive=self._archive,
            )
        except Interrupted:
            raise
        except JoblogError as error:
            raise type(error)(f"{name}: can't be read from the backup: {error}") from None
        if (
            verdict.problems
            and record.next_offset
            and sum(gap.length for gap in verdict.found.gaps) >= record.next_offset
        ):
            raise NotFound(
                f"{name}: nothing is left of it: its bytes lay in the archive when the backup was made, and were "
                "deleted there since"
            )
        self._problems.extend(f"{name}: {problem}" for problem in verdict.problems)
        return verdict

    def _write(self, number: int, wanted: _Wanted) -> None:
        old = wanted.record
        wrapped = self._old.get_dek(old.number)
        assert wrapped is not None
        record = LogRecord()
        record.CopyFrom(old)
        record.number = number
        record.state = types_pb2.LOG_STATE_LIVE
        for name in ("seal", "outcome", "completed_ns"):
            record.ClearField(name)
        changes = Changes()
        changes.put_log(record)
        changes.put_dek(number, self._keyring.wrap_dek(old.uid, self._old_keyring.open_dek(old.uid, wrapped)))
        for event in self._old.events(old.number):
            changes.put_event(number, event)
        changes.gaps.extend((number, gap) for gap in self._old.gaps(old.number))
        for extent in self._old.extents(old.number):
            if self._exists is not None and self._exists(extent.object):
                changes.put_extent(number, extent)
        self._store.write(changes)
        failpoints.reach("taking.begun")
        self._write_chunks(number, old.number)
        failpoints.reach("taking.written")
        done = self._completed(number, wanted)
        changes = Changes()
        changes.put_log(done)
        note = f"the log was restored from backup {self._backup_id}"
        changes.put_event(
            number,
            types_pb2.Event(offset=done.next_offset, time_ns=time.time_ns(), kind="restored", message=note),
        )
        self._store.write(changes)
        failpoints.reach("taking.completed")

    def _write_chunks(self, number: int, old_number: int) -> None:
        at = 0
        while True:
            self._check_stopped()
            changes = Changes()
            with self._old.view() as view:
                for offset, header, sealed in view.chunks(old_number, at):
                    if offset < at:
                        continue
                    value = pack_gap(header) if header.kind == KIND_GAP else header.pack() + sealed
                    changes.put_chunk(number, offset, value)
                    at = offset + max(1, header.raw_length)
                    if changes.size_bytes >= _WRITE_BYTES:
                        break
            if not changes:
                return
            self._store.write(changes)

    def _completed(self, number: int, wanted: _Wanted) -> LogRecord:
        old, found = wanted.record, wanted.verdict.found
        record = LogRecord()
        record.CopyFrom(old)
        record.number = number
        if old.state != types_pb2.LOG_STATE_COMPLETED:
            record.seal.CopyFrom(found)
            record.outcome.message = f"restored from backup {self._backup_id}, when it was not completed yet"
            record.completed_ns = time.time_ns()
            record.next_offset, record.newlines = found.length, found.newlines
        record.state = types_pb2.LOG_STATE_COMPLETED
        if not any(True for _ in self._store.extents(number)):
            record.tier = types_pb2.TIER_BUFFER
        return record


def _name(record: LogRecord) -> LogName:
    return LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)
