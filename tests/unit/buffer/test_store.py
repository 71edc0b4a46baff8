"""Records, chunks, runs and deletes of the store, each on a real RocksDB."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from joblog.errors import Conflict, InvalidInput, Unavailable
from joblog.identity import LogName
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import RunFilter, Store
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import Event, Gap, LogRecord, Outcome

Opener = Callable[..., LogRecord]
Chunk = Callable[..., bytes]


def put(store: Store, record: LogRecord) -> None:
    changes = Changes()
    changes.put_log(record)
    store.write(changes)


def end(store: Store, record: LogRecord, exit_code: int = 0) -> None:
    record.state = types_pb2.LOG_STATE_COMPLETED
    record.completed_ns = 2000
    record.outcome.CopyFrom(Outcome(kind=types_pb2.OUTCOME_KIND_EXITED, exit_code=exit_code))
    put(store, record)


def delete(store: Store, number: int) -> None:
    changes = Changes()
    changes.delete_log(number)
    store.write(changes)


def run_of(store: Store, run: str = "run") -> tuple[int, int, int, int, int]:
    record = store.get_run("default", run)
    assert record is not None
    return record.state, record.logs_live, record.logs_completed, record.logs_interrupted, record.tasks_failed


def test_a_log_is_found_by_name_writer_and_number(store: Store, opener: Opener) -> None:
    first, second = opener(store), opener(store, attempt=7)
    assert store.find_log(LogName("default", "run", "task", 1)) == first.number
    assert store.find_log(LogName("default", "run", "task", 0)) == second.number
    assert store.find_log(LogName("default", "run", "task", 2)) is None
    assert store.find_log(LogName("default", "run", "tas", 0)) is None
    assert store.last_attempt("default", "run", "task") == 7
    assert store.last_attempt("default", "run", "t") == 0
    assert store.find_writer("default", "run", "task", first.writer_id) == (first.number, False)
    assert store.find_writer("default", "run", "task", b"?" * 16) is None
    assert store.get_dek(first.number) == b"dek"
    assert store.get_log(first.number) == first
    assert store.get_log(999) is None


def test_a_live_logs_length_comes_from_its_last_chunk(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)
    changes = Changes()
    changes.put_chunk(record.number, 0, chunk(10, newlines=2))
    changes.put_chunk(record.number, 10, chunk(5, newlines=1, lines_before=2, time_ns=77))
    changes.put_gap(
        record.number, Gap(offset=15, length=100, reason=types_pb2.GAP_REASON_SPOOL_FULL, newlines=9), 3, 88
    )
    store.write(changes)
    store.close()
    store = Store.open(store.path)
    found = store.get_log(record.number)
    assert found is not None
    assert (found.next_offset, found.newlines, found.last_append_ns) == (115, 12, 88)
    assert [(gap.offset, gap.length, gap.newlines) for gap in found.gaps] == [(15, 100, 9)]
    with store.view() as view:
        assert view.get_log(record.number) == found
    store.close()


def test_events_are_in_order_and_a_repeated_one_is_one(store: Store, opener: Opener) -> None:
    record = opener(store)
    events = [Event(offset=256, time_ns=1, kind="b"), Event(offset=1, time_ns=9, kind="a", message="m")]
    for _ in range(2):
        changes = Changes()
        for event in events:
            changes.put_event(record.number, event)
        store.write(changes)
    assert store.events(record.number) == [events[1], events[0]]


def test_a_runs_state_follows_from_its_tasks(store: Store, opener: Opener) -> None:
    driver, task = opener(store, task="@run"), opener(store)
    assert run_of(store) == (types_pb2.RUN_STATE_LIVE, 2, 0, 0, 0)
    end(store, task, exit_code=1)
    assert run_of(store) == (types_pb2.RUN_STATE_LIVE, 1, 1, 0, 1)
    end(store, driver, exit_code=3)
    assert run_of(store) == (types_pb2.RUN_STATE_FAILED, 0, 2, 0, 1)
    again = opener(store, attempt=2)
    assert run_of(store) == (types_pb2.RUN_STATE_LIVE, 1, 2, 0, 0)
    again.state = types_pb2.LOG_STATE_INTERRUPTED
    put(store, again)
    assert run_of(store) == (types_pb2.RUN_STATE_INTERRUPTED, 0, 2, 1, 0)
    end(store, again)
    assert run_of(store) == (types_pb2.RUN_STATE_SUCCEEDED, 0, 3, 0, 0)
    delete(store, again.number)
    assert run_of(store) == (types_pb2.RUN_STATE_FAILED, 0, 2, 0, 1)


def test_a_signal_is_a_failure(store: Store, opener: Opener) -> None:
    record = opener(store)
    record.outcome.kind = types_pb2.OUTCOME_KIND_SIGNALED
    record.state = types_pb2.LOG_STATE_COMPLETED
    put(store, record)
    assert run_of(store)[0] == types_pb2.RUN_STATE_FAILED


def test_many_logs_of_one_run_in_one_write_are_all_counted(store: Store) -> None:
    changes = Changes()
    for attempt in range(1, 4):
        record = LogRecord(uid=os.urandom(16), number=store.next_number(), writer_id=os.urandom(16), created_ns=5)
        record.id.namespace, record.id.run, record.id.task, record.id.attempt = "default", "run", "task", attempt
        record.state = types_pb2.LOG_STATE_COMPLETED
        record.outcome.kind, record.outcome.exit_code = types_pb2.OUTCOME_KIND_EXITED, int(attempt == 2)
        changes.put_log(record)
    for _ in range(2):
        store.write(changes)
        assert run_of(store) == (types_pb2.RUN_STATE_SUCCEEDED, 0, 3, 0, 0)


def test_identity_never_changes_and_is_not_taken_twice(store: Store, opener: Opener) -> None:
    record = opener(store)
    other = LogRecord.FromString(record.SerializeToString())
    other.number = store.next_number()
    with pytest.raises(Conflict, match="there already"):
        put(store, other)
    record.id.task = "another"
    with pytest.raises(Conflict, match="never change"):
        put(store, record)
    assert run_of(store) == (types_pb2.RUN_STATE_LIVE, 1, 0, 0, 0)


def test_a_deleted_log_is_gone_and_takes_nothing_more(store: Store, opener: Opener, chunk: Chunk) -> None:
    record, kept = opener(store), opener(store, run="kept")
    changes = Changes()
    for number in (record.number, kept.number):
        changes.put_chunk(number, 0, chunk())
        changes.put_gap(number, Gap(offset=10, length=1), 0, 0)
        changes.put_event(number, Event(kind="x"))
    store.write(changes)
    delete(store, record.number)
    for _ in range(2):
        assert store.get_log(record.number) is None
        assert store.get_dek(record.number) is None
        assert store.last_chunk(record.number) is None
        assert not store.events(record.number)
        assert not store.gaps(record.number)
        assert store.get_run("default", "run") is None
        assert store.list_logs("default", "run") == ([], "")
        assert [run.run for run in store.list_runs("default")[0]] == ["kept"]
        assert store.find_writer("default", "run", "task", record.writer_id) == (record.number, True)
        assert store.deleted_among([record.number, kept.number]) == {record.number}
        late = Changes()
        late.put_chunk(kept.number, 11, chunk())
        late.put_chunk(record.number, 11, chunk())
        with pytest.raises(Conflict, match=f"{record.number} is not there"):
            store.write(late)
        last = store.last_chunk(kept.number)
        assert last is not None
        assert last[0] == 10
        delete(store, record.number)
        store.close()
        store = Store.open(store.path)
    store.close()


def test_a_run_is_deleted_with_all_its_logs(store: Store, opener: Opener) -> None:
    numbers = [opener(store, task=f"t{index}", labels={"a": "b"}).number for index in range(5)]
    other = opener(store, run="run.2").number
    changes = Changes()
    changes.delete_run("default", "run")
    store.write(changes)
    assert [store.get_log(number) for number in numbers] == [None] * 5
    assert store.get_log(other) is not None
    assert store.list_runs("default", RunFilter(labels=(("a", "b"),)))[0] == []
    assert [record.number for record in store.live_logs()] == [other]


def test_live_logs_are_those_not_completed(store: Store, opener: Opener) -> None:
    records = [opener(store, task=f"t{index}") for index in range(3)]
    records[0].state = types_pb2.LOG_STATE_INTERRUPTED
    put(store, records[0])
    end(store, records[1])
    assert [record.number for record in store.live_logs()] == [records[0].number, records[2].number]


def test_dropped_chunks_leave_the_others(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)
    changes = Changes()
    for offset in range(0, 50, 10):
        changes.put_chunk(record.number, offset, chunk())
    store.write(changes)
    changes = Changes()
    changes.delete_chunks(record.number, 10, 50)
    changes.put_chunk(record.number, 10, chunk(30))
    store.write(changes)
    with store.view() as view:
        assert [(offset, header.raw_length) for offset, header, _ in view.chunks(record.number)] == [(0, 10), (10, 30)]
    last = store.last_chunk(record.number)
    assert last is not None
    assert last[0] == 10


def test_a_view_does_not_see_what_comes_later(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)
    changes = Changes()
    changes.put_chunk(record.number, 0, chunk())
    store.write(changes)
    with store.view() as view:
        delete(store, record.number)
        assert [offset for offset, _, _ in view.chunks(record.number)] == [0]
        assert view.get_log(record.number) is not None
        assert view.get_dek(record.number) == b"dek"
    with pytest.raises(Unavailable):
        view.get_log(record.number)
    with store.view() as view:
        assert not list(view.chunks(record.number))


@pytest.mark.parametrize("size", [1, 5000])
def test_chunks_begin_at_the_one_that_holds_the_offset(store: Store, opener: Opener, chunk: Chunk, size: int) -> None:
    records = [opener(store, task=f"t{index}") for index in range(3)]
    changes = Changes()
    for record in records:
        for index in range(10):
            changes.put_chunk(record.number, index * size, chunk(size))
    store.write(changes)
    with store.view() as view:
        for offset in range(0, 10 * size + 2, max(1, size // 3)):
            found = [start for start, _, sealed in view.chunks(records[1].number, offset) if len(sealed) == size]
            assert found == list(range(offset // size * size, 10 * size, size))
        with pytest.raises(InvalidInput):
            list(view.chunks(records[1].number, 2**64))


def test_lines_and_times_lead_to_chunks(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)
    opener(store, task="after")
    # (length, newlines) of the chunks; lines run over chunks, and some chunks hold none.
    shape = [(10, 0), (1, 1), (1000, 5), (3, 0), (3, 0), (9000, 1), (1, 0), (20, 20)]
    changes, offset, lines, starts = Changes(), 0, 0, []
    for index, (length, newlines) in enumerate(shape):
        changes.put_chunk(record.number, offset, chunk(length, newlines, lines, 100 * (index + 1)))
        starts.append((offset, lines))
        offset, lines = offset + length, lines + newlines
    store.write(changes)
    with store.view() as view:
        assert view.chunk_for_line(record.number + 50, 1) is None
        assert view.chunk_for_time(record.number + 50, 1) is None
        first = view.chunk_for_line(record.number, 1)
        assert first is not None
        assert first[0] == 0
        for line in range(2, lines + 2):
            wanted = [start for start, before in starts if before < line - 1][-1]
            found = view.chunk_for_line(record.number, line)
            assert found is not None
            assert found[0] == wanted, line
        assert view.chunk_for_line(record.number, lines + 2) is None
        with pytest.raises(InvalidInput):
            view.chunk_for_line(record.number, 0)
        for time_ns in (0, 99, 100, 101, 250, 799, 800, 10**18):
            found = view.chunk_for_time(record.number, time_ns)
            assert found is not None
            assert found[0] == starts[min(max(time_ns // 100 - 1, 0), 7)][0]


def test_numbers_are_never_given_twice(store: Store) -> None:
    seen = [store.next_number() for _ in range(200)]
    path = store.path
    for _ in range(3):
        store.close()
        store = Store.open(path)
        seen += [store.next_number() for _ in range(70)]
    store.close()
    assert seen == sorted(set(seen))
    assert seen[0] == 1


def test_keyring_records_and_id_outlive_a_restart(store: Store) -> None:
    assert store.get_key(b"current") is None
    store.put_key(b"current", b"value")
    store.close()
    again = Store.open(store.path)
    assert (again.get_key(b"current"), again.store_id) == (b"value", store.store_id)
    again.close()
    with pytest.raises(Unavailable):
        again.get_key(b"current")


def test_the_space_of_deleted_logs_comes_back(store: Store, opener: Opener) -> None:
    records = [opener(store, task=f"t{index}") for index in range(4)]
    for offset in range(0, 40 << 20, 1 << 18):
        changes = Changes()
        number = records[(offset >> 18) % 4].number
        changes.put_chunk(number, offset, b"\1\1\0\1" + bytes(36) + os.urandom(1 << 18))
        store.write(changes, sync=False)
    for record in records[:3]:
        delete(store, record.number)
    assert store.reclaim() > 0
    assert store.stats().disk_bytes < 25 << 20
    with store.view() as view:
        assert sum(len(sealed) for _, _, sealed in view.chunks(records[3].number)) == 10 << 20


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "a" / "store")
    assert store.path.stat().st_mode & 0o077 == 0
    store.close()
