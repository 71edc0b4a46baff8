"""An object store whose requests are counted, for metrics and for what an archive costs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from joblog.errors import JoblogError
from joblog.leader.archive.objects import MAX_DELETES, ObjectStore
from joblog.leader.archive.wrapping import Request, WrappedStore

T = TypeVar("T")

OK = "ok"
# What S3 charges as a write; deletes and aborts cost nothing there, everything else is a read.
WRITES = frozenset({"put", "start", "part", "copy", "complete", "list"})
FREE = frozenset({"delete", "abort"})


class Observer(Protocol):
    """Told of each request. outcome: "ok" or the error's class; seconds: how long it took."""

    def observe(self, operation: str, outcome: str, seconds: float, *, sent_bytes: int, got_bytes: int) -> None:
        """One request is over."""
        ...


class Usage(NamedTuple):
    """What was asked of a store so far, as its operator counts it."""

    requests: dict[str, int]
    failures: dict[str, int]
    sent_bytes: int
    got_bytes: int

    @property
    def writes(self) -> int:
        """Requests that cost as writes do."""
        return sum(count for operation, count in self.requests.items() if operation in WRITES)

    @property
    def reads(self) -> int:
        """Requests that cost as reads do."""
        return sum(self.requests.values()) - self.writes - sum(self.requests.get(name, 0) for name in FREE)


class MeteredStore(WrappedStore):
    """Counts requests, below whatever repeats them. A put or completion counts with the look that verifies it."""

    def __init__(
        self, inner: ObjectStore, observer: Observer | None = None, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        super().__init__(inner)
        self._observer = observer
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._sent_bytes = 0
        self._got_bytes = 0

    def usage(self) -> Usage:
        """The counts as of now."""
        with self._lock:
            return Usage(dict(self._requests), dict(self._failures), self._sent_bytes, self._got_bytes)

    def around(self, request: Request, work: Callable[[], T]) -> T:
        start = self._clock()
        outcome, got_bytes = OK, 0
        try:
            result = work()
            got_bytes = len(result) if isinstance(result, bytes) else 0
            return result
        except JoblogError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._count(request, outcome, self._clock() - start, got_bytes)

    def _count(self, request: Request, outcome: str, seconds: float, got_bytes: int) -> None:
        with self._lock:
            self._requests[request.operation] += -(-request.keys // MAX_DELETES)
            if outcome == OK and request.operation in ("put", "complete"):
                self._requests["head"] += 1
            if outcome != OK:
                self._failures[outcome] += 1
            self._sent_bytes += request.sent_bytes
            self._got_bytes += got_bytes
        if self._observer is not None:
            self._observer.observe(
                request.operation, outcome, seconds, sent_bytes=request.sent_bytes, got_bytes=got_bytes
            )
