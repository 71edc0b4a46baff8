from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import OutOfSpace
from joblog.worker.spool.bound import segment_sizes, spools_bytes
from joblog.worker.spool.format import LOST, SPOOL_FULL, TRUNCATE
from joblog.worker.spool.writer import SpoolWriter
from tests.unit.spool.spool_building import append, make_writer, open_reader, read_all

KIB = 1 << 10


def lines(number: int, length: int = KIB) -> bytes:
    return (b"%07d\n" % number) * (length // 8)


def fill(writer: SpoolWriter, limit: int = 10_000) -> int:
    """Appends records until the spool is full: how many it took."""
    for number in range(limit):
        if not append(writer, lines(number)):
            return number
    raise AssertionError("the spool never got full")


def disk_bytes(writer: SpoolWriter) -> int:
    return sum(segment_sizes(writer.folder).values())


class TestBlock:
    def test_takes_nothing_beyond_the_bound_and_goes_on_when_the_leader_has_it(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path, task_bytes=64 * KIB)
        taken = fill(writer)
        assert disk_bytes(writer) <= 64 * KIB
        assert taken > 50
        assert not append(writer, lines(taken))
        reader = open_reader(writer.folder)
        first = read_all(reader)
        reader.release(reader.offset)
        more = 0
        while append(writer, lines(taken + more)) and more < 40:
            more += 1
        assert more == 40
        assert read_all(reader).data.startswith(lines(taken))
        assert first.gaps == []

    def test_frees_the_segment_being_written_too(self, tmp_path: Path) -> None:
        """With one segment as large as the bound, nothing but a roll can make room."""
        writer = make_writer(tmp_path, task_bytes=64 * KIB, segment_bytes=64 * KIB)
        writer._segments._bounds.segment_bytes = 64 * KIB
        taken = fill(writer)
        reader = open_reader(writer.folder)
        data = read_all(reader).data
        reader.release(reader.offset)
        assert append(writer, lines(taken))
        assert data + read_all(reader).data == b"".join(map(lines, range(taken + 1)))

    def test_force_goes_over_the_bound(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path, task_bytes=16 * KIB)
        taken = fill(writer)
        assert append(writer, lines(taken), force=True)
        assert writer.end({})
        reader = open_reader(writer.folder)
        assert read_all(reader).data == b"".join(map(lines, range(taken + 1)))
        assert reader.ended is not None
        assert reader.ended.sha256

    def test_the_worker_bound_counts_all_spools(self, tmp_path: Path) -> None:
        other = make_writer(tmp_path, name="other", task_bytes=1 << 30)
        for number in range(200):
            append(other, lines(number))
        writer = make_writer(tmp_path, task_bytes=16 << 20, worker_bytes=2 << 20, segment_bytes=64 * KIB)
        taken = fill(writer)
        total = spools_bytes(os.path.dirname(writer.folder))
        assert 2 << 20 <= total <= (2 << 20) + 128 * KIB
        assert taken < 2 * 1024


class TestTruncate:
    def test_keeps_head_and_tail_and_says_what_lies_between(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path, task_bytes=128 * KIB, policy=TRUNCATE)
        count = 1000
        for number in range(count):
            assert append(writer, lines(number))
            assert disk_bytes(writer) <= 128 * KIB
        writer.end({"kind": 1})
        expected = b"".join(map(lines, range(count)))
        reader = open_reader(writer.folder)
        got = read_all(reader)
        (gap,) = got.gaps
        assert gap.reason == SPOOL_FULL
        assert 40 * KIB < gap.offset <= 64 * KIB
        tail = expected[gap.offset + gap.length :]
        assert len(tail) > 30 * KIB
        assert got.data == expected[: gap.offset] + bytes(gap.length) + tail
        assert gap.newlines == expected[gap.offset : gap.offset + gap.length].count(b"\n")
        assert reader.ended is not None
        assert (reader.ended.length, reader.ended.newlines) == (len(expected), expected.count(b"\n"))
        assert reader.ended.sha256 == b""

    def test_a_reader_in_the_middle_of_what_is_dropped_keeps_its_place(self, tmp_path: Path) -> None:
        writer = make_writer(tmp_path, task_bytes=64 * KIB, policy=TRUNCATE)
        reader = open_reader(writer.folder)
        got = bytearray()
        gaps = 0
        for number in range(600):
            append(writer, lines(number))
            if number % 7 == 0:
                for record in reader.read(2 * KIB):
                    got += record.payload or bytes(record.raw_length)
                    gaps += bool(record.body)
        rest = read_all(reader)
        got += rest.data
        expected = b"".join(map(lines, range(600)))
        assert len(got) == len(expected)
        assert gaps + len(rest.gaps) > 0
        assert all(a in (b, 0) for a, b in zip(got, expected, strict=True))

    def test_what_fits_nowhere_becomes_a_gap_in_the_end(self, tmp_path: Path) -> None:
        other = make_writer(tmp_path, name="other", task_bytes=1 << 30)
        for number in range(1100):
            append(other, lines(number))
        writer = make_writer(tmp_path, worker_bytes=1 << 20, policy=TRUNCATE)
        for number in range(1100):
            assert append(writer, lines(number))
        writer.end({})
        got = read_all(open_reader(writer.folder))
        assert [gap.reason for gap in got.gaps] == [SPOOL_FULL]
        assert len(got.data) == 1100 * KIB
        assert writer.dropped_bytes == got.gaps[0].length
        assert got.gaps[0].newlines == got.gaps[0].length // 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class TestDiskFull:
    def test_block_leaves_whole_records_and_goes_on_when_there_is_space(self, small_disk: Path) -> None:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(100 * KIB))
        writer = make_writer(small_disk)
        taken = fill(writer)
        assert taken > 50
        reader = open_reader(writer.folder)
        assert read_all(reader).data == b"".join(map(lines, range(taken)))
        ballast.unlink()
        assert append(writer, lines(taken))
        assert writer.end({"kind": 1})
        assert read_all(reader).data == lines(taken)
        assert reader.ended is not None
        whole = b"".join(map(lines, range(taken + 1)))
        assert reader.ended.sha256 == hashlib.sha256(whole).digest()

    def test_the_end_has_room_on_a_full_disk(self, small_disk: Path) -> None:
        writer = make_writer(small_disk)
        taken = fill(writer)
        with (small_disk / "of_the_worker").open("wb") as file:
            # Who it is: a worker that starts on a disk that a spool has filled writes it down first.
            file.write(bytes(100 * KIB))
        assert writer.end({"kind": 1})
        reader = open_reader(writer.folder)
        assert read_all(reader).data == b"".join(map(lines, range(taken)))
        assert reader.ended is not None
        assert reader.ended.sha256

    def test_what_had_no_room_at_the_end_is_a_gap(self, small_disk: Path) -> None:
        writer = make_writer(small_disk)
        taken = fill(writer)
        writer.discard(bytearray(b"lost\nlines\n"), 11)
        assert writer.end({"kind": 1})
        reader = open_reader(writer.folder)
        got = read_all(reader)
        assert [(gap.length, gap.newlines, gap.reason) for gap in got.gaps] == [(11, 2, SPOOL_FULL)]
        assert reader.ended is not None
        assert (reader.ended.length, reader.ended.sha256) == (taken * KIB + 11, b"")

    def test_truncate_never_waits_and_keeps_the_tail(self, small_disk: Path) -> None:
        writer = make_writer(small_disk, segment_bytes=32 * KIB, policy=TRUNCATE)
        writer._segments._bounds.task_bytes = 512 * KIB
        for number in range(1000):
            assert append(writer, lines(number))
        assert writer.end({})
        reader = open_reader(writer.folder)
        got = read_all(reader)
        expected = b"".join(map(lines, range(1000)))
        assert len(got.data) == len(expected)
        assert got.data.startswith(lines(0))
        assert got.data.endswith(lines(999))
        assert {gap.reason for gap in got.gaps} == {SPOOL_FULL}
        assert LOST not in {gap.reason for gap in got.gaps}
        assert all(a in (b, 0) for a, b in zip(got.data, expected, strict=True))

    def test_no_room_for_a_spool_at_all_is_an_error_that_says_so(self, small_disk: Path) -> None:
        (small_disk / "ballast").write_bytes(bytes(512 * KIB))
        with pytest.raises(OutOfSpace, match="free space"):
            make_writer(small_disk)
