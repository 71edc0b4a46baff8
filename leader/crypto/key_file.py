"""The file of a KEK: read, made and extended. Layout: docs/format.md, "Keys".

With one version of the key it is 32 bytes and nothing else. With more it has a head that names the first one, for ever,
and a checksum, so that a file that was cut or changed is noticed before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from os import urandom
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, Denied, NotFound, OutOfSpace, WrongVersion

KEY_BYTES = 32
ID_BYTES = 8
MAX_VERSIONS = 1000
_MAGIC = b"joblog kek\n"
_FORMAT = 2
_HEAD_BYTES = len(_MAGIC) + 1 + ID_BYTES + 2
_SUM_BYTES = 32
_MAX_BYTES = _HEAD_BYTES + MAX_VERSIONS * KEY_BYTES + _SUM_BYTES


def version_id(key: bytes) -> bytes:
    """What tells a version of a KEK from others, and nothing of the key."""
    return hashlib.sha256(b"joblog kek id" + key).digest()[:ID_BYTES]


class KeyFile(NamedTuple):
    """key_id: the id of the first version, which names the KEK. keys: its versions, the newest last."""

    key_id: bytes
    keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"KeyFile({self.key_id.hex()}, {len(self.keys)} versions)"

    def pack(self) -> bytes:
        """As it is kept."""
        if len(self.keys) == 1 and self.key_id == version_id(self.keys[0]):
            return self.keys[0]
        body = _MAGIC + bytes([_FORMAT]) + self.key_id + len(self.keys).to_bytes(2, "big") + b"".join(self.keys)
        return body + hashlib.sha256(body).digest()


def read_key_file(path: Path) -> KeyFile:
    """Raises NotFound; Denied when others may read it or it is not a plain file; Corrupt, WrongVersion."""
    data = _read(path)
    at = len(_MAGIC)
    if len(data) == KEY_BYTES and data[:at] != _MAGIC:
        return KeyFile(version_id(data), (data,))
    if data[:at] == _MAGIC and len(data) > at and data[at] != _FORMAT:
        raise WrongVersion(f"key file {path}: has format {data[at]}; this joblog knows {_FORMAT}")
    body, keys = data[:-_SUM_BYTES], data[_HEAD_BYTES:-_SUM_BYTES]
    whole = body[:at] == _MAGIC and len(body) >= _HEAD_BYTES and hashlib.sha256(body).digest() == data[-_SUM_BYTES:]
    count = int.from_bytes(data[_HEAD_BYTES - 2 : _HEAD_BYTES], "big")
    if not whole or not count or len(keys) != count * KEY_BYTES:
        raise Corrupt(
            f"key file {path}: has {len(data)} bytes that are no key (a first one has {KEY_BYTES}), or was changed; "
            "restore the file from its copy"
        )
    key_id = data[at + 1 : at + 1 + ID_BYTES]
    return KeyFile(key_id, tuple(keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)))


def make_key_file(path: Path) -> bool:
    """Makes it, whole or not at all and on the disk when it returns; False when another was faster.

    Raises Denied, OutOfSpace.
    """
    with _named(path):
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _draft(path, urandom(KEY_BYTES)) as draft:
            # A link, unlike a rename, never takes the place of a key that is there.
            try:
                os.link(draft, path)
            except FileExistsError:
                return False
        _sync_folder(path.parent)
    return True


def add_version(path: Path) -> KeyFile:
    """Adds a new version; the file is the old or the new one at any time, and the new one when it returns.

    Raises as read_key_file(), Conflict when there are too many, OutOfSpace.
    """
    with _named(path):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Of two who add at once none may write over what the other has added.
            fcntl.flock(folder, fcntl.LOCK_EX)
            known = read_key_file(path)
            if len(known.keys) >= MAX_VERSIONS:
                raise Conflict(f"key file {path}: has {MAX_VERSIONS} versions, the most there can be: use a new file")
            newer = known._replace(keys=(*known.keys, urandom(KEY_BYTES)))
            with _draft(path, newer.pack()) as draft:
                draft.replace(path)
            os.fsync(folder)
        finally:
            os.close(folder)
    return newer


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (OutOfSpace if full else Denied)(f"key file {path}: can't be made or changed: {error}") from error


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` with `data`, synced; gone afterwards unless it was renamed."""
    draft = path.with_name(f".{path.name}.{urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.fchmod(descriptor, 0o600)
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFound(f"key file {path}: there is none; give the one that the store was made with") from None
    except OSError as error:
        raise Denied(f"key file {path}: can't be opened, or is a symbolic link, which is refused: {error}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Denied(f"key file {path}: is not a plain file")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise Denied(f"key file {path}: has mode {mode:04o}, others may use it; do: chmod 600 {path}")
        if found.st_uid not in (os.geteuid(), 0):
            raise Denied(f"key file {path}: belongs to user {found.st_uid}, not to user {os.geteuid()}, who runs this")
        data = b""
        while len(data) <= _MAX_BYTES and (more := os.read(descriptor, _MAX_BYTES + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)
