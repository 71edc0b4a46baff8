"""Leaders as real processes that start on an archive which another one has written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.paths import DataFolder
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster, Task


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": (data_dir / "archive").as_uri(),
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
        "JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS": "0.5",
        "JOBLOG_ARCHIVE_ACK": "archived",
    }
    with Cluster(data_dir, **settings) as made:
        yield made


def sealed(cluster: Cluster, task: Task) -> bool:
    return any(one.id.task == task.log.task and one.tier == TIER_ARCHIVE for one in cluster.records())


def second_leader(cluster: Cluster) -> subprocess.CompletedProcess[bytes]:
    """A leader on an empty folder of its own, which has to end by itself."""
    command = [*JOBLOG, "leader", "--data-dir", str(cluster.folder / "second")]
    command += ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    return subprocess.run(command, env=cluster.environment, capture_output=True, timeout=60, check=False)


def test_beside_a_leader_that_works_it_ends_and_with_another_key_too(cluster: Cluster) -> None:
    leader = cluster.start_leader()
    address = cluster.grpc_address
    cluster.start_worker()
    cluster.wait_worker()
    task, live = cluster.task("done", 1, count=30), cluster.task("live", 2).wait_begun()
    assert task.finish() == 0
    until(lambda: sealed(cluster, task), "it is sealed")

    done = second_leader(cluster)
    assert done.returncode == 4, done.stderr.decode()
    assert b"which is at work" in done.stderr
    assert leader.popen.poll() is None

    # The disk is lost, and the key with it.
    leader.kill()
    kek = DataFolder(cluster.leader_dir).kek_file
    access = DataFolder(cluster.leader_dir).access
    safe = cluster.folder / "safe.key"
    shutil.copy(kek, safe)
    # Without it workers would have to join anew.
    shutil.copytree(access, cluster.folder / "safe.access")
    shutil.rmtree(cluster.leader_dir)
    done = second_leader(cluster)
    assert done.returncode == 5, (done.returncode, done.stderr.decode())
    assert b"written with another key" in done.stderr

    kek.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    shutil.copy(safe, kek)
    shutil.rmtree(access, ignore_errors=True)
    shutil.copytree(cluster.folder / "safe.access", access)
    leader = cluster.start_leader(address=address)
    assert live.finish() == 0
    cluster.wait_settled()
    until(lambda: sealed(cluster, live), "the one that went on is sealed")
    for one in (task, live):
        cluster.assert_whole(one)
    cluster.assert_verified()
    assert leader.terminate() == 0
    cluster.assert_no_crash()
