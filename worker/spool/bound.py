"""How much disk spools may take: one task's, and all of a worker's together."""

from __future__ import annotations

import os
import time

from joblog.worker.spool.format import segment_number

DEFAULT_WORKER_BYTES = 1 << 30
DEFAULT_SEGMENT_BYTES = 8 << 20
# A spool is a chain of at least so many segments, so that its middle can be dropped in useful pieces.
_LEAST_SEGMENTS = 8
# While the worker's bound is reached, spools are added up again no more often than this.
LOOK_SECONDS = 0.25


class SpoolBounds:
    """task_bytes: of one task's segments. worker_bytes: of all spools of the worker. segment_bytes: of one file.

    A segment is made smaller where task_bytes is small.
    """

    __slots__ = ("segment_bytes", "task_bytes", "worker_bytes")

    def __init__(
        self,
        task_bytes: int,
        worker_bytes: int = DEFAULT_WORKER_BYTES,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> None:
        self.task_bytes = task_bytes
        self.worker_bytes = worker_bytes
        self.segment_bytes = min(segment_bytes, max(1, task_bytes // _LEAST_SEGMENTS))

    def taken_bytes(self, spool_root: str) -> int:
        """Bytes that all spools of the worker take now."""
        return spools_bytes(spool_root)


class SharedBounds(SpoolBounds):
    """Bounds of many spools with one writing process: their sum is taken for all of them at once."""

    __slots__ = ("_looked", "_taken")

    def __init__(self, task_bytes: int, worker_bytes: int, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> None:
        super().__init__(task_bytes, worker_bytes, segment_bytes)
        self._looked = float("-inf")
        self._taken = 0

    def taken_bytes(self, spool_root: str) -> int:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._taken = spools_bytes(spool_root)
            self._looked = now
        return self._taken


def segment_sizes(folder: str) -> dict[int, int]:
    """The segments that a spool folder holds now: number → bytes. Empty when the folder is gone."""
    sizes = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                number = segment_number(entry.name)
                if number is not None:
                    try:
                        sizes[number] = entry.stat().st_size
                    except FileNotFoundError:
                        continue
    except (FileNotFoundError, NotADirectoryError):
        pass
    return sizes


def spools_bytes(spool_root: str) -> int:
    """Bytes that all spools below `spool_root` take now."""
    try:
        names = os.listdir(spool_root)
    except FileNotFoundError:
        return 0
    return sum(sum(segment_sizes(f"{spool_root}/{name}").values()) for name in names)
