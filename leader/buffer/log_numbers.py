"""The numbers of a store's logs: none is ever given twice."""

from __future__ import annotations

import threading

from joblog.leader.buffer import keys
from joblog.leader.buffer.engine import Engine, Operations

_AT_ONCE = 64


class LogNumbers:
    """Gives log numbers. May be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._next = self._reserved = 0

    def take(self) -> int:
        """A log number that no log of this store ever had, from 1. Raises OutOfSpace, Unavailable."""
        with self._lock:
            if self._next == self._reserved:
                value = self._engine.get(keys.META, keys.META_NEXT_NUMBER)
                self._next = 1 if value is None else keys.number_of(value)
                self._reserved = self._next + _AT_ONCE
                # Not synced: the write that uses a number comes later in the same WAL, and syncing it syncs this.
                put = (keys.META, keys.META_NEXT_NUMBER, keys.u64(self._reserved))
                try:
                    self._engine.write(Operations([], [], [put]))
                except BaseException:
                    self._reserved = self._next
                    raise
            self._next += 1
            return self._next - 1
