"""`joblog archive`: real processes against a folder, with the key and no leader."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.leader.buffer.store import Store
from tests.archiving import ArchiveSite, CountedPuts
from tests.stored_log import NAME, StoredLog

JOBLOG = [sys.executable, "-P", "-m", "joblog.cli.main"]


class Place:
    """A folder archive with two sealed logs and a live one, written by a leader that is gone; its data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.url = (folder / "archive").as_uri()
        objects = CountedPuts(folder / "archive")
        site = ArchiveSite(self.data_dir / "leader", objects)
        self.logs = [site.leader.log(NAME._replace(task=task)) for task in ("build", "test", "live")]
        for log in self.logs:
            for line in range(200):
                log.append((STDERR if line % 7 == 0 else STDOUT, b"%s line %d\n" % (log.record.id.task.encode(), line)))
        site.flush(everything=True)
        for log in self.logs[:2]:
            log.complete()
        site.seal()
        while site.clean():
            pass
        site.close()

    def text(self, log: StoredLog) -> bytes:
        return bytes(log.model.data)

    def call(self, *arguments: str, data_dir: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBLOG_")}
        environment["JOBLOG_ARCHIVE_URL"] = self.url
        command = [*JOBLOG, "archive", *arguments, "--data-dir", str(data_dir or self.data_dir)]
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)

    def json(self, *arguments: str) -> Any:
        done = self.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def new_folder(self) -> Path:
        """A data folder with nothing but the key."""
        fresh = self.folder / "fresh"
        (fresh / "leader").mkdir(parents=True, mode=0o700)
        shutil.copy(self.data_dir / "leader" / "kek.key", fresh / "leader" / "kek.key")
        return fresh


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)


def test_cat_prints_logs_with_no_leader(place: Place) -> None:
    fresh = place.new_folder()
    for log in place.logs:
        done = place.call("cat", f"demo/{log.record.id.task}", data_dir=fresh)
        assert (done.returncode, done.stdout) == (0, place.text(log)), done.stderr
        assert (b"is not sealed" in done.stderr) is (log is place.logs[2])
    done = place.call("cat", "demo/build/1", "--from", "1000")
    assert done.stdout == place.text(place.logs[0])[1000:]
    assert place.call("cat", "demo/other").returncode == 3
    done = place.call("cat", "demo/build", data_dir=place.folder / "nothing")
    assert done.returncode == 3
    assert b"key file" in done.stderr


def test_ls_lists_what_is_there(place: Place) -> None:
    found = place.json("ls")
    assert [(one["run"], one["task"], one["sealed"]) for one in found] == [
        ("demo", "build", True),
        ("demo", "test", True),
    ]
    assert len(place.json("ls", "demo/test")) == 1
    assert b"default:demo/build/1" in place.call("ls").stdout


def test_verify_tells_what_is_wrong(place: Place) -> None:
    assert place.call("verify").returncode == 0
    sealed = place.folder / "archive/default/demo/test/1/log.joblog"
    body = bytearray(sealed.read_bytes())
    body[len(body) // 4] ^= 1
    sealed.write_bytes(body)
    done = place.call("verify")
    assert done.returncode == 1
    assert b"demo/test/1: NOT COMPLETE" in done.stdout
    assert place.call("verify", "demo/build").returncode == 0
    done = place.call("cat", "demo/test")
    assert done.returncode == 1
    assert b"missing" in done.stderr


def test_rebuild_then_gc(place: Place) -> None:
    fresh = place.new_folder()
    done = place.call("rebuild", data_dir=fresh)
    assert done.returncode == 0, done.stderr
    assert b"2 sealed logs and 1 live ones" in done.stdout
    assert place.call("rebuild", data_dir=fresh).returncode == 4
    # The old leader's folder does not have the archive any more.
    assert place.call("gc").returncode == 4
    left = place.folder / "archive/default/demo/gone/1/log.joblog"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left behind")
    done = place.call("gc", "--min-age", "0", data_dir=fresh)
    assert (done.returncode, left.exists()) == (0, True)
    assert b"gone/1/log.joblog" in done.stdout
    assert place.call("gc", "--min-age", "0", "--delete", data_dir=fresh).returncode == 0
    assert not left.exists()
    assert place.call("verify").returncode == 0


def test_gc_says_whose_folder_it_needs(place: Place) -> None:
    done = place.call("gc", data_dir=place.folder / "nothing")
    assert done.returncode == 3
    assert b"stop that leader, and run it on its machine with its --data-dir" in done.stderr
    running = Store.open(place.data_dir / "leader" / "store")
    done = place.call("gc")
    running.close()
    assert done.returncode == 4
    assert b"needs the catalog of the leader that has the archive: stop that leader" in done.stderr


def test_cost_and_init(place: Place) -> None:
    cost = place.json("cost", "--puts", "1", "--storage", "0", "--gets", "0")
    assert cost["archive"]["logs"] == 2
    assert cost["a_million_tasks"]["money"] == pytest.approx(2000)
    assert b"a month" in place.call("cost").stdout
    done = place.call("init")
    assert done.returncode == 0
    assert b"can be used" in done.stdout


def test_without_an_archive_it_says_what_to_set(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("JOBLOG_")}
    done = subprocess.run(
        [*JOBLOG, "archive", "ls", "--data-dir", str(tmp_path)], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert b"JOBLOG_ARCHIVE_URL" in done.stderr
