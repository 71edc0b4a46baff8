"""A lane takes many logs along: what is wrong with one is no matter of the others."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest

from joblog.worker.following.follower import Follower
from joblog.worker.following.lane import Lane
from joblog.worker.following.rates import Rates
from joblog.worker.following.source import Found
from joblog.worker.following.track import Track
from joblog.worker.spool.bound import SharedBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.format import FOLLOWED, SpoolTask
from tests.kubelet_writer import ContainerLog


def track_of(folder: Path, name: str) -> tuple[ContainerLog, Track]:
    log = ContainerLog(folder / "pods", "ci", name).keep()
    log.print(b"a line\n")
    task = SpoolTask(writer_id=b"w" * 16, namespace="n", run="r", task=name, kind=FOLLOWED, source=name)
    writer = FollowedWriter(folder / "spools" / name, SharedBounds(4 << 20, 1 << 30, 1 << 20), task)
    track = Track(Found(name, str(log.path), "", "ci", str(log.folder)), Follower(str(log.path)), writer, Rates({}))
    assert track.begin()
    return log, track


@pytest.mark.parametrize("error", [AssertionError("what never is"), IndexError("so it is"), OSError(5, "EIO")])
def test_a_log_that_can_not_be_followed_is_let_go_and_the_others_go_on(tmp_path: Path, error: Exception) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise error

    let_go: queue.SimpleQueue[tuple[Track, Exception | None]] = queue.SimpleQueue()
    lane = Lane(0, lambda *over: let_go.put(over), held_bytes=1 << 20)
    (_, bad), (log, good) = track_of(tmp_path, "bad"), track_of(tmp_path, "good")
    bad.step = fail  # type: ignore[method-assign]
    lane.add(bad)
    lane.add(good)
    lane.start()
    try:
        assert let_go.get(timeout=20) == (bad, error)
        assert not bad.ended
        log.print(b"another line\n")
        lane.end("good", {"kind": 0})
        assert let_go.get(timeout=20) == (good, None)
        assert good.ended
        assert good.writer.length == log.length
    finally:
        lane.stop()
