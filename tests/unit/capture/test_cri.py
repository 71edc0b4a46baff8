"""A task's output in CRI files: read back by joblog's own parser byte for byte, past rotation, full and slow disks."""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.worker.capture import cri_log
from joblog.worker.capture.cri_files import CriFiles, remove_old
from joblog.worker.capture.cri_lines import MAX_LINE_BYTES, cri_lines
from joblog.worker.capture.cri_log import CriLog
from joblog.worker.capture.cri_place import CriPlace, pod_folder
from joblog.worker.kubernetes.container_source import pod_of
from tests.cri_reading import decoded, files, merged, read
from tests.small_disk import fill, small_disk

NOW_NS = 1_780_000_000_123_456_789
ID = "06f0v7b3k2n9q4x8c5dz"


def log_at(place: CriPlace, number: int = 0) -> CriLog:
    return CriLog(place, pod_folder("ns", "run_1", ID), "task", number)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2]),
            st.one_of(
                st.binary(min_size=1, max_size=200),
                st.builds(
                    lambda length, tail: b"x" * length + tail,
                    st.integers(MAX_LINE_BYTES - 2, 3 * MAX_LINE_BYTES + 2),
                    st.sampled_from([b"", b"\n", b"\n\n", b"\ny"]),
                ),
            ),
        ),
        max_size=6,
    )
)
def test_lines_are_read_back_as_they_were(pieces: list[tuple[int, bytes]]) -> None:
    content = b""
    for number, (stream, data) in enumerate(pieces):
        blocks = list(cri_lines(stream, NOW_NS + number, data))
        assert sum(length for length, _ in blocks) == len(data)
        content += b"".join(block for _, block in blocks)
    assert decoded(content) == merged(pieces)
    assert all(len(line) <= MAX_LINE_BYTES + 40 for line in content.split(b"\n"))


def test_lines_look_as_containerd_writes_them() -> None:
    stamp = b"2026-05-28T20:26:40.123456789Z stderr"
    assert b"".join(part for _, part in cri_lines(2, NOW_NS, b"one\n\ntwo")) == b"".join(
        (stamp + b" F one\n", stamp + b" F \n", stamp + b" P two\n")
    )


def test_files_are_rotated_and_bounded_in_number(tmp_path: Path) -> None:
    place = CriPlace(str(tmp_path / "cri"), max_file_bytes=64 << 10, max_files=3)
    log = log_at(place, number=4)
    lines = [b"%06d %s\n" % (number, b"x" * 90) for number in range(4000)]
    for start in range(0, len(lines), 100):
        log.put(1, NOW_NS, b"".join(lines[start : start + 100]))
    log.close()
    assert (log.lost_bytes, log.news()) == (0, "")
    found = files(place.dir)
    assert len(found) == 3 and found[-1].endswith("/task/4.log")
    assert all(0 < os.stat(path).st_size <= place.max_file_bytes for path in found)
    # What is left is the end of the output, with no line missing or cut.
    ((stream, data),) = read(place.dir)
    assert stream == 1 and data == b"".join(lines)[-len(data) :] and data.startswith(b"0")


def test_what_the_node_agent_takes_a_folder_for() -> None:
    assert pod_of(pod_folder("my_team", "build_7", ID)) == ("my-team", "build_7", ID)


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o600, 0o700), (0o640, 0o750)])
def test_modes_are_those_set_whatever_the_umask(tmp_path: Path, mode: int, folder_mode: int) -> None:
    place = CriPlace(str(tmp_path), mode=mode)
    before = os.umask(0o077 if mode == 0o640 else 0)
    try:
        log = log_at(place)
        log.put(1, NOW_NS, b"x\n")
        log.close()
    finally:
        os.umask(before)
    (path,) = files(place.dir)
    modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (path, Path(path).parent, Path(path).parents[1])]
    assert modes == [mode, folder_mode, folder_mode]


def test_a_full_disk_leaves_whole_lines_out_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        place = CriPlace(str(disk / "cri"))
        log = log_at(place)
        log.put(1, NOW_NS, b"first\nbegun ")
        _until(lambda: Path(log.path).exists() and Path(log.path).stat().st_size > 80)
        ballast = fill(disk)
        log.put(1, NOW_NS, b"x" * 100_000 + b"\nand ")
        _until(lambda: log.lost_bytes > 0)
        log.put(2, NOW_NS, b"e" * 100_000 + b"\n")
        _until(lambda: log.lost_bytes > 200_000)
        ballast.unlink()
        log.put(1, NOW_NS, b"cut\nwhole\n")
        log.put(2, NOW_NS, b"err\n")
        log.close()
        assert "No space left on device" in log.news()
        assert log.news() == ""
        assert log.lost_bytes == 100_005 + 100_001 + 4
        assert read(place.dir) == [(1, b"first\nbegun \nwhole\n"), (2, b"err\n")]


@pytest.mark.parametrize("call", ["mkdir", "open", "rename"])
def test_what_fails_half_way_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    place = CriPlace(str(tmp_path), max_file_bytes=1000, max_files=100)
    found = CriFiles(place, pod_folder("ns", "run_1", ID), "task", 0)
    real, failing = getattr(os, call), [True]

    def once(path: str, *more: object) -> object:
        if failing and "/task" in path:
            failing.clear()
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *more)

    monkeypatch.setattr(os, call, once)
    written = 0
    for number in range(30):
        try:
            found.write(b"2026-05-28T20:26:40.123456789Z stdout F %060d\n" % number)
            written += 1
        except OSError:
            continue
    found.close()
    assert written == 29
    ((_, data),) = read(place.dir)
    assert data.count(b"\n") == 29


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    write = CriFiles.write

    def hanging(self: CriFiles, block: bytes) -> None:
        assert release.wait(60)
        write(self, block)

    monkeypatch.setattr(CriFiles, "write", hanging)
    monkeypatch.setattr(cri_log, "QUEUE_BYTES", 1000)
    place = CriPlace(str(tmp_path))
    log = log_at(place)
    began = time.monotonic()
    for number in range(100):
        log.put(1, NOW_NS, b"%03d %s\n" % (number, b"x" * 95))
    log.put(2, NOW_NS, b"not whole")
    assert "hangs" in log.news()
    log.close()
    assert time.monotonic() - began < 20
    assert log.lost_bytes == 100 * 100 + 9
    release.set()
    # What it had taken is written all the same: whole lines.
    _until(lambda: len(b"".join(data for _, data in read(place.dir))) == 1000 if Path(log.path).exists() else False)


def test_after_a_hang_the_file_goes_on_at_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    write = CriFiles.write
    monkeypatch.setattr(CriFiles, "write", lambda self, block: release.wait(60) and write(self, block))
    monkeypatch.setattr(cri_log, "QUEUE_BYTES", 20)
    monkeypatch.setattr(cri_log, "HANG_SECONDS", 0.01)
    place = CriPlace(str(tmp_path))
    log = log_at(place)
    log.put(1, NOW_NS, b"kept\npart")
    _until(lambda: log._asked_at > 0)
    log.put(1, NOW_NS, b"dropped dropped\nstart")
    release.set()
    _until(lambda: log._put_bytes == log._taken_bytes)
    log.put(1, NOW_NS, b" end\nlast\n")
    log.close()
    assert read(place.dir) == [(1, b"kept\npart\nlast\n")]
    assert log.lost_bytes == len(b"dropped dropped\nstart end\n")


def test_what_is_there_already_is_never_written_to(tmp_path: Path) -> None:
    place = CriPlace(str(tmp_path))
    there = tmp_path / pod_folder("ns", "run_1", ID)
    there.symlink_to("/tmp")
    log = log_at(place)
    log.put(1, NOW_NS, b"x\n")
    log.close()
    assert "File exists" in log.news()
    assert log.lost_bytes == 2


def test_old_files_are_removed_unless_somebody_writes_to_them(tmp_path: Path) -> None:
    place = CriPlace(str(tmp_path), keep_seconds=3600)
    old = [tmp_path / f"ns_r_{ID[:-1]}{end}" for end in "abc"]
    logs = [CriLog(place, folder.name, "t", 0) for folder in old]
    for log in logs:
        log.put(1, NOW_NS, b"x\n")
    _until(lambda: all(Path(log.path).exists() and Path(log.path).stat().st_size for log in logs))
    for log in logs[:2]:
        log.close()
    pods = tmp_path / "kube-system_proxy_0b5c3f0e-3c54-4d46-a8ef-2f6a5b1d9c11"
    (pods / "t").mkdir(parents=True)
    (pods / "t" / "0.log").write_bytes(b"")
    (old[1] / "t" / "0.log.20200101-000000").write_bytes(b"new")
    for path in (pods / "t" / "0.log", *(folder / "t" / "0.log" for folder in old), pods, *old):
        os.utime(path, (0, 0))
    remove_old(place, time.time())
    assert not old[0].exists()
    assert old[1].exists() and old[2].exists() and (pods / "t" / "0.log").exists()
    logs[2].close()


def test_pieces_of_any_size_are_all_there_however_little_may_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cri_log, "QUEUE_BYTES", 6000)
    place = CriPlace(str(tmp_path), max_file_bytes=1 << 30)
    log = log_at(place)
    rng = random.Random(7)
    pieces = [(rng.choice([1, 2]), rng.randbytes(rng.randrange(1, 5000))) for _ in range(500)]
    for stream, data in pieces:
        log.put(stream, NOW_NS, data)
    log.close()
    assert log.lost_bytes == 0
    assert read(place.dir) == merged(pieces)


def _until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
