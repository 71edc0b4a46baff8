"""RocksDB as the store uses it: reads, one atomic write, sync, moments, and its errors as joblog's.

rocksdict holds the interpreter lock in write(), get() and while an iterator moves, also through an fsync or a write
stall, which would stop the whole process; flush_wal(), flush() and compact_range() let go of it (seen with a second
thread: 416 ms standstill in a synced write of 60 MB, under 1 ms in flush_wal). Therefore: writes never sync; flush_wal
does, and it covers WAL files that a memtable flush closed in between; and writes are told not to wait in a stall
(no_slowdown): this module waits instead, asleep. Known to be wrong in rocksdict 0.3.29, and avoided here:
set_iterate_lower_bound sets the upper bound, a bound's bytes are not kept alive, Snapshot.iter() forgets its snapshot.

Its RocksDB computes checksums of blobs in software, 0.9 GB/s on a machine where ours reach 20, and an iterator reads a
blob as soon as it comes to it: a damaged one could not even be passed. So chunks are read without RocksDB's checksums,
and who reads them holds each against its own check: see walk.py.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rocksdict import (
    BottommostLevelCompaction,
    Cache,
    Checkpoint,
    ColumnFamily,
    CompactOptions,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from joblog.errors import Corrupt, JoblogError, Unavailable, WrongVersion
from joblog.leader.buffer.cursor import READAHEAD_BYTES, Cursor, Moment, Place, read_options
from joblog.leader.buffer.failures import STALL, Doing, disk_failure, failure
from joblog.leader.buffer.keys import CHUNKS, chunk_key
from joblog.leader.buffer.options import (
    ALL_FAMILIES,
    BLOB_GC_AGE_CUTOFF,
    Spared,
    StoreOptions,
    database_options,
    family_options,
    spared_options,
)
from joblog.leader.buffer.sparing import Sparing, fault_of

_SYNC_MARK = "synced.joblog"
_STALL_PAUSE_SECONDS = 0.003
_LONG_FLUSH_SECONDS = 0.1
_GC_CUTOFF = "blob_garbage_collection_age_cutoff"


class Operations(NamedTuple):
    """What one atomic write does, in this order: ranges (family, from, before) deleted, keys deleted, values put."""

    ranges: list[tuple[str, bytes, bytes]]
    deletes: list[tuple[str, bytes]]
    puts: list[tuple[str, bytes, bytes]]


def _nothing() -> None:
    pass


class Engine:
    """One open RocksDB. All methods may be called from any thread."""

    def __init__(self, path: Path, options: StoreOptions) -> None:
        self.path = path
        self._reading = Doing(path, "read")
        self._options = options
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = True
        # Held while a batch enters the memtables and while the iterators of a moment are made: no batch can lie half
        # before and half after it.
        self._moment = threading.Lock()
        self._mark_lock = threading.Lock()
        self._reached = 0
        # Refused tries to write while flushes or compactions were behind.
        self.stalls = 0
        # No write is taken any more before the store was opened again.
        self.needs_restart = False
        try:
            self._mark = os.open(path / _SYNC_MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise disk_failure(error, path) from error
        self._cache = Cache(options.cache_bytes)
        self._sparing = Sparing(path)
        self._database: Rdict | None = None
        self._families: dict[str, Rdict] = {}
        self._handles: dict[str, ColumnFamily] = {}
        try:
            self._database = database = self._open()
            for name in ALL_FAMILIES:
                self._families[name] = database.get_column_family(name)
                self._handles[name] = database.get_column_family_handle(name)
            self._check_mark(database.latest_sequence_number())
        except BaseException:
            self.close()
            raise

    def _open(self) -> Rdict:
        path, names = self.path, set(ALL_FAMILIES)
        try:
            if (path / "CURRENT").exists():
                unknown = sorted(set(Rdict.list_cf(str(path))) - names)
                if unknown:
                    raise WrongVersion(f"store {path}: column families {unknown} are not known to this joblog")
            families = {name: family_options(name, self._options, self._cache, self._sparing.spared) for name in names}
            return Rdict(str(path), database_options(self._options), column_families=families)
        except JoblogError:
            raise
        except Exception as error:
            text = str(error)
            if "No such file" in text or text.startswith("Invalid argument"):
                raise Corrupt(f"store {path}: files are missing or not a store's; restore a backup: {text}") from None
            raise failure(error, path, "open") from error

    def _check_mark(self, found: int) -> None:
        """Raises Corrupt when recovery ended before the last write that is known to have been synced."""
        mark = int.from_bytes(os.pread(self._mark, 8, 0), "big")
        if found < mark:
            raise Corrupt(
                f"store {self.path}: its write-ahead log is damaged: writes up to {mark} had been synced, only those "
                f"up to {found} can be read. Restore a backup, or remove {_SYNC_MARK} to go on with what is left"
            )

    def spare(self, *, tables: bool) -> None:
        """Blobs of chunks are damaged, or tables: compactions leave them alone, also once the store is opened again."""
        wanted = Spared.TABLES if tables else Spared.BLOBS
        with Doing(self.path, "keep compactions from damaged files"):
            if self._sparing.more(wanted):
                self._family(CHUNKS).set_options(spared_options(wanted))

    def check_chunks(self, damaged: Callable[[bytes], None]) -> None:
        """Reads all chunks, as a compaction would, and has compactions leave alone what is damaged, and nothing else.

        damaged: told of the keys of damaged blobs.
        """
        with self._reading:
            checking = self._checking()
            checking.seek_to_first()
        found = Spared.NOTHING
        passing = self.cursor(CHUNKS)
        last = b""
        while (fault := fault_of(checking)) or checking.valid():
            if not fault:
                last = checking.key()
                checking.next()
                continue
            key = passing.seek(last)
            key = passing.next() if key == last else key
            if fault is Spared.TABLES or key is None:
                self.spare(tables=True)
                return
            found = fault
            damaged(key)
            last = key
            if (following := passing.next()) is None:
                break
            checking.seek(following)
        if found is Spared.BLOBS:
            self.spare(tables=False)
        elif self._sparing.spared is not Spared.NOTHING:
            with Doing(self.path, "compact as usual"):
                self._sparing.nothing()
                self._family(CHUNKS).set_options(spared_options(Spared.NOTHING))

    def is_sound_table(self, key: bytes, *, is_there: bool = True) -> bool:
        """Whether the table with this key of chunks, or where it would be, is not damaged as far as can be seen."""
        checking = self._checking()
        checking.seek(key)
        is_sound = fault_of(checking) is not Spared.TABLES
        return is_sound and (not is_there or not checking.valid() or bool(checking.key() == key))

    def _checking(self) -> RdictIter:
        options = ReadOptions()
        options.set_readahead_size(READAHEAD_BYTES)
        options.fill_cache(False)  # type: ignore[call-arg] # the stub forgets its argument
        with self._reading:
            return self._family(CHUNKS).iter(options)

    def close(self) -> None:
        """Writes out what is in memory and closes; a second call does nothing."""
        with self._moment:
            families, self._families, self._handles = self._families, {}, {}
            database, self._database = self._database, None
        for opened in (*families.values(), database):
            # What can't be flushed now, on a full disk, is in the WAL and comes back from there.
            with contextlib.suppress(Exception):
                if opened is not None:
                    opened.close()
        with self._mark_lock:
            if self._mark >= 0:
                os.close(self._mark)
                self._mark = -1

    def _open_database(self) -> Rdict:
        if self._database is None:
            raise Unavailable(f"store {self.path} is closed")
        return self._database

    def _family(self, name: str) -> Rdict:
        try:
            return self._families[name]
        except KeyError:
            raise Unavailable(f"store {self.path} is closed") from None

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value under `key`."""
        with self._reading:
            value: bytes | None = self._family(family).get(key)
        return value

    def cursor(self, family: str, before: bytes | None = None) -> Cursor:
        """A cursor over a family's keys, those less than `before`."""
        with self._reading:
            iterator = self._family(family).iter(read_options(family, before))
        return Cursor(Place(iterator), before, self._reading)

    def moment(self, families: tuple[str, ...]) -> Moment:
        """One moment of all of `families`."""
        with self._moment, self._reading:
            places = {name: Place(self._family(name).iter(read_options(name, None))) for name in families}
        return Moment(places, self.path)

    def write(
        self,
        operations: Operations,
        chunks: Sequence[tuple[int, int, bytes]] = (),
        check: Callable[[], None] = _nothing,
        done: Callable[[], None] = _nothing,
    ) -> None:
        """Does all of it or nothing, in memory and WAL, not yet synced; chunks: (number, offset, value) to put.

        check, done: called right before and after, with all other writes held up; what check raises stops the write.
        Raises OutOfSpace, or Unavailable when flushes do not catch up within StoreOptions.stall_seconds.
        """
        deadline = time.monotonic() + self._options.stall_seconds
        while True:
            # Made anew for each try: rocksdict uses a batch up, also when the write is refused.
            batch = self._batch(operations, chunks)
            with self._moment:
                database = self._open_database()
                check()
                try:
                    database.write(batch, self._write_options)
                except Exception as error:
                    if not str(error).startswith(STALL) or time.monotonic() > deadline:
                        raise self._refused(error) from error
                    self.stalls += 1
                else:
                    done()
                    return
            time.sleep(_STALL_PAUSE_SECONDS)

    def _refused(self, error: Exception) -> JoblogError:
        """What a write was refused for. Damage that a compaction met before anybody else lasts until the next start."""
        refused = failure(error, self.path, "write")
        if not isinstance(refused, Corrupt):
            return refused
        self.needs_restart = True
        self._sparing.more(Spared.TABLES)
        return Corrupt(
            f"store {self.path}: a compaction met damaged files, and nothing is written any more until the leader is "
            f"started again; from then on compactions leave them alone: {error}"
        )

    def _batch(self, operations: Operations, chunks: Sequence[tuple[int, int, bytes]]) -> WriteBatch:
        handles = self._handles
        if not handles:
            raise Unavailable(f"store {self.path} is closed")
        batch = WriteBatch(raw_mode=True)
        for family, begin, before in operations.ranges:
            batch.delete_range(begin, before, handles[family])
        for family, key in operations.deletes:
            batch.delete(key, handles[family])
        for family, key, value in operations.puts:
            batch.put(key, value, handles[family])
        put, handle = batch.put, handles[CHUNKS]
        for number, offset, value in chunks:
            put(chunk_key(number, offset), value, handle)
        return batch

    def sync(self) -> None:
        """Returns when every write that was done before the call is on the disk. Lets other threads run meanwhile."""
        database = self._open_database()
        reached = database.latest_sequence_number()
        with Doing(self.path, "sync"):
            database.flush_wal(sync=True)
        # Not synced itself: after a power cut it may be behind, never ahead of the truth.
        with self._mark_lock:
            if self._mark >= 0 and reached > self._reached:
                self._reached = reached
                os.pwrite(self._mark, reached.to_bytes(8, "big"), 0)

    def flush(self) -> None:
        """Writes what is in memory to table files, of all families: the write-ahead log from before is not needed."""
        with Doing(self.path, "flush"):
            for name in ALL_FAMILIES:
                self._family(name).flush()

    def checkpoint(self, folder: Path) -> None:
        """Makes `folder`, which must not be there yet, hold all that was written before the call, and nothing torn.

        Files that never change are linked, so that it costs little and needs the same file system. Writes go on.
        """
        # What is in memory is written out before: making a checkpoint does that too, and holds the interpreter lock.
        began = time.monotonic()
        self.flush()
        if time.monotonic() - began > _LONG_FLUSH_SECONDS:
            self.flush()
        self.sync()
        with self._mark_lock:
            mark = self._reached
        with Doing(self.path, "make a checkpoint of"):
            Checkpoint(self._open_database()).create_checkpoint(str(folder))
            (folder / _SYNC_MARK).write_bytes(mark.to_bytes(8, "big"))
            self._sparing.copy_to(folder)

    def compact(self, family: str) -> None:
        """Flushes and compacts a whole family, so that deleted data leaves the disk. Takes long where much lies.

        Chunks of which tables are damaged are left as they are.
        """
        if family == CHUNKS and self._sparing.spared is Spared.TABLES:
            return
        options = CompactOptions()
        # Not only where a filter asks for it: the last level holds the blob references that keep files alive.
        options.set_bottommost_level_compaction(BottommostLevelCompaction.force_optimized())
        with Doing(self.path, "compact"):
            rdict = self._family(family)
            rdict.flush()
            rdict.set_options({_GC_CUTOFF: "1.0"})
            try:
                rdict.compact_range(None, None, options)
            finally:
                rdict.set_options({_GC_CUTOFF: str(BLOB_GC_AGE_CUTOFF)})

    def memory(self) -> tuple[int, int]:
        """(bytes of all memtables, bytes of the block cache)."""
        tables = [self._family(name).property_int_value("rocksdb.size-all-mem-tables") or 0 for name in ALL_FAMILIES]
        return sum(tables), self._cache.get_usage()

    def is_new(self) -> bool:
        """Nothing was ever written to it."""
        return self._open_database().latest_sequence_number() == 0
