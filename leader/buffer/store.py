"""The store of one leader: chunks, records, keys and indexes in one RocksDB."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

from joblog.errors import Conflict, Corrupt, JoblogError, WrongVersion
from joblog.identity import LogName
from joblog.leader.buffer import catalog, keys
from joblog.leader.buffer.catalog import EVERY_RUN, RunFilter
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import GAP_CHUNK_BYTES, ChunkHeader, unpack_header
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.engine import Engine, Operations
from joblog.leader.buffer.expiry import Expiry
from joblog.leader.buffer.extents import UnusedObject, read_extents, read_last_extent, read_unused
from joblog.leader.buffer.folder import lock_folder
from joblog.leader.buffer.holds import HoldTable
from joblog.leader.buffer.holes import seams
from joblog.leader.buffer.ledger import Ledger, add_plain, read_log, read_run
from joblog.leader.buffer.options import DEFAULT_OPTIONS, StoreOptions
from joblog.leader.buffer.view import (
    VIEW_FAMILIES,
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
from joblog.v1.types_pb2 import Event, Gap, LogRecord, RunRecord

__all__ = ["Changes", "RunFilter", "Store", "StoreOptions", "StoreStats", "View", "WriterEntry"]

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
_NUMBERS_AT_ONCE = 64


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
        self._number_lock = threading.Lock()
        self._next_number = self._reserved_number = 0
        # Logs known to be there and not completed, so that a chunk costs no look-up; filled as they are met. Changed,
        # as is the next, only in the callbacks of Engine.write(), which are never called by two threads at once.
        self._open_logs: set[int] = set()
        # Last chunks of such logs: (offset, the value's first bytes).
        self._tails: dict[int, tuple[int, bytes]] = {}
        # How often a range of a log's chunks was replaced by a gap, or came back, since the store was opened.
        self._rewrites: dict[int, int] = {}
        # Bytes of chunks that were put since the store was opened.
        self.put_bytes = 0
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
            self.store_id = self._check_format()
            self.holds = HoldTable(self._engine, self._ledger_lock)
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

    def _check_format(self) -> str:
        """The store's id; gives one to a new store."""
        engine = self._engine
        version = engine.get(keys.META, keys.META_FORMAT)
        if version is None:
            if not engine.is_new():
                raise Corrupt(
                    f"store {self.path}: a RocksDB without joblog's format version is none of joblog's stores"
                )
            store_id = secrets.token_hex(16)
            puts = [
                (keys.META, keys.META_FORMAT, FORMAT_VERSION.to_bytes(4, "big")),
                (keys.META, keys.META_STORE_ID, store_id.encode()),
            ]
            engine.write(Operations([], [], puts))
            engine.sync()
            return store_id
        if version != FORMAT_VERSION.to_bytes(4, "big"):
            raise WrongVersion(
                f"store {self.path} has format version {int.from_bytes(version, 'big')}; this joblog knows version "
                f"{FORMAT_VERSION}: use the joblog that wrote it"
            )
        found = engine.get(keys.META, keys.META_STORE_ID)
        if found is None:
            raise Corrupt(f"store {self.path}: its id is missing; restore a backup")
        return found.decode()

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
            self._commit(changes, add_plain(changes, Operations([], [], [])), set())
        if sync:
            self._engine.sync()

    def _write_records(self, changes: Changes, deleting: Callable[[int], None]) -> set[int]:
        """Under the ledger's lock; the logs that were deleted."""
        ledger = Ledger(self._engine, self.holds.present)
        operations = ledger.take(changes)
        for number in ledger.deleted_numbers:
            deleting(number)
        self._commit(changes, operations, ledger.deleted_numbers)
        held = {place: size for place, size in ledger.held.items() if size}
        if held:
            self._tell_held(held)
        return ledger.deleted_numbers

    def on_held(self, callback: Callable[[Mapping[tuple[str, str], int]], None]) -> None:
        """`callback(changes)` is called when what completed logs take in buffer and archive has changed, and by what.

        By namespace and token, in bytes; in the thread that writes, and under a lock of the store's.
        """
        self._tell_held = callback

    def held(self) -> Generator[tuple[tuple[str, str], int], None, None]:
        """The namespace and token of each log that is completed now, and the bytes that it takes. In one thread."""
        return self.view().held()

    def _commit(self, changes: Changes, operations: Operations, deleted: set[int]) -> None:
        tails = {number: (offset, value[:GAP_CHUNK_BYTES]) for number, offset, value in changes.chunks}
        needed = ((tails.keys() | changes.numbers()) - changes.logs.keys()) | changes.required

        def check() -> None:
            for number in needed - self._open_logs:
                record = None if number in deleted else read_log(self._engine, number)
                if record is None:
                    raise Conflict(f"log number {number} is not there: it was deleted, or its record was never written")
                if record.state != types_pb2.LOG_STATE_COMPLETED:
                    self._open_logs.add(number)
            self._check_guards(changes)

        def done() -> None:
            completed = {n for n, record in changes.logs.items() if record.state == types_pb2.LOG_STATE_COMPLETED}
            self._open_logs |= changes.logs.keys() - completed
            self._open_logs -= completed | deleted
            dropping = changes.dropping()
            self._forget_tails(changes, completed | deleted | (tails.keys() & dropping) - changes.refilled.keys())
            sealed = {n for n, record in changes.logs.items() if record.tier == types_pb2.TIER_ARCHIVE}
            rewritten = changes.rewritten()
            for number in rewritten:
                self._rewrites[number] = self._rewrites.get(number, 0) + 1
            # Not of one that is completed only: a flush that has read it before may still be under way.
            for number in sealed | deleted:
                self._rewrites.pop(number, None)
            self.put_bytes += changes.size_bytes
            self.damage.mended(rewritten | sealed | deleted)
            if self.damage.count:
                self._forget_damage(changes, sealed | deleted)
            # What is put beside a drop may stand in the middle of the log, as the gap for it does; so does what came
            # again.
            for number in (tails.keys() & self._open_logs) - dropping - rewritten:
                if tails[number][0] >= self._tails.get(number, tails[number])[0]:
                    self._tails[number] = tails[number]

        self._engine.write(operations, changes.chunks, check, done)

    def _forget_tails(self, changes: Changes, numbers: set[int]) -> None:
        """Those of the logs, and those that are dropped; of others the end is still to be known if it is damaged."""
        for number in numbers:
            self._tails.pop(number, None)
        dropped = [(number, offset, offset + 1) for number, offset in changes.single_drops]
        for number, begin, before in (*changes.chunk_drops, *dropped):
            tail = self._tails.get(number)
            # What is dropped for what came again is nobody's last chunk, or had the end that the log has still.
            if tail is not None and begin <= tail[0] < before and number not in changes.refilled:
                del self._tails[number]

    def _forget_damage(self, changes: Changes, gone: set[int]) -> None:
        for number, offset, _ in changes.chunks:
            self.damage.forget(number, offset, offset + 1)
        for number, begin, before in changes.chunk_drops:
            self.damage.forget(number, begin, before)
        for number, offset in changes.single_drops:
            self.damage.forget(number, offset, offset + 1)
        for number in gone:
            self.damage.forget(number, 0, keys.MAX_U64)

    def _spare(self, number: int, offset: int) -> None:
        """Keeps RocksDB from reading damaged files when it compacts: it would take no write any more."""
        try:
            self._engine.spare(tables=not self._engine.is_sound_table(keys.chunk_key(number, offset)))
        except (JoblogError, OSError) as error:
            log.warning("store %s: compactions may meet what is damaged: %s", self.path, error)

    def _check_guards(self, changes: Changes) -> None:
        for number, rewrites in changes.guards.items():
            if self._rewrites.get(number, 0) != rewrites:
                raise Conflict(f"log number {number}: a range was replaced meanwhile; read it again")
        for number, (begin, end) in changes.refilled.items():
            record = None if number in self._open_logs else read_log(self._engine, number)
            if record is not None and record.tier == types_pb2.TIER_ARCHIVE:
                raise Conflict(f"log number {number} is sealed: nothing is added to it")
            if any(extent.offset < end for extent in islice(read_extents(self._engine, number, begin), 1)):
                raise Conflict(f"log number {number}: what was missing is in the archive meanwhile")

    def next_number(self) -> int:
        """A log number that no log of this store ever had, from 1."""
        with self._number_lock:
            if self._next_number == self._reserved_number:
                value = self._engine.get(keys.META, keys.META_NEXT_NUMBER)
                self._next_number = 1 if value is None else keys.number_of(value)
                self._reserved_number = self._next_number + _NUMBERS_AT_ONCE
                # Not synced: the write that uses a number comes later in the same WAL, and syncing it syncs this.
                put = (keys.META, keys.META_NEXT_NUMBER, keys.u64(self._reserved_number))
                try:
                    self._engine.write(Operations([], [], [put]))
                except BaseException:
                    self._reserved_number = self._next_number
                    raise
            self._next_number += 1
            return self._next_number - 1

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

    def last_chunk(self, number: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the log's last chunk in the buffer; a damaged one only where its end is known."""
        tail = self._tail(number)
        return read_last_chunk(self._engine, number, self.damage) if tail is None else tail

    def _tail(self, number: int) -> tuple[int, ChunkHeader] | None:
        tail = self._tails.get(number)
        return None if tail is None else (tail[0], unpack_header(tail[1]))

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
        unknown = set(numbers) - self._open_logs
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
        return self._rewrites.get(number, 0)

    def roster_of(self, number: int) -> str | None:
        """The archive object that holds the log's identity and wrapped DEK while it is live."""
        value = self._engine.get(keys.INDEX, keys.roster_key(number))
        return None if value is None else value.decode()

    def object_uses(self, object_key: str) -> int:
        """How many extents and logs name an archive object; it may go when there are none."""
        value = self._engine.get(keys.INDEX, keys.uses_key(object_key))
        return 0 if value is None else keys.number_of(value)

    def unused_objects(self, limit: int = 1000, after: str = "") -> list[UnusedObject]:
        """Archive objects that may be there and that nothing names, by key, those beyond `after`.

        One that is just being put is among them.
        """
        return read_unused(self._engine, limit, after)

    def release_locked(self, now_ns: int, limit: int = 1000) -> int:
        """Has those archive objects looked at again whose lock is over by then; how many."""
        prefix = keys.locked_prefix()
        found = [key for key, _ in islice(scan(self._engine, keys.INDEX, prefix, keys.locked_key(now_ns, "")), limit)]
        puts = []
        for key in found:
            object_key = keys.parse_locked_key(key)[1]
            # One that is in use again has its older versions deleted with it.
            if not self.object_uses(object_key):
                puts.append((keys.INDEX, keys.unused_key(object_key), keys.u64(0)))
        if found:
            self._engine.write(Operations([], [(keys.INDEX, key) for key in found], puts))
        return len(found)

    def count_locked(self, limit: int) -> int:
        """How many archive objects are deleted, and of which a lock keeps versions; up to `limit`."""
        prefix = keys.locked_prefix()
        return sum(1 for _ in islice(scan(self._engine, keys.INDEX, prefix, keys.after(prefix)), limit))

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

    def gaps(self, number: int) -> list[Gap]:
        """The log's gaps by offset."""
        return read_gaps(self._engine, number)

    def view(self) -> View:
        """One moment of the store, to read from."""
        mendings = self.damage.mendings
        view = View(self._engine.moment(VIEW_FAMILIES), self.damage, mendings, self._tail)
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
