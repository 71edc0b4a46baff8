"""What a backup is made of: one moment of the store, and who may come in at that moment."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Conflict
from joblog.leader.backup import failpoints
from joblog.leader.buffer.format import FORMAT_VERSION
from joblog.leader.buffer.store import Store

log = logging.getLogger(__name__)

ACCESS_PATH = "access/state"
_PREFIX = ".backup-"
_TRIES = 5


class Source(NamedTuple):
    """What is backed up. take_access: who may come in now, the same bytes for the same content."""

    store: Store
    take_access: Callable[[], bytes]
    kms: Callable[[], tuple[str, str]]


class Moment(NamedTuple):
    """Files to be backed up: (path in the backup, file). access: what is under ACCESS_PATH."""

    folder: Path
    files: list[tuple[str, Path]]
    access: bytes
    store_version: int


def drop_leftovers(store: Store) -> None:
    """Removes checkpoints of backups that came to no end."""
    for folder in store.path.parent.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def moment(source: Source, backup_id: str) -> Iterator[Moment]:
    """One moment of everything, which stays until the block ends. Raises OutOfSpace, Unavailable, Conflict."""
    folder = source.store.path.parent / f"{_PREFIX}{backup_id}"
    try:
        access = _take(source, folder)
        failpoints.reach("backup.checkpoint")
        files = [(f"store/{path.name}", path) for path in sorted(folder.iterdir()) if path.is_file()]
        yield Moment(folder, files, access, FORMAT_VERSION)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take(source: Source, folder: Path) -> bytes:
    """Makes the checkpoint at a time when nobody's access changed: then both are of the same moment."""
    before = source.take_access()
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        source.store.checkpoint(folder)
        after = source.take_access()
        if after == before:
            return after
        before = after
    raise Conflict("tokens or certificates change all the time: no moment was found to back up; try again")
