"""A node of Kubernetes as the agent sees it: a folder of container logs, a leader, and the agent as a real process."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joblog.client import Client
from joblog.errors import JoblogError
from joblog.identity import LogName
from joblog.v1 import logs_pb2, types_pb2
from tests.e2e.machine import until
from tests.fault.cluster import Cluster, Process
from tests.kubelet_writer import Block, ContainerLog


class Node:
    """Containers' logs in folder/pods; the cluster's worker is the agent."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.pods = folder / "pods"
        self.pods.mkdir()
        self.cluster = Cluster(
            folder,
            **{
                "JOBLOG_KUBERNETES_ENABLED": "true",
                "JOBLOG_KUBERNETES_POD_LOG_DIR": str(self.pods),
                "JOBLOG_SPOOL_MAX_TASK_BYTES": "16MiB",
                **settings,
            },
        )
        self.containers: list[ContainerLog] = []

    def container(self, pod: str, *, seed: int = 0, **more: Any) -> ContainerLog:
        """A container that begins to print."""
        log = ContainerLog(self.pods, "ci", pod, seed=seed, **more)
        self.containers.append(log)
        return log

    def start(self) -> Process:
        """Starts the agent."""
        return self.cluster.start_worker()

    def kill(self) -> None:
        """Kills it, wherever it is."""
        assert self.cluster.worker is not None
        self.cluster.worker.kill()

    def collects(self, starts: int) -> bool:
        """Whether the agent has begun to collect so often."""
        messages = self.cluster.messages("worker")
        return messages.exists() and messages.read_text().count("following: collects") >= starts

    def record(self, log: ContainerLog) -> logs_pb2.GetLogResponse | None:
        """What the leader knows of a container's log; None: nothing."""
        try:
            with Client(data_dir=self.cluster.leader_dir) as client:
                return client.log(self.name(log))
        except JoblogError:
            return None

    def name(self, log: ContainerLog) -> LogName:
        return LogName(log.namespace, log.pod, log.container, log.restart + 1)

    def read(self, log: ContainerLog) -> tuple[int, str]:
        """Length and hash of what the leader has of a log, which must have no gap."""
        digest, length = hashlib.sha256(), 0
        with Client(data_dir=self.cluster.leader_dir) as client:
            for part in client.read(self.name(log)):
                assert not part.HasField("gap"), (self.name(log), part.gap)
                assert part.offset == length
                digest.update(part.data)
                length += len(part.data)
        return length, digest.hexdigest()

    def content(self, name: LogName, stream: int = 0) -> bytes:
        """A log's bytes, of both streams or of one."""
        with Client(data_dir=self.cluster.leader_dir) as client:
            return b"".join(part.data for part in client.read(name, stream=stream))  # type: ignore[arg-type]

    def wait_stored(self, seconds: float = 60.0) -> None:
        """Waits until the leader has all that was printed."""
        for log in self.containers:

            def has_all(log: ContainerLog = log) -> bool:
                found = self.record(log)
                return found is not None and found.log.next_offset >= log.length

            until(has_all, f"all {log.length} bytes of {self.name(log)} are stored", seconds)

    def wait_completed(self, seconds: float = 60.0) -> None:
        """Waits until each log has its end."""
        for log in self.containers:

            def is_completed(log: ContainerLog = log) -> bool:
                found = self.record(log)
                return found is not None and found.log.state == types_pb2.LOG_STATE_COMPLETED

            until(is_completed, f"{self.name(log)} is completed", seconds)

    def assert_whole(self) -> None:
        """Every log is what its container printed, byte for byte, and no loss was found."""
        for log in self.containers:
            length, digest = self.read(log)
            assert (length, digest) == (log.length, log.sha256), (self.name(log), length, log.length)
            found = self.record(log)
            assert found is not None
            kinds = {event.kind for event in found.events} & {"lost_lines", "start_missing", "odd_lines"}
            assert not kinds, found.events
        self.cluster.assert_no_crash()


@contextmanager
def node(folder: Path, **settings: str) -> Iterator[Node]:
    """A node with a leader; the agent is not started yet."""
    made = Node(folder, **settings)
    with made.cluster:
        made.cluster.start_leader()
        yield made


def churn(
    where: Node,
    seed: int,
    *,
    containers: int,
    seconds: float,
    bytes_per_second: int,
    max_log_bytes: int,
    max_files: int = 5,
    between: Callable[[], None] = lambda: None,
) -> float:
    """Containers print for a while, at about this rate together; what the kubelet does is done to their files.

    Returns how many bytes a second it was. between: called between two rounds, for what is to happen to the agent.
    """
    rng = random.Random(seed)
    rounds_per_second = 10
    piece = max(200, bytes_per_second // rounds_per_second // containers)
    block = Block(seed, piece)
    logs = [where.container(f"pod-{number}", seed=seed) for number in range(containers)]
    began = time.monotonic()
    round_number = 0
    while (now := time.monotonic()) - began < seconds:
        lines = block.at(time.time_ns(), rng)
        for log in logs:
            log.print_encoded(*lines)
            if rng.random() < 0.02:
                log.print(b"a fragment, " if rng.random() < 0.5 else b"x" * rng.randrange(40_000) + b"\n", 1)
            if log.size() > max_log_bytes:
                log.rotate(max_files, late=b"late\n" if rng.random() < 0.2 else b"")
        between()
        round_number += 1
        time.sleep(max(0.0, began + round_number / rounds_per_second - now))
    return sum(log.length for log in logs) / (time.monotonic() - began)
