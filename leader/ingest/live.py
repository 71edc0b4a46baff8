"""Who waits for which log: readers that tail wait here for a commit, and workers learn here which logs are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Live:
    """The durable length of every log that is open for writing, and the readers who wait for more.

    All methods but `length` belong to the event loop's thread.
    """

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}
        self._waiters: dict[int, set[asyncio.Future[None]]] = {}
        self._watchers: dict[int, int] = {}
        self._on_watch: Callable[[int, bool], None] = lambda _number, _watched: None

    def on_watch(self, callback: Callable[[int, bool], None]) -> None:
        """`callback(number, watched)` is called when a log's first watcher comes or its last one goes."""
        self._on_watch = callback

    def length(self, number: int) -> int | None:
        """Bytes of the log that are on disk, synced; None when the log is not open for writing."""
        return self._lengths.get(number)

    def advance(self, number: int, length: int) -> None:
        """Says that the log's bytes below `length` are durable now."""
        if self._lengths.get(number, -1) < length:
            self._lengths[number] = length
        self._wake(number)

    def changed(self, number: int, *, open_for_writing: bool) -> None:
        """Says that the log's state or events changed."""
        if not open_for_writing:
            self._lengths.pop(number, None)
        self._wake(number)

    def _wake(self, number: int) -> None:
        for waiter in self._waiters.pop(number, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, number: int, beyond_offset: int, timeout_seconds: float | None) -> bool:
        """True when the log may hold bytes at `beyond_offset`, or its state or events changed; False on timeout.

        A log that is not open for writing returns at once: nothing will come.
        """
        length = self._lengths.get(number)
        if length is None or length > beyond_offset:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(number, set())
        waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter
            return True
        except TimeoutError:
            return False
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiters.get(number) is waiters:
                del self._waiters[number]

    def watched(self, number: int) -> bool:
        """Whether somebody tails the log."""
        return number in self._watchers

    def watch(self, number: int) -> None:
        """One more reader tails the log."""
        count = self._watchers.get(number, 0)
        self._watchers[number] = count + 1
        if count == 0:
            self._on_watch(number, True)

    def unwatch(self, number: int) -> None:
        """One reader less tails the log."""
        count = self._watchers.get(number, 0) - 1
        if count > 0:
            self._watchers[number] = count
        elif self._watchers.pop(number, None) is not None:
            self._on_watch(number, False)
