from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA, ChunkHeader
from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import LOG_STATE_LIVE, LogId, LogRecord, TaskStart

Opener = Callable[..., LogRecord]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "store")
    yield store
    store.close()


def open_log(store: Store, run: str = "run", task: str = "task", attempt: int = 1, **more: object) -> LogRecord:
    """A new live log, written; created_ns and labels may be given."""
    record = LogRecord(
        id=LogId(namespace=str(more.get("namespace", "default")), run=run, task=task, attempt=attempt),
        uid=os.urandom(16),
        number=store.next_number(),
        writer_id=os.urandom(16),
        state=LOG_STATE_LIVE,
        created_ns=int(str(more.get("created_ns", 1000))),
        start=TaskStart(labels=more.get("labels")),  # type: ignore[arg-type]
    )
    changes = Changes()
    changes.put_log(record)
    changes.put_dek(record.number, b"dek")
    store.write(changes)
    return record


@pytest.fixture
def opener() -> Opener:
    return open_log


def chunk_value(size: int = 10, newlines: int = 0, lines_before: int = 0, time_ns: int = 1) -> bytes:
    return ChunkHeader(KIND_DATA, 1, newlines, size, lines_before, time_ns, 0, 0).pack() + b"x" * size


@pytest.fixture
def chunk() -> Callable[..., bytes]:
    return chunk_value
