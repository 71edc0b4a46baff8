"""Whole runs are deleted when nothing came to them since somebody decided so, and nothing holds them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from joblog.leader.buffer import keys
from joblog.leader.buffer.catalog import list_log_numbers
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.engine import Engine
from joblog.leader.buffer.holds import HoldTable
from joblog.leader.buffer.ledger import COUNTERS, logs_of, read_log, read_run
from joblog.v1.types_pb2 import LogRecord, RunRecord

Deleting = Callable[[int], None]


class Expired(NamedTuple):
    """What was done. runs: that are gone. bytes: that their logs took. held: runs that a hold kept.

    broken: runs that stay as they are, since their logs are not those that they count.
    """

    runs: int = 0
    logs: int = 0
    bytes: int = 0
    held: int = 0
    broken: tuple[RunRecord, ...] = ()
    # Runs that were not looked at, or of which logs are left, as the write was large enough.
    left: tuple[RunRecord, ...] = ()


class Expiry:
    """Deletes runs. All methods may be called from any thread.

    lock, write: the ledger's lock, and what writes records while it is held.
    """

    def __init__(
        self, engine: Engine, lock: threading.Lock, holds: HoldTable, write: Callable[[Changes, Deleting], object]
    ) -> None:
        self._engine = engine
        self._lock = lock
        self._holds = holds
        self._write = write

    def runs(self, begin: bytes = b"", namespace: str = "") -> Iterator[tuple[bytes, RunRecord]]:
        """Runs by namespace and name, of one namespace where it is given, each with the `begin` to go on behind it."""
        first = keys.run_key(namespace, "") if namespace else b""
        # No key of a run begins with a higher byte.
        before = keys.namespace_end(namespace) or b"\xff"
        for key, value in scan(self._engine, keys.RUNS, max(begin, first), before):
            yield key + b"\0", RunRecord.FromString(value)

    def expire(self, seen: Iterable[RunRecord], max_logs: int, deleting: Deleting = lambda _number: None) -> Expired:
        """Deletes those of the runs that are as they were seen, and not held: in one write, synced.

        At most max_logs logs go. Of a run that has more, the first ones do, and it is noted that the rest has to
        follow: see begun(). deleting: see Store.write(). Raises OutOfSpace, Unavailable.
        """
        changes, done, left = Changes(), Expired(), list[RunRecord]()
        with self._lock:
            for run in seen:
                room = max_logs - done.logs
                now = read_run(self._engine, run.namespace, run.run)
                if now is None or not _is_as_seen(now, run):
                    continue
                if not room:
                    left.append(now)
                    continue
                logs = self._logs(now, room)
                if self._is_held(now, logs):
                    done = done._replace(held=done.held + 1)
                    continue
                if not _are_counted(logs, now, room):
                    done = done._replace(broken=(*done.broken, now))
                    continue
                for log in logs:
                    changes.delete_log(log.number)
                changes.put_expiring(now.namespace, now.run)
                is_whole = len(logs) == logs_of(now)
                if not is_whole:
                    left.append(now)
                freed = sum(log.stored_bytes for log in logs)
                done = done._replace(runs=done.runs + is_whole, logs=done.logs + len(logs), bytes=done.bytes + freed)
            if done.logs:
                self._write(changes, deleting)
        if done.logs:
            self._engine.sync()
        # As they are now that some of their logs are gone.
        again = (read_run(self._engine, run.namespace, run.run) for run in left)
        return done._replace(left=tuple(run for run in again if run is not None))

    def _logs(self, run: RunRecord, limit: int) -> list[LogRecord]:
        numbers, _ = list_log_numbers(self._engine, run.namespace, run.run, "", page_token="", limit=limit)
        records = (read_log(self._engine, number) for number in numbers)
        return [record for record in records if record is not None]

    def _is_held(self, run: RunRecord, logs: Iterable[LogRecord]) -> bool:
        holds = self._holds.present
        if holds.unreadable or holds.of(run.namespace, run.run, run.labels):
            return True
        if not holds.has_labels:
            return False
        if self._engine.get(keys.INDEX, keys.expiring_key(run.namespace, run.run)) is None:
            # Before the first of them goes.
            logs = self._logs(run, logs_of(run))
        return any(holds.of(run.namespace, run.run, log.start.labels) for log in logs)

    def begun(self, limit: int = 100) -> list[RunRecord]:
        """Runs whose deletion was begun and has to go on, as they are now."""
        prefix = keys.expiring_prefix()
        found: list[RunRecord] = []
        for key, _ in scan(self._engine, keys.INDEX, prefix, keys.after(prefix)):
            run = read_run(self._engine, *keys.parse_expiring_key(key))
            if run is not None:
                found.append(run)
            if len(found) == limit:
                break
        return found

    def leave(self, run: RunRecord) -> None:
        """The rest of a run whose deletion was begun stays for now: it is held, or something came to it."""
        changes = Changes()
        changes.put_expiring(run.namespace, run.run, is_expiring=False)
        with self._lock:
            self._write(changes, lambda _number: None)
        self._engine.sync()


def _are_counted(logs: Sequence[LogRecord], run: RunRecord, limit: int) -> bool:
    """Whether these first `limit` logs are such as the run counts: else it would never be counted down to nothing."""
    states = Counter(COUNTERS.get(log.state, "") for log in logs)
    within = all(count <= getattr(run, counter, 0) for counter, count in states.items())
    return within and len(logs) == min(limit, logs_of(run)) > 0


def _is_as_seen(now: RunRecord, seen: RunRecord) -> bool:
    """Whether nothing came to the run since."""
    return (now.state, now.created_ns, now.completed_ns, logs_of(now)) == (
        seen.state,
        seen.created_ns,
        seen.completed_ns,
        logs_of(seen),
    )
