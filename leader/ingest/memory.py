"""How many bytes of batches may be in memory at once; who asks for more waits."""

from __future__ import annotations

import asyncio
from collections import deque


class MemoryGate:
    """A semaphore in bytes, first come first served. Belongs to the event loop's thread."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def _fits(self, size_bytes: int) -> bool:
        # One that is larger than all there is goes alone.
        return self.used_bytes == 0 or self.used_bytes + size_bytes <= self._capacity_bytes

    async def acquire(self, size_bytes: int) -> None:
        """Takes size_bytes; waits until they are there."""
        if not self._waiting and self._fits(size_bytes):
            self.used_bytes += size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size_bytes, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(size_bytes)
            else:
                self._waiting.remove(entry)
                self._admit()
            raise

    def release(self, size_bytes: int) -> None:
        """Gives size_bytes back."""
        self.used_bytes -= size_bytes
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
                continue
            if not self._fits(size_bytes):
                return
            self._waiting.popleft()
            self.used_bytes += size_bytes
            turn.set_result(None)
