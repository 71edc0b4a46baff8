"""Daemons that can not start say why in a line, with the exit code of docs/cli.md, and leave everything as it was."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, Denied, InvalidSettings
from joblog.paths import DataFolder
from tests.fault.cluster import Cluster


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    """A leader that has run, holds a log, and has been stopped."""
    with Cluster(data_dir) as made:
        leader = made.start_leader()
        made.start_worker()
        made.task("before", 1, count=20).run.popen.wait(60)
        made.wait_settled()
        assert made.worker is not None
        made.worker.terminate()
        assert leader.terminate() == 0
        yield made


def start_leader(cluster: Cluster, *flags: str) -> subprocess.CompletedProcess[bytes]:
    listen = [] if "--grpc-listen" in flags else ["--grpc-listen", "127.0.0.1:0"]
    listen += [] if "--http-listen" in flags else ["--http-listen", "127.0.0.1:0"]
    return cluster.joblog("leader", *listen, *flags)


def assert_refused(done: subprocess.CompletedProcess[bytes], code: int, *words: str) -> None:
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert "Traceback" not in said
    for word in words:
        assert word in said


def assert_as_before(cluster: Cluster) -> None:
    """It starts again, and has what it had."""
    cluster.start_leader()
    cluster.assert_whole(cluster.tasks[0])
    cluster.assert_verified()


@pytest.mark.parametrize("option", ["--grpc-listen", "--http-listen"])
def test_a_port_in_use(cluster: Cluster, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert_refused(start_leader(cluster, option, address), Conflict.exit_code, address)
    assert_as_before(cluster)


def test_a_store_in_use(cluster: Cluster) -> None:
    assert_as_before(cluster)
    assert_refused(start_leader(cluster), Conflict.exit_code, str(DataFolder(cluster.leader_dir).store))
    cluster.assert_whole(cluster.tasks[0])


def test_a_data_folder_with_a_worker_already(cluster: Cluster) -> None:
    cluster.start_worker("127.0.0.1:1")
    cluster.wait_worker()
    done = cluster.joblog("worker", "--data-dir", str(cluster.worker_dir))
    assert_refused(done, Conflict.exit_code, "another worker runs on this data folder")


def test_another_key(cluster: Cluster) -> None:
    key = DataFolder(cluster.leader_dir).kek_file
    right = key.read_bytes()
    key.write_bytes(bytes(len(right)))
    assert_refused(start_leader(cluster), Denied.exit_code)
    key.write_bytes(right)
    assert_as_before(cluster)


def test_a_key_that_is_gone_is_not_made_anew(cluster: Cluster) -> None:
    key = DataFolder(cluster.leader_dir).kek_file
    aside = key.rename(key.with_name("aside"))
    done = start_leader(cluster)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    key.unlink(missing_ok=True)
    aside.rename(key)
    assert_as_before(cluster)


def test_a_key_of_a_wrong_length(cluster: Cluster) -> None:
    key = DataFolder(cluster.leader_dir).kek_file
    right = key.read_bytes()
    key.write_bytes(right[:-1])
    assert_refused(start_leader(cluster), Corrupt.exit_code, str(key))
    key.write_bytes(right)
    assert_as_before(cluster)


def test_a_damaged_store(cluster: Cluster) -> None:
    (manifest,) = DataFolder(cluster.leader_dir).store.glob("MANIFEST-*")
    content = manifest.read_bytes()
    manifest.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    assert_refused(start_leader(cluster), Corrupt.exit_code, str(DataFolder(cluster.leader_dir).store))
    manifest.write_bytes(content)
    assert_as_before(cluster)


def test_a_setting_that_is_none(cluster: Cluster) -> None:
    done = start_leader(cluster, "--set", "ingest.window_bytes=1")
    assert_refused(done, InvalidSettings.exit_code, "ingest.window_bytes", "1 MiB")
    assert_as_before(cluster)
