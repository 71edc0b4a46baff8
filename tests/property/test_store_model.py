"""The store against a model of dictionaries: any order of opens, appends, ends, deletes, damage, reopens, reclaims."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from joblog.errors import Conflict
from joblog.identity import LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader, pack_stored
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.options import MIB, StoreOptions
from joblog.leader.buffer.store import RunFilter, Store
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogId, LogRecord, TaskStart
from tests.examples import examples

LIVE, COMPLETED, INTERRUPTED = types_pb2.LOG_STATE_LIVE, types_pb2.LOG_STATE_COMPLETED, types_pb2.LOG_STATE_INTERRUPTED
OPTIONS = StoreOptions(write_buffers_bytes=MIB, cache_bytes=MIB)
RUNS, TASKS = ["a", "a.b"], ["@run", "t", "t2"]


class ModelLog:
    """What the model knows of one log."""

    def __init__(self, record: LogRecord) -> None:
        self.record = record
        self.chunks: dict[int, bytes] = {}
        self.length = 0
        self.lines = 0


class StoreMachine(RuleBasedStateMachine):
    """Every rule does the same to the store and to the model; the invariants compare them."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "store"
        self.store = Store.open(self.path, options=OPTIONS)
        self.logs: dict[int, ModelLog] = {}
        self.created: dict[str, int] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.tombstones: list[tuple[LogRecord, int]] = []
        self.clock = 1

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def pick(self, data: st.DataObject) -> ModelLog:
        return self.logs[data.draw(st.sampled_from(sorted(self.logs)))]

    @rule(run=st.sampled_from(RUNS), task=st.sampled_from(TASKS), label=st.sampled_from(["x", "y"]))
    def open_log(self, run: str, task: str, label: str) -> None:
        attempt = self.store.last_attempt("n", run, task) + 1
        self.clock += 1
        record = LogRecord(
            id=LogId(namespace="n", run=run, task=task, attempt=attempt),
            uid=os.urandom(16),
            number=self.store.next_number(),
            writer_id=os.urandom(16),
            state=LIVE,
            created_ns=self.clock,
            start=TaskStart(labels={"label": label}),
        )
        changes = Changes()
        changes.put_log(record)
        changes.put_dek(record.number, record.uid)
        self.store.write(changes)
        self.logs[record.number] = ModelLog(record)
        if run not in self.created:
            self.created[run], self.labels[run] = self.clock, {"label": label}

    @precondition(lambda self: self.logs)
    @rule(data=st.data(), sizes=st.lists(st.sampled_from([1, 60, 5000]), min_size=1, max_size=5))
    def append(self, data: st.DataObject, sizes: list[int]) -> None:
        log = self.pick(data)
        if log.record.state == COMPLETED:
            return
        changes = Changes()
        for size in sizes:
            lines = size % 7
            value = ChunkHeader(KIND_DATA, 1, lines, size, log.lines, self.clock, 0, 0).pack() + os.urandom(size)
            changes.put_chunk(log.record.number, log.length, value)
            log.chunks[log.length] = value
            log.length, log.lines = log.length + size, log.lines + lines
        self.store.write(changes, sync=data.draw(st.booleans()))

    @precondition(lambda self: self.logs)
    @rule(data=st.data(), state=st.sampled_from([LIVE, COMPLETED, INTERRUPTED]), code=st.sampled_from([0, 1]))
    def change_state(self, data: st.DataObject, state: types_pb2.LogState, code: int) -> None:
        changes = Changes()
        for _ in range(data.draw(st.integers(1, 3))):
            log = self.pick(data)
            record = log.record
            record.state = state
            record.outcome.kind, record.outcome.exit_code = types_pb2.OUTCOME_KIND_EXITED, code
            record.seal.length = log.length
            changes.put_log(record)
        self.store.write(changes)

    @precondition(lambda self: self.logs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        log = self.pick(data)
        changes = Changes()
        changes.delete_log(log.record.number)
        self.store.write(changes)
        self.forget(log)
        late = Changes()
        late.put_chunk(log.record.number, log.length, bytes(40))
        with pytest.raises(Conflict):
            self.store.write(late)

    @rule(run=st.sampled_from(RUNS))
    def delete_run(self, run: str) -> None:
        changes = Changes()
        changes.delete_run("n", run)
        self.store.write(changes)
        for log in [log for log in self.logs.values() if log.record.id.run == run]:
            self.forget(log)

    def forget(self, log: ModelLog) -> None:
        del self.logs[log.record.number]
        self.tombstones.append((log.record, log.record.number))
        if not any(other.record.id.run == log.record.id.run for other in self.logs.values()):
            self.created.pop(log.record.id.run, None)

    @precondition(lambda self: self.logs)
    @rule(data=st.data())
    def drop_chunks(self, data: st.DataObject) -> None:
        log = self.pick(data)
        middle = sorted(log.chunks)[1:-1]
        changes = Changes()
        if middle:
            changes.delete_chunks(log.record.number, middle[0], middle[-1])
            self.store.write(changes)
            log.chunks = {at: v for at, v in log.chunks.items() if not middle[0] <= at < middle[-1]}

    @precondition(lambda self: self.logs)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """The disk changes a bit of a chunk that is not the log's last: it counts no more, and nothing else changes."""
        log = self.pick(data)
        places = sorted(log.chunks)[:-1]
        if not places:
            return
        offset, number = data.draw(st.sampled_from(places)), log.record.number
        stored = bytearray(pack_stored(number, offset, log.chunks.pop(offset)))
        at = data.draw(st.integers(0, len(stored) - 1))
        stored[at] ^= 1 << data.draw(st.integers(0, 7))
        self.store._engine.write(Operations([], [], []), [(number, offset, bytes(stored))])

    @rule(reclaim=st.booleans())
    def reopen(self, reclaim: bool) -> None:
        if reclaim:
            self.store.reclaim()
        self.store.close()
        self.store = Store.open(self.path, options=OPTIONS)

    @invariant()
    def logs_agree(self) -> None:
        if not hasattr(self, "logs"):
            return
        for number, log in self.logs.items():
            record = self.store.get_log(number)
            assert record is not None
            assert record.state == log.record.state
            if record.state != COMPLETED and log.chunks:
                assert (record.next_offset, record.newlines) == (log.length, log.lines)
            assert self.store.get_dek(number) == log.record.uid
            name = log.record.id
            assert self.store.find_log(LogName("n", name.run, name.task, name.attempt)) == number
            with self.store.view() as view:
                assert [(at, header.pack() + sealed) for at, header, sealed in view.chunks(number)] == sorted(
                    log.chunks.items()
                )
        live = sorted(number for number, log in self.logs.items() if log.record.state != COMPLETED)
        assert [record.number for record in self.store.live_logs()] == live
        for record, number in self.tombstones:
            name = record.id
            assert self.store.find_writer("n", name.run, name.task, record.writer_id) == (number, True)
            assert self.store.get_log(number) is None

    @invariant()
    def runs_agree(self) -> None:
        if not hasattr(self, "logs"):
            return
        expected: dict[str, tuple[int, ...]] = {}
        for run in self.created:
            mine = [log.record for log in self.logs.values() if log.record.id.run == run]
            counts = [sum(record.state == state for record in mine) for state in (LIVE, COMPLETED, INTERRUPTED)]
            newest: dict[str, LogRecord] = {}
            for record in sorted(mine, key=lambda record: record.id.attempt):
                newest[record.id.task] = record
            ends = Counter(
                (record.state, record.state == COMPLETED and record.outcome.exit_code)
                for task, record in newest.items()
                if task != "@run"
            )
            tasks = (ends[LIVE, False], ends[COMPLETED, 0], ends[COMPLETED, 1], ends[INTERRUPTED, False])
            completed = [record for record in mine if record.state == COMPLETED and record.id.task != "@run"]
            expected[run] = (*counts, *tasks, sum(record.seal.length for record in completed))
        found, token = self.store.list_runs("n")
        assert token == ""
        assert [run.run for run in found] == sorted(expected, key=lambda run: -self.created[run])
        for entry in found:
            logs = (entry.logs_live, entry.logs_completed, entry.logs_interrupted)
            tasks = (entry.tasks_live, entry.tasks_succeeded, entry.tasks_failed, entry.tasks_interrupted)
            assert (*logs, *tasks, entry.completed_bytes) == expected[entry.run]
            assert dict(entry.labels) == self.labels[entry.run]
            label = (("label", entry.labels["label"]),)
            assert entry in self.store.list_runs("n", RunFilter(frozenset({entry.state}), label))[0]
            assert entry in self.store.list_runs("n", RunFilter(frozenset({entry.state})))[0]
        for state in types_pb2.RunState.values()[1:]:
            listed = [run.run for run in self.store.list_runs("n", RunFilter(frozenset({state})))[0]]
            assert listed == [run.run for run in found if run.state == state]


StoreMachine.TestCase.settings = settings(
    max_examples=examples(25), stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStoreModel = StoreMachine.TestCase
