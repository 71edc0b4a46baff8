"""The node agent under a kubelet's hands and its own deaths: what containers print arrives once, whole, in order."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.fault.node import churn, node

pytestmark = pytest.mark.fault
SEED = int(os.environ.get("FAULT_SEED", time.time_ns() % 1_000_000))


def kills(where: object, seed: int, chance: float):  # type: ignore[no-untyped-def]
    rng = random.Random(seed)

    def maybe() -> None:
        if rng.random() < chance:
            where.kill()  # type: ignore[attr-defined]
            where.start()  # type: ignore[attr-defined]

    return maybe


@pytest.mark.short
@pytest.mark.timeout(180)
def test_rotated_logs_arrive_whole_past_kills(tmp_path: Path) -> None:
    """A short form: some containers, small files, so that they are rotated and compressed again and again."""
    print(f"FAULT_SEED={SEED}")
    with node(tmp_path) as where:
        where.start()
        churn(
            where,
            SEED,
            containers=12,
            seconds=8,
            bytes_per_second=1_500_000,
            max_log_bytes=400_000,
            between=kills(where, SEED, 0.03),
        )
        assert sum(log.rotations for log in where.containers) > 10
        for log in where.containers:
            log.end()
        where.wait_stored()
        for log in where.containers:
            log.delete_pod()
        where.wait_completed()
        where.assert_whole()
