"""The store of one leader: chunks, records, keys and indexes in one RocksDB. The only user of rocksdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from joblog.identity import LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import ChunkHeader
from joblog.leader.buffer.options import StoreOptions
from joblog.v1.types_pb2 import Event, Gap, LogRecord, RunRecord


class RunFilter(NamedTuple):
    """Which runs to list: in any of `states` (all when empty), with all of `labels`, created in [from, before)."""

    states: frozenset[int] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    created_from_ns: int = 0
    created_before_ns: int = 0


class WriterEntry(NamedTuple):
    """What the store knows of a writer id in a task: its log's number, and whether that log was deleted."""

    number: int
    deleted: bool


class StoreStats(NamedTuple):
    """disk_bytes: all files of the store. live_logs: logs that are live or interrupted."""

    disk_bytes: int
    memtable_bytes: int
    cache_bytes: int
    live_logs: int


class View:
    """One moment of the store (a RocksDB snapshot). Close it soon: it keeps deleted data on disk. One thread at a time."""

    def get_log(self, number: int) -> LogRecord | None:
        """As Store.get_log(), at the view's moment."""
        raise NotImplementedError

    def chunks(self, number: int, from_offset: int = 0) -> Iterator[tuple[int, ChunkHeader, bytes]]:
        """(offset, header, sealed bytes) of the log's chunks in order, from the one that holds from_offset.

        Gap chunks come with empty sealed bytes. Raises Corrupt when the disk gives back other bytes than were written.
        """
        raise NotImplementedError

    def last_chunk(self, number: int) -> tuple[int, ChunkHeader] | None: ...

    def chunk_for_line(self, number: int, line: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the chunk to begin at to find the start of `line` (from 1).

        It is the first chunk for line 1; else the one that holds the newline that ends line - 1, so that the line
        starts inside it or at the next chunk's first byte. None when the log has not that many newlines.
        """
        raise NotImplementedError

    def chunk_for_time(self, number: int, time_ns: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the last chunk whose first frame was read at or before time_ns; else the first chunk."""
        raise NotImplementedError

    def close(self) -> None: ...

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Store:
    """All methods are synchronous and may be called from any thread; those that touch the disk belong in a pool."""

    @classmethod
    def open(cls, path: Path, *, options: StoreOptions = StoreOptions()) -> Store:
        """Opens the store in folder `path`, making it (0700) when there is none.

        Raises Conflict when another process has it, WrongVersion, Corrupt, OutOfSpace.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Flushes and lets go of the folder; a second call does nothing."""

    @property
    def store_id(self) -> str:
        """32 hex characters, given when the store was made."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Closes RocksDB and opens it again, keeping the lock: the way out of a state after disk errors."""

    def write(self, changes: Changes, *, sync: bool = True) -> None:
        """Does all of `changes` or nothing; with sync, it is on disk and synced when this returns.

        Raises OutOfSpace (try again later), Conflict when it writes to a log that was deleted.
        """

    def next_number(self) -> int:
        """A log number that no log of this store ever had, from 1."""
        raise NotImplementedError

    def get_log(self, number: int) -> LogRecord | None:
        """The log's record; next_offset, newlines and gaps of one that is not completed are those of this moment."""
        raise NotImplementedError

    def get_dek(self, number: int) -> bytes | None:
        """The log's wrapped DEK."""
        raise NotImplementedError

    def find_log(self, name: LogName) -> int | None:
        """The number of the log; attempt 0 means the newest."""
        raise NotImplementedError

    def find_writer(self, namespace: str, run: str, task: str, writer_id: bytes) -> WriterEntry | None:
        """The log that this writer id opened in the task, also after it was deleted."""
        raise NotImplementedError

    def last_attempt(self, namespace: str, run: str, task: str) -> int:
        """The task's highest attempt; 0 when it has none."""
        raise NotImplementedError

    def deleted_among(self, numbers: Iterable[int]) -> set[int]:
        """Those of `numbers` whose log is not there (never was, or was deleted)."""
        raise NotImplementedError

    def live_logs(self) -> Iterator[LogRecord]:
        """Records of all logs that are live or interrupted, by number."""
        raise NotImplementedError

    def list_namespaces(self, after: str = "", limit: int = 1000) -> list[str]:
        """Namespaces with at least one run, sorted, those beyond `after`."""
        raise NotImplementedError

    def list_runs(
        self, namespace: str, where: RunFilter = RunFilter(), page_token: str = "", limit: int = 100
    ) -> tuple[list[RunRecord], str]:
        """(runs newest first, token of the next page or ""). Raises InvalidInput for a token that is not one of ours."""
        raise NotImplementedError

    def get_run(self, namespace: str, run: str) -> RunRecord | None:
        raise NotImplementedError

    def list_logs(
        self, namespace: str, run: str, task: str = "", page_token: str = "", limit: int = 100
    ) -> tuple[list[LogRecord], str]:
        """(logs of a run by task and attempt, token of the next page or ""); with `task`, those of that task."""
        raise NotImplementedError

    def events(self, number: int) -> list[Event]:
        """The log's events by offset and time."""
        raise NotImplementedError

    def gaps(self, number: int) -> list[Gap]:
        """The log's gaps by offset."""
        raise NotImplementedError

    def last_chunk(self, number: int) -> tuple[int, ChunkHeader] | None:
        """(offset, header) of the log's last chunk."""
        raise NotImplementedError

    def view(self) -> View:
        """One moment of the store, to read from."""
        raise NotImplementedError

    def get_key(self, name: bytes) -> bytes | None:
        """A record of the keyring."""
        raise NotImplementedError

    def put_key(self, name: bytes, value: bytes) -> None:
        """Keeps a record of the keyring; synced."""

    def reclaim(self) -> int:
        """Gives the space of deleted ranges back to the file system: flushes and compacts. Returns the bytes freed."""
        raise NotImplementedError

    def stats(self) -> StoreStats:
        raise NotImplementedError
