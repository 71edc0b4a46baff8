"""Threads that give way to others."""

from __future__ import annotations

import contextlib
import os
import threading

_NICENESS = 10


def step_aside() -> None:
    """Lowers the priority of the thread that calls it: of its process, others go first."""
    # Linux keeps a priority per thread.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
