"""An outage of the object store under load, through real processes: who notices what, and when all goes on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.leader.archive.s3 import S3Store
from joblog.paths import DataFolder
from joblog.v1.types_pb2 import TIER_ARCHIVE
from tests.e2e.machine import until
from tests.e2e.test_archive_processes import is_sealed, metric
from tests.fault.cluster import Cluster, Task
from tests.object_servers import ACCESS_KEY, SECRET_KEY, options_for
from tests.s3_proxy import REFUSED, Fault, S3Proxy, s3_proxy

BUDGET_BYTES = 16 << 20
SPOOL_BYTES = 4 << 20
TASKS = 6
RECOVERY_SECONDS = 15.0


@pytest.fixture
def bucket() -> str:
    return f"joblog-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def proxy(rgw: str) -> Iterator[S3Proxy]:
    with s3_proxy(rgw) as made:
        yield made


@pytest.fixture
def cluster(proxy: S3Proxy, bucket: str, data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": f"s3://{bucket}/logs",
        "JOBLOG_ARCHIVE_S3_ENDPOINT": proxy.endpoint,
        "JOBLOG_ARCHIVE_S3_PATH_STYLE": "true",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.5",
        "JOBLOG_ARCHIVE_PACK_MAX_BYTES": "4MiB",
        "JOBLOG_ARCHIVE_BUFFER_BUDGET_BYTES": str(BUDGET_BYTES),
        "JOBLOG_SPOOL_MAX_TASK_BYTES": str(SPOOL_BYTES),
        "JOBLOG_SPOOL_POLICY": "block",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    with Cluster(data_dir, **settings) as made:
        yield made


def spooled(cluster: Cluster) -> int:
    """Bytes in the worker's spools."""
    segments = DataFolder(cluster.worker_dir).spools.glob("*/*.seg")
    return sum(path.stat().st_size for path in segments if path.exists())


def written(tasks: list[Task]) -> list[int]:
    return [task.bytes_written for task in tasks]


def test_tasks_wait_only_when_their_spools_are_full(
    cluster: Cluster, proxy: S3Proxy, rgw: str, bucket: str, data_dir: Path
) -> None:
    leader = cluster.start_leader()
    cluster.start_worker()
    cluster.wait_worker()
    tasks = [cluster.task(f"t{at}", 10 + at).wait_begun() for at in range(TASKS)]
    until(lambda: metric(cluster, "joblog_archive_packs_total") > 1, "it works")
    until(lambda: metric(cluster, "joblog_archive_unarchived_bytes") < BUDGET_BYTES // 2, "the buffer is emptied")

    outage = Fault("*", REFUSED, 10**9)
    proxy.faults = [outage]
    began = written(tasks)
    # First the buffer fills, up to its budget; then the spools; and only then a task waits.
    until(lambda: metric(cluster, "joblog_archive_ingest_held") == 1, "the buffer is full")
    assert metric(cluster, "joblog_archive_unarchived_bytes") < BUDGET_BYTES * 1.5
    held = written(tasks)
    assert all(now > before for now, before in zip(held, began, strict=True)), (began, held)
    assert sum(held) - sum(began) > BUDGET_BYTES // 2
    status = cluster.joblog("status")
    assert b"archive.buffer_budget_bytes" in status.stdout + status.stderr
    until(lambda: all_wait(tasks), "all tasks wait")
    full = written(tasks)
    assert all(now > before for now, before in zip(full, held, strict=True)), (held, full)
    assert spooled(cluster) > TASKS * SPOOL_BYTES // 4
    assert all(task.run.popen.poll() is None for task in tasks)

    back = time.monotonic()
    outage.times = 0
    until(lambda: all(now > before for now, before in zip(written(tasks), full, strict=True)), "all go on")
    assert time.monotonic() - back < RECOVERY_SECONDS
    for task in tasks:
        assert task.finish() == 0
    cluster.wait_settled()
    until(lambda: is_sealed(cluster, *tasks), "all is sealed")
    for task in tasks:
        cluster.assert_whole(task)
    cluster.assert_verified()
    assert {record.tier for record in cluster.records()} == {TIER_ARCHIVE}
    assert leader.terminate() == 0

    done = cluster.joblog("archive", "gc", "--min-age", "0", "--delete")
    assert done.returncode == 0, done.stderr.decode()
    done = cluster.joblog("archive", "verify")
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())
    store = S3Store(bucket, "logs/", options_for(rgw))
    keys = [info.key for info in store.list("")[0]]
    store.close()
    assert not [key for key in keys if key.endswith((".pack", ".roster", ".seg"))]
    assert sum(key.endswith("/log.joblog") for key in keys) == 2 * TASKS
    cluster.assert_no_crash()


def all_wait(tasks: list[Task]) -> bool:
    """Whether none of the tasks has written anything for a while in which each of them would have."""
    before = written(tasks)
    time.sleep(1.0)
    return written(tasks) == before
