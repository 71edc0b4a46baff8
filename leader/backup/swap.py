"""Puts a restored store in the place of the one that is there. What was begun is finished, by whoever comes next.

Below the leader's folder, `.restoring-ID` is filled and checked; a file in it says when the swap has begun. From then
on the restored store and access folder count, wherever they lie.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from joblog.errors import Conflict
from joblog.leader.archive.folder_files import sync_folder
from joblog.leader.backup import failpoints
from joblog.leader.buffer.folder import lock_folder
from joblog.paths import DataFolder

PREFIX = ".restoring-"
FETCHED, SWAPPING, _LOCK = "fetched", "swapping", "lock"
_PARTS = ("store", "access")


def restoring_folder(folder: DataFolder, backup_id: str) -> Path:
    """Where a backup is restored before it counts."""
    return folder.leader / f"{PREFIX}{backup_id}"


def aside(folder: DataFolder, backup_id: str) -> list[Path]:
    """Where what was there before each restore of the backup is kept, as far as it is."""
    return [path for part in _PARTS for path in sorted(folder.leader.glob(f"{part}.before-{backup_id}*"))]


def _free_aside(folder: DataFolder, part: str, backup_id: str) -> Path:
    """A name that nothing has yet: a backup may be restored again, and what was set aside then stays."""
    first = folder.leader / f"{part}.before-{backup_id}"
    later = (first.with_name(f"{first.name}.{number}") for number in count(2))
    return next(path for path in chain([first], later) if not path.exists())


@contextmanager
def locked(restoring: Path) -> Iterator[None]:
    """One process at a time works in the folder, which is made. Raises Conflict."""
    restoring.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(restoring / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"{restoring}: another process is restoring there: wait until it is done") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def not_live(folder: DataFolder) -> Iterator[None]:
    """A block in which no leader has the store in `folder`, should there be one. Raises Conflict."""
    if not (folder.store / "CURRENT").exists():
        yield
        return
    try:
        descriptor = lock_folder(folder.store)
    except Conflict:
        raise Conflict(
            f"{folder.store} is in use by a running leader: stop it first (what is there is set aside, not deleted), "
            "restore into another folder with --to, or restore single runs into the running leader with --run"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def note(restoring: Path, name: str) -> None:
    """Notes durably that the work has come so far."""
    descriptor = os.open(restoring / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(restoring)


def swap(folder: DataFolder, restoring: Path) -> list[Path]:
    """What is in `restoring` counts from now on; where what was there lies now. Call it in locked() and not_live()."""
    backup_id = restoring.name.removeprefix(PREFIX)
    note(restoring, SWAPPING)
    failpoints.reach("restore.ready")
    aside = []
    for part in _PARTS:
        fresh, place = restoring / part, folder.leader / part
        if not fresh.exists():
            continue
        if place.exists():
            aside.append(place.rename(_free_aside(folder, part, backup_id)))
            failpoints.reach("restore.aside")
        fresh.rename(place)
        failpoints.reach("restore.swapped")
    sync_folder(folder.leader)
    # First, or who comes after a kill takes for fetched what is half deleted.
    (restoring / FETCHED).unlink(missing_ok=True)
    failpoints.reach("restore.done")
    shutil.rmtree(restoring)
    return aside


def finish_swaps(folder: DataFolder) -> list[str]:
    """Finishes what a restore began and did not live to finish; ids of those backups. Raises Conflict."""
    done = []
    for restoring in sorted(folder.leader.glob(f"{PREFIX}*")):
        if (restoring / SWAPPING).exists():
            with locked(restoring), not_live(folder):
                swap(folder, restoring)
            done.append(restoring.name.removeprefix(PREFIX))
    return done
