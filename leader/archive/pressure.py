"""How full the buffer is, and what follows: an early flush, a closed gate, space given back to the file system."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

from joblog.leader.buffer.store import Store

# Below this share of the budget the gate opens again.
_REOPEN_SHARE = 0.9
_MIN_RECLAIM_BYTES = 64 << 20


class Pressure:
    """Counts bytes of chunks that are not archived. Thread-safe.

    budget_bytes: the most that there may be. early_bytes: so many are flushed without waiting for the interval.
    """

    def __init__(self, store: Store, budget_bytes: int, early_bytes: int) -> None:
        self._store = store
        self._budget_bytes = budget_bytes
        self._early_bytes = min(early_bytes, budget_bytes // 4)
        self._lock = threading.Lock()
        # What lies in the store's files at the start is taken for chunks until the first flush has looked at them.
        self._base = max(0, store.disk_bytes() - _MIN_RECLAIM_BYTES)
        self._dropped = 0
        self._unreclaimed = self._base
        self._held = False
        # Bytes that are on their way into the buffer.
        self.coming: Callable[[], int] = lambda: 0
        self._flushed_at = store.put_bytes

    @property
    def bytes(self) -> int:
        """Bytes of chunks that are not archived, about."""
        return max(0, self._base + self._store.put_bytes - self._dropped)

    def wants_flush(self) -> bool:
        """Enough has come since the last flush began for one before its time."""
        return self._store.put_bytes - self._flushed_at >= self._early_bytes

    def is_high(self) -> bool:
        """The buffer fills: logs that have little go to the archive too."""
        return self.bytes >= self._budget_bytes // 2

    def _is_full(self) -> bool:
        limit = self._budget_bytes * (_REOPEN_SHARE if self._held else 1.0)
        return self.bytes + self.coming() >= limit

    def reason(self, problems: Mapping[str, str]) -> str | None:
        """Why nothing can be taken in now; None when it can. problems: what the archiver has trouble with."""
        self._held = self._is_full()
        if not self._held:
            return None
        why = problems.get("flush") or problems.get("seal") or "more comes in than the archive takes"
        return (
            f"{self.bytes} bytes are not archived, archive.buffer_budget_bytes allows {self._budget_bytes}: workers "
            f"wait, and keep what comes in their spools: {why}"
        )

    def dropped(self, count: int) -> None:
        """So many bytes of chunks were archived and dropped."""
        with self._lock:
            self._dropped += count
            self._unreclaimed += count

    def begin(self) -> int:
        """A flush begins; gives what recount() needs."""
        self._flushed_at = self._store.put_bytes
        return self._flushed_at

    def recount(self, mark: int, left_bytes: int) -> None:
        """A flush that began at `mark` has seen all live logs, and left so many bytes of them."""
        waiting = 0
        for number in self._store.unsealed_logs(sys.maxsize):
            record = self._store.get_log(number)
            if record is not None:
                archived = sum(extent.length for extent in self._store.extents(number))
                waiting += max(0, record.stored_bytes - archived)
        with self._lock:
            # Both are never less than the truth: what came and went during the flush, and what was deleted.
            self._base = min(self._base, left_bytes + waiting - mark + self._dropped)

    def reclaim(self) -> None:
        """Compacts the chunks when much was dropped: only then does the disk get the space back."""
        if self._unreclaimed < max(_MIN_RECLAIM_BYTES, self._budget_bytes // 8):
            return
        with self._lock:
            self._unreclaimed = 0
        self._store.compact_chunks()
