"""When each kind of the archiver's work was done last, and how it failed last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Doing:
    """One kind of work. Times: 0 for never. error: of the last failure, also where it went well since."""

    name: str
    worked_ns: int = 0
    failed_ns: int = 0
    error: str = ""
    failing: bool = False


@dataclass(frozen=True, slots=True)
class ArchiverState:
    """How the archive does. unarchived_bytes: in the buffer alone, about. held: why workers wait; or empty."""

    name: str
    doings: list[Doing]
    unarchived_bytes: int
    budget_bytes: int
    held: str
    flush_interval_seconds: float
    renew_seconds: float


class Doings:
    """Noted in the event loop, read by any thread."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._doings: dict[str, Doing] = {}

    def worked(self, name: str) -> None:
        """It was done."""
        doing = self._doings.get(name, Doing(name))
        self._doings[name] = replace(doing, worked_ns=self._clock_ns(), failing=False)

    def failed(self, name: str, error: str) -> None:
        """It was tried and went wrong."""
        doing = self._doings.get(name, Doing(name))
        self._doings[name] = replace(doing, failed_ns=self._clock_ns(), error=error, failing=True)

    def all(self) -> list[Doing]:
        """By name."""
        return [self._doings[name] for name in sorted(self._doings)]
