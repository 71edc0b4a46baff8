"""A log from a container's files to its spool: killed anywhere, with a spool that is full, at a rate."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from joblog.v1 import types_pb2
from joblog.worker.following.follower import Follower
from joblog.worker.following.rates import Rates
from joblog.worker.following.source import Found
from joblog.worker.following.track import BLOCK_BYTES, Track
from joblog.worker.spool.bound import SharedBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.format import DATA, EVENT, FOLLOWED, GAP, SpoolTask
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import raw_bytes
from tests.kubelet_writer import ContainerLog

Start = Callable[..., Track]
TASK = SpoolTask(writer_id=b"w" * 16, namespace="n", run="r", task="t", kind=FOLLOWED, source="key")


@pytest.fixture
def log(tmp_path: Path) -> ContainerLog:
    return ContainerLog(tmp_path / "pods", "ci", "pod").keep()


@pytest.fixture
def start(tmp_path: Path, log: ContainerLog) -> Start:
    """Begins, or takes up what is there."""

    def begin(bounds: SharedBounds | None = None, rates: Rates | None = None) -> Track:
        bounds = bounds or SharedBounds(64 << 20, 1 << 30, 1 << 20)
        folder = tmp_path / "spools" / "a"
        writer = FollowedWriter(folder, bounds, None if folder.exists() else TASK)
        found = Found("key", str(log.path), "", "ci", str(log.folder))
        track = Track(found, Follower(found.path, linger_seconds=0), writer, rates or Rates({}))
        assert track.begin()
        return track

    return begin


def steps(track: Track, *, must_drop: bool = False, at_most: int = 1000) -> None:
    track.refresh()
    now = 1e9
    for _ in range(at_most):
        now += 10
        if not track.step(now, must_drop=must_drop) and not track.follower.files[1:]:
            return


def kill(track: Track) -> None:
    """What a killed process leaves: nothing more is written, and its locks are free."""
    track.follower.close()
    track.writer.close()


def records(track: Track) -> tuple[bytes, list[tuple[int, int]], list[bytes]]:
    """(bytes, gaps, events)."""
    found = SpoolReader(Path(track.writer.folder)).read(1 << 40)
    return (
        b"".join(raw_bytes(record) for record in found if record.kind == DATA),
        [(record.offset, record.raw_length) for record in found if record.kind == GAP],
        [record.body for record in found if record.kind == EVENT],
    )


@pytest.mark.parametrize("seed", range(6))
def test_what_was_printed_is_there_once_wherever_it_is_killed(log: ContainerLog, start: Start, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        track = start()
        for _ in range(rng.randrange(4)):
            log.print(b"".join(rng.randbytes(rng.randrange(200)).replace(b"\n", b"") + b"\n" for _ in range(40)), 1)
            if rng.random() < 0.3:
                log.print(b"f" * rng.randrange(50_000), 2)
            if rng.random() < 0.3:
                track.refresh()
                log.rotate(20)
            steps(track, at_most=rng.randrange(1, 6))
        kill(track)
        segments = sorted(Path(track.writer.folder).glob("*.seg"))
        if segments and rng.random() < 0.5:
            # The kill came in the middle of a write; a segment begins with where the one before had come.
            size = segments[-1].stat().st_size
            os.truncate(segments[-1], max(size - rng.randrange(1, 3000), min(size, 900)))
    track = start()
    steps(track)
    track.outcome = {"kind": 0}
    steps(track)
    assert track.ended
    track.close()
    assert records(track) == (log.printed, [], [])


def test_a_full_spool_makes_the_files_wait_and_only_what_is_deleted_unread_becomes_a_gap(
    log: ContainerLog, start: Start
) -> None:
    track = start(SharedBounds(4 << 20, 1 << 30, 1 << 20))
    log.print(b"".join(os.urandom(60).hex().encode() + b"\n" for _ in range(120_000)))
    steps(track)
    assert track.stuck
    kept = track.writer.length
    assert 0 < kept < log.length
    # The file is still there: nothing is lost, even where it must not be held for long.
    steps(track, must_drop=True)
    assert track.writer.length == kept
    rest = log.length
    track.refresh()
    log.rotate(2)
    log.rotate(2)
    log.print(b"behind\n")
    track.refresh()
    assert track.follower.held_bytes() > 0
    steps(track, must_drop=True)
    assert track.writer.length == rest
    assert track.writer.note()
    raw, gaps, _ = records(track)
    assert raw == log.printed[:kept]
    assert gaps == [(kept, rest - kept)]
    kill(track)
    track = start()
    steps(track)
    raw, gaps, _ = records(track)
    assert gaps == [(kept, rest - kept)]
    assert raw == log.printed[:kept] + b"behind\n"


def test_a_rate_is_kept_and_said(log: ContainerLog, start: Start) -> None:
    now = [0.0]
    rates = Rates({"ci*": BLOCK_BYTES}, clock=lambda: now[0])
    log.print((b"x" * 99 + b"\n") * 40_000)
    track = start(rates=rates)
    read = []
    for _ in range(8):
        steps(track)
        assert track.stuck or track.writer.length == log.length
        read.append(track.writer.length)
        now[0] += 1.0
    # Twice the rate at once, then the rate; files hold more bytes than logs.
    assert read[0] <= 3 * BLOCK_BYTES
    assert all(later - before <= 2 * BLOCK_BYTES for before, later in pairwise(read))
    assert read[-1] > 4 * BLOCK_BYTES
    assert any(b"rate_limited" in event for event in records(track)[2])


def test_odd_lines_are_kept_and_said_once(log: ContainerLog, start: Start) -> None:
    os.write(log._fd, b"no CRI\nno CRI again\n")
    log.print(b"a line\n")
    track = start()
    steps(track)
    raw, _, events = records(track)
    assert raw == b"no CRI\nno CRI again\na line\n"
    assert [b"odd_lines" in event for event in events] == [True]


def test_a_line_without_end_is_taken_over_in_pieces(log: ContainerLog, start: Start) -> None:
    os.write(log._fd, b"x" * (3 * BLOCK_BYTES) + b"\n")
    log.print(b"a line\n")
    track = start()
    steps(track)
    raw, _, _ = records(track)
    assert raw == b"x" * (3 * BLOCK_BYTES) + b"\na line\n"


def test_what_comes_to_a_rotated_file_too_late_is_not_lost(log: ContainerLog, start: Start) -> None:
    """The runtime's last lines come after the file was left: in their place, or where its successor has come."""
    track = start()
    log.print(b"one\n")
    steps(track)
    old = os.dup(log._fd)
    log.rotate()
    track.refresh()
    steps(track)
    assert len(track.follower.files) == 1
    os.write(old, log._encoded(b"two\n", 1))
    steps(track)
    log.print(b"three\n")
    steps(track)
    os.write(old, b"2026-01-31T12:00:00Z stdout F late\n")
    track.refresh()
    log.print(b"four\n")
    steps(track)
    raw, gaps, events = records(track)
    assert raw == b"one\ntwo\nthree\nlate\nfour\n"
    assert not gaps
    assert [b"late_lines" in event for event in events] == [True]
    kill(track)
    track = start()
    steps(track)
    assert records(track)[0] == raw


@pytest.mark.parametrize(("left_bytes", "again"), [(0, 0), (50, 1), (2000, 0)])
def test_a_file_that_shrinks_is_read_on_and_it_is_said(
    log: ContainerLog, start: Start, left_bytes: int, again: int
) -> None:
    """What is left is known again by its first 256 bytes."""
    log.print(b"before\n" * 100)
    track = start()
    steps(track)
    os.truncate(log.path, left_bytes)
    steps(track)
    log.print(b"behind\n")
    steps(track)
    raw, gaps, events = records(track)
    assert raw.startswith(b"before\n" * 100)
    assert raw.endswith(b"behind\n")
    assert raw.count(b"before\n") == 100 + again
    assert not gaps
    assert sum(b"lost_lines" in event for event in events) == 1
    kill(track)


@pytest.mark.parametrize("becomes", ["stays", "compressed", "newest is deleted"])
def test_what_came_to_a_rotated_file_while_nobody_followed_is_taken(
    log: ContainerLog, start: Start, becomes: str
) -> None:
    log.print(b"one\n")
    track = start()
    steps(track)
    old = os.dup(log._fd)
    log.rotate()
    log.print(b"two\n")
    steps(track)
    assert records(track)[0] == b"one\ntwo\n"
    kill(track)
    os.write(old, b"2026-01-31T12:00:00Z stdout F late\n")
    (rotated,) = (path for path in log.folder.iterdir() if path != log.path)
    if becomes == "compressed":
        rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    elif becomes == "newest is deleted":
        log.path.unlink()
    for _ in range(2):
        track = start()
        steps(track)
        steps(track)
        kill(track)
    raw, gaps, events = records(track)
    assert raw == b"one\ntwo\nlate\n"
    assert not gaps
    assert [b"late_lines" in event for event in events] == [becomes != "newest is deleted"]


def test_what_comes_late_is_taken_in_pieces_that_memory_holds(log: ContainerLog, start: Start) -> None:
    """Whoever writes the file can make it as long as he likes, at no cost: most of this one is a hole."""
    log.print(b"first\n")
    track = start()
    steps(track)
    old = log.path.with_name("0.log.20260101-000000")
    os.rename(log.path, old)
    log.path.write_bytes(b"2026-01-31T12:00:00.123456789Z stdout F next\n")
    steps(track)
    track.refresh()
    with old.open("r+b") as file:
        file.truncate(1 << 40)
    late = track.follower.late()
    assert 0 < len(late) <= 1 << 20
    kill(track)


def test_a_file_name_that_is_no_text_can_be_said_in_an_event(log: ContainerLog, start: Start) -> None:
    track = start()
    track.writer.append_event("lost_lines", os.fsdecode(b"/x/\xff.log was truncated"))
    (event,) = records(track)[2]
    types_pb2.Event(message=json.loads(event)["message"])
    kill(track)
