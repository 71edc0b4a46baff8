"""The export of a leader's log lines to another joblog: real processes, killed in between, over OTLP."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.client import Client
from joblog.identity import LogName
from joblog.v1 import types_pb2
from tests.e2e.machine import until
from tests.e2e.test_otlp import Receiving, asked
from tests.fault.cluster import Cluster

TOKEN = "0123456789abcdef"
PROGRAM = """
import os
for number in range(2000):
    os.write(1, b"out %d\\n" % number)
    if number % 10 == 0:
        os.write(2, b"err %d\\n" % number)
"""
EXPECTED = {
    types_pb2.STREAM_STDOUT: [b"out %d" % number for number in range(2000)],
    types_pb2.STREAM_STDERR: [b"err %d" % number for number in range(0, 2000, 10)],
}


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    folder = tmp_path_factory.mktemp("receiving")
    with Receiving(folder, token=TOKEN, JOBLOG_OTLP_MAY_CHOOSE="team-*") as cluster:
        cluster.start_leader()
        cluster.start_worker()
        cluster.send(asked("begin", "x"))
        yield cluster


def arrived(receiving: Receiving, run: str) -> dict[int, list[bytes]]:
    """Lines by stream, each once."""
    if not receiving.content(LogName("team-x", run, "t", 1)):
        return {}
    found: dict[int, list[bytes]] = {}
    with Client(data_dir=receiving.leader_dir) as client:
        for stream in EXPECTED:
            parts = client.read(LogName("team-x", run, "t", 1), stream=stream)
            found[stream] = list(dict.fromkeys(b"".join(part.data for part in parts).splitlines()))
    return found


def is_sealed(sending: Cluster, run: str) -> bool:
    with Client(data_dir=sending.leader_dir) as client:
        return client.log(LogName("team-x", run, "t", 1)).log.tier == types_pb2.TIER_ARCHIVE


def run_task(sending: Cluster, run: str, namespace: str = "team-x") -> None:
    named = ("--namespace", namespace, "--run", run, "--task", "t", "--attempt", "1")
    done = sending.joblog("run", "--quiet", *named, "--", sys.executable, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr.decode()


def test_lines_reach_another_joblog_whatever_is_killed(receiving: Receiving, tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.touch(0o600)
    headers.write_text(f"# for the collector\nauthorization: Bearer {TOKEN}\n")
    settings = {
        "JOBLOG_OTLP_EXPORT_ENDPOINT": f"http://{receiving.address}",
        "JOBLOG_OTLP_EXPORT_NAMESPACES": "team-*",
        "JOBLOG_OTLP_EXPORT_HEADERS_FILE": str(headers),
        "JOBLOG_ARCHIVE_URL": f"file://{tmp_path}/archive",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.2",
    }
    with Cluster(tmp_path, **settings) as sending:
        leader = sending.start_leader()
        run_task(sending, "secret", namespace="other")
        run_task(sending, "first")
        until(lambda: arrived(receiving, "first") == EXPECTED, "all lines arrived")
        assert not receiving.content(LogName("other", "secret", "t", 1))
        # Nobody takes anything; the leader dies as well.
        assert receiving.worker is not None
        receiving.worker.kill()
        run_task(sending, "second")
        until(lambda: b"takes nothing" in sending.joblog("status").stdout, "the leader warns")
        until(lambda: is_sealed(sending, "second"), "what waits is in the archive")
        leader.kill()
        sending.start_leader()
        receiving.start_worker()
        until(lambda: arrived(receiving, "second") == EXPECTED, "all lines arrived")
        said = sending.joblog("audit", "tail").stdout.decode()
        assert said.count("export.start") == 2 and receiving.address in said
        assert TOKEN not in sending.messages("leader").read_text() + said
