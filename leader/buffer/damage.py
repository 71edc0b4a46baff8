"""What is known of chunks in the buffer that the disk does not give back as they were written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger(__name__)

# Of a store that lost everything, the first places are enough.
MAX_PLACES = 10_000
# Logs of which it is known one by one that they were mended lately.
_MENDED_LOGS = 10_000


class Damage:
    """Places of damaged chunks. Each is logged once, and known until it is dropped or written anew. Thread-safe."""

    def __init__(
        self, where: Path, spare: Callable[[int, int, bool], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """where: the store's folder, for messages. spare(number, offset, is_there): called once for each place; see
        found().
        """
        self._spare = spare
        self._on_found: list[Callable[[int, int], None]] = []
        self._where = where
        self._clock = clock
        self._lock = threading.Lock()
        # By log: offset at which something is damaged or missing → when that was found.
        self._places: dict[int, dict[int, float]] = {}
        self._count = 0
        # Places found since the store was opened.
        self.found_count = 0
        # How often anything was mended; by log, as of when it was the last time, those that come first longest ago; and
        # of the logs that are not among these, when it was at the latest.
        self._mendings = 0
        self._mended: dict[int, int] = {}
        self._mended_before = 0

    @property
    def mendings(self) -> int:
        """To be asked before reading begins, for found()."""
        return self._mendings

    def mended(self, numbers: Iterable[int]) -> None:
        """Ranges of these logs were dropped or written anew: what was read before says nothing of them any more."""
        with self._lock:
            for number in numbers:
                self._mendings += 1
                self._mended.pop(number, None)
                self._mended[number] = self._mendings
            while len(self._mended) > _MENDED_LOGS:
                self._mended_before = self._mended.pop(next(iter(self._mended)))

    def found(self, number: int, offset: int, why: str, mendings: int, *, is_there: bool = True) -> None:
        """What log `number` has at `offset` can't be read, as one saw it who began to read after `mendings`.

        is_there: something is, and it is damaged; False: nothing is, though something should. If the log was mended
        since then, it is left to those who read it next to find.
        """
        with self._lock:
            if self._mended.get(number, self._mended_before) > mendings:
                return
            places = self._places.setdefault(number, {})
            if offset in places or self._count >= MAX_PLACES:
                return
            places[offset] = self._clock()
            self._count += 1
            self.found_count += 1
        log.warning(
            "log %d: the chunk at offset %d is damaged in the buffer, it is passed over: %s", number, offset, why
        )
        self._spare(number, offset, is_there)
        for tell in self._on_found:
            tell(number, offset)

    def on_found(self, callback: Callable[[int, int], None]) -> None:
        """`callback(number, offset)` is called too for each place that is found from now on, in whatever thread."""
        self._on_found.append(callback)

    def shrink(self, number: int, offset: int, to_offset: int) -> None:
        """Of what is missing at `offset` only that from to_offset on will be, once the write that follows is done."""
        with self._lock:
            places = self._places.get(number, {})
            if offset in places and to_offset not in places:
                places[to_offset] = places[offset]
                self._count += 1

    def forget(self, number: int, begin: int, before: int) -> None:
        """What was at [begin, before) of the log is gone, or was written anew."""
        if number not in self._places:
            return
        with self._lock:
            places = self._places.get(number, {})
            for offset in [offset for offset in places if begin <= offset < before]:
                del places[offset]
                self._count -= 1
            if not places:
                self._places.pop(number, None)

    def offsets(self, number: int, within_seconds: float | None = None) -> list[int]:
        """Where the log is damaged, in order; with within_seconds, only what was found no longer ago."""
        if number not in self._places:
            return []
        since = float("-inf") if within_seconds is None else self._clock() - within_seconds
        with self._lock:
            return sorted(offset for offset, at in self._places.get(number, {}).items() if at >= since)

    def logs(self) -> list[int]:
        """Numbers of the logs that are damaged, in order."""
        with self._lock:
            return sorted(self._places)

    @property
    def count(self) -> int:
        """Places that are known now."""
        return self._count

    def warning(self) -> str | None:
        """What is wrong, for people; None when nothing is known to be."""
        numbers = self.logs()
        if not numbers:
            return None
        shown = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
        return (
            f"buffer: {self._count} damaged chunks in {len(numbers)} logs (number {shown}) on the disk of "
            f"{self._where}: what they held is lost unless the disk gives it back. All else goes on; see to the disk"
        )
