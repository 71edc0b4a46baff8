"""Extents: where a log's bytes lie in the archive, and which objects are still needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from joblog.errors import Conflict
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.v1.archive_pb2 import EXTENT_KIND_PACK, EXTENT_KIND_SEALED, Extent
from joblog.v1.types_pb2 import (
    GAP_REASON_LOG_LIMIT,
    LOG_STATE_COMPLETED,
    TIER_ARCHIVE,
    TIER_BUFFER,
    Gap,
    LogRecord,
    Seal,
)

Chunk = Callable[..., bytes]
Opener = Callable[..., LogRecord]


def extent(offset: int, end: int, object_key: str = "p1", lines: int = 0, newlines: int = 0, **more: object) -> Extent:
    return Extent(
        offset=offset,
        end_offset=end,
        object=object_key,
        kind=EXTENT_KIND_PACK,
        length=end - offset,
        lines_before=lines,
        newlines=newlines,
        last_time_ns=7,
        **more,  # type: ignore[arg-type]
    )


def put(store: Store, number: int, *extents: Extent, drop: tuple[int, ...] = ()) -> None:
    changes = Changes()
    for one in extents:
        changes.put_extent(number, one)
    for offset in drop:
        changes.delete_chunk(number, offset)
    store.write(changes)


def unused(store: Store) -> list[str]:
    return [found.key for found in store.objects.unused()]


def ranges(store: Store, number: int, from_offset: int = 0) -> list[tuple[int, int]]:
    with store.view() as view:
        return [(one.offset, one.end_offset) for one in view.extents(number, from_offset)]


def test_extents_begin_with_the_one_that_holds_the_offset(store: Store, opener: Opener) -> None:
    first, second = opener(store, task="a"), opener(store, task="b")
    put(store, first.number, extent(0, 10), extent(10, 20), extent(30, 40))
    put(store, second.number, extent(0, 5))
    assert ranges(store, first.number) == [(0, 10), (10, 20), (30, 40)]
    assert ranges(store, first.number, 10) == [(10, 20), (30, 40)]
    assert ranges(store, first.number, 19) == [(10, 20), (30, 40)]
    assert ranges(store, first.number, 20) == [(30, 40)]
    assert ranges(store, first.number, 40) == []
    assert ranges(store, second.number, 4) == [(0, 5)]


def test_a_flushed_logs_end_is_that_of_its_last_extent(
    store: Store, opener: Opener, chunk: Chunk, tmp_path: Path
) -> None:
    record = opener(store)
    changes = Changes()
    changes.put_chunk(record.number, 0, chunk(10, 2))
    changes.put_chunk(record.number, 10, chunk(5, 1, 2))
    store.write(changes)
    put(store, record.number, extent(0, 15, newlines=3), drop=(0, 10))
    found = store.get_log(record.number)
    assert found is not None
    assert (found.next_offset, found.newlines, found.last_append_ns) == (15, 3, 7)
    assert store.last_chunk(record.number) is None
    changes = Changes()
    changes.put_chunk(record.number, 15, chunk(5, 1, 3))
    store.write(changes)
    store.close()
    with Store.open(tmp_path / "store").view() as view:
        again = view.get_log(record.number)
        assert again is not None
        assert (again.next_offset, again.newlines) == (20, 4)
        assert view.first_chunk_offset(record.number) == 15


def test_an_object_is_unused_once_no_extent_names_it(store: Store, opener: Opener) -> None:
    one, two = opener(store, task="a"), opener(store, task="b")
    put(store, one.number, extent(0, 10), extent(10, 20))
    put(store, two.number, extent(0, 10))
    assert store.objects.uses("p1") == 3
    changes = Changes()
    changes.delete_extents(one.number, 0, 20)
    changes.put_extent(one.number, extent(0, 20, "s1"))
    store.write(changes)
    assert (store.objects.uses("p1"), store.objects.uses("s1"), unused(store)) == (1, 1, [])
    changes = Changes()
    changes.delete_log(two.number)
    store.write(changes)
    assert (store.objects.uses("p1"), unused(store)) == (0, ["p1"])
    changes = Changes()
    changes.forget_objects(["p1"])
    store.write(changes)
    assert unused(store) == []


def test_an_announced_object_is_unused_until_an_extent_names_it(store: Store, opener: Opener) -> None:
    record = opener(store)
    changes = Changes()
    changes.announce_objects(["p1", "p2"])
    store.write(changes)
    assert unused(store) == ["p1", "p2"]
    put(store, record.number, extent(0, 10))
    assert unused(store) == ["p2"]


def test_companions_go_with_their_object(store: Store, opener: Opener) -> None:
    record = opener(store)
    put(store, record.number, extent(0, 10, "log", companions=["meta"]))
    changes = Changes()
    changes.delete_run("default", "run")
    store.write(changes)
    assert unused(store) == ["log", "meta"]


def test_a_gap_takes_its_range_from_extents(store: Store, opener: Opener) -> None:
    record = opener(store)
    put(store, record.number, extent(0, 30, "p1", 0, 30), extent(30, 50, "p2", 30, 20), extent(50, 90, "p3", 50, 40))
    changes = Changes()
    gap = Gap(offset=10, length=50, reason=GAP_REASON_LOG_LIMIT, newlines=50)
    changes.replace_by_gap(record.number, gap, 10, 1)
    store.write(changes)
    with store.view() as view:
        kept = [(one.offset, one.end_offset, one.lines_before, one.newlines) for one in view.extents(record.number)]
    assert kept == [(0, 10, 0, 10), (60, 90, 60, 30)]
    assert unused(store) == ["p2"]
    assert store.objects.uses("p3") == 1


def test_a_gap_inside_one_extent_leaves_two_parts(store: Store, opener: Opener) -> None:
    record = opener(store)
    put(store, record.number, extent(0, 90, newlines=90))
    changes = Changes()
    changes.replace_by_gap(record.number, Gap(offset=10, length=20, newlines=20), 10, 1)
    store.write(changes)
    assert ranges(store, record.number) == [(0, 10), (30, 90)]
    assert store.objects.uses("p1") == 2


def test_a_guarded_write_fails_when_chunks_became_a_gap_meanwhile(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)
    changes = Changes()
    changes.put_chunk(record.number, 0, chunk(10))
    store.write(changes)
    rewrites = store.rewrites(record.number)
    changes = Changes()
    changes.replace_by_gap(record.number, Gap(offset=0, length=10), 0, 1)
    store.write(changes)
    late = Changes()
    late.guard(record.number, rewrites)
    late.put_extent(record.number, extent(0, 10))
    with pytest.raises(Conflict, match="read it again"):
        store.write(late)
    assert ranges(store, record.number) == []
    late.guard(record.number, store.rewrites(record.number))
    store.write(late)


def test_extents_of_a_deleted_log_are_refused(store: Store, opener: Opener) -> None:
    record = opener(store)
    changes = Changes()
    changes.delete_log(record.number)
    store.write(changes)
    with pytest.raises(Conflict):
        put(store, record.number, extent(0, 10))
    assert unused(store) == []


def test_rosters_are_needed_until_their_logs_are_sealed(store: Store, opener: Opener) -> None:
    one, two = opener(store, task="a"), opener(store, task="b")
    changes = Changes()
    changes.put_roster(one.number, "r1")
    changes.put_roster(two.number, "r1")
    store.write(changes)
    assert (store.objects.roster_of(one.number), store.objects.uses("r1")) == ("r1", 2)
    changes = Changes()
    changes.put_roster(one.number, "r2")
    store.write(changes)
    assert (store.objects.roster_of(one.number), store.objects.uses("r1"), store.objects.uses("r2")) == ("r2", 1, 1)
    changes = Changes()
    two.state, two.tier = LOG_STATE_COMPLETED, TIER_ARCHIVE
    two.seal.CopyFrom(Seal(length=0))
    changes.put_log(two)
    store.write(changes)
    assert unused(store) == ["r1"]
    assert store.objects.roster_of(two.number) is None


def test_completed_logs_wait_for_their_seal(store: Store, opener: Opener) -> None:
    one, two = opener(store, task="a"), opener(store, task="b")
    for record in (two, one):
        record.state, record.tier = LOG_STATE_COMPLETED, TIER_BUFFER
        changes = Changes()
        changes.put_log(record)
        store.write(changes)
    assert store.unsealed_logs(10) == [one.number, two.number]
    assert store.unsealed_logs(1) == [one.number]
    changes = Changes()
    one.tier = TIER_ARCHIVE
    changes.put_log(one)
    changes.put_extent(one.number, Extent(offset=0, end_offset=1, object="s", kind=EXTENT_KIND_SEALED))
    changes.delete_log(two.number)
    store.write(changes)
    assert store.unsealed_logs(10) == []


def test_a_gap_in_the_middle_does_not_move_a_live_logs_end(store: Store, opener: Opener, chunk: Chunk) -> None:
    record = opener(store)
    changes = Changes()
    for offset in (0, 10, 20):
        changes.put_chunk(record.number, offset, chunk(10, 1, offset // 10))
    store.write(changes)
    changes = Changes()
    changes.put_chunk(record.number, 30, chunk(10, 1, 3))
    changes.replace_by_gap(record.number, Gap(offset=10, length=10, newlines=1), 1, 1)
    store.write(changes)
    found = store.get_log(record.number)
    assert found is not None
    assert (found.next_offset, found.newlines) == (40, 4)
