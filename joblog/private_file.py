"""Small files that only their owner may read: keys, certificates, tokens. Written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from joblog.errors import Corrupt, Denied, InvalidInput, JoblogError, NotFound, OutOfSpace

MAX_BYTES = 1 << 20


def is_open_to_others(found: os.stat_result) -> bool:
    """Whether somebody may use a file besides its owner, root and this process.

    A file that root gives this process by its group alone, mode 0440 or 0640, is none of those: so Kubernetes mounts
    secrets for who is not root, and PostgreSQL takes them likewise.
    """
    given = found.st_uid == 0 != os.geteuid() and found.st_gid in (os.getegid(), *os.getgroups())
    others = stat.S_IRWXG | stat.S_IRWXO
    return bool(found.st_mode & (others & ~stat.S_IRGRP if given else others))


def read_private(path: Path) -> bytes:
    """The content of a file of ours. Raises NotFound, Corrupt, and Denied when it is open to others or theirs."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path}: does not exist") from None
    except OSError as error:
        raise Denied(f"{path}: can't be read: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise Corrupt(f"{path}: is no file")
        if is_open_to_others(found):
            raise Denied(
                f"{path}: has mode {stat.S_IMODE(found.st_mode):04o}, others may read it: chmod 600 {path}, and "
                "replace what it holds if somebody may have seen it"
            )
        if found.st_uid not in (os.geteuid(), 0):
            raise Denied(f"{path}: belongs to user {found.st_uid}, must belong to this one ({os.geteuid()})")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Corrupt(f"{path}: is larger than {MAX_BYTES} bytes")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Puts a file of mode 0600 in place, synced; whoever reads it sees the old content or the new one.

    Raises Denied, InvalidInput, OutOfSpace.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise _write_error(path, error) from None


def _write_error(path: Path, error: OSError) -> JoblogError:
    text = f"{path}: can't be written: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpace(text)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(text)
    return InvalidInput(text)
