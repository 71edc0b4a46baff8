"""A limit of bytes per second that several threads keep together."""

from __future__ import annotations

import threading
import time


class BytePace:
    """bytes_per_second 0: no limit."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, count: int, stopping: threading.Event) -> None:
        """Returns when `count` more bytes may go, or `stopping` is set."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            begins = max(now, self._free_at)
            self._free_at = begins + count / self._rate
        stopping.wait(begins - now)
