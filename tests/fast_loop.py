"""An event loop whose clock goes on by itself as soon as nothing is left to do but to wait: hours pass in seconds.

What runs in threads takes no time on this clock, unless it calls FastLoop.sleep().
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable
from typing import Any


class _Selector(selectors.DefaultSelector):
    loop: FastLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.loop.busy:
            # Threads wake the loop when they are done.
            return super().select(0.05)
        found = super().select(0)
        if not found:
            self.loop.advance(timeout)
        return found


class FastLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0. Run it with asyncio.Runner(loop_factory=FastLoop)."""

    def __init__(self) -> None:
        self._now = 0.0
        self._advancing = threading.Lock()
        # Calls that run in threads.
        self.busy = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """So much time has passed. From any thread."""
        with self._advancing:
            self._now += seconds

    sleep = advance

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        self.busy += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: asyncio.Future[Any]) -> None:
        self.busy -= 1
