"""What follows from a change of log records in the same write: the run's counters, state and labels; the indexes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable

from joblog.errors import Conflict
from joblog.identity import MAX_LABELS, RUN_LOG_TASK
from joblog.leader.buffer import keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.cursor import Source, scan, scan_back
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.exports import NOTHING, Exported, pack_exported, unpack_exported
from joblog.leader.buffer.extents import Places
from joblog.leader.buffer.holds import Holds
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogRecord, RunRecord

_Run = tuple[str, str]
_Task = tuple[str, str, str]

COUNTERS = {
    types_pb2.LOG_STATE_LIVE: "logs_live",
    types_pb2.LOG_STATE_COMPLETED: "logs_completed",
    types_pb2.LOG_STATE_INTERRUPTED: "logs_interrupted",
}


def read_log(source: Source, number: int) -> LogRecord | None:
    """The log's record as it was written."""
    value = source.get(keys.LOGS, keys.record_key(number))
    return None if value is None else LogRecord.FromString(value)


def read_run(source: Source, namespace: str, run: str) -> RunRecord | None:
    """The run's record."""
    value = source.get(keys.RUNS, keys.run_key(namespace, run))
    return None if value is None else RunRecord.FromString(value)


def read_held(source: Source) -> Generator[tuple[tuple[str, str], int], None, None]:
    """The namespace and token of each completed log, and the bytes that it takes."""
    begin = keys.record_key(0)
    for _, value in scan(source, keys.LOGS, begin, keys.after(begin[:-8])):
        record = LogRecord.FromString(value)
        if record.state == types_pb2.LOG_STATE_COMPLETED:
            yield (record.id.namespace, record.token_id), record.stored_bytes


def did_fail(record: LogRecord | None) -> bool:
    """The log is completed, and its task did not exit with code 0."""
    if record is None or record.state != types_pb2.LOG_STATE_COMPLETED:
        return False
    return record.outcome.kind != types_pb2.OUTCOME_KIND_EXITED or record.outcome.exit_code != 0


def task_counter(newest: LogRecord | None) -> str:
    """The counter of a run that a task is counted in, by its newest attempt; "" where it has none."""
    if newest is None:
        return ""
    if newest.state == types_pb2.LOG_STATE_COMPLETED:
        return "tasks_failed" if did_fail(newest) else "tasks_succeeded"
    return "tasks_live" if newest.state == types_pb2.LOG_STATE_LIVE else "tasks_interrupted"


def _add_to(run: RunRecord, counter: str, step: int) -> None:
    # What an earlier version counted nothing of, or a damaged store lost, must not go below nothing.
    setattr(run, counter, max(0, getattr(run, counter) + step))


def _completed_bytes(record: LogRecord | None) -> int:
    if record is None or record.state != types_pb2.LOG_STATE_COMPLETED or record.id.task == RUN_LOG_TASK:
        return 0
    return record.seal.length


def state_of(run: RunRecord) -> types_pb2.RunState:
    """A run's state, from its counters."""
    if run.logs_live:
        return types_pb2.RUN_STATE_LIVE
    if run.logs_interrupted:
        return types_pb2.RUN_STATE_INTERRUPTED
    return types_pb2.RUN_STATE_FAILED if run.tasks_failed else types_pb2.RUN_STATE_SUCCEEDED


def add_plain(changes: Changes, operations: Operations) -> Operations:
    """Adds what `changes` does to chunks, DEKs, events, verifications, gaps, objects: nothing else follows from it."""
    ranges, deletes, puts = operations
    for number, begin, before in changes.chunk_drops:
        ranges.append((keys.CHUNKS, keys.chunk_key(number, begin), keys.chunk_key(number, before)))
    for number, gap, _ in changes.gap_drops:
        end = gap.offset + gap.length
        ranges.append((keys.LOGS, keys.gap_key(number, gap.offset), keys.gap_key(number, end)))
    deletes.extend((keys.CHUNKS, keys.chunk_key(number, offset)) for number, offset in changes.single_drops)
    deletes.extend((keys.INDEX, keys.unused_key(object_key)) for object_key in changes.gone)
    now = keys.u64(time.time_ns())
    puts.extend((keys.INDEX, keys.unused_key(object_key), now) for object_key in changes.announced)
    puts.extend((keys.INDEX, keys.death_key(number), b"") for number in changes.deaths)
    deletes.extend((keys.INDEX, keys.death_key(number)) for number in changes.deaths_told)
    puts.extend((keys.INDEX, keys.locked_key(until_ns, object_key), b"") for object_key, until_ns in changes.locked)
    for number, wrapped in changes.deks:
        puts.append((keys.KEYS, keys.dek_key(number), wrapped))
    for number, event in changes.events:
        key = keys.event_key(number, event.offset, event.time_ns, event.kind)
        puts.append((keys.LOGS, key, event.SerializeToString()))
    for number, verification in changes.verified:
        puts.append((keys.LOGS, keys.verified_key(number), verification.SerializeToString()))
    for number, gap in changes.gaps:
        puts.append((keys.LOGS, keys.gap_key(number, gap.offset), gap.SerializeToString()))
    return operations


class Ledger:
    """Works out one write's operations on records and indexes from the present state. Used once.

    Whoever uses it holds a lock from before the first call until the write is done, so that counters add up.
    """

    def __init__(
        self, source: Source, holds: Holds, exported: Callable[[LogRecord], bool] = lambda _record: False
    ) -> None:
        """holds: nothing that they hold is deleted. exported: whether a log that is opened is to be."""
        self._holds = holds
        self._exported = exported
        self._source = source
        self.operations = Operations([], [], [])
        self._places = Places(source, self.operations)
        self._before: dict[_Run, RunRecord | None] = {}
        self._runs: dict[_Run, RunRecord] = {}
        self._attempts: dict[_Task, dict[int, LogRecord | None]] = {}
        self.deleted_numbers: set[int] = set()
        # Of those that are deleted, and were to be exported: how far they were.
        self.unexported: dict[int, Exported] = {}
        # Runs that are held by none of their own labels, and not by name.
        self._checked: set[_Run] = set()
        # By how much what completed logs take changes, by their namespace and token.
        self.held: Counter[tuple[str, str]] = Counter()

    def take(self, changes: Changes) -> Operations:
        """The operations for everything in `changes` but its chunks. Raises Conflict, Held."""
        for number in self._numbers_to_delete(changes):
            self._delete_log(number, is_held=number not in changes.half_logs)
        if self.deleted_numbers:
            self.operations.puts.append((keys.KEYS, keys.SHRED, os.urandom(8)))
        for record in changes.logs.values():
            self._put_log(record)
        for number, stored_bytes in changes.merged.items():
            self._put_merged(number, stored_bytes)
        for place in changes.deleted_runs:
            self._delete_run(*place)
        self._finish_runs()
        self._note_expiring(changes)
        self._places.take(changes)
        self._places.finish()
        add_plain(changes, self.operations)
        return self.operations

    def _numbers_to_delete(self, changes: Changes) -> Iterable[int]:
        numbers = dict.fromkeys(changes.deleted_logs)
        for namespace, run in changes.deleted_runs:
            prefix = keys.attempt_prefix(namespace, run)
            for _, value in scan(self._source, keys.INDEX, prefix, keys.after(prefix)):
                numbers[keys.number_of(value)] = None
        for number in changes.logs:
            if number in numbers:
                raise Conflict(f"log {number} can't be written and deleted at once")
        return numbers

    def _run(self, namespace: str, run: str) -> RunRecord:
        place = (namespace, run)
        if place not in self._runs:
            before = read_run(self._source, namespace, run)
            self._before[place] = before
            record = RunRecord(namespace=namespace, run=run)
            if before is not None:
                record.CopyFrom(before)
            self._runs[place] = record
        return self._runs[place]

    def _count(self, old: LogRecord | None, new: LogRecord | None) -> None:
        """Moves the run's counters from the log's old state to its new one."""
        log = new or old
        assert log is not None
        run = self._run(log.id.namespace, log.id.run)
        for record, step in ((old, -1), (new, 1)):
            if record is not None:
                _add_to(run, COUNTERS[record.state], step)
        _add_to(run, "completed_bytes", _completed_bytes(new) - _completed_bytes(old))
        if new is not None:
            run.created_ns = run.created_ns or new.created_ns
            run.completed_ns = max(run.completed_ns, new.completed_ns)
            for label, value in sorted(new.start.labels.items()):
                if label not in run.labels and len(run.labels) < MAX_LABELS:
                    run.labels[label] = value
        for record, sign in ((old, -1), (new, 1)):
            if record is not None and record.state == types_pb2.LOG_STATE_COMPLETED:
                self.held[record.id.namespace, record.token_id] += sign * record.stored_bytes
                _add_to(run, "stored_bytes", sign * record.stored_bytes)
        task = (log.id.namespace, log.id.run, log.id.task)
        self._attempts.setdefault(task, {})[log.id.attempt] = new

    def _put_log(self, record: LogRecord) -> None:
        name, number = record.id, record.number
        if record.state not in COUNTERS:
            raise Conflict(f"log {number} has no state: give it one of live, completed, interrupted")
        old = read_log(self._source, number)
        _, deletes, puts = self.operations
        if old is None:
            key = keys.attempt_key(name.namespace, name.run, name.task, name.attempt)
            there = self._source.get(keys.INDEX, key)
            if there is not None:
                raise Conflict(
                    f"log {name.run}/{name.task}/{name.attempt} is there already, as number {keys.number_of(there)}"
                )
            puts.append((keys.INDEX, key, keys.u64(number)))
            key = keys.writer_key(name.namespace, name.run, name.task, record.writer_id)
            puts.append((keys.INDEX, key, keys.pack_writer(number, deleted=False)))
        elif (old.id, old.uid, old.created_ns) != (name, record.uid, record.created_ns):
            raise Conflict(
                f"log {number} is {old.id.run}/{old.id.task}/{old.id.attempt}: id, uid and creation never change"
            )
        if record.state == types_pb2.LOG_STATE_COMPLETED:
            deletes.append((keys.INDEX, keys.open_key(number)))
            if record.tier == types_pb2.TIER_ARCHIVE:
                deletes.append((keys.INDEX, keys.unsealed_key(number)))
                deletes.append((keys.INDEX, keys.unmerged_key(number)))
                self._places.leave_roster(number)
            else:
                puts.append((keys.INDEX, keys.unsealed_key(number), b""))
                if old is None or old.state != types_pb2.LOG_STATE_COMPLETED:
                    puts.append((keys.INDEX, keys.unmerged_key(number), b""))
        elif old is None or old.state == types_pb2.LOG_STATE_COMPLETED:
            puts.append((keys.INDEX, keys.open_key(number), b""))
            if old is None and self._exported(record):
                puts.append((keys.INDEX, keys.export_key(number), pack_exported(NOTHING)))
        puts.append((keys.LOGS, keys.record_key(number), record.SerializeToString()))
        self._count(old, record)

    def _put_merged(self, number: int, stored_bytes: int | None) -> None:
        record = read_log(self._source, number)
        if record is None or number in self.deleted_numbers:
            return
        _, deletes, puts = self.operations
        deletes.append((keys.INDEX, keys.unmerged_key(number)))
        if stored_bytes is not None and record.state == types_pb2.LOG_STATE_COMPLETED:
            self.held[record.id.namespace, record.token_id] += stored_bytes - record.stored_bytes
            run = self._run(record.id.namespace, record.id.run)
            _add_to(run, "stored_bytes", stored_bytes - record.stored_bytes)
            record.stored_bytes = stored_bytes
            puts.append((keys.LOGS, keys.record_key(number), record.SerializeToString()))

    def _delete_log(self, number: int, *, is_held: bool) -> None:
        """is_held: where a hold is on it. Raises Held then."""
        old = read_log(self._source, number)
        if old is None:
            return
        name = old.id
        if is_held:
            self._check_hold(old)
        ranges, deletes, puts = self.operations
        ranges.append((keys.CHUNKS, keys.chunk_key(number, 0), keys.chunk_key(number + 1, 0)))
        self._places.delete_log(number)
        for prefix in (keys.event_prefix(number), keys.gap_prefix(number)):
            deletes.extend((keys.LOGS, key) for key, _ in scan(self._source, keys.LOGS, prefix, keys.after(prefix)))
        deletes.append((keys.LOGS, keys.record_key(number)))
        deletes.append((keys.LOGS, keys.verified_key(number)))
        deletes.append((keys.KEYS, keys.dek_key(number)))
        deletes.append((keys.INDEX, keys.open_key(number)))
        deletes.append((keys.INDEX, keys.unsealed_key(number)))
        deletes.append((keys.INDEX, keys.unmerged_key(number)))
        deletes.append((keys.INDEX, keys.death_key(number)))
        if (exported := self._source.get(keys.INDEX, keys.export_key(number))) is not None:
            deletes.append((keys.INDEX, keys.export_key(number)))
            self.unexported[number] = unpack_exported(exported)
        deletes.append((keys.INDEX, keys.attempt_key(name.namespace, name.run, name.task, name.attempt)))
        key = keys.writer_key(name.namespace, name.run, name.task, old.writer_id)
        puts.append((keys.INDEX, key, keys.pack_writer(number, deleted=True)))
        self.deleted_numbers.add(number)
        self._count(old, None)

    def _delete_run(self, namespace: str, run: str) -> None:
        """Whatever it counted, and what names logs of which no record is there, go with it."""
        record = self._run(namespace, run)
        if logs_of(record):
            self._holds.check(namespace, run, record.labels)
        for counter in COUNTERS.values():
            setattr(record, counter, 0)
        prefix = keys.attempt_prefix(namespace, run)
        left = scan(self._source, keys.INDEX, prefix, keys.after(prefix))
        lost = [key for key, value in left if keys.number_of(value) not in self.deleted_numbers]
        self.operations.deletes.extend((keys.INDEX, key) for key in lost)

    def _check_hold(self, record: LogRecord) -> None:
        """Raises Held. A log is held with its run, whose labels are those of all its logs, and by its own."""
        name, holds = record.id, self._holds
        if not (holds.all or holds.unreadable):
            return
        place = (name.namespace, name.run)
        if place not in self._checked:
            run = read_run(self._source, *place)
            holds.check(*place, run.labels if run is not None else {})
            self._checked.add(place)
        if holds.has_labels:
            holds.check(*place, record.start.labels)

    def _note_expiring(self, changes: Changes) -> None:
        _, deletes, puts = self.operations
        for (namespace, run), is_expiring in changes.expiring.items():
            key = keys.expiring_key(namespace, run)
            record = self._runs.get((namespace, run))
            if is_expiring and (record is None or logs_of(record)):
                puts.append((keys.INDEX, key, keys.u64(time.time_ns())))
            elif not is_expiring:
                deletes.append((keys.INDEX, key))

    def _newest(self, task: _Task, changed: dict[int, LogRecord | None]) -> LogRecord | None:
        """The task's newest attempt once `changed` is done."""
        mine = max((attempt for attempt, record in changed.items() if record is not None), default=0)
        prefix = keys.attempt_prefix(*task)
        for key, value in scan_back(self._source, keys.INDEX, prefix, keys.after(prefix)):
            attempt = keys.parse_attempt_key(key)[3]
            if attempt < mine:
                break
            if attempt not in changed:
                return read_log(self._source, keys.number_of(value))
        return changed[mine] if mine else None

    def _finish_runs(self) -> None:
        for task, changed in self._attempts.items():
            if task[2] != RUN_LOG_TASK:
                for newest, step in ((self._newest(task, {}), -1), (self._newest(task, changed), 1)):
                    if counter := task_counter(newest):
                        _add_to(self._runs[task[:2]], counter, step)
        for place, run in self._runs.items():
            self._finish_run(self._before[place], run)

    def _finish_run(self, before: RunRecord | None, run: RunRecord) -> None:
        _, deletes, puts = self.operations
        place = keys.position(run.created_ns, run.run)
        if not logs_of(run):
            if before is not None:
                deletes.append((keys.RUNS, keys.run_key(run.namespace, run.run)))
                deletes.append((keys.INDEX, keys.expiring_key(run.namespace, run.run)))
                deletes.extend((keys.INDEX, prefix + place) for prefix in _run_prefixes(before))
            return
        run.state = state_of(run)
        if run.logs_live + run.logs_interrupted:
            run.completed_ns = 0
        old = _run_prefixes(before) if before is not None else set()
        new = _run_prefixes(run)
        deletes.extend((keys.INDEX, prefix + place) for prefix in old - new)
        puts.extend((keys.INDEX, prefix + place, b"") for prefix in new - old)
        puts.append((keys.RUNS, keys.run_key(run.namespace, run.run), run.SerializeToString()))


def logs_of(run: RunRecord) -> int:
    """How many logs the run has."""
    return run.logs_live + run.logs_completed + run.logs_interrupted


def _run_prefixes(run: RunRecord) -> set[bytes]:
    """What the run's keys in the index start with."""
    prefixes = {keys.time_prefix(run.namespace), keys.state_prefix(run.namespace, run.state)}
    prefixes.update(keys.label_prefix(run.namespace, label, value) for label, value in run.labels.items())
    return prefixes
