"""A leader to be backed up, and no failpoint left armed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.leader.backup import failpoints
from tests.backing_up import BackedUpLeader


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[BackedUpLeader]:
    made = BackedUpLeader(tmp_path / "data")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()
