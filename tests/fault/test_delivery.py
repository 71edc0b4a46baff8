"""Delivery without a daemon, over stops and starts, and past clients that take up room and do nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import time
from pathlib import Path

import psutil
import pytest

from joblog.address import find_leader, own_token
from joblog.channel import open_channel
from joblog.client import log_id
from joblog.identity import LogName
from joblog.paths import DataFolder
from joblog.v1 import logs_pb2, logs_pb2_grpc
from joblog.worker.spool.reader import list_spools
from tests.e2e.machine import JOBLOG, until
from tests.fault.cluster import Cluster, Follower, Process, paused
from tests.fault.proxy import Proxy

pytestmark = pytest.mark.timeout(180)

MIB = 1 << 20


def spools(cluster: Cluster) -> list[Path]:
    return list_spools(DataFolder(cluster.worker_dir).spools)


@pytest.mark.short
def test_without_a_daemon_a_task_ships_its_own_spool_through_faults(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir) as cluster, Proxy(cluster.target) as proxy:
        cluster.behind(proxy.address)
        leader = cluster.start_leader()
        task = cluster.task("alone", seed, "--leader", cluster.grpc_address, "--drain", "60").wait_begun()
        until(lambda: cluster.records(), "the leader has the log")
        follower = Follower(cluster, task)
        follower.wait_begun()
        proxy.cut()
        leader.kill()
        cluster.start_leader()
        with paused(leader := cluster.leader or leader):
            before = task.bytes_written
            until(lambda: task.bytes_written > before, "the task goes on")
        proxy.freeze(replies_only=True)
        until(lambda: task.bytes_written > before + 200_000, "the task goes on")
        proxy.cut()
        proxy.thaw()
        assert task.finish() == 0
        assert not spools(cluster)
        cluster.assert_whole(task)
        assert follower.finish() == cluster.read(task)
        cluster.assert_verified()
        cluster.assert_no_crash()


@pytest.mark.short
def test_a_leader_that_is_down_from_start_to_end_gets_it_from_the_next_worker(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir) as cluster, Proxy(cluster.target) as proxy:
        cluster.behind(proxy.address)
        # What it is to join with is made at its first start.
        cluster.start_leader().terminate()
        address = cluster.grpc_address
        tasks = [
            cluster.task(f"early{number}", seed + number, "--leader", address, "--drain", "0.1", count=150)
            for number in range(2)
        ]
        assert [task.run.popen.wait(60) for task in tasks] == [0, 0]
        assert len(spools(cluster)) == 4
        cluster.start_leader(address=address)
        cluster.start_worker()
        cluster.wait_settled()
        for task in tasks:
            cluster.assert_whole(task)
        cluster.assert_verified()
        cluster.assert_nothing_in_clear()


def test_a_line_that_dies_without_a_word_is_given_up(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir) as cluster, Proxy(cluster.target) as proxy:
        cluster.behind(proxy.address)
        cluster.start_leader()
        cluster.start_worker()
        task = cluster.task("cutoff", seed).wait_begun()
        until(lambda: cluster.records(), "the leader has the log")
        proxy.forget()
        assert task.finish() == 0
        cluster.wait_settled()
        cluster.assert_whole(task)


@pytest.mark.short
def test_a_worker_that_is_told_to_stop_delivers_first(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir, JOBLOG_INGEST_GATHER_SECONDS="30") as cluster, Proxy(cluster.target) as proxy:
        cluster.behind(proxy.address)
        cluster.start_leader()
        worker = cluster.start_worker()
        cluster.wait_worker()
        task = cluster.task("last", seed, count=200)
        assert task.run.popen.wait(60) == 0
        assert worker.terminate() == 0
        assert not spools(cluster)
        cluster.assert_whole(task)
        cluster.assert_no_crash()


@pytest.mark.short
def test_a_leader_that_is_told_to_stop_keeps_what_it_acked(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir) as cluster, Proxy(cluster.target) as proxy:
        cluster.behind(proxy.address)
        leader = cluster.start_leader()
        cluster.start_worker()
        task = cluster.task("on", seed).wait_begun()
        until(lambda: cluster.records(), "the leader has the log")
        follower = Follower(cluster, task)
        follower.wait_begun()
        leader.send(signal.SIGTERM)
        assert leader.popen.wait(30) == 0
        seen = len(follower.data)
        cluster.start_leader()
        record = next(one for one in cluster.records() if one.id.task == "on")
        assert record.next_offset >= seen
        assert task.finish() == 0
        cluster.wait_settled()
        cluster.assert_whole(task)
        assert follower.finish() == cluster.read(task)
        cluster.assert_no_crash()


@pytest.mark.short
def test_idle_clients_and_readers_that_never_read_harm_nobody(data_dir: Path, seed: int) -> None:
    with Cluster(data_dir) as cluster, contextlib.ExitStack() as stack:
        leader = cluster.start_leader()
        cluster.start_worker()
        environment = cluster.environment | {"JOBLOG_DATA_DIR": str(cluster.worker_dir)}
        command = [
            "run",
            "--quiet",
            "--run",
            "chaos",
            "--task",
            "big",
            "--",
            "head",
            "-c",
            str(64 * MIB),
            "/dev/urandom",
        ]
        assert Process([*JOBLOG, *command], environment, cluster.messages("run")).popen.wait(60) == 0
        cluster.wait_settled()
        big = LogName("default", "chaos", "big", 1)
        memory = psutil.Process(leader.pid)
        before = memory.memory_info().rss
        ports = [
            int(str(cluster.leader_file()[name]).rstrip("/").rpartition(":")[2])
            for name in ("grpc_address", "http_url")
        ]
        for port in ports:
            for _ in range(20):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        path = "/api/v1/namespaces/default/runs/chaos/tasks/big/attempts/1/raw"
        tls = ssl.create_default_context(cadata=str(cluster.leader_file()["ca"]))
        authorization = f"Authorization: Bearer {own_token(cluster.leader_dir)}"
        for _ in range(10):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", ports[1]), timeout=5))
            sock = stack.enter_context(tls.wrap_socket(plain, server_hostname="127.0.0.1"))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{ports[1]}\r\n{authorization}\r\n\r\n".encode())
        for _ in range(30):
            channel = stack.enter_context(contextlib.closing(open_channel(*find_leader(data_dir=cluster.leader_dir))))
            call = logs_pb2_grpc.LogsStub(channel).Read(  # type: ignore[no-untyped-call]
                logs_pb2.ReadRequest(id=log_id(big), follow=True, with_frames=True)
            )
            assert next(call).offset == 0
            stack.callback(call.cancel)
        late = cluster.task("late", seed + 1, count=300)
        assert late.run.popen.wait(60) == 0
        began = time.monotonic()
        cluster.wait_settled()
        cluster.assert_whole(late)
        cluster.assert_verified()
        assert time.monotonic() - began < 30
        # For each of them a few pieces on their way, however long the log is; and what the store has gathered since.
        assert memory.memory_info().rss - before < 40 * 12 * MIB
        cluster.assert_no_crash()
