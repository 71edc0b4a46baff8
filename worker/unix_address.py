"""The address of a unix socket is short: one with a longer path is gone to through its folder's descriptor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

MAX_ADDRESS_BYTES = 107


@contextmanager
def short_address(path: str) -> Iterator[str]:
    """A path that a socket can be bound or connected to within the block; raises OSError when the folder is missing."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
