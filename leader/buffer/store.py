"""The store of one leader: chunks, records, keys and indexes in one RocksDB."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

from joblog.errors import JoblogError
from joblog.leader.buffer import catalog, keys
from joblog.leader.buffer.catalog import RunFilter
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.engine import Engine, Operations
from joblog.leader.buffer.expiry import Expiry
from joblog.leader.buffer.exports import Exports
from joblog.leader.buffer.extents import read_last_extent
from joblog.leader.buffer.folder import lock_folder
from joblog.leader.buffer.format import check_format
from joblog.leader.buffer.holds import HoldTable
from joblog.leader.buffer.holes import seams
from joblog.leader.buffer.ledger import Ledger, add_plain, read_log
from joblog.leader.buffer.log_numbers import LogNumbers
from joblog.leader.buffer.objects import ObjectTable
from joblog.leader.buffer.open_logs import OpenLogs
from joblog.leader.buffer.options import DEFAULT_OPTIONS, StoreOptions
from joblog.leader.buffer.records import Records
from joblog.leader.buffer.view import (
    VIEW_FAMILIES,
    Head,
    LogEnd,
    View,
    complete_record,
    end_of,
    read_last_chunk,
)
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogRecord

__all__ = ["Changes", "RunFilter", "Store", "StoreOptions", "StoreStats", "View"]

log = logging.getLogger(__name__)


class StoreStats(NamedTuple):
    """disk_bytes: all files of the store, the WAL among them. memtable_bytes, cache_bytes: of memory.

    stalls: since it was opened, tries to write that had to wait as the disk was behind.
    """

    disk_bytes: int
    memtable_bytes: int
    cache_bytes: int
    stalls: int


class Store(Records):
    """All methods are synchronous and may be called from any thread; those that touch the disk belong in a pool.

    After OutOfSpace the store goes on by itself, within seconds of there being space again; reads work all the time.
    """

    def __init__(self, path: Path, options: StoreOptions) -> None:
        """Use open()."""
        self.path = path
        # Held by writes that change records: counters are read, changed and written as one.
        self._ledger_lock = threading.Lock()
        self._views: WeakSet[View] = WeakSet()
        self._tell_held: Callable[[Mapping[tuple[str, str], int]], None] = lambda _changes: None
        # Chunks that the disk does not give back, as far as somebody has come across them.
        self.damage = Damage(path, self._spare)
        self._lock_descriptor = lock_folder(path)
        try:
            self._engine = Engine(path, options)
        except BaseException:
            os.close(self._lock_descriptor)
            raise
        try:
            self.store_id = check_format(self._engine)
            self._numbers = LogNumbers(self._engine)
            self._open_logs = OpenLogs(self._engine, self.damage)
            self.objects = ObjectTable(self._engine)
            self.holds = HoldTable(self._engine, self._ledger_lock)
            self.exports = Exports(self._engine, self._ledger_lock)
            self.expiry = Expiry(self._engine, self._ledger_lock, self.holds, self._write_records)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Path, *, options: StoreOptions = DEFAULT_OPTIONS) -> Store:
        """Opens the store in folder `path`, making it (0700) when there is none. store_id: 32 hex characters, its own.

        Raises Conflict when another process has it, WrongVersion, Corrupt, Denied, OutOfSpace.
        """
        return cls(path, options)

    def close(self) -> None:
        """Closes what reads from it and lets go of the folder; a second call does nothing."""
        for view in list(self._views):
            view.close()
        self._engine.close()
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1

    def write(
        self, changes: Changes, *, sync: bool = True, deleting: Callable[[int], None] = lambda _number: None
    ) -> None:
        """Does all of `changes` or nothing; with sync, it is on disk and synced when this returns.

        deleting: called for each log that is deleted once nothing forbids it, right before.
        Raises OutOfSpace or Unavailable (try again later), Conflict when it adds to a log that is not there or was
        deleted, or does not fit what is there, and Held. Deleting what is not there does nothing.
        """
        if changes.has_records():
            with self._ledger_lock:
                self._write_records(changes, deleting)
        else:
            self._open_logs.commit(changes, add_plain(changes, Operations([], [], [])), set())
        if sync:
            self._engine.sync()

    def _write_records(self, changes: Changes, deleting: Callable[[int], None]) -> set[int]:
        """Under the ledger's lock; the logs that were deleted."""
        ledger = Ledger(self._engine, self.holds.present, self.exports.wanted)
        operations = ledger.take(changes)
        unexported = self._unexported_bytes(ledger)
        for number in ledger.deleted_numbers:
            deleting(number)
        self._open_logs.commit(changes, operations, ledger.deleted_numbers)
        held = {place: size for place, size in ledger.held.items() if size}
        if held:
            self._tell_held(held)
        for left in unexported:
            self.exports.on_deleted(left)
        return ledger.deleted_numbers

    def _unexported_bytes(self, ledger: Ledger) -> list[int]:
        """What was to be exported of logs that are being deleted, of each of which something is left."""
        left = []
        for number, exported in ledger.unexported.items():
            record = self.get_log(number)
            if record is not None and record.next_offset > exported.offset:
                left.append(record.next_offset - exported.offset)
        return left

    def on_held(self, callback: Callable[[Mapping[tuple[str, str], int]], None]) -> None:
        """`callback(changes)` is called when what completed logs take in buffer and archive has changed, and by what.

        By namespace and token, in bytes; in the thread that writes, and under a lock of the store's.
        """
        self._tell_held = callback

    def held(self) -> Generator[tuple[tuple[str, str], int], None, None]:
        """The namespace and token of each log that is completed now, and the bytes that it takes. In one thread."""
        return self.view().held()

    @property
    def put_bytes(self) -> int:
        """Bytes of chunks that were put since the store was opened."""
        return self._open_logs.put_bytes

    def _spare(self, number: int, offset: int, is_there: bool) -> None:
        """Keeps RocksDB from reading damaged files when it compacts: it would take no write any more."""
        try:
            is_sound = self._engine.is_sound_table(keys.chunk_key(number, offset), is_there=is_there)
            # Where nothing is, and the table is sound, no file is known to be damaged.
            if is_there or not is_sound:
                self._engine.spare(tables=not is_sound)
        except (JoblogError, OSError) as error:
            log.warning("store %s: compactions may meet what is damaged: %s", self.path, error)

    def next_number(self) -> int:
        """A log number that no log of this store ever had, from 1."""
        return self._numbers.take()

    def get_log(self, number: int) -> LogRecord | None:
        """The log's record; next_offset, newlines and gaps of one that is not completed are those of this moment."""
        record = read_log(self._engine, number)
        return None if record is None else complete_record(self._engine, record, self._end_of(record))

    def _end_of(self, record: LogRecord) -> LogEnd | None:
        return None if record.state == types_pb2.LOG_STATE_COMPLETED else self.log_end(record.number)

    def log_end(self, number: int) -> LogEnd | None:
        """Where the log ends, in the buffer or the archive; None when it holds nothing."""
        # The chunk first: what a flush moves in between is then found twice rather than not at all.
        chunk = self.last_chunk(number)
        return end_of(chunk, read_last_extent(self._engine, number))

    def archived_offset(self, number: int) -> int:
        """All of the log below it is in the archive: where its first chunk in the buffer or its first hole begins."""
        with self.view() as view:
            first, end = view.first_chunk_offset(number), view.log_end(number)
            hole = next(seams(view.extents(number)), None)
        ends = [at for at in (first, hole, end and end.offset) if at is not None]
        return min(ends, default=0)

    def last_chunk(self, number: int) -> Head | None:
        """(offset, header) of the log's last chunk in the buffer; a damaged one only where its end is known."""
        tail = self._open_logs.tail(number)
        return read_last_chunk(self._engine, number, self.damage) if tail is None else tail

    def deleted_among(self, numbers: Iterable[int]) -> set[int]:
        """Those of `numbers` whose log is not there (was deleted, or never was)."""
        unknown = self._open_logs.without(numbers)
        return {number for number in unknown if self._engine.get(keys.LOGS, keys.record_key(number)) is None}

    def rewrites(self, number: int) -> int:
        """How often a range of the log became a gap or came back; for Changes.guard(), asked before chunks are read."""
        return self._open_logs.rewrites(number)

    def list_logs(
        self, namespace: str, run: str, task: str = "", page_token: str = "", limit: int = 100
    ) -> tuple[list[LogRecord], str]:
        """(logs of a run by task and attempt, token of the next page or ""); with `task`, those of that task.

        Raises InvalidInput for a bad limit or token.
        """
        limit = catalog.check_limit(limit)
        numbers, token = catalog.list_log_numbers(
            self._engine, namespace, run, task, page_token=page_token, limit=limit
        )
        found = [self.get_log(number) for number in numbers]
        return [record for record in found if record is not None], token

    def view(self) -> View:
        """One moment of the store, to read from."""
        mendings = self.damage.mendings
        view = View(self._engine.moment(VIEW_FAMILIES), self.damage, mendings, self._open_logs.tail)
        self._views.add(view)
        return view

    def put_key(self, name: bytes, value: bytes) -> None:
        """Keeps a record of the keyring; synced."""
        self._engine.write(Operations([], [], [(keys.KEYS, keys.keyring_key(name), value)]))
        self._engine.sync()

    def shred_due(self) -> bytes:
        """What shred() is to be given; empty when no file can hold the DEK of a deleted log."""
        return self._engine.get(keys.KEYS, keys.SHRED) or b""

    def shred(self, due: bytes) -> None:
        """Takes the DEKs of logs that were deleted before shred_due() gave `due` out of all files of the store.

        Reads and writes go on meanwhile. Files that an open view still needs go when that is closed.
        """
        # Before the compaction, which finds what was in memory then; all families, for the write-ahead log.
        self._engine.flush()
        self._engine.compact(keys.KEYS)
        with self._ledger_lock:
            if self.shred_due() == due:
                self._engine.write(Operations([], [(keys.KEYS, keys.SHRED)], []))

    def reclaim(self) -> int:
        """Gives the space of deleted data back to the file system: flushes and compacts. Returns the bytes freed.

        Reads and writes go on meanwhile. What an open view still sees stays.
        """
        before = self.disk_bytes()
        # All of them, as a WAL file stays for the last family that has something in it.
        for family in keys.COLUMN_FAMILIES:
            if family == keys.CHUNKS:
                self.compact_chunks()
            else:
                self._engine.compact(family)
        return max(0, before - self.disk_bytes())

    def checkpoint(self, folder: Path) -> None:
        """Makes `folder` a store that holds what this one does now; see Engine.checkpoint(). Raises OutOfSpace."""
        self._engine.checkpoint(folder)

    def stats(self) -> StoreStats:
        """What the store takes of disk and memory."""
        return StoreStats(self.disk_bytes(), *self._engine.memory(), self._engine.stalls)

    @property
    def needs_restart(self) -> bool:
        """A compaction met damage: no write is taken any more before the store was opened again."""
        return self._engine.needs_restart

    def compact_chunks(self) -> None:
        """As reclaim(), for chunks only: cheap when little is left of them, as after a flush to the archive."""
        mendings = self.damage.mendings

        def found(key: bytes) -> None:
            self.damage.found(*keys.parse_chunk_key(key), "its blob does not fit its checksum", mendings)

        self._engine.check_chunks(found)
        self._engine.compact(keys.CHUNKS)

    def disk_bytes(self) -> int:
        """Bytes of all files of the store."""
        total = 0
        for file in self.path.iterdir():
            try:
                total += file.stat().st_size
            except FileNotFoundError:
                continue
        return total
