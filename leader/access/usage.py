"""How much is used of what quotas bound: kept in memory, and what must outlive the leader in the access store."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from joblog.leader.access.database import Database
from joblog.leader.access.quota import Scope

DAY_NS = 86_400 * 10**9
_KEPT_DAYS = 32


@dataclass(frozen=True, slots=True)
class Use:
    """What counts now. bytes_today: since midnight UTC, before compression. live_logs: interrupted ones too."""

    bytes_today: int = 0
    live_logs: int = 0
    stored_bytes: int = 0


class UsageTable:
    """Bytes by scope and day (number of days since 1970, UTC) on the disk. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_day(self, day: int) -> dict[Scope, int]:
        """What was written of that day. Raises Unavailable, Corrupt."""
        rows = self._database.rows("SELECT kind, name, bytes FROM usage WHERE day = ?", (day,))
        return {Scope(kind, name): count for kind, name, count in rows}

    def add(self, added: Mapping[tuple[Scope, int], int], today: int) -> None:
        """Adds to what is there, synced, and forgets days that are long over. Raises OutOfSpace, Unavailable."""
        rows = [(scope.kind, scope.name, day, count) for (scope, day), count in added.items()]
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO usage (kind, name, day, bytes) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, name, day) DO UPDATE SET bytes = max(0, bytes + excluded.bytes)",
                rows,
            )
            connection.execute("DELETE FROM usage WHERE day < ?", (today - _KEPT_DAYS,))


class Meter:
    """Counts. Thread-safe. table: None where nothing outlives the process. clock: nanoseconds since 1970."""

    def __init__(self, table: UsageTable | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        """Raises Unavailable, Corrupt."""
        self._table = table
        self._clock = clock
        self._lock = threading.Lock()
        self._day = self.today()
        self._bytes: Counter[Scope] = Counter(table.of_day(self._day) if table else {})
        self._unwritten: Counter[tuple[Scope, int]] = Counter()
        self._live: Counter[Scope] = Counter()
        self._stored: Counter[Scope] = Counter()

    def today(self) -> int:
        """The number of the present day, UTC."""
        return self._clock() // DAY_NS

    def seconds_left(self) -> float:
        """How long the day still lasts."""
        return (DAY_NS - self._clock() % DAY_NS) / 1e9

    def _turn(self) -> None:
        today = self.today()
        if today != self._day:
            self._day = today
            self._bytes.clear()

    def add_bytes(self, scopes: Iterable[Scope], count: int) -> None:
        """Bytes of a log came in; count may be negative, for what could not be stored after all."""
        with self._lock:
            self._turn()
            for scope in scopes:
                self._bytes[scope] = max(0, self._bytes[scope] + count)
                if self._table is not None:
                    self._unwritten[scope, self._day] += count

    def add_live(self, scopes: Iterable[Scope], count: int) -> None:
        """So many logs more are open for writing, or fewer."""
        with self._lock:
            _add(self._live, scopes, count)

    def add_stored(self, scopes: Iterable[Scope], count: int) -> None:
        """So many bytes more lie in buffer and archive, or fewer."""
        with self._lock:
            _add(self._stored, scopes, count)

    def use(self, scope: Scope) -> Use:
        """What counts for the scope."""
        with self._lock:
            self._turn()
            # Of a log whose size is only found out after a start, the end may come first.
            stored = max(0, self._stored[scope])
            return Use(self._bytes[scope], self._live[scope], stored)

    def write(self) -> None:
        """Writes down what came in since; call it now and then. Raises OutOfSpace, Unavailable."""
        with self._lock:
            unwritten, self._unwritten = self._unwritten, Counter()
        if not unwritten or self._table is None:
            return
        try:
            self._table.add(unwritten, self.today())
        except BaseException:
            with self._lock:
                self._unwritten.update(unwritten)
            raise


def _add(counts: Counter[Scope], scopes: Iterable[Scope], count: int) -> None:
    for scope in scopes:
        counts[scope] += count
        if not counts[scope]:
            del counts[scope]
