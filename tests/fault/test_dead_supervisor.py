"""What is left of a task whose supervisor died, also when the disk kept only a part of its spool."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest

from joblog.client import Client
from joblog.v1 import types_pb2
from joblog.worker.spool.reader import SpoolReader, list_spools
from tests.e2e.machine import until
from tests.fault.cluster import Cluster, Task, assert_same
from tests.fault.generator import STDERR, STDOUT

pytestmark = pytest.mark.timeout(180)


def spool_of(cluster: Cluster, task: Task) -> Path:
    """The folder of a task's spool."""
    for folder in list_spools(cluster.worker_dir / "worker" / "spool"):
        reader = SpoolReader(folder)
        reader.close()
        if reader.task.task == task.log.task:
            return folder
    raise AssertionError(f"{task.log.task} has no spool")


def spooled_bytes(folder: Path) -> int:
    """How long the log in a spool is."""
    reader = SpoolReader(folder)
    try:
        return reader.length
    finally:
        reader.close()


def stored_bytes(cluster: Cluster, task: Task) -> int:
    """How many bytes of a log the leader has."""
    return sum(record.next_offset for record in cluster.records() if record.id.task == task.log.task)


def tear(folder: Path, rng: random.Random) -> None:
    """Cuts the newest segment at a random byte, as a power cut does to bytes that were never synced."""
    segments = sorted(folder.glob("*.seg"))
    with segments[-1].open("r+b") as file:
        file.truncate(rng.randrange(segments[-1].stat().st_size))


@pytest.mark.parametrize(
    ("leader_knows", "control"),
    [
        pytest.param("nothing", "kept", marks=pytest.mark.short),
        ("nothing", "old"),
        ("a part", "kept"),
        ("a part", "old"),
        ("all", "kept"),
        pytest.param("all", "old", marks=pytest.mark.short),
    ],
)
def test_a_torn_spool_is_delivered_as_far_as_it_goes(
    data_dir: Path, seed: int, leader_knows: str, control: str
) -> None:
    rng = random.Random(f"{seed} {leader_knows} {control}")
    with Cluster(data_dir) as cluster:
        cluster.start_leader()
        if leader_knows != "nothing":
            cluster.start_worker()
        task = cluster.task("torn", rng.randrange(2**32)).wait_begun()
        if leader_knows != "nothing":
            until(lambda: stored_bytes(cluster, task) > 100_000, "the leader has a part")
        if leader_knows == "a part":
            assert cluster.worker is not None
            cluster.worker.kill()
        folder = spool_of(cluster, task)
        page = (folder / "control").read_bytes()
        before = task.bytes_written
        until(lambda: task.bytes_written > before + 100_000, "there is more in the spool")
        if leader_knows == "all":
            task.run.send(signal.SIGSTOP)
            length = spooled_bytes(folder)
            until(lambda: stored_bytes(cluster, task) == length, "the leader has all")
            assert cluster.worker is not None
            cluster.worker.kill()
        task.run.kill()
        tear(folder, rng)
        if control == "old":
            (folder / "control").write_bytes(page)
        known = stored_bytes(cluster, task)
        cluster.start_worker()
        cluster.wait_settled()

        reply = cluster.record(task)
        assert reply.log.outcome.kind == types_pb2.OUTCOME_KIND_SUPERVISOR_DIED
        assert reply.log.seal.length >= known
        expected = task.expected_at_most()
        found = {stream: read_to_gap(cluster, task, stream) for stream in (STDOUT, STDERR)}
        for stream, data in found.items():
            assert_same(data, expected[stream][: len(data)], f"stream {stream}")
        gaps = list(reply.log.seal.gaps)
        assert len(gaps) <= 1
        for gap in gaps:
            assert gap.reason == types_pb2.GAP_REASON_LOST
            assert gap.offset + gap.length == reply.log.seal.length
        kept = reply.log.seal.length - sum(gap.length for gap in gaps)
        assert sum(map(len, found.values())) == kept
        done = cluster.joblog("verify", f"chaos/{task.log.task}", "--json")
        (verdict,) = json.loads(done.stdout)
        assert (verdict["problems"], len(verdict["gaps"])) == ([], len(gaps))
        assert (verdict["sound"], verdict["complete"]) == (True, not gaps)
        assert done.returncode == (1 if gaps else 0)
        cluster.assert_no_crash()


def read_to_gap(cluster: Cluster, task: Task, stream: int) -> bytes:
    """A stream's bytes up to the log's gap, behind which nothing follows."""
    found = b""
    with Client(data_dir=cluster.leader_dir) as client:
        parts = client.read(task.log, stream=stream)  # type: ignore[arg-type]
        for part in parts:
            if part.HasField("gap"):
                assert not any(later.data for later in parts)
                break
            found += part.data
    return found


@pytest.mark.short
def test_a_spool_that_is_gone_leaves_the_log_open_until_it_is_back(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir) as cluster:
        cluster.start_leader()
        cluster.start_worker()
        task = cluster.task("away", seed).wait_begun()
        until(lambda: stored_bytes(cluster, task), "the leader has a part")
        assert cluster.worker is not None
        cluster.worker.kill()
        task.run.kill()
        folder = spool_of(cluster, task)
        aside = shutil.move(folder, data_dir / "aside")
        cluster.start_worker()
        until(
            lambda: cluster.record(task).log.state == types_pb2.LOG_STATE_INTERRUPTED,
            "the log counts as interrupted",
        )
        kinds = [event.kind for event in cluster.record(task).events]
        assert kinds == ["worker_lost"]
        shutil.move(aside, folder)
        cluster.wait_settled()
        kinds = [event.kind for event in cluster.record(task).events]
        assert kinds == ["worker_lost", "worker_back", "supervisor_died", "death_report"]
        cluster.assert_prefix(task)
        cluster.assert_verified()
