"""The access store's file: SQLite, opened, checked and locked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joblog.errors import Corrupt, JoblogError, OutOfSpace, Unavailable, WrongVersion

SCHEMA_VERSION = 1
# The command line may write beside a running leader.
_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, secret_hash BLOB NOT NULL, grants TEXT NOT NULL, worker_id TEXT NOT NULL,
    created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, last_used_ns INTEGER NOT NULL DEFAULT 0,
    revoked_ns INTEGER NOT NULL DEFAULT 0, created_by TEXT NOT NULL, quota TEXT NOT NULL
) STRICT;
CREATE INDEX tokens_by_age ON tokens (created_ns, id);
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY, worker_id TEXT NOT NULL, token_id TEXT NOT NULL,
    issued_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, revoked_ns INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX certificates_by_age ON certificates (issued_ns, serial);
CREATE INDEX certificates_by_worker ON certificates (worker_id);
CREATE INDEX certificates_by_token ON certificates (token_id);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, secret_hash BLOB NOT NULL, name TEXT NOT NULL, grants TEXT NOT NULL, token_id TEXT NOT NULL,
    created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL, last_used_ns INTEGER NOT NULL DEFAULT 0,
    revoked_ns INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX sessions_by_token ON sessions (token_id);
CREATE TABLE usage (
    kind TEXT NOT NULL, name TEXT NOT NULL, day INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (kind, name, day)
) STRICT;
"""

Values = tuple[str | int | bytes, ...]
Row = tuple[Any, ...]


class Database:
    """One connection behind a lock; each write is synced before it returns. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it, for its owner alone. Raises Corrupt, WrongVersion, OutOfSpace."""
        self._path = path
        self._lock = threading.Lock()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        path.chmod(0o600)
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            with self._told():
                self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def _set_up(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.execute("BEGIN IMMEDIATE")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._connection.execute("COMMIT")
        if version not in (0, SCHEMA_VERSION):
            raise WrongVersion(
                f"{self._path}: has schema version {version}, this version of joblog knows {SCHEMA_VERSION}"
            )

    def rows(self, statement: str, values: Values = ()) -> list[Row]:
        """What a query gives. Raises Unavailable, Corrupt."""
        with self._lock, self._told():
            return self._connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Writes that come to be together, synced, or not at all. Raises OutOfSpace, Unavailable, Corrupt."""
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def foreign_changes(self) -> int:
        """A number that changes when another process has written."""
        found = self.rows("PRAGMA data_version")[0][0]
        assert isinstance(found, int)
        return found

    def changes(self) -> tuple[int, int]:
        """Another pair whenever anybody has written."""
        with self._lock:
            own = self._connection.total_changes
        return own, self.foreign_changes()

    def close(self) -> None:
        """Closes the file. Can be repeated."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _error(self, error: sqlite3.Error) -> JoblogError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return Corrupt(f"{self._path}: is damaged: {error}; put a backup in its place")
        if code == sqlite3.SQLITE_FULL:
            return OutOfSpace(f"{self._path}: can't be written: {error}")
        return Unavailable(f"{self._path}: {error}")
