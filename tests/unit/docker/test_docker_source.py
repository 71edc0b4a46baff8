"""Docker's containers as their files tell them: runs, ends, files that are odd; and lines cut where a run ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import InvalidInput
from joblog.worker.docker.container import MAX_CONFIG_BYTES, read_container
from joblog.worker.docker.container_source import DockerSource
from joblog.worker.docker.naming import Naming
from joblog.worker.following.source import Found
from joblog.worker.formats.docker_json import written_until
from joblog.worker.kubernetes.pods import ContainerEnd, LogTarget, NotYet
from joblog.worker.kubernetes.rules import parse_rule
from tests.docker_writer import DockerFiles


@pytest.fixture
def source(tmp_path: Path) -> DockerSource:
    return DockerSource(str(tmp_path), Naming("host", [parse_rule("label:ci=*: run={label:ci} task={container}")]))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DockerFiles]:
    made = DockerFiles(tmp_path, "web", labels={"ci": "nightly"}, max_size_bytes=1000, max_files=3)
    yield made
    made.end()


def only(source: DockerSource) -> Found:
    (found,) = source.scan()
    return found


def ended(source: DockerSource, found: Found, run: int) -> ContainerEnd | None:
    return asyncio.run(source.ended(found.of(found.runs[run].started_ns)))


def alive(source: DockerSource, found: Found, run: int = -1) -> bool | None:
    return asyncio.run(source.alive(found.of(found.runs[run].started_ns)))


def test_runs_end_where_dockerd_says_so_or_where_the_next_one_begins(source: DockerSource, files: DockerFiles) -> None:
    assert source.scan() == []
    files.start()
    found = only(source)
    assert (found.max_files, len(found.runs), found.runs[0].until_ns) == (3, 1, 0)
    assert alive(source, found) is True
    assert ended(source, found, 0) is None
    files.exit(7, restarts=True)
    found = only(source)
    assert found.runs[0].until_ns
    assert alive(source, found) is False
    end = ended(source, found, 0)
    assert end is not None
    assert (end.exit_code, end.started_ns) == (7, found.runs[0].started_ns)
    files.start(by_policy=True)
    files.exit(0, oom_killed=True, restarts=True)
    files.start(by_policy=True)
    found = only(source)
    # The end of the second run was not looked at.
    first, third = found.runs
    assert first.until_ns < third.started_ns
    assert not third.until_ns
    assert ended(source, found, 0) == end
    assert [found.of(run.started_ns).superseded for run in found.runs] == [True, False]
    assert found.run_after(first.started_ns) == third.started_ns
    files.exit(0, oom_killed=True, restarts=True)
    files.start(by_policy=True)
    found = only(source)
    unseen = ended(source, found, 1)
    assert unseen is not None
    assert (unseen.exit_code, unseen.started_ns) == (None, third.started_ns)
    assert third.started_ns < unseen.ended_ns < found.runs[2].started_ns
    assert found.of(third.started_ns).until_ns == found.runs[2].started_ns
    # Of one that nobody remembers, as after a restart of the worker.
    assert found.of(third.started_ns - 1).until_ns == third.started_ns


def test_how_a_container_ended_is_known_when_it_is_gone(source: DockerSource, files: DockerFiles) -> None:
    files.start()
    files.exit(5)
    found = only(source)
    files.remove()
    assert source.scan() == []
    end = ended(source, found, 0)
    assert end is not None
    assert end.exit_code == 5
    assert alive(source, found) is None


def test_identity_waits_until_the_container_was_started(source: DockerSource, files: DockerFiles) -> None:
    files.path.touch()
    found = only(source)
    assert isinstance(asyncio.run(source.target(found)), NotYet)
    files.start()
    found = only(source)
    target = asyncio.run(source.target(found.of(found.runs[0].started_ns)))
    assert isinstance(target, LogTarget)
    assert target.name == ("host", "nightly", "web", 0)
    assert target.started_ns == found.runs[0].started_ns
    assert target.command == ("/bin/sh", "-c", "work")


def test_a_container_of_which_dockerd_says_nothing_goes_by_its_id(tmp_path: Path, files: DockerFiles) -> None:
    files.start()
    os.unlink(files.folder / "config.v2.json")
    source = DockerSource(str(tmp_path), Naming("host"), unknown_seconds=0)
    target = asyncio.run(source.target(only(source)))
    assert isinstance(target, LogTarget)
    assert target.name == ("host", files.id[:12], files.id[:12], 0)


def test_files_that_are_not_dockerds_are_refused(files: DockerFiles, tmp_path: Path) -> None:
    config = files.folder / "config.v2.json"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(config.read_text())
    for content in (b"[" * 100_000, b"\xff", b"{" + b" " * MAX_CONFIG_BYTES + b"}"):
        config.write_bytes(content)
        with pytest.raises(InvalidInput):
            read_container(str(files.folder), files.id)
    config.unlink()
    config.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        read_container(str(files.folder), files.id)
    config.unlink()
    os.mkfifo(config)
    with pytest.raises(InvalidInput, match="no regular file"):
        read_container(str(files.folder), files.id)
    config.unlink()
    odds: list[object] = [
        [],
        "x",
        {"State": [], "Config": 7, "Name": 3, "RestartCount": -1},
        {"State": {"StartedAt": "soon"}},
    ]
    for odd in odds:
        config.write_text(json.dumps(odd))
        container = read_container(str(files.folder), files.id)
        assert (container.name, container.restarts, container.state.started_ns) == (files.id[:12], 0, 0)


def test_lines_are_a_runs_up_to_its_end_and_odd_ones_count_to_those_before_them(
    source: DockerSource, files: DockerFiles
) -> None:
    ticks = itertools.count(1_700_000_000_000_000_000, 1_000_000_000)
    files._clock = lambda: next(ticks)
    files._max_size = 0
    files.start()
    for text in (b"one\n", b"two\n", b"three\n"):
        files.print(text)
    first, second, third = files.path.read_bytes().splitlines(keepends=True)
    # files.start() took one and a stamp for the file.
    begun = 1_700_000_000_000_000_000 + 2_000_000_000
    odd = b'{"log":"torn' + b"\n"
    data = first + second + odd + third
    assert written_until(data, begun - 1) == 0
    assert written_until(data, begun) == len(first)
    assert written_until(data, begun + 1_500_000_000) == len(first + second + odd)
    assert written_until(data, begun + 2_000_000_000) == len(data)
    assert written_until(first + b'{"torn', begun) == len(first) + 6
    assert written_until(b"", 0) == 0
    assert written_until(b"\n\n" + first, begun - 1) == 2
