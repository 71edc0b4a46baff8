"""A catalog of many completed, archived logs, written as the ledger would write it, but for what that looks up."""

from __future__ import annotations

import os
from pathlib import Path

from joblog.identity import RUN_LOG_TASK
from joblog.leader.buffer import keys
from joblog.leader.buffer.engine import Engine, Operations
from joblog.leader.buffer.options import DEFAULT_OPTIONS
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.paths import DataFolder, make_folder
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import EXTENT_KIND_SEALED, Extent
from joblog.v1.types_pb2 import LogId, LogRecord, Outcome, RunRecord, Seal, TaskStart

TASKS = (RUN_LOG_TASK, "build", "test", "publish")
RUNS_AT_ONCE = 250
STORED_BYTES = 20_000
SECOND = 10**9
NAMESPACE = "default"

Put = tuple[str, bytes, bytes]


def seed(folder: Path, logs: int, *, now_ns: int, age_seconds: float) -> None:
    """Makes a leader's data folder with so many logs, in runs of four; the last one ended age_seconds ago."""
    data = DataFolder(folder)
    make_folder(data.root)
    make_folder(data.leader)
    store = Store.open(data.store)
    try:
        wrapped = Keyring.open(store, FileKms(data.kek_file), store.store_id).new_dek(os.urandom(16))[1]
    finally:
        store.close()
    engine = Engine(data.store, DEFAULT_OPTIONS)
    try:
        runs = logs // len(TASKS)
        ended = now_ns - int(age_seconds * SECOND)
        puts: list[Put] = []
        for number in range(runs):
            _add_run(puts, number, ended - (runs - number) * SECOND, wrapped)
            if number % RUNS_AT_ONCE == RUNS_AT_ONCE - 1 or number == runs - 1:
                engine.write(Operations([], [], puts))
                puts = []
        last = keys.u64(runs * len(TASKS) + 1)
        engine.write(Operations([], [], [(keys.META, keys.META_NEXT_NUMBER, last)]))
        engine.sync()
        # As it lies there once RocksDB has come by it.
        for family in keys.COLUMN_FAMILIES:
            engine.compact(family)
    finally:
        engine.close()


def run_name(number: int) -> str:
    """What the runs are called."""
    return f"pipeline-{number:07}-a1b2c3"


def _add_run(puts: list[Put], number: int, created_ns: int, wrapped: bytes) -> None:
    run, labels = run_name(number), {"branch": f"feature-{number % 500}", "kind": ("nightly", "push")[number % 2]}
    completed_ns = created_ns + 40 * SECOND
    for at, task in enumerate(TASKS):
        record = _record(1 + number * len(TASKS) + at, run, task, created_ns, labels)
        record.completed_ns = completed_ns
        _add_log(puts, record, wrapped)
    summary = RunRecord(
        namespace=NAMESPACE,
        run=run,
        state=types_pb2.RUN_STATE_SUCCEEDED,
        created_ns=created_ns,
        completed_ns=completed_ns,
        labels=labels,
        logs_completed=len(TASKS),
        tasks_succeeded=len(TASKS) - 1,
        stored_bytes=len(TASKS) * STORED_BYTES,
        completed_bytes=(len(TASKS) - 1) * 4 * STORED_BYTES,
    )
    place = keys.position(created_ns, run)
    prefixes = [keys.time_prefix(NAMESPACE), keys.state_prefix(NAMESPACE, summary.state)]
    prefixes += [keys.label_prefix(NAMESPACE, label, value) for label, value in labels.items()]
    puts.extend((keys.INDEX, prefix + place, b"") for prefix in prefixes)
    puts.append((keys.RUNS, keys.run_key(NAMESPACE, run), summary.SerializeToString()))


def _record(number: int, run: str, task: str, created_ns: int, labels: dict[str, str]) -> LogRecord:
    uid = os.urandom(16)
    return LogRecord(
        id=LogId(namespace=NAMESPACE, run=run, task=task, attempt=1),
        uid=uid,
        number=number,
        writer_id=os.urandom(16),
        state=types_pb2.LOG_STATE_COMPLETED,
        tier=types_pb2.TIER_ARCHIVE,
        created_ns=created_ns,
        last_append_ns=created_ns + 30 * SECOND,
        start=TaskStart(
            command=["make", "-C", "/srv/build", task],
            host="build-07.example.com",
            cwd="/srv/build/workspace",
            started_ns=created_ns,
            labels=labels,
            worker_id="build-07-01hmxt21pn9bceyhnsg",
        ),
        outcome=Outcome(
            kind=types_pb2.OUTCOME_KIND_EXITED,
            started_ns=created_ns,
            ended_ns=created_ns + 30 * SECOND,
            cpu_seconds=12.5,
            peak_memory_bytes=200 << 20,
        ),
        seal=Seal(length=4 * STORED_BYTES, sha256=uid + uid, newlines=900),
        next_offset=4 * STORED_BYTES,
        newlines=900,
        stored_bytes=STORED_BYTES,
    )


def _add_log(puts: list[Put], record: LogRecord, wrapped: bytes) -> None:
    name, number = record.id, record.number
    folder = f"{name.namespace}/{name.run}/{name.task}/{name.attempt}"
    extent = Extent(
        end_offset=record.seal.length,
        object=f"{folder}/log.joblog",
        kind=EXTENT_KIND_SEALED,
        position=8,
        length=STORED_BYTES - 200,
        chunks=2,
        newlines=900,
        first_time_ns=record.created_ns,
        last_time_ns=record.last_append_ns,
        object_bytes=STORED_BYTES,
        index_position=STORED_BYTES - 192,
        index_length=120,
        object_logs=1,
        companions=[f"{folder}/metadata.json"],
    )
    attempt = keys.attempt_key(name.namespace, name.run, name.task, name.attempt)
    writer = keys.writer_key(name.namespace, name.run, name.task, record.writer_id)
    puts += [
        (keys.LOGS, keys.record_key(number), record.SerializeToString()),
        (keys.KEYS, keys.dek_key(number), wrapped),
        (keys.INDEX, attempt, keys.u64(number)),
        (keys.INDEX, writer, keys.pack_writer(number, deleted=False)),
        (keys.INDEX, keys.uses_key(extent.object), keys.u64(1)),
        (keys.EXTENTS, keys.extent_key(number, 0), extent.SerializeToString()),
    ]
