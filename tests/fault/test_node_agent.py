"""The node agent under a kubelet's hands and its own deaths: what containers print arrives once, whole, in order."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.e2e.machine import until
from tests.fault.node import Node, churn, node


class Kills:
    """Kills the agent now and then, some time after it has begun to collect, and starts it again."""

    def __init__(self, where: Node, seed: int, at_most_seconds: float) -> None:
        self._where = where
        self._random = random.Random(seed)
        self._at_most_seconds = at_most_seconds
        self._kill_at = 0.0
        self.count = 0

    def __call__(self) -> None:
        now = time.monotonic()
        if not self._kill_at:
            if self._where.collects(self.count + 1):
                self._kill_at = now + self._random.random() * self._at_most_seconds
        elif now >= self._kill_at:
            self._where.kill()
            self._where.start()
            self.count += 1
            self._kill_at = 0.0


@pytest.mark.short
@pytest.mark.timeout(180)
def test_rotated_logs_arrive_whole_past_kills(tmp_path: Path) -> None:
    """A short form: some containers, small files, so that they are rotated and compressed again and again."""
    with node(tmp_path, JOBLOG_KUBERNETES_MAX_FILES="20") as where:
        where.start()
        until(lambda: where.collects(1), "the agent collects")
        kills = Kills(where, SEED, 3)
        rate = churn(
            where,
            SEED,
            containers=12,
            seconds=8,
            bytes_per_second=1_500_000,
            max_log_bytes=400_000,
            max_files=20,
            between=kills,
        )
        print(f"{rate / 1e6:.1f} MB/s, {kills.count} kills, {sum(log.rotations for log in where.containers)} rotations")
        assert sum(log.rotations for log in where.containers) > 10
        for log in where.containers:
            log.end()
        where.wait_stored()
        for log in where.containers:
            log.delete_pod()
        where.wait_completed()
        where.assert_whole()


@pytest.mark.parametrize("encryption", ["off", "on"])
def test_as_fast_as_a_node_prints(tmp_path: Path, encryption: str) -> None:
    """250 containers, up to 200 MB/s together: far more than is taken along at once, so the files are the buffer."""
    seconds = float(os.environ.get("AGENT_SECONDS", "20"))
    with node(
        tmp_path,
        JOBLOG_KUBERNETES_MAX_FILES="1000",
        JOBLOG_SPOOL_ENCRYPTION=encryption,
        JOBLOG_SPOOL_MAX_BYTES="256MiB",
    ) as where:
        where.start()
        until(lambda: where.collects(1), "the agent collects")
        kills = Kills(where, SEED, 10)
        rate = churn(
            where,
            SEED,
            containers=250,
            seconds=seconds,
            bytes_per_second=200_000_000,
            max_log_bytes=1 << 20,
            max_files=1000,
            between=kills,
        )
        print(f"{rate / 1e6:.1f} MB/s, {kills.count} kills, {sum(log.rotations for log in where.containers)} rotations")
        for log in where.containers:
            log.end()
        where.wait_stored(1200)
        for log in where.containers:
            log.delete_pod()
        where.wait_completed(300)
        where.assert_whole()
