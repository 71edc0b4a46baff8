"""What RocksDB and the disk refuse, as joblog's errors."""

from __future__ import annotations

import errno
from pathlib import Path

from rocksdict import DbClosedError

from joblog.errors import Corrupt, Denied, JoblogError, OutOfSpace, Unavailable

STALL = "Result incomplete: Write stall"


def failure(error: Exception, path: Path, doing: str) -> JoblogError:
    """What rocksdict raised, as the error of joblog that it means.

    rocksdict has one exception for everything: RocksDB's status name, which its message begins with, is all there is.
    """
    text = str(error)
    if isinstance(error, DbClosedError):
        return Unavailable(f"store {path}: can't {doing}, it is closed")
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return OutOfSpace(
            f"store {path}: can't {doing}, its disk is full; free space, and it goes on by itself: {text}"
        )
    if text.startswith(STALL):
        return Unavailable(f"store {path}: can't {doing}, its disk is too slow for what is written; try again later")
    if text.startswith("Corruption"):
        return Corrupt(f"store {path}: can't {doing}, its files are damaged; restore a backup: {text}")
    return Unavailable(f"store {path}: can't {doing}: {text}")


def disk_failure(error: OSError, path: Path) -> JoblogError:
    """What the kernel refused while a store was opened, as joblog's error."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (OutOfSpace if full else Denied)(f"store {path}: can't be made or opened: {error}")


class Doing:
    """A block in which what rocksdict raises becomes the error of joblog that it means; others pass through."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: Path, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, JoblogError):
            raise failure(error, self._path, self._doing) from error
