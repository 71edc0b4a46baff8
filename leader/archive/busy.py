"""What somebody works on just now: logs by number, objects by key."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager


class Busy:
    """Marks of those who work on something, so that others leave it for later. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marked: set[Hashable] = set()

    def take(self, items: Iterable[Hashable]) -> set[Hashable]:
        """Marks those of `items` that nobody else has; give() them back."""
        with self._lock:
            mine = set(items) - self._marked
            self._marked |= mine
        return mine

    def give(self, items: set[Hashable]) -> None:
        """Takes the marks away; those that are gone already are fine, as long as nobody else set them."""
        with self._lock:
            self._marked -= items
            items.clear()

    @contextmanager
    def all(self, items: Iterable[Hashable]) -> Iterator[bool]:
        """Marks all of `items`, or none, for the length of the block; whether it did."""
        wanted = set(items)
        with self._lock:
            free = not wanted & self._marked
            if free:
                self._marked |= wanted
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._marked -= wanted
