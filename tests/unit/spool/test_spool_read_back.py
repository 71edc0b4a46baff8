from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.batch import CODEC_ZSTD, open_payload, unpack_frames
from joblog.errors import Conflict, Corrupt, NotFound, WrongVersion
from joblog.worker.spool.format import HEADER_BYTES, LOST, NEVER, SEGMENT_HEADER, SpoolTask, decode_task
from joblog.worker.spool.reader import list_spools, merge
from joblog.worker.spool.writer import SpoolWriter
from joblog.worker.unix_address import short_address
from tests.unit.spool.spool_building import Gap, append, make_writer, open_reader, read_all


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """The shipper's side of the notifications."""
    (tmp_path / "worker").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        with short_address(str(tmp_path / "worker" / "notify.sock")) as address:
            listening.bind(address)
        listening.settimeout(0)
        yield listening


def segments(writer: SpoolWriter) -> list[Path]:
    return sorted(Path(writer.folder).glob("*.seg"))


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def test_reads_what_was_written_with_hash_lines_and_outcome(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    parts = [b"one\ntwo\n", b"\0\xff\xfe binary", b"x" * 100_000 + b"\n", noise(70_000)]
    for part in parts:
        assert append(writer, part)
    writer.append_event("note", "something")
    assert writer.end({"kind": 1, "exit_code": 3})
    reader = open_reader(writer.folder)
    got = read_all(reader)
    whole = b"".join(parts)
    assert got.data == whole
    assert (got.gaps, got.events) == ([], ["note"])
    assert reader.ended is not None
    assert reader.ended.sha256 == hashlib.sha256(whole).digest()
    assert (reader.ended.length, reader.ended.newlines) == (len(whole), whole.count(b"\n"))
    assert reader.ended.outcome == {"kind": 1, "exit_code": 3}
    assert (reader.offset, reader.lines, reader.length) == (len(whole), whole.count(b"\n"), len(whole))


def test_task_file_comes_back_and_unknown_versions_are_refused(tmp_path: Path) -> None:
    task = SpoolTask(writer_id=b"1" * 16, namespace="n", run="r", task="t", command=["a", "b"], labels={"k": "v"})
    assert decode_task(task.encode(), "here") == task
    with pytest.raises(WrongVersion, match="version 99"):
        decode_task(task.encode().replace(b'"version": 1', b'"version": 99'), "here")
    with pytest.raises(Corrupt):
        decode_task(b'{"version": 1}', "here")
    with pytest.raises(Corrupt):
        decode_task(b"not json", "here")
    with pytest.raises(NotFound):
        open_reader(tmp_path)


def test_unknown_segment_version_is_refused(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    append(writer, b"abc")
    path = segments(writer)[0]
    path.write_bytes(b"JLSPOOL3" + path.read_bytes()[8:])
    with pytest.raises(WrongVersion):
        open_reader(writer.folder).read(100)


def test_only_its_user_can_read_a_spool(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        writer = make_writer(tmp_path)
        append(writer, b"secret")
        writer.end({})
    finally:
        os.umask(before)
    folder = Path(writer.folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_spool_is_made_once(tmp_path: Path) -> None:
    make_writer(tmp_path)
    with pytest.raises(Conflict):
        make_writer(tmp_path)


def test_follows_a_writer_and_knows_that_it_lives(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, segment_bytes=300)
    reader = open_reader(writer.folder)
    assert reader.alive()
    for number in range(50):
        append(writer, b"line %d\n" % number)
        assert read_all(reader).data == b"line %d\n" % number
        assert reader.read(1 << 20) == []
    assert len(segments(writer)) > 10
    writer.end({"kind": 1})
    assert reader.read(100) == []
    assert reader.ended is not None
    assert not reader.alive()


def test_read_keeps_to_its_limit_but_always_gives_one(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    for _ in range(10):
        append(writer, b"0123456789")
    reader = open_reader(writer.folder)
    assert [record.offset for record in reader.read(35)] == [0, 10, 20]
    assert [record.offset for record in reader.read(1)] == [30]
    assert [record.offset for record in reader.read(40)] == [40, 50, 60, 70]


def test_seek_splits_records_and_their_frames(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, segment_bytes=150_000)
    data = b"".join(b"line %d of a longer text\n" % number for number in range(12_000))
    for start in range(0, len(data), 90_000):
        append(writer, data[start : start + 90_000], streams=b"\1\2\1")
    append(writer, b"tail\nx", streams=b"\1\2")
    whole = data + b"tail\nx"
    writer.end({})
    reader = open_reader(writer.folder)
    first = reader.read(1)[0]
    for offset in (1, 29_999, 30_000, 30_001, 90_000, 95_000, len(data) - 1, len(data), len(data) + 3, len(whole)):
        reader.seek(offset)
        got = read_all(reader)
        assert got.data == whole[offset:]
        if offset < len(whole):
            assert got.records[0].lines_before == whole[:offset].count(b"\n")
        assert reader.lines == whole.count(b"\n")
        assert reader.ended is not None
    reader.seek(30_001)
    part = reader.read(1)[0]
    frames = unpack_frames(part.frames, part.raw_length)
    assert (frames.streams, list(frames.lengths)) == (b"\2\1", [29_999, 30_000])
    assert (part.first_time_ns, list(frames.times_us)) == (first.first_time_ns + 1000, [0, 1])


def test_seek_beyond_the_end_waits_for_what_follows(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    append(writer, b"12345")
    reader = open_reader(writer.folder)
    reader.seek(8)
    assert reader.read(100) == []
    append(writer, b"67890")
    assert read_all(reader).data == b"90"


def test_events_at_the_offset_come_again_after_seek(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    append(writer, b"abc")
    writer.append_event("first", "")
    append(writer, b"def")
    writer.append_event("second", "")
    reader = open_reader(writer.folder)
    read_all(reader)
    reader.seek(3)
    assert read_all(reader).events == ["first", "second"]
    reader.seek(6)
    assert read_all(reader).events == ["second"]


def test_merge_joins_small_records_and_passes_compressed_ones_through(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    parts = [b"a line\n" * count for count in (1, 20, 300)]
    for part in parts:
        append(writer, part, streams=b"\1\2")
    append(writer, b"big line\n" * 20_000)
    reader = open_reader(writer.folder)
    *small, big = reader.read(1 << 20)
    batch = merge(small)
    raw = open_payload(batch.codec, batch.payload, batch.raw_length, batch.crc32c)
    assert raw == b"".join(parts)
    assert batch.newlines == raw.count(b"\n")
    frames = unpack_frames(batch.frames, batch.raw_length)
    assert frames.streams == b"\1\2" * 3
    assert sorted(frames.times_us) == list(frames.times_us)
    assert batch.first_time_ns == small[0].first_time_ns
    alone = merge([big])
    assert (alone.codec, alone.payload, alone.crc32c) == (CODEC_ZSTD, big.payload, big.crc32c)
    assert open_payload(alone.codec, alone.payload, alone.raw_length, alone.crc32c) == b"big line\n" * 20_000


def test_release_unlinks_what_is_acked_and_remove_all(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, segment_bytes=200)
    for _ in range(10):
        append(writer, b"x" * 100)
    reader = open_reader(writer.folder)
    read_all(reader)
    before = reader.disk_bytes()
    reader.set_acked(350)
    reader.release(350)
    assert len(segments(writer)) == 7
    assert reader.disk_bytes() < before
    assert reader.pending_bytes() == 650
    reader.seek(350)
    assert read_all(reader).data == b"x" * 650
    reader.release(1000)
    assert len(segments(writer)) == 1  # the one that is written to
    append(writer, b"more")
    writer.end({})
    assert read_all(reader).data == b"more"
    reader.remove()
    assert list_spools(tmp_path / "worker" / "spool") == []


def test_a_reader_that_starts_behind_released_bytes_declares_them_lost(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, segment_bytes=200)
    for _ in range(5):
        append(writer, b"x\n" * 50)
    writer.end({})
    reader = open_reader(writer.folder)
    read_all(reader)
    reader.release(200)
    reader.seek(0)
    assert read_all(reader).gaps == [Gap(0, 200, 100, LOST)]
    assert reader.ended is not None
    assert reader.ended.sha256 == b""


def test_wakes_the_shipper_once_when_asked(tmp_path: Path, listener: socket.socket) -> None:
    writer = make_writer(tmp_path)
    reader = open_reader(writer.folder)
    append(writer, b"12345")
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    assert reader.arm(3)
    assert not reader.arm(10)
    append(writer, b"67")
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    append(writer, b"890")
    append(writer, b"1")
    assert listener.recv(100) == b"spool1"
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    assert not reader.arm(NEVER)
    writer.end({})
    assert listener.recv(100) == b"spool1"


def test_lists_spools_oldest_first_and_not_before_they_are_whole(tmp_path: Path) -> None:
    root = tmp_path / "worker" / "spool"
    assert list_spools(root) == []
    make_writer(tmp_path, name="b")
    make_writer(tmp_path, name="a")
    (root / "c").mkdir()
    assert [folder.name for folder in list_spools(root)] == ["a", "b"]


class TestDamage:
    def cut(self, writer: SpoolWriter, by: int) -> None:
        path = segments(writer)[-1]
        os.truncate(path, path.stat().st_size - by)

    def test_a_torn_tail_of_a_living_writer_is_waited_for(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path)
        append(writer, b"first")
        path = segments(writer)[0]
        whole_bytes = path.read_bytes()
        append(writer, b"second")
        everything = path.read_bytes()
        reader = open_reader(writer.folder)
        for length in range(len(whole_bytes), len(everything)):
            os.truncate(path, length)
            reader.seek(0)
            assert read_all(reader).data == b"first"
            path.write_bytes(everything)
            assert read_all(reader).data == b"second"

    def test_a_torn_tail_of_a_dead_writer_is_cut_and_what_it_held_is_a_gap(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path)
        append(writer, b"first\n")
        size = segments(writer)[0].stat().st_size
        append(writer, b"second\n")
        writer.close()
        self.cut(writer, 3)
        reader = open_reader(writer.folder)
        got = read_all(reader)
        assert got.data == b"first\n" + bytes(7)
        assert got.gaps == [Gap(6, 7, 0, LOST)]
        assert reader.ended is None
        assert not reader.alive()
        assert segments(writer)[0].stat().st_size == size
        assert reader.read(100) == []

    def test_a_dead_writer_that_lost_nothing_has_no_gap(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path)
        append(writer, b"first")
        writer.close()
        with segments(writer)[0].open("ab") as file:
            file.write(b"LJ\1\1 a record that was never finished")
        got = read_all(open_reader(writer.folder))
        assert (got.data, got.gaps) == (b"first", [])

    @pytest.mark.parametrize("at", [0, 2, 4, 20, 52, HEADER_BYTES + 3])
    def test_a_damaged_record_is_a_gap_with_its_newlines(self, tmp_path: Path, at: int) -> None:
        writer = make_writer(tmp_path, segment_bytes=300)
        for number in range(12):
            append(writer, b"%03d\n" % number * 20)
        writer.end({"kind": 1})
        path = segments(writer)[1]
        blob = bytearray(path.read_bytes())
        blob[SEGMENT_HEADER.size + at] ^= 0x55
        path.write_bytes(blob)
        reader = open_reader(writer.folder)
        got = read_all(reader)
        expected = b"".join(b"%03d\n" % number * 20 for number in range(12))
        assert len(got.gaps) == 1
        gap = got.gaps[0]
        assert gap.reason == LOST
        assert gap.newlines == expected[gap.offset : gap.offset + gap.length].count(b"\n")
        assert got.data[: gap.offset] == expected[: gap.offset]
        assert got.data[gap.offset + gap.length :] == expected[gap.offset + gap.length :]
        assert reader.ended is not None
        assert reader.ended.sha256 == b""
        again = open_reader(writer.folder)
        again.seek(len(expected))
        assert again.read(100) == []
        assert again.ended is not None
        assert again.ended.sha256 == b""  # still no proof for a reader that did not meet the damage itself

    def test_printed_bytes_that_look_like_a_record_are_never_taken_for_one(self, tmp_path: Path) -> None:
        other = make_writer(tmp_path, name="other")
        append(other, b"forged")
        forged = segments(other)[0].read_bytes()[SEGMENT_HEADER.size :]
        writer = make_writer(tmp_path)
        append(writer, forged)
        append(writer, b"true")
        writer.close()
        path = segments(writer)[0]
        blob = bytearray(path.read_bytes())
        blob[SEGMENT_HEADER.size] ^= 1
        path.write_bytes(blob)
        got = read_all(open_reader(writer.folder))
        assert got.gaps == [Gap(0, len(forged) + 4, 0, LOST)]

    def test_a_missing_segment_is_a_gap(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path, segment_bytes=200)
        for _ in range(4):
            append(writer, b"a\n" * 50)
        writer.end({})
        segments(writer)[2].unlink()
        got = read_all(open_reader(writer.folder))
        assert got.gaps == [Gap(200, 100, 50, LOST)]

    def test_a_damaged_end_leaves_the_bytes(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path)
        append(writer, b"all of it")
        writer.end({})
        self.cut(writer, 1)
        reader = open_reader(writer.folder)
        assert read_all(reader).data == b"all of it"
        assert reader.ended is None

    def test_a_short_control_page_is_corrupt(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path)
        os.truncate(Path(writer.folder) / "control", 10)
        with pytest.raises(Corrupt):
            open_reader(writer.folder)


def test_the_lock_file_names_the_processes(tmp_path: Path) -> None:
    writer = make_writer(tmp_path)
    writer.note_processes(task=4711)
    assert json.loads((Path(writer.folder) / "lock").read_bytes()) == {"supervisor": os.getpid(), "task": 4711}
