"""The store of one leader: chunks, records, keys and indexes in one RocksDB."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.leader.buffer import catalog, keys
from joblog.leader.buffer.catalog import EVERY_RUN, RunFilter
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.engine import Engine, Operations
from joblog.leader.buffer.expiry import Expiry
from joblog.leader.buffer.exports import Exports
from joblog.leader.buffer.extents import read_extents, read_last_extent
from joblog.leader.buffer.folder import lock_folder
from joblog.leader.buffer.format import check_format
from joblog.leader.buffer.holds import HoldTable
from joblog.leader.buffer.holes import seams
from joblog.leader.buffer.ledger import Ledger, add_plain, read_log, read_run
from joblog.leader.buffer.log_numbers import LogNumbers
from joblog.leader.buffer.objects import ObjectTable
from joblog.leader.buffer.open_logs import OpenLogs
from joblog.leader.buffer.options import DEFAULT_OPTIONS, StoreOptions
from joblog.leader.buffer.view import (
    VIEW_FAMILIES,
    Head,
    LogEnd,
    View,
    complete_record,
    end_of,
    read_events,
    read_gaps,
    read_last_chunk,
)
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import Event, Gap, LogRecord, RunRecord, Verification

__all__ = ["Changes", "RunFilter", "Store", "StoreOptions", "StoreStats", "View", "WriterEntry"]

log = logging.getLogger(__name__)


class WriterEntry(NamedTuple):
    """What the store knows of a writer id in a task: its log's number, and whether that log was deleted."""

    number: int
    deleted: bool


class StoreStats(NamedTuple):
    """disk_bytes: all files of the store, the WAL among them. memtable_bytes, cache_bytes: of memory.

    stalls: since it was opened, tries to write that had to wait as the disk was behind.
    """

    disk_bytes: int
    memtable_bytes: int
    cache_bytes: int
    stalls: int


class Store:
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

    def get_dek(self, number: int) -> bytes | None:
        """The log's wrapped DEK."""
        return self._engine.get(keys.KEYS, keys.dek_key(number))

    def find_log(self, name: LogName) -> int | None:
        """The number of the log; attempt 0 means the newest."""
        attempt = name.attempt or self.last_attempt(name.namespace, name.run, name.task)
        value = self._engine.get(keys.INDEX, keys.attempt_key(name.namespace, name.run, name.task, attempt))
        return None if value is None else keys.number_of(value)

    def find_writer(self, namespace: str, run: str, task: str, writer_id: bytes) -> WriterEntry | None:
        """The log that this writer id opened in the task, also after it was deleted."""
        value = self._engine.get(keys.INDEX, keys.writer_key(namespace, run, task, writer_id))
        return None if value is None else WriterEntry(*keys.unpack_writer(value))

    def last_attempt(self, namespace: str, run: str, task: str) -> int:
        """The task's highest attempt; 0 when it has none."""
        prefix = keys.attempt_prefix(namespace, run, task)
        key = self._engine.cursor(keys.INDEX).seek_back(keys.after(prefix))
        return keys.parse_attempt_key(key)[3] if key is not None and key.startswith(prefix) else 0

    def deleted_among(self, numbers: Iterable[int]) -> set[int]:
        """Those of `numbers` whose log is not there (was deleted, or never was)."""
        unknown = self._open_logs.without(numbers)
        return {number for number in unknown if self._engine.get(keys.LOGS, keys.record_key(number)) is None}

    def live_logs(self) -> Iterator[LogRecord]:
        """Records of all logs that are live or interrupted, by number, as they were written.

        Their next_offset and newlines are not those of this moment, for which get_log() looks at the log's end.
        """
        for number in self.open_numbers():
            record = read_log(self._engine, number)
            if record is not None:
                yield record

    def unsealed_logs(self, limit: int, after: int = 0) -> list[int]:
        """Numbers of completed logs that are not sealed in the archive, in order, those beyond `after`."""
        begin, end = keys.unsealed_key(after + 1), keys.after(keys.unsealed_prefix())
        found = scan(self._engine, keys.INDEX, begin, end)
        return [keys.number_of(key) for key, _ in islice(found, limit)]

    def unmerged_logs(self, after: int = 0, limit: int = 100) -> list[int]:
        """Numbers, those beyond `after`, of completed logs whose small chunks are not merged yet, in order."""
        prefix = keys.unmerged_prefix()
        found = scan(self._engine, keys.INDEX, keys.unmerged_key(after + 1), keys.after(prefix))
        return [keys.number_of(key) for key, _ in islice(found, limit)]

    def deaths(self, limit: int = 100) -> list[int]:
        """Numbers of logs whose death report was not sent out yet, in order."""
        prefix = keys.death_prefix()
        found = scan(self._engine, keys.INDEX, prefix, keys.after(prefix))
        return [keys.number_of(key) for key, _ in islice(found, limit)]

    def open_numbers(self) -> list[int]:
        """Numbers of all logs that are live or interrupted, in order."""
        prefix = keys.open_prefix()
        return [keys.number_of(key) for key, _ in scan(self._engine, keys.INDEX, prefix, keys.after(prefix))]

    def rewrites(self, number: int) -> int:
        """How often a range of the log became a gap or came back; for Changes.guard(), asked before chunks are read."""
        return self._open_logs.rewrites(number)

    def extents(self, number: int, from_offset: int = 0) -> Iterator[Extent]:
        """As View.extents(), as of now; of use where nobody else changes them meanwhile."""
        return read_extents(self._engine, number, from_offset)

    def list_namespaces(
        self, after: str = "", limit: int = 1000, wanted: Callable[[str], bool] | None = None
    ) -> list[str]:
        """Namespaces with at least one run, sorted, those beyond `after`, that are wanted.

        Raises InvalidInput for a bad limit.
        """
        return catalog.list_namespaces(self._engine, after, catalog.check_limit(limit), wanted)

    def list_runs(
        self, namespace: str, where: RunFilter = EVERY_RUN, page_token: str = "", limit: int = 100
    ) -> tuple[list[RunRecord], str]:
        """(runs newest first, token of the next page or ""). Raises InvalidInput for a bad limit, state or token."""
        source = self._engine.moment((keys.RUNS, keys.INDEX))
        return catalog.list_runs(source, namespace, where, page_token, catalog.check_limit(limit))

    def get_run(self, namespace: str, run: str) -> RunRecord | None:
        """The run's record."""
        return read_run(self._engine, namespace, run)

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

    def events(self, number: int) -> list[Event]:
        """The log's events by offset and time."""
        return read_events(self._engine, number)

    def verification(self, number: int) -> Verification | None:
        """What the log's last verification has found; None when there was none."""
        value = self._engine.get(keys.LOGS, keys.verified_key(number))
        return None if value is None else Verification.FromString(value)

    def gaps(self, number: int) -> list[Gap]:
        """The log's gaps by offset."""
        return read_gaps(self._engine, number)

    def view(self) -> View:
        """One moment of the store, to read from."""
        mendings = self.damage.mendings
        view = View(self._engine.moment(VIEW_FAMILIES), self.damage, mendings, self._open_logs.tail)
        self._views.add(view)
        return view

    def get_key(self, name: bytes) -> bytes | None:
        """A record of the keyring."""
        return self._engine.get(keys.KEYS, keys.keyring_key(name))

    def put_key(self, name: bytes, value: bytes) -> None:
        """Keeps a record of the keyring; synced."""
        self._engine.write(Operations([], [], [(keys.KEYS, keys.keyring_key(name), value)]))
        self._engine.sync()

    def key_names(self, prefix: bytes) -> list[bytes]:
        """Names of the keyring's records that start with `prefix`, in order."""
        begin = keys.keyring_key(prefix)
        found = scan(self._engine, keys.KEYS, begin, keys.after(begin))
        return [keys.keyring_name(key) for key, _ in found]

    def count_deks(self) -> dict[bytes, int]:
        """How many logs' DEKs each store key has wrapped, by its id. Reads one small entry of each log."""
        found = scan(self._engine, keys.KEYS, keys.dek_key(0), keys.after(keys.dek_key(keys.MAX_U64 - 1)))
        return Counter(keys.wrapping_key_of(value) for _, value in found)

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
