"""One damaged chunk is that chunk's loss: its neighbours are read, compacted and written as if nothing was."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from joblog.errors import Corrupt
from joblog.leader.buffer import keys
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
from joblog.leader.buffer.options import Spared
from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import GAP_REASON_LOST
from tests.damaging import BLOBS, SMALL, Opener, chunk_files, flip_anywhere, flip_pattern, read, three_logs, writes


def spared(store: Store) -> Spared:
    return store._engine._sparing.spared


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
