"""One damaged chunk is that chunk's loss: its neighbours are read, compacted and written as if nothing was."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt
from joblog.leader.buffer import damage, keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import (
    KIND_DATA,
    ChunkHeader,
    gap_header,
    pack_gap,
    pack_stored,
    record_crc32c,
    stored_record,
    unpack_stored,
)
from joblog.leader.buffer.damage import Damage
from joblog.leader.buffer.holes import Hole, find_hole
from joblog.leader.buffer.options import Spared
from joblog.leader.buffer.store import Store
from joblog.leader.buffer.view import LogEnd
from joblog.leader.ingest.limit import LogLimit
from joblog.v1.types_pb2 import GAP_REASON_LOST, LOG_STATE_COMPLETED, TIER_ARCHIVE, Gap, LogRecord
from tests.damaging import chunk_files, flip_anywhere, flip_pattern

Opener = Callable[..., LogRecord]
Texts = dict[int, dict[int, bytes]]


def value_of(size: int, lines_before: int = 0) -> bytes:
    return ChunkHeader(KIND_DATA, 1, 1, size, lines_before, 100 + lines_before, 0, 0).pack() + os.urandom(size)


def three_logs(path: Path, opener: Opener, sizes: list[int], rounds: int = 1) -> Texts:
    """A closed store with three logs whose chunks lie beside each other; what was written, by number and offset."""
    store = Store.open(path)
    texts: Texts = {}
    for record in [opener(store, task=f"t{at}") for at in range(3)]:
        texts[record.number] = {}
    ends = dict.fromkeys(texts, 0)
    for _ in range(rounds):
        for size in sizes:
            changes = Changes()
            for number, chunks in texts.items():
                value = value_of(size, len(chunks))
                chunks[ends[number]] = value
                changes.put_chunk(number, ends[number], value)
                ends[number] += size
            store.write(changes)
    store.close()
    return texts


def read(store: Store, number: int, from_offset: int = 0) -> dict[int, bytes]:
    with store.view() as view:
        return {offset: header.pack() + sealed for offset, header, sealed in view.chunks(number, from_offset)}


def writes(store: Store, number: int, offset: int) -> None:
    changes = Changes()
    changes.put_chunk(number, offset, value_of(10))
    store.write(changes)


def spared(store: Store) -> Spared:
    return store._engine._sparing.spared


BLOBS = [5000, 100_000, 3000]
SMALL = [100, 500, 30]


@pytest.mark.parametrize("sizes", [BLOBS, SMALL], ids=["blobs", "tables"])
def test_a_damaged_chunk_is_a_hole_in_one_log(
    tmp_path: Path, opener: Opener, sizes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, sizes, rounds=4)
    first, hurt, last = texts
    damaged = sorted(texts[hurt])[4]
    flip_pattern(path, texts[hurt][damaged][60:68])
    store = Store.open(path)
    assert store.damage.warning() is None
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for number in (first, last):
                assert read(store, number) == texts[number]
            kept = {offset: value for offset, value in texts[hurt].items() if offset != damaged}
            assert read(store, hurt) == kept
    assert [record.args for record in caplog.records if "damaged" in record.message] == [
        (hurt, damaged, "its checksum does not fit")
    ]
    assert store.damage.offsets(hurt) == [damaged]
    assert "log" in (store.damage.warning() or "") and str(hurt) in (store.damage.warning() or "")
    with store.view() as view:
        following = sorted(texts[hurt])[5]
        assert next(view.chunks(hurt, damaged + 1))[0] == following
        assert view.log_end(hurt) == store.log_end(hurt) == store.log_end(first)
        hole = view.chunk_for_line(hurt, 6)
        assert hole is not None
        assert hole == (damaged, gap_header(following - damaged, GAP_REASON_LOST, 1, 4, 103))
        assert view.chunk_for_line(hurt, 7) is not None
    # The range is written anew, or goes with its log: then nothing is wrong any more.
    changes = Changes()
    changes.put_chunk(hurt, damaged, texts[hurt][damaged])
    store.write(changes)
    assert read(store, hurt) == texts[hurt]
    assert store.damage.warning() is None
    store.close()


@pytest.mark.parametrize("suffix", [".blob", ".sst"])
@pytest.mark.parametrize("seed", range(8))
def test_a_byte_changed_anywhere_costs_no_other_log_its_chunks(
    tmp_path: Path, opener: Opener, suffix: str, seed: int
) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, [100, 3000, 1500, 700], rounds=40)
    flip_anywhere(path, seed, suffix)
    store = Store.open(path)
    try:
        lost = 0
        for number, chunks in texts.items():
            found = read(store, number)
            assert found.items() <= chunks.items(), "what was read is not what was written"
            assert list(found) == sorted(found)
            lost += len(chunks) - len(found)
            for offset in random.Random(seed).sample(sorted(found), 10):
                assert next(iter(read(store, number, offset))) == offset
            end = store.log_end(number)
            assert end is not None
            assert end.offset == max(offset + len(chunks[offset]) - 40 for offset in found)
        # A bit in a table may take a reference and what is packed behind it, up to the next whole key: a few chunks.
        assert lost <= (1 if suffix == ".blob" else 16)
        numbers = list(texts)
        for number in numbers:
            writes(store, number, 10**9)
        store.compact_chunks()
        for number in numbers:
            writes(store, number, 10**9 + 10)
            assert list(read(store, number))[-1] == 10**9 + 10
    finally:
        store.close()


@pytest.mark.parametrize("at", [0.1, 0.5, 0.7])
def test_a_block_that_cannot_be_read_hides_only_what_is_in_it(tmp_path: Path, opener: Opener, at: float) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, [100, 50], rounds=300)
    [table] = [file for file in chunk_files(path) if file.suffix == ".sst"]
    data = bytearray(table.read_bytes())
    begin = int(len(data) * at)
    data[begin : begin + 4096] = b"\xff" * 4096
    table.write_bytes(data)
    store = Store.open(path)
    lost = {number: chunks.keys() - read(store, number).keys() for number, chunks in texts.items()}
    for number, chunks in texts.items():
        assert read(store, number).items() <= chunks.items()
        for offset in sorted(lost[number]):
            # What a damaged block shows depends on the way to it, but the log goes on behind it.
            found = read(store, number, offset)
            assert found.items() <= chunks.items()
            assert len(found) >= sum(1 for other in chunks if other > offset and other not in lost[number]) - 40
    assert 10 < sum(map(len, lost.values())) < 200
    assert sum(1 for offsets in lost.values() if offsets) <= 2
    assert store.damage.logs()
    store.close()


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


def test_compactions_leave_damaged_files_alone(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, BLOBS, rounds=4)
    first, hurt, last = texts
    damaged = sorted(texts[hurt])[1]
    flip_pattern(path, texts[hurt][damaged][60:68])
    store = Store.open(path)
    # Nobody has come across it yet.
    store.compact_chunks()
    writes(store, first, 10**9)
    assert store.damage.offsets(hurt) == [damaged]
    assert spared(store) is Spared.BLOBS
    store.close()
    store = Store.open(path)
    assert spared(store) is Spared.BLOBS
    changes = Changes()
    changes.delete_log(hurt)
    store.write(changes)
    before = store.disk_bytes()
    store.compact_chunks()
    # It went with its log.
    assert spared(store) is Spared.NOTHING
    assert not (path / "damaged.joblog").exists()
    assert store.disk_bytes() < before
    writes(store, last, 10**9)
    assert read(store, last).items() >= texts[last].items()
    store.close()


def test_a_compaction_that_meets_damage_first_costs_one_start(tmp_path: Path, opener: Opener) -> None:
    path = tmp_path / "store"
    texts = three_logs(path, opener, BLOBS, rounds=4)
    first, hurt, _ = texts
    flip_pattern(path, texts[hurt][0][60:68])
    store = Store.open(path)
    # As RocksDB does by itself, now and then.
    store._engine.compact(keys.CHUNKS)
    with pytest.raises(Corrupt, match="started again"):
        writes(store, first, 10**9)
    assert store.needs_restart
    store.close()
    store = Store.open(path)
    assert not store.needs_restart
    for number in texts:
        writes(store, number, 10**9)
    store.compact_chunks()
    for number in texts:
        writes(store, number, 10**9 + 10)
    assert store.damage.offsets(hurt) == [0]
    store.close()


def test_a_stored_chunk_is_bound_to_its_key() -> None:
    header = ChunkHeader(KIND_DATA, 1, 2, 9, 4, 5, 6, 7)
    stored = pack_stored(7, 1000, header.pack(), b"sealed")
    found, sealed = unpack_stored(7, 1000, stored)
    assert (found, bytes(sealed)) == (header, b"sealed")
    chunk, crc32c = stored_record(7, sealed)
    assert chunk == header.pack() + b"sealed"
    assert crc32c == record_crc32c(1000, bytes(chunk))
    for number, offset in ((8, 1000), (7, 1001), (7 << 32, 1000)):
        with pytest.raises(Corrupt, match="checksum"):
            unpack_stored(number, offset, stored)
    for at in range(len(stored)):
        broken = bytearray(stored)
        broken[at] ^= 1 << at % 8
        with pytest.raises(Corrupt):
            unpack_stored(7, 1000, bytes(broken))
    for size in (0, 10, 43, len(stored) - 1):
        with pytest.raises(Corrupt):
            unpack_stored(7, 1000, stored[:size])
    gap = pack_gap(gap_header(100, 2, 3, 4, 5))
    found, sealed = unpack_stored(7, 1000, pack_stored(7, 1000, gap))
    assert found.reason == 2
    assert bytes(sealed) == b""
    assert stored_record(7, sealed)[0] == gap


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
