"""The audit log of leaders as real processes: killed while acts go on, with a lost disk, changed behind their backs."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import AUDIT_NAMESPACE, AUDIT_TASK
from joblog.paths import DataFolder
from joblog.v1 import types_pb2
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster


@pytest.fixture
def cluster(data_dir: Path) -> Iterator[Cluster]:
    settings = {
        "JOBLOG_ARCHIVE_URL": (data_dir / "archive").as_uri(),
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
        "JOBLOG_ARCHIVE_CLAIM_RENEW_SECONDS": "0.5",
        "JOBLOG_KEYS_FILE": str(data_dir / "kek.key"),
    }
    with Cluster(data_dir, **settings) as made:
        yield made


def audit_verify(cluster: Cluster, *anchors: str) -> dict[str, Any]:
    """What `joblog audit verify` says, which must be that all is well."""
    flags = [flag for anchor in anchors for flag in ("--anchor", anchor)]
    done = cluster.joblog("audit", "verify", "--json", *flags)
    assert done.returncode == 0, (done.returncode, done.stdout.decode(), done.stderr.decode())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def audit_lines(cluster: Cluster, *flags: str) -> list[dict[str, Any]]:
    done = cluster.joblog("audit", "tail", "--json", "-n", "1000000", *flags)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def audit_records(cluster: Cluster) -> list[types_pb2.LogRecord]:
    with Client(data_dir=cluster.leader_dir) as client:
        runs = sorted(run.run for run in client.runs(AUDIT_NAMESPACE))
        return [record for run in runs for record in client.logs(run, AUDIT_NAMESPACE, task=AUDIT_TASK)]


class Acts(threading.Thread):
    """Deletes runs that are not there, one after the other: acts that are on disk before they are answered."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__()
        self.done: list[str] = []
        self._prefix = name
        self._client = Client(data_dir=cluster.leader_dir)
        self.start()

    def run(self) -> None:
        with self._client as client:
            while True:
                run = f"{self._prefix}-{len(self.done)}"
                try:
                    client.delete(run)
                except JoblogError:
                    return
                self.done.append(run)


def test_no_durable_act_is_missing_after_kills(cluster: Cluster) -> None:
    promised: list[str] = []
    for life in range(3):
        leader = cluster.start_leader()
        acts = [Acts(cluster, f"life{life}-{number}") for number in range(3)]
        until(lambda acts=acts: all(len(one.done) > 20 for one in acts), "acts are done")  # type: ignore[misc]
        leader.kill()
        for one in acts:
            one.join(60)
            promised += one.done
    cluster.start_leader()
    found = audit_verify(cluster)
    assert found["logs"] == 4
    deleted = [line["subject"] for line in audit_lines(cluster, "--action", "log.delete")]
    assert {f"default:{run}" for run in promised} <= set(deleted)
    assert len(deleted) == len(set(deleted))
    cluster.assert_no_crash()


def test_the_chain_goes_on_from_the_archive(cluster: Cluster) -> None:
    leader = cluster.start_leader()
    with Client(data_dir=cluster.leader_dir) as client:
        client.delete("first")
    anchor = audit_verify(cluster)["head"]["sha256"]
    assert leader.terminate() == 0
    leader = cluster.start_leader()
    assert audit_verify(cluster, anchor)["logs"] == 2

    def is_sealed() -> bool:
        return audit_records(cluster)[0].tier == types_pb2.TIER_ARCHIVE

    until(is_sealed, "the first log is sealed in the archive")
    leader.kill()
    shutil.rmtree(cluster.leader_dir)
    cluster.start_leader()
    found = audit_verify(cluster, anchor)
    assert [line["subject"] for line in audit_lines(cluster, "--action", "log.delete")] == ["default:first"]
    begins = audit_lines(cluster, "--action", "audit.begin")
    assert [line["detail"]["log"] for line in begins] == [path_of(record) for record in audit_records(cluster)]
    assert not any("lost" in line["detail"] for line in begins)
    assert found["sound"]
    cluster.assert_no_crash()


def path_of(record: types_pb2.LogRecord) -> str:
    return f"{record.id.run}/{record.id.task}/{record.id.attempt}"


def test_tail_follows_over_a_restart_of_the_leader(cluster: Cluster) -> None:
    leader = cluster.start_leader()
    address = cluster.grpc_address
    output = cluster.folder / "tail"
    environment = cluster.environment | {"JOBLOG_DATA_DIR": str(cluster.leader_dir)}
    with output.open("wb") as file:
        tail = subprocess.Popen(
            [*JOBLOG, "audit", "tail", "-f", "--action", "log.delete", "--json"], env=environment, stdout=file
        )
    try:
        for run in ("one", "two"):
            with Client(data_dir=cluster.leader_dir) as client:
                client.delete(run)
            until(lambda run=run: f"default:{run}" in output.read_text(), f"{run} is shown")  # type: ignore[misc]
            assert leader.terminate() == 0
            leader = cluster.start_leader(address=address)
        subjects = [json.loads(line)["subject"] for line in output.read_text().splitlines()]
        assert subjects == ["default:one", "default:two"]
        assert tail.poll() is None
    finally:
        tail.kill()
        tail.wait()
    cluster.assert_no_crash()


def test_what_was_changed_in_the_archive_is_found(cluster: Cluster) -> None:
    leader = cluster.start_leader()
    with Client(data_dir=cluster.leader_dir) as client:
        client.delete("first")
    assert leader.terminate() == 0
    leader = cluster.start_leader()
    until(lambda: audit_records(cluster)[0].tier == types_pb2.TIER_ARCHIVE, "the first log is sealed")
    (sealed,) = (cluster.folder / "archive").glob("@audit/*/audit/1/log.joblog")
    content = bytearray(sealed.read_bytes())
    content[len(content) // 3] ^= 1
    sealed.chmod(0o600)
    sealed.write_bytes(content)
    leader.kill()
    cluster.start_leader()
    shutil.rmtree(DataFolder(cluster.leader_dir).leader / "cache", ignore_errors=True)
    done = cluster.joblog("audit", "verify")
    assert done.returncode == 6, (done.stdout.decode(), done.stderr.decode())
    assert b"DAMAGED" in done.stdout
