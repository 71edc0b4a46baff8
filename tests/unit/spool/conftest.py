from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.spool.spool_building import SPOOL_KEY, Sealing


@pytest.fixture(autouse=True, params=["clear", "sealed"])
def sealing(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Every test of spools runs with both kinds; True when they are sealed."""
    Sealing.key = SPOOL_KEY if request.param == "sealed" else None
    yield request.param == "sealed"
    Sealing.key = None
