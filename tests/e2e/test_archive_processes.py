"""Leader, worker and tasks as real processes with a real S3 server, through the loss of the leader's whole disk."""

from __future__ import annotations

import os
import re
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.leader.archive.s3 import S3Store
from joblog.v1.types_pb2 import LOG_STATE_COMPLETED, TIER_ARCHIVE
from tests.e2e.machine import until
from tests.fault.cluster import Cluster, Follower, Task, assert_same
from tests.fault.generator import MARKER, STDERR, STDOUT
from tests.https import open_url
from tests.object_servers import ACCESS_KEY, SECRET_KEY, options_for

PREFIX = "ci/logs"


@pytest.fixture
def bucket() -> str:
    return f"joblog-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def cluster(rgw: str, bucket: str, data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": f"s3://{bucket}/{PREFIX}",
        "JOBLOG_ARCHIVE_S3_ENDPOINT": rgw,
        "JOBLOG_ARCHIVE_S3_PATH_STYLE": "true",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.7",
        "JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS": "1",
        "JOBLOG_ARCHIVE_ACK": "archived",
        "JOBLOG_KEYS_FILE": str(data_dir / "kek.key"),
        # Its log goes on with the leader, and what is left over at the end is counted.
        "JOBLOG_ACCESS_AUDIT": "off",
        # As boto3 finds them by itself.
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    with Cluster(data_dir, **settings) as made:
        yield made


def metric(cluster: Cluster, name: str) -> float:
    """One of the leader's metrics."""
    with open_url(cluster.leader_dir, "/metrics") as reply:
        found = re.search(rf"^{name} (\S+)$", reply.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def is_sealed(cluster: Cluster, *tasks: Task) -> bool:
    """Whether the archive has the tasks' logs for good."""
    tiers = {record.id.task: record.tier for record in cluster.records()}
    return all(tiers.get(task.log.task) == TIER_ARCHIVE for task in tasks)


def test_a_lost_disk_costs_no_byte(cluster: Cluster, rgw: str, bucket: str) -> None:
    leader = cluster.start_leader()
    address = cluster.grpc_address
    cluster.start_worker()
    cluster.wait_worker()
    short = [cluster.task(f"short{at}", at, count=40) for at in range(3)]
    live = [cluster.task(f"live{at}", 100 + at).wait_begun() for at in range(2)]
    for task in short:
        assert task.finish() == 0
    until(lambda: is_sealed(cluster, *short), "the short ones are sealed")

    # A live one that rests for a moment leaves nothing in the buffer, and reads as it was written.
    for task in live:
        os.kill(task.progress()[2], signal.SIGSTOP)
    until(lambda: metric(cluster, "joblog_archive_unarchived_bytes") == 0, "the buffer is empty")
    assert metric(cluster, "joblog_archive_packs_total") > 0
    for task in live:
        assert cluster.assert_prefix(task) > 0
        os.kill(task.progress()[2], signal.SIGCONT)
    follower = Follower(cluster, live[0])
    follower.wait_begun()
    for task in [*short, *live]:
        assert_begins(cluster, task)

    # The leader and its disk are gone, with what it had not archived yet and one log that it had closed.
    ended = cluster.task("ended", 200, count=60).wait_begun()
    until(lambda: metric(cluster, "joblog_archive_unarchived_bytes") > 0, "something is not archived")
    leader.kill()
    shutil.rmtree(cluster.leader_dir)
    assert ended.finish() == 0

    # The next one, with an empty disk, takes over by itself.
    leader = cluster.start_leader(address=address)
    assert sealed_count(cluster.messages("leader").read_bytes()) >= len(short)
    for task in live:
        assert task.finish() == 0
    cluster.wait_settled()
    tasks = [*short, *live, ended]
    until(lambda: is_sealed(cluster, *tasks), "all is sealed")
    for task in tasks:
        cluster.assert_whole(task)
    assert_same(follower.finish(), cluster.read(live[0]), "what the follower has seen")
    assert {record.state for record in cluster.records()} == {LOG_STATE_COMPLETED}
    done = cluster.joblog("verify", "--all")
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())

    # What is left over is found, and nothing that is needed is.
    assert leader.terminate() == 0
    done = cluster.joblog("archive", "gc", "--min-age", "0", "--delete")
    assert done.returncode == 0, done.stderr.decode()
    done = cluster.joblog("archive", "verify")
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())
    store = S3Store(bucket, PREFIX + "/", options_for(rgw))
    keys = [info.key for info in store.list("", limit=1000)[0]]
    assert [key for key in keys if key.startswith("_live/")] == ["_live/claim.json"]
    assert sum(key.endswith("/log.joblog") for key in keys) == 2 * len(tasks)
    assert not any(MARKER in store.get(key) for key in keys)
    store.close()
    cluster.assert_nothing_in_clear()
    cluster.assert_no_crash()


def assert_begins(cluster: Cluster, task: Task) -> None:
    """What is read of a task that goes on writing is what it has written; both streams have begun, or will."""
    for stream in (STDOUT, STDERR):
        until(lambda stream=stream: cluster.read(task, stream), f"stream {stream} has begun")  # type: ignore[misc]
        found = cluster.read(task, stream)
        expected = task.expected_at_most()[stream]
        assert_same(found, expected[: len(found)], f"{task.log.task}, stream {stream}")


def sealed_count(said: bytes) -> int:
    """How many sealed logs a rebuild says that it found."""
    found = re.search(rb"([\d,]+) sealed logs?", said)
    assert found is not None, said
    return int(found[1].replace(b",", b""))
