"""What reads cost: the CPU time of their work in the reader's threads, for who asks for it."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


class Meter:
    """Adds up CPU seconds, of several threads without a lock: that one now and then is lost does no harm."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, work: Callable[[], T]) -> T:
        """Runs the work in this thread, and counts it."""
        began = time.thread_time()
        try:
            return work()
        finally:
            self.seconds += time.thread_time() - began

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what this asyncio task has the reader's threads do meanwhile."""
        token = _METER.set(self)
        try:
            yield
        finally:
            _METER.reset(token)


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


def metered(work: Callable[[], T]) -> Callable[[], T]:
    """The work, counted by the meter of the task that this is called in, where there is one."""
    meter = _METER.get()
    return work if meter is None else functools.partial(meter.run, work)
