"""An object store that is asked only so many things at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from joblog.errors import InvalidInput
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.wrapping import Request, WrappedStore

T = TypeVar("T")

_READS = frozenset({"get", "head", "list"})


class LimitedStore(WrappedStore):
    """At most `at_once` requests at a time, further ones wait. Writes get half of them: reads never wait for those."""

    def __init__(self, inner: ObjectStore, at_once: int) -> None:
        super().__init__(inner)
        if at_once < 1:
            raise InvalidInput(f"{at_once} requests at once can't be: at least 1")
        writes = max(1, at_once // 2)
        self._writes = threading.BoundedSemaphore(writes)
        self._reads = threading.BoundedSemaphore(max(1, at_once - writes))

    def around(self, request: Request, work: Callable[[], T]) -> T:
        with self._reads if request.operation in _READS else self._writes:
            return work()
