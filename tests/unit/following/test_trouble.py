"""What is wrong with one log for good: said once, tried again more and more seldom, and no matter of the others."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Unavailable
from joblog.worker.following import service, trouble
from joblog.worker.following.track import Track
from joblog.worker.following.trouble import Trouble
from tests.docker_writer import DockerFiles
from tests.following_docker import contents, following, until

log = logging.getLogger(__name__)


def test_pauses_grow_and_the_same_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    found, pauses = Trouble(longest_seconds=10.0), []

    def fail(error: Exception) -> None:
        nonlocal now
        again = found.failed(log, "web: can't be followed now", error)
        pauses.append(again - now)
        now = again

    for _ in range(6):
        fail(Corrupt("a bad place"))
    assert pauses == [1, 2, 4, 8, 10, 10]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    fail(KeyError("codec"))
    assert len(caplog.records) == 2 and caplog.records[1].exc_info
    # What passes by itself is tried again soon; what has worked for long begins anew.
    fail(Unavailable("no key now"))
    assert pauses[-1] == trouble.PASSING_SECONDS
    now += 10.5
    fail(Unavailable("no key now"))
    assert (pauses[-1], len(caplog.records)) == (1, 4)


async def test_a_log_that_fails_at_each_step_is_said_once_and_whole_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trouble, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(service, "RESCAN_SECONDS", 0.02)
    (tmp_path / "containers").mkdir()
    bad, good = DockerFiles(tmp_path / "containers", "bad"), DockerFiles(tmp_path / "containers", "good")
    tried: list[float] = []
    step = Track.step

    def fails(track: Track, now: float, *, must_drop: bool = False) -> bool:
        if track.writer.task.task == "bad" and len(tried) < 5:
            tried.append(now)
            raise OSError(5, "Input/output error")
        return step(track, now, must_drop=must_drop)

    monkeypatch.setattr(Track, "step", fails)
    for files in (bad, good):
        files.start(first=b"one\n")
    async with following(tmp_path):
        await until(lambda: [data for data, _ in contents(tmp_path)] == [b"one\n", b"one\n"])
    assert len(tried) == 5
    assert len([line for line in caplog.messages if "can't be followed now" in line]) == 1


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyError("a codec")])
async def test_a_log_that_can_not_be_begun_is_not_taken_for_one_that_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(trouble, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(service, "RESCAN_SECONDS", 0.02)
    (tmp_path / "containers").mkdir()
    tried: list[Track] = []
    begin = Track.begin

    def fails(track: Track) -> bool:
        tried.append(track)
        if len(tried) < 4:
            raise error
        return begin(track)

    monkeypatch.setattr(Track, "begin", fails)
    DockerFiles(tmp_path / "containers", "web").start(first=b"one\n")
    async with following(tmp_path):
        await until(lambda: contents(tmp_path) == [(b"one\n", False)])
    assert len(tried) == 4
    assert len([line for line in caplog.messages if "can't be followed now" in line]) == 1
