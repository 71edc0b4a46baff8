"""What runs in the leader's own data folder joins anew when the leader has lost its disk, CA and admin token too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.v1.types_pb2 import LOG_STATE_COMPLETED
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster, Process


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    with Cluster(data_dir) as made:
        made.worker_dir = made.leader_dir
        yield made


@pytest.mark.parametrize("has_daemon", [True, False])
def test_a_worker_in_the_folder_joins_anew_by_itself(cluster: Cluster, has_daemon: bool) -> None:
    leader = cluster.start_leader()
    address, ca = cluster.grpc_address, cluster.leader_file()["ca"]
    if has_daemon:
        command = [*JOBLOG, "worker", "--data-dir", str(cluster.worker_dir), "--leader", address]
        cluster.worker = Process(command, cluster.environment, cluster.messages("worker"))
        cluster.wait_worker()
    task = cluster.task("live", 1).wait_begun()
    until(lambda: any(record.next_offset for record in cluster.records()), "the leader has some of it")
    leader.kill()
    shutil.rmtree(cluster.leader_dir / "leader")
    leader = cluster.start_leader(address=address)
    assert cluster.leader_file()["ca"] != ca
    until(lambda: any(record.next_offset for record in cluster.records()), "the new leader has some of it too")
    assert task.finish() == 0
    until(
        lambda: [record.state for record in cluster.records() if record.id.task == "live"] == [LOG_STATE_COMPLETED],
        "its log is completed",
    )
    if cluster.worker is not None:
        assert cluster.worker.terminate() == 0
    assert leader.terminate() == 0
    cluster.assert_no_crash()
