"""Runs of one container in the same files: each log takes its own lines, and the next goes on at that very byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joblog.worker.docker.container_source import DockerSource
from joblog.worker.docker.naming import Naming
from joblog.worker.following.follower import Follower
from joblog.worker.following.place import decode_place
from joblog.worker.following.rates import Rates
from joblog.worker.following.source import Found
from joblog.worker.following.track import Track
from joblog.worker.spool.bound import SharedBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.format import DATA, FOLLOWED, SpoolTask
from joblog.worker.spool.reader import SpoolReader
from joblog.worker.spool.record import raw_bytes
from tests.docker_writer import DockerFiles


class Host:
    """A container, who finds it, and spools for its runs."""

    def __init__(self, folder: Path) -> None:
        self.containers = folder / "containers"
        self.containers.mkdir()
        self.spools = folder / "spools"
        self.files = DockerFiles(self.containers, "web", max_size_bytes=300, max_files=5, compress=True)
        self.source = DockerSource(str(self.containers), Naming("host"))

    def found(self, run: int) -> Found:
        """The log of a run, as it is known now."""
        (found,) = self.source.scan()
        return found.of(found.runs[run].started_ns)

    def track(self, run: int, place: str = "") -> Track:
        """Follows a run; place: where the one before it ended."""
        task = SpoolTask(writer_id=b"w" * 16, namespace="n", run="r", task="t", kind=FOLLOWED, source=str(run))
        writer = FollowedWriter(self.spools / str(run), SharedBounds(64 << 20, 1 << 30, 1 << 20), task)
        found = self.found(run)
        follower = Follower(found.path, found.roots, linger_seconds=0)
        if place:
            assert follower.resume(decode_place(json.loads(place)))
        track = Track(found, follower, writer, Rates({}))
        assert track.begin()
        return track


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def steps(track: Track) -> None:
    track.refresh()
    now = 1e9
    for _ in range(100):
        now += 10
        if not track.step(now) and not track.follower.files[1:]:
            return


def place_of(track: Track) -> str:
    place = track.follower.place()
    assert place is not None
    return json.dumps(place.encode())


def content(track: Track) -> bytes:
    found = SpoolReader(Path(track.writer.folder)).read(1 << 40)
    return b"".join(raw_bytes(record) for record in found if record.kind == DATA)


def end(track: Track) -> None:
    track.outcome = {"kind": 0}
    steps(track)
    assert track.ended
    track.close()


def test_what_may_be_another_runs_waits_until_it_is_known_whose_it_is(host: Host) -> None:
    host.files.start(first=b"one\n")
    track = host.track(0)
    steps(track)
    host.files.print(b"two\n")
    host.files.exit(1, restarts=True)
    host.files.start(by_policy=True, first=b"of the next run\n")
    # dockerd has written something that nobody has looked at.
    steps(track)
    assert content(track) == b"one\n"
    assert not track.quiet_since
    track.tell(host.found(0))
    steps(track)
    assert content(track) == host.files.runs[0].printed
    assert track.quiet_since
    place = place_of(track)
    end(track)
    track = host.track(1, place)
    steps(track)
    host.files.exit(0)
    track.tell(host.found(1))
    end(track)
    assert content(track) == host.files.runs[1].printed


@pytest.mark.parametrize("rotates", [0, 1, 2])
def test_a_run_that_prints_nothing_leads_to_the_next_one(host: Host, rotates: int) -> None:
    host.files.start()
    track = host.track(0)
    host.files.print(b"of the first\n")
    steps(track)
    host.files.exit(1, restarts=True)
    host.files.start(by_policy=True)
    track.tell(host.found(0))
    steps(track)
    for _ in range(rotates):
        host.files.rotate()
        steps(track)
    place = place_of(track)
    end(track)
    silent = host.track(1, place)
    host.files.exit(1, restarts=True)
    host.files.start(by_policy=True)
    host.files.print(b"of the third\n")
    silent.tell(host.found(1))
    steps(silent)
    place = place_of(silent)
    end(silent)
    assert content(silent) == b""
    third = host.track(2, place)
    steps(third)
    assert content(third) == b"of the third\n"
    assert not third.follower.losses
    third.close()
    host.files.end()
