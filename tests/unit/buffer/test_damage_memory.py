"""What is remembered of damage: where a log ended of which the last chunk is damaged, and that a log was mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from joblog.errors import Conflict
from joblog.leader.buffer import damage, keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import (
    pack_stored,
)
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.holes import Hole, find_hole
from joblog.leader.buffer.store import Store
from joblog.leader.buffer.view import LogEnd
from joblog.leader.ingest.limit import LogLimit
from joblog.v1.types_pb2 import GAP_REASON_LOST, LOG_STATE_COMPLETED, TIER_ARCHIVE, Gap
from tests.damaging import BLOBS, SMALL, Opener, flip_pattern, read, three_logs, value_of


def test_a_damaged_end_is_known_while_it_is_remembered(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "store"
    store = Store.open(path)
    record = opener(store)
    values = [value_of(4000, at) for at in range(3)]
    for at, value in enumerate(values):
        changes = Changes()
        changes.put_chunk(record.number, 4000 * at, value)
        store.write(changes)
    store._engine._family(keys.CHUNKS).flush()
    flip_pattern(path, values[2][60:68])
    with store.view() as view:
        assert [offset for offset, _, _ in view.chunks(record.number)] == [0, 4000]
        end = view.log_end(record.number)
        assert end is not None
        assert (end.offset, end.lines) == (12_000, 3)
    store.close()
    # Afterwards nobody knows where it ended: it goes on where the last good one ends, and the writer sends the rest.
    store = Store.open(path)
    end = store.log_end(record.number)
    assert end is not None
    assert (end.offset, end.lines) == (8000, 2)
    changes = Changes()
    changes.put_chunk(record.number, 8000, values[2])
    store.write(changes)
    assert list(read(store, record.number)) == [0, 4000, 8000]
    store.close()


@pytest.mark.parametrize("row", [False, True], ids=["single", "row"])
def test_a_damaged_end_is_known_though_what_lies_before_it_has_left_the_buffer(
    tmp_path: Path, opener: Opener, row: bool
) -> None:
    store = Store.open(tmp_path / "store")
    number = opener(store).number
    values = [value_of(4000, at) for at in range(3)]
    for at, value in enumerate(values):
        changes = Changes()
        changes.put_chunk(number, 4000 * at, value)
        store.write(changes)
    changes = Changes()
    if row:
        changes.delete_chunks(number, 0, 8000)
    else:
        changes.delete_chunk(number, 0)
        changes.delete_chunk(number, 4000)
    store.write(changes)
    store._engine._family(keys.CHUNKS).flush()
    flip_pattern(store.path, values[2][60:68])
    with store.view() as view:
        assert list(view.chunks(number)) == []
        assert view.log_end(number) == store.log_end(number) == LogEnd(12_000, 3, 102)
    # A last chunk that has left the buffer itself is no end any more.
    changes = Changes()
    if row:
        changes.delete_chunks(number, 0, 12_000)
    else:
        changes.delete_chunk(number, 8000)
    store.write(changes)
    assert store.log_end(number) is None
    store.close()


@pytest.mark.parametrize("reopened", [False, True])
def test_a_damaged_end_of_a_log_that_is_over_its_limit_is_known(tmp_path: Path, opener: Opener, reopened: bool) -> None:
    store = Store.open(tmp_path / "store")
    number = opener(store).number
    limit = LogLimit(8000)
    values = [value_of(2000, at) for at in range(8)]
    for at, value in enumerate(values):
        if at == 6 and reopened:
            store.close()
            store = Store.open(tmp_path / "store")
        changes = Changes()
        changes.put_chunk(number, 2000 * at, value)
        if (drop := limit.add(2000 * at, 2000, 1, at, data=True)) is not None:
            changes.replace_by_gap(number, drop.gap, drop.lines_before, 1)
        store.write(changes)
    store._engine._family(keys.CHUNKS).flush()
    flip_pattern(store.path, values[7][60:68])
    with store.view() as view:
        assert [offset for offset, _, _ in view.chunks(number)] == [0, 2000, 4000, 12_000]
        assert view.log_end(number) == store.log_end(number) == LogEnd(16_000, 8, 107)
    assert store.damage.offsets(number) == [14_000]
    store.close()


def test_a_damaged_end_of_which_a_part_came_again_is_still_known(tmp_path: Path, opener: Opener) -> None:
    store = Store.open(tmp_path / "store")
    number = opener(store).number
    values = [value_of(4000, at) for at in range(3)]
    for at, value in enumerate(values):
        changes = Changes()
        changes.put_chunk(number, 4000 * at, value)
        store.write(changes)
    store._engine._family(keys.CHUNKS).flush()
    for value in values[1:]:
        flip_pattern(store.path, value[60:68])
    before = store.view()
    # Not in the chunks that there were: the first part ends within the last one.
    for offset, size, left in ((4000, 5000, Hole(9000, 12_000, 2, 3)), (9000, 3000, None)):
        changes = Changes()
        changes.refill(number, offset, size, pack_stored(number, offset, value_of(size, 1 + offset // 8000)))
        store.write(changes)
        with store.view() as view:
            assert find_hole(view, number, 9000) == left
            end = view.log_end(number)
            assert end is not None and (end.offset, end.lines) == (12_000, 3)
    changes = Changes()
    changes.put_chunk(number, 12_000, value_of(10, 3))
    store.write(changes)
    # What comes later is not there for who looked before.
    end = before.log_end(number)
    assert end is not None and end.offset <= 12_000
    before.close()
    store.close()


@pytest.mark.parametrize("sizes", [BLOBS, SMALL], ids=["blobs", "tables"])
@pytest.mark.parametrize("mending", ["refilled", "gap", "sealed", "deleted"])
def test_who_began_to_read_before_a_log_was_mended_brings_no_damage_back(
    tmp_path: Path, opener: Opener, sizes: list[int], mending: str
) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, sizes, rounds=2)
    _, hurt, other = texts
    damaged, again = sorted(texts[hurt])[2], sorted(texts[other])[3]
    for number, offset in ((hurt, damaged), (other, again)):
        flip_pattern(path, texts[number][offset][60:68])
    store = Store.open(path)
    before = store.view()
    changes = Changes()
    if mending == "refilled":
        value = texts[hurt][damaged]
        changes.refill(hurt, damaged, sizes[2], pack_stored(hurt, damaged, value))
    elif mending == "gap":
        changes.replace_by_gap(hurt, Gap(offset=damaged, length=sizes[2], reason=GAP_REASON_LOST), 2, 1)
    elif mending == "sealed":
        record = store.get_log(hurt)
        assert record is not None
        record.state, record.tier = LOG_STATE_COMPLETED, TIER_ARCHIVE
        changes.put_log(record)
        changes.delete_chunks(hurt, 0, keys.MAX_U64)
    else:
        changes.delete_log(hurt)
    store.write(changes)
    for number in (hurt, other):
        assert len(list(before.chunks(number))) == len(texts[number]) - 1
    before.close()
    # Of other logs all counts, whenever it is found.
    assert (store.damage.offsets(hurt), store.damage.offsets(other)) == ([], [again])
    read(store, hurt)
    assert store.damage.logs() == [other]
    store.close()


def test_damage_that_comes_after_a_log_was_mended_is_found(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, BLOBS)
    hurt = min(texts)
    store = Store.open(path)
    changes = Changes()
    changes.refill(hurt, 0, BLOBS[0], pack_stored(hurt, 0, texts[hurt][0]))
    store.write(changes)
    flip_pattern(path, texts[hurt][BLOBS[0]][60:68])
    read(store, hurt)
    assert store.damage.offsets(hurt) == [BLOBS[0]]
    store.close()


def test_of_many_mended_logs_the_first_are_not_known_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_MENDED_LOGS", 2)
    known = Damage(tmp_path, lambda _number, _offset, _is_there: None)
    early = known.mendings
    known.mended([1])
    between = known.mendings
    known.mended([2, 3, 4])
    for number in (1, 2, 5):
        known.found(number, 0, "why", early)
    assert known.logs() == []
    for number in (1, 4, 5):
        known.found(number, 0, "why", between)
    assert known.logs() == []
    for number in (1, 4, 5):
        known.found(number, 0, "why", known.mendings)
    assert known.logs() == [1, 4, 5]


def test_a_single_byte_that_comes_again_is_not_taken_for_the_logs_end(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, [10, 1, 20])
    number = min(texts)
    store = Store.open(path)
    end = store.log_end(number)
    changes = Changes()
    changes.refill(number, 10, 1, pack_stored(number, 10, texts[number][10]))
    store.write(changes)
    assert end is not None and end.offset == 31
    assert store.log_end(number) == end
    store.close()


def test_who_read_a_log_before_a_range_of_it_was_replaced_learns_so_also_once_it_is_completed(
    tmp_path: Path, opener: Opener
) -> None:
    path = tmp_path / "store"
    number = min(three_logs(path, opener, [10, 20]))
    store = Store.open(path)
    rewrites = store.rewrites(number)
    changes = Changes()
    changes.replace_by_gap(number, Gap(offset=0, length=10, reason=GAP_REASON_LOST), 0, 1)
    store.write(changes)
    record = store.get_log(number)
    assert record is not None
    record.state = LOG_STATE_COMPLETED
    changes = Changes()
    changes.put_log(record)
    store.write(changes)
    changes = Changes()
    changes.guard(number, rewrites)
    changes.delete_chunk(number, 10)
    with pytest.raises(Conflict, match="replaced meanwhile"):
        store.write(changes)
    store.close()
