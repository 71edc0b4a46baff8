"""Whatever is written, in whatever sizes, read in whatever steps, cut wherever: the bytes, or declared gaps."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from joblog.worker.spool.format import BLOCK, LOST, SPOOL_FULL, TRUNCATE
from joblog.worker.spool.reader import Record, SpoolReader
from joblog.worker.spool.sealing import SpoolKey
from joblog.worker.spool.writer import SpoolWriter
from tests.examples import examples
from tests.unit.spool.spool_building import SPOOL_KEY, append, content, make_writer, open_reader

SIZES = st.one_of(st.integers(1, 50), st.integers(1, 3_000), st.sampled_from([65_535, 65_536, 70_000]))


# In clear, and sealed.
KEYS = st.sampled_from([None, SPOOL_KEY])


def body(offset: int, length: int) -> bytes:
    """The log's bytes from `offset`: a line number every 16 bytes, never a zero byte."""
    first, last = offset // 16, (offset + length) // 16 + 1
    text = b"".join(b"%015d\n" % number for number in range(first, last))
    return text[offset - first * 16 :][:length]


def write(writer: SpoolWriter, length: int) -> bool:
    return append(writer, body(writer.length, length), streams=b"\1" if length < 3 else b"\1\2\1")


def check(records: list[Record], start: int, end: int, reasons: set[str]) -> None:
    """The records are the log's bytes [start, end), gaps for the rest."""
    got = content(records, start)
    assert len(got.data) == end - start
    missing = [range(gap.offset - start, gap.offset - start + gap.length) for gap in got.gaps]
    expected = bytearray(body(start, end - start))
    for place in missing:
        expected[place.start : place.stop] = bytes(len(place))
    assert got.data == bytes(expected)
    assert {gap.reason for gap in got.gaps} <= reasons


def drain(reader: SpoolReader, step: int) -> list[Record]:
    records: list[Record] = []
    while part := reader.read(step):
        records += part
    return records


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data(), segment=st.integers(100, 5_000), policy=st.sampled_from([BLOCK, TRUNCATE]), key=KEYS)
def test_reader_yields_what_was_written(data: st.DataObject, segment: int, policy: str, key: SpoolKey | None) -> None:
    """Writes, reads, seeks, reopened readers, releases, in any order."""
    with tempfile.TemporaryDirectory() as folder:
        bound = 12_000 if policy == TRUNCATE else 1 << 30
        writer = make_writer(Path(folder), task_bytes=bound, segment_bytes=segment, policy=policy, key=key)
        reader = open_reader(writer.folder)
        released = 0
        reasons = {SPOOL_FULL} if policy == TRUNCATE else set()
        for _ in range(data.draw(st.integers(1, 25))):
            action = data.draw(
                st.sampled_from(["write", "write", "write", "read", "seek", "reopen", "release", "event"])
            )
            if action == "write":
                assert write(writer, data.draw(SIZES))
            elif action == "event":
                assert writer.append_event("note", "")
            elif action == "read":
                start = reader.offset
                records = reader.read(data.draw(st.integers(1, 100_000)))
                check(records, start, reader.offset, reasons)
                known = body(0, reader.offset).count(b"\n")
                assert reader.lines == known or not records
            elif action == "seek":
                reader.seek(data.draw(st.integers(released, writer.length)))
            elif action == "reopen":
                place = reader.offset
                reader.close()
                reader = open_reader(writer.folder)
                reader.seek(place)
            else:
                released = max(released, data.draw(st.integers(0, reader.offset)))
                reader.release(released)
        assert writer.end({"kind": 1})
        start = reader.offset
        check(drain(reader, data.draw(st.integers(1, 200_000))), start, writer.length, reasons)
        assert reader.ended is not None
        assert (reader.ended.length, reader.ended.newlines) == (writer.length, writer.lines)
        assert bool(reader.ended.sha256) == (not (writer._segments.dropped or writer.dropped_bytes))
        reader.close()


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data(), sizes=st.lists(SIZES, min_size=1, max_size=12), segment=st.integers(100, 5_000), key=KEYS)
def test_cut_anywhere(data: st.DataObject, sizes: list[int], segment: int, key: SpoolKey | None) -> None:
    """The last segment cut at any byte after the supervisor's death: a beginning of the log, the rest a gap."""
    with tempfile.TemporaryDirectory() as folder:
        writer = make_writer(Path(folder), task_bytes=1 << 30, segment_bytes=segment, key=key)
        for size in sizes:
            write(writer, size)
        if data.draw(st.booleans()):
            writer.end({"kind": 1})
        else:
            writer.close()
        last = max(Path(writer.folder).glob("*.seg"))
        blob = last.read_bytes()
        last.write_bytes(blob[: data.draw(st.integers(0, len(blob)))])
        reader = open_reader(writer.folder)
        check(drain(reader, 10_000), 0, writer.length, {LOST})
        reader.close()


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data(), sizes=st.lists(SIZES, min_size=1, max_size=12), segment=st.integers(100, 5_000), key=KEYS)
def test_damaged_anywhere(data: st.DataObject, sizes: list[int], segment: int, key: SpoolKey | None) -> None:
    """Any byte of any segment changed: never another byte in the log, never a hash that the bytes do not have."""
    with tempfile.TemporaryDirectory() as folder:
        writer = make_writer(Path(folder), task_bytes=1 << 30, segment_bytes=segment, key=key)
        for size in sizes:
            write(writer, size)
        writer.end({"kind": 1})
        path = data.draw(st.sampled_from(sorted(Path(writer.folder).glob("*.seg"))))
        blob = bytearray(path.read_bytes())
        # The byte that names the segment's version is left: another version is refused as a whole.
        at = data.draw(st.integers(0, len(blob) - 1).filter(lambda place: place != 7))
        blob[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(blob)
        reader = open_reader(writer.folder)
        records = drain(reader, 10_000)
        check(records, 0, writer.length, {LOST})
        if reader.ended is not None and any(record.body for record in records):
            assert reader.ended.sha256 == b""
        reader.close()
