"""No space left on the leader's or the worker's disk: nothing acked is lost, all goes on once there is space."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest

from joblog.client import Client
from joblog.identity import LogName
from joblog.v1 import types_pb2
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster, Follower
from tests.https import open_url
from tests.small_disk import fill, small_disk

pytestmark = [pytest.mark.short, pytest.mark.timeout(180)]

MIB = 1 << 20
# It is the disk that is full, not the spool.
ROOM = {"JOBLOG_SPOOL_MAX_TASK_BYTES": "256MiB", "JOBLOG_SPOOL_SEGMENT_BYTES": "8MiB"}
BLOCK_BYTES = 4096
BLOCKS = 8192
# Writes blocks that no codec makes smaller, and of which it is known what stands at an offset; then makes a file.
WRITE_BLOCKS = """
import os, random, sys
for number in range(int(sys.argv[1])):
    rest = memoryview(random.Random(number).randbytes(4096))
    while rest:
        rest = rest[os.write(1, rest):]
open(sys.argv[2], "w").close()
"""


def written(at: int, length: int) -> bytes:
    """What the task writes at an offset."""
    first = at // BLOCK_BYTES
    numbers = range(first, (at + length) // BLOCK_BYTES + 1)
    blocks = b"".join(random.Random(number).randbytes(BLOCK_BYTES) for number in numbers)
    return blocks[at - first * BLOCK_BYTES :][:length]


def ready(cluster: Cluster) -> int:
    try:
        with open_url(cluster.leader_dir, "/readyz") as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_leader_without_space_takes_nothing_serves_readers_and_recovers(data_dir: Path, seed: int) -> None:
    with small_disk(data_dir / "l", 64 * MIB) as disk, Cluster(data_dir) as cluster:
        cluster.start_leader("--set", "buffer.write_buffer_bytes=4MiB")
        cluster.start_worker()
        early = cluster.task("early", seed, count=300)
        assert early.run.popen.wait(60) == 0
        cluster.wait_settled()
        late = cluster.task("late", seed + 1).wait_begun()
        until(lambda: "late" in {record.id.task for record in cluster.records()}, "the leader has the log")
        follower = Follower(cluster, late)
        assert ready(cluster) == 200
        ballast = fill(disk)
        until(lambda: ready(cluster) == 503, "the leader says that it can't take anything")
        acked = next(record.next_offset for record in cluster.records() if record.id.task == "late")
        before = late.bytes_written
        cluster.assert_whole(early)
        until(lambda: late.bytes_written > before, "the task goes on")
        ballast.unlink()
        assert late.finish() == 0
        cluster.wait_settled()
        assert cluster.record(late).log.seal.length >= acked
        cluster.assert_whole(late)
        assert follower.finish() == cluster.read(late)
        assert ready(cluster) == 200
        cluster.assert_verified()
        cluster.assert_no_crash()


def start_blocks(cluster: Cluster, **settings: str) -> tuple[subprocess.Popen[bytes], Path]:
    """A task that writes all blocks, and the file that is there once it has written all."""
    done = cluster.folder / "done"
    command = [*JOBLOG, "run", "--quiet", "--run", "chaos", "--task", "blocks", "--"]
    environment = cluster.environment | ROOM | {"JOBLOG_DATA_DIR": str(cluster.worker_dir)} | settings
    with cluster.messages("run").open("ab") as messages:
        command += [sys.executable, "-c", WRITE_BLOCKS, str(BLOCKS), str(done)]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=messages), done


def free_bytes(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_bsize


def check_blocks(cluster: Cluster) -> list[types_pb2.Gap]:
    """Asserts that every byte that is there is the one of its offset; the gaps."""
    at, gaps = 0, []
    with Client(data_dir=cluster.leader_dir) as client:
        for part in client.read(LogName("default", "chaos", "blocks", 1)):
            assert part.offset == at
            if part.HasField("gap"):
                gaps.append(part.gap)
            else:
                assert part.data == written(at, len(part.data)), at
            at = part.next_offset
    assert at == BLOCK_BYTES * BLOCKS
    return gaps


@pytest.mark.parametrize("begin", ["worker first", "disk full first"])
def test_a_task_waits_while_the_workers_disk_is_full(data_dir: Path, begin: str) -> None:
    with small_disk(data_dir / "w", 8 * MIB) as disk, Cluster(data_dir) as cluster:
        cluster.start_leader()
        address = cluster.grpc_address
        if begin == "worker first":
            assert cluster.leader is not None
            cluster.leader.kill()
            cluster.start_worker(address)
            cluster.wait_worker()
        run, done = start_blocks(cluster, JOBLOG_SPOOL_POLICY="block")
        try:
            until(lambda: free_bytes(disk) < 2 * MIB, "the disk is full")
            assert run.poll() is None and not done.exists()
            if begin == "worker first":
                cluster.start_leader(address=address)
            else:
                cluster.start_worker(address)
            assert run.wait(90) == 0
        finally:
            run.kill()
            run.wait()
        cluster.wait_settled()
        assert check_blocks(cluster) == []
        cluster.assert_verified()
        cluster.assert_no_crash()


def test_the_middle_goes_while_the_workers_disk_is_full(data_dir: Path) -> None:
    with small_disk(data_dir / "w", 8 * MIB) as disk, Cluster(data_dir) as cluster:
        run, done = start_blocks(cluster, JOBLOG_SPOOL_POLICY="truncate", JOBLOG_SPOOL_SEGMENT_BYTES="2MiB")
        try:
            assert run.wait(90) == 0
        finally:
            run.kill()
            run.wait()
        assert done.exists()
        assert free_bytes(disk) < 4 * MIB
        cluster.start_leader()
        cluster.start_worker()
        cluster.wait_settled()
        gaps = check_blocks(cluster)
        assert gaps
        assert {gap.reason for gap in gaps} == {types_pb2.GAP_REASON_SPOOL_FULL}
        assert gaps[0].offset > 0
        assert gaps[-1].offset + gaps[-1].length < BLOCK_BYTES * BLOCKS
        record = cluster.records()[-1]
        assert record.seal.newlines == written(0, BLOCK_BYTES * BLOCKS).count(b"\n")
        cluster.assert_no_crash()
