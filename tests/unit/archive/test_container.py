"""The archive's container: what is written is found again, and what can't be is refused."""

from __future__ import annotations

import hashlib
import os
import tracemalloc

import google_crc32c
import pytest

from joblog.errors import Corrupt, InvalidInput, WrongVersion
from joblog.leader.archive import container
from joblog.leader.archive.container import (
    FOOTER_BYTES,
    KIND_PACK,
    KIND_SEALED,
    KIND_SEGMENT,
    MAGIC,
    ContainerWriter,
    Footer,
    Index,
)
from joblog.leader.buffer.chunk import gap_header, pack_gap
from tests.chunks import ChunkMaker, value_of, values


def read_whole(data: bytes) -> tuple[Footer, Index]:
    container.check_magic(data[:8])
    footer = container.read_footer(data[-FOOTER_BYTES:], len(data))
    start = footer.index_position
    return footer, container.read_index(data[start : start + footer.index_length], footer)


def two_logs() -> tuple[bytes, ChunkMaker, ChunkMaker]:
    one, two = ChunkMaker(), ChunkMaker()
    chunks = [one.data(b"hello\n"), one.gap(100, 7), one.data(b"world\n" * 50)]
    two.offset, two.lines = 1000, 30
    logs = [(one.uid, values(chunks)), (two.uid, values([two.data(b"x" * 10)]))]
    return b"".join(container.write_container(KIND_PACK, logs)), one, two


def test_pieces_of_a_pack_are_found_again() -> None:
    data, one, two = two_logs()
    footer, index = read_whole(data)
    assert (footer.kind, footer.logs, footer.chunks, footer.size) == (KIND_PACK, 2, 4, len(data))
    assert index.find(os.urandom(16)) is None
    log = index.logs[one.uid]
    assert [(entry.offset, entry.end, entry.lines_before, entry.newlines) for entry in log] == [
        (0, 6, 0, 1),
        (6, 106, 1, 7),
        (106, 406, 8, 50),
    ]
    assert log[0].position == len(MAGIC)
    found = container.log_range(log)
    records = list(container.walk_records(data[found.position : found.position + found.length]))
    assert [record.offset for record in records] == [0, 6, 106]
    assert [record.header.newlines for record in records] == [1, 7, 50]
    assert records[1].sealed == b""
    assert one.cipher.open(records[0].header.pack(), 0, records[0].sealed).endswith(b"hello\n")
    assert (found.end_offset, found.newlines, found.chunks, found.contiguous) == (406, 58, 3, True)
    entry = index.logs[two.uid][0]
    assert container.entry_record(data, entry.position, entry).offset == 1000
    assert container.record_header(data, entry.position)[:2] == (entry.length, 1000)


@pytest.mark.parametrize(
    ("from_offset", "to_offset", "expected"),
    [
        (0, 1, [0]),
        (5, 7, [0, 6]),
        (6, 106, [6]),
        (105, 107, [6, 106]),
        (406, 500, []),
        (0, 0, []),
        (9, 2**64 - 1, [6, 106]),
    ],
)
def test_chunks_of_a_range(from_offset: int, to_offset: int, expected: list[int]) -> None:
    data, one, _ = two_logs()
    found = read_whole(data)[1].find(one.uid, from_offset, to_offset)
    assert found is not None
    assert [entry.offset for entry in found] == expected


def test_the_same_chunks_give_the_same_bytes() -> None:
    maker = ChunkMaker()
    logs = [(maker.uid, values([maker.data(b"a" * size) for size in (1, 20, 3000)]))]
    assert b"".join(container.write_container(KIND_SEALED, logs)) == b"".join(
        container.write_container(KIND_SEALED, logs)
    )


def test_an_empty_log_can_be_sealed() -> None:
    uid = os.urandom(16)
    data = b"".join(container.write_container(KIND_SEALED, [(uid, [])]))
    footer, index = read_whole(data)
    assert footer.chunks == 0
    assert list(index.logs[uid]) == []


def test_copied_records_give_the_object_that_writing_them_gives() -> None:
    maker = ChunkMaker()
    chunks = [maker.data(os.urandom(size)) for size in (10, 500, 30, 4000)]
    segments = [
        b"".join(container.write_container(KIND_SEGMENT, [(maker.uid, values(part))]))
        for part in (chunks[:1], chunks[1:])
    ]
    writer = ContainerWriter(KIND_SEALED)
    # The first range is copied with the magic before it.
    writer.begin_log(maker.uid)
    data = b""
    for segment in segments:
        log = read_whole(segment)[1].logs[maker.uid]
        found = container.log_range(log)
        writer.adopt(log)
        data += segment[len(data) and found.position : found.position + found.length]
        assert writer.position == len(data)
    data += writer.finish()
    assert data == b"".join(container.write_container(KIND_SEALED, [(maker.uid, values(chunks))]))
    assert list(writer.index.logs[maker.uid]) == list(read_whole(data)[1].logs[maker.uid])
    assert writer.footer == read_whole(data)[0]


def test_what_does_not_fit_is_not_added() -> None:
    maker = ChunkMaker()
    value = value_of(maker.data(b"abcdef"))
    writer = ContainerWriter(KIND_PACK)
    with pytest.raises(InvalidInput):
        writer.add(0, value)
    writer.begin_log(maker.uid)
    writer.add(0, value)
    for offset in (0, 5):
        with pytest.raises(InvalidInput, match="does not fit"):
            writer.add(offset, value)
    with pytest.raises(InvalidInput, match="does not fit"):
        writer.add(2**64 - 3, value)
    with pytest.raises(InvalidInput, match="already"):
        writer.begin_log(maker.uid)
    with pytest.raises(InvalidInput, match="a record takes"):
        writer.add(6, bytes(9 << 20))
    with pytest.raises(InvalidInput, match="not finished"):
        _ = writer.footer
    sealed = ContainerWriter(KIND_SEALED)
    with pytest.raises(InvalidInput, match="one log"):
        sealed.finish()
    sealed.begin_log(maker.uid)
    with pytest.raises(InvalidInput, match="one log"):
        sealed.begin_log(os.urandom(16))
    with pytest.raises(InvalidInput, match="kind"):
        ContainerWriter(9)


def test_other_versions_are_told_from_damage() -> None:
    data, _, _ = two_logs()
    with pytest.raises(WrongVersion, match="newer"):
        container.check_magic(b"JLARCH2\n")
    for begin in (b"", b"JLARCH", b"PK\x03\x04aaaa"):
        with pytest.raises(Corrupt):
            container.check_magic(begin)
    footer = bytearray(data[-FOOTER_BYTES:])
    footer[21] = 2
    footer[60:64] = google_crc32c.value(bytes(footer[:60])).to_bytes(4, "big")
    with pytest.raises(WrongVersion, match="version 2"):
        container.read_footer(bytes(footer), len(data))


def lying_footer(**wrong: int) -> tuple[bytes, int]:
    fields = {"kind": KIND_PACK, "logs": 2, "chunks": 4, "index_position": 10_000, "index_length": 300} | wrong
    footer = Footer(**fields, index_sha256=bytes(32))
    return container.pack_footer(footer), footer.size


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunks": container.MAX_CHUNKS + 1, "index_position": 2**40},
        {"logs": container.MAX_LOGS + 1, "index_length": 2**20},
        {"index_length": 2**31},
        {"index_position": 100},
        {"kind": 7},
        {"kind": KIND_SEALED},
    ],
)
def test_a_footer_that_lies_is_refused(wrong: dict[str, int]) -> None:
    assert container.read_footer(*lying_footer()).chunks == 4
    with pytest.raises(Corrupt):
        container.read_footer(*lying_footer(**wrong))
    with pytest.raises(Corrupt):
        container.read_footer(lying_footer()[0], 77)


def rewritten_index(data: bytes, change: dict[int, bytes]) -> None:
    """Reads the object's index with bytes of it replaced, its checks made right again."""
    import zstandard

    footer, _ = read_whole(data)
    packed = data[footer.index_position : footer.index_position + footer.index_length]
    raw = bytearray(zstandard.ZstdDecompressor().decompress(packed))
    for at, put in change.items():
        raw[at : at + len(put)] = put
    packed = zstandard.ZstdCompressor().compress(bytes(raw))
    lying = footer._replace(index_length=len(packed), index_sha256=hashlib.sha256(packed).digest())
    container.read_index(packed, container.read_footer(container.pack_footer(lying), lying.size))


def test_an_index_that_lies_is_refused() -> None:
    data, _, two = two_logs()
    rewritten_index(data, {})
    heads, offsets, lengths, raws, kinds = 0, 40, 40 + 32, 40 + 32 + 16, 40 + 4 * 44
    u64, u32 = (2**64 - 1).to_bytes(8, "big"), (2**32 - 1).to_bytes(4, "big")
    for change in (
        {heads: two.uid},
        {heads + 16: u32},
        {heads + 16: (4).to_bytes(4, "big"), heads + 36: (1).to_bytes(4, "big")},
        {offsets: u64},
        {offsets + 8: (5).to_bytes(8, "big")},
        {lengths: u32},
        {lengths: (0).to_bytes(4, "big")},
        {raws: u64},
        {raws: (0).to_bytes(8, "big")},
        {raws: (5 << 20).to_bytes(8, "big")},
        {kinds: b"\x02"},
        {kinds + 1: b"\x01"},
        {kinds: b"\x03"},
    ):
        with pytest.raises(Corrupt):
            rewritten_index(data, change)


def test_an_index_that_would_inflate_to_more_is_refused_with_little_memory() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))
    footer = Footer(KIND_PACK, 1, 1000, 100_000, len(bomb), hashlib.sha256(bomb).digest())
    tracemalloc.start()
    with pytest.raises(Corrupt, match="does not inflate"):
        container.read_index(bomb, footer)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_record_that_is_not_the_indexs_is_refused() -> None:
    data, one, two = two_logs()
    index = read_whole(data)[1]
    mine, other = index.logs[one.uid][0], index.logs[two.uid][0]
    for wrong in (other, mine._replace(offset=1), mine._replace(raw_length=7), mine._replace(first_time_ns=1)):
        with pytest.raises(Corrupt, match="is not the one"):
            container.entry_record(data, mine.position, wrong)


def test_the_writer_of_a_log_of_20_gb_keeps_little() -> None:
    """Sizes only: one value stands for 20,000 different ones of a MiB."""
    value = pack_gap(gap_header(1 << 20, 1, 3, 0, 5))
    writer = ContainerWriter(KIND_SEALED)
    tracemalloc.start()
    writer.begin_log(os.urandom(16))
    for number in range(20_000):
        writer.add(number << 20, value)
    end = writer.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    footer = writer.footer
    index = container.read_index(end[: footer.index_length], container.read_footer(end, writer.position))
    log = next(iter(index.logs.values()))
    assert (len(log), log[-1].end) == (20_000, 20_000 << 20)
    assert [entry.offset >> 20 for entry in log.between(5 << 30, (5 << 30) + 1)] == [5 << 10]


def test_an_object_takes_no_more_chunks_than_a_reader_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblog.leader.archive.index.MAX_CHUNKS", 3)
    maker = ChunkMaker()
    writer = ContainerWriter(KIND_SEALED)
    writer.begin_log(maker.uid)
    for offset, value in values([maker.data(b"x") for _ in range(3)]):
        writer.add(offset, value)
    with pytest.raises(InvalidInput, match="at most 3 chunks"):
        writer.add(maker.offset, value)
