"""The store's folder: made when there is none, and taken by one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from joblog.errors import Conflict, Corrupt
from joblog.leader.buffer.failures import disk_failure

_LOCK_FILE = "LOCK.joblog"


def lock_folder(path: Path) -> int:
    """Makes the folder and takes its lock, which goes with the process. Raises Conflict, Denied, OutOfSpace."""
    file = path / _LOCK_FILE
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()) and not file.exists() and not (path / "CURRENT").exists():
            raise Corrupt(f"store {path}: the folder holds other files; give an empty one, or restore a backup")
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise disk_failure(error, path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Conflict(
            f"store {path} is in use by another leader: stop that one, or give another data folder"
        ) from None
    return descriptor
