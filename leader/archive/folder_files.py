"""Files as objects need them: written whole, synced, with a record of what belongs to them, and read in ranges."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from joblog.errors import Denied, InvalidInput, JoblogError, NotFound, OutOfSpace, Unavailable
from joblog.leader.archive.objects import Data, pieces_of

FOLDER_MODE = 0o700
_RECORD = "user.joblog"
_RECORD_BYTES = 60_000


def translated(where: str, error: OSError) -> JoblogError:
    """An error of the file system as that of an object store."""
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return NotFound(f"{where}: there is no such object")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(f"{where}: {reason}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutOfSpace(f"{where}: {reason}")
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return InvalidInput(f"{where}: {reason}")
    return Unavailable(f"{where}: {reason}")


def write_all(file: BinaryIO, data: Data) -> int:
    """Writes every byte of `data`; returns how many."""
    written = 0
    for piece in pieces_of(data):
        rest = memoryview(piece).cast("B")
        while rest.nbytes:
            count = file.write(rest)
            rest = rest[count:]
            written += count
    return written


def write_record(file: BinaryIO, checksum: str, metadata: Mapping[str, str]) -> None:
    """Keeps what belongs to an object beside its bytes, where the file system can."""
    record = {"etag": secrets.token_hex(8), "checksum": checksum, "metadata": dict(metadata)}
    text = json.dumps(record).encode()
    if len(text) > _RECORD_BYTES:
        raise InvalidInput(f"an object's metadata has {len(text)} bytes, at most {_RECORD_BYTES} are kept")
    with contextlib.suppress(OSError, AttributeError):
        os.setxattr(file.fileno(), _RECORD, text)


def read_record(descriptor: int) -> dict[str, object]:
    """What write_record() kept; {} when there is nothing."""
    try:
        record = json.loads(os.getxattr(descriptor, _RECORD))
    except (OSError, AttributeError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def read_at(descriptor: int, start: int, length: int) -> bytes:
    """Up to `length` bytes from `start`; fewer only at the end of the file."""
    data = os.pread(descriptor, length, start)
    if len(data) == length:
        return data
    # One read ends at 2 GiB, or earlier on a mounted folder.
    pieces = [data]
    got = len(data)
    while got < length and pieces[-1]:
        pieces.append(os.pread(descriptor, length - got, start + got))
        got += len(pieces[-1])
    return b"".join(pieces)


def link(fresh: Path, path: Path) -> None:
    """Gives a file a second name; raises FileExistsError when another file has it."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        # A mounted folder may do it, lose the answer, and say that the file exists when it asks again.
        if not path.exists() or not fresh.samefile(path):
            raise


def make_folders(folder: Path, top: Path | None = None) -> None:
    """Makes a folder and those above it, durably. Below `top`, which is there."""
    missing = []
    while folder != top and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        # Not exist_ok: that raises when somebody takes the folder away again at this very moment.
        with contextlib.suppress(FileExistsError):
            made.mkdir(FOLDER_MODE)
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
