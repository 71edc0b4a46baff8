"""The store used by many threads at once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import Event, LogRecord

Opener = Callable[..., LogRecord]
Chunk = Callable[..., bytes]


@pytest.fixture(autouse=True)
def eager_switches() -> Iterator[None]:
    """Threads take turns as often as they can, so that what is not held together falls apart."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def test_counters_add_up_and_numbers_differ(store: Store, opener: Opener) -> None:
    def life(index: int) -> int:
        record = opener(store, task=f"t{index}")
        record.state = types_pb2.LOG_STATE_COMPLETED
        record.outcome.kind, record.outcome.exit_code = types_pb2.OUTCOME_KIND_EXITED, index % 2
        changes = Changes()
        changes.put_log(record)
        store.write(changes)
        if index % 5 == 0:
            changes = Changes()
            changes.delete_log(record.number)
            store.write(changes)
        return record.number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(life, range(100)))
    assert len(set(numbers)) == 100
    run = store.get_run("default", "run")
    assert run is not None
    assert (run.logs_live, run.logs_completed, run.tasks_failed) == (0, 80, 40)
    assert run.state == types_pb2.RUN_STATE_FAILED


def test_a_view_sees_a_write_in_all_families_or_in_none(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)

    def write() -> None:
        for offset in range(0, 5000, 10):
            changes = Changes()
            changes.put_event(record.number, Event(offset=offset, kind="append"))
            changes.put_chunk(record.number, offset, chunk())
            store.write(changes, sync=False)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            views = [store.view() for _ in range(50)]
            for view in views:
                with view:
                    last = view.last_chunk(record.number)
                    length = 0 if last is None else last[0] + 10
                    assert len(view.events(record.number)) * 10 == length
    writing.result()


def test_a_delete_and_late_appends_leave_nothing_behind(store: Store, opener: Opener, chunk: Chunk) -> None:
    for attempt in range(1, 21):
        record = opener(store, attempt=attempt)
        begin = threading.Barrier(3)

        def append(record: LogRecord = record, begin: threading.Barrier = begin) -> None:
            begin.wait()
            for offset in range(0, 500, 10):
                changes = Changes()
                changes.put_chunk(record.number, offset, chunk())
                store.write(changes, sync=False)

        with ThreadPoolExecutor(2) as pool:
            appends = [pool.submit(append) for _ in range(2)]
            begin.wait()
            changes = Changes()
            changes.delete_log(record.number)
            store.write(changes, sync=False)
        assert all("is not there" in str(task.exception()) for task in appends if task.exception())
        with store.view() as view:
            assert not list(view.chunks(record.number))
        assert store.last_chunk(record.number) is None


def test_a_views_calls_do_not_disturb_its_chunks(store: Store, opener: Opener, chunk: Chunk) -> None:
    records = [opener(store, task=os.urandom(4).hex()) for _ in range(2)]
    changes = Changes()
    for offset in range(0, 100, 10):
        for record in records:
            changes.put_chunk(record.number, offset, chunk(newlines=1, lines_before=offset // 10))
    store.write(changes)
    with store.view() as view:
        both = zip(view.chunks(records[0].number), view.chunks(records[1].number, 0), strict=True)
        offsets = []
        for (one, _, _), (two, _, _) in both:
            assert one == two
            assert view.last_chunk(records[1].number) is not None
            assert view.chunk_for_line(records[0].number, 5) is not None
            offsets.append(one)
        assert offsets == list(range(0, 100, 10))
