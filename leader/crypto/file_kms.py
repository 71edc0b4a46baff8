"""A KMS whose KEK lies in a file of this machine."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from os import urandom
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, Denied, NotFound, OutOfSpace, WrongVersion
from joblog.leader.crypto.kms import context_bytes

KEY_BYTES = 32
_VERSION = 1
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _ID_BYTES + _NONCE_BYTES
_DOMAIN = b"joblog file kms 1"


class FileKms:
    """Wraps with AES-256-GCM under the 32 bytes of a key file (mode 0600, of this user, not a link).

    made: this object made the file, so that its user can be told where it lies and to keep a copy elsewhere.
    """

    name = "file"

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Reads the key file; with `create`, makes it when there is none.

        Raises Denied when others may read it or it is not a plain file, Corrupt when its length is wrong, NotFound.
        """
        self.path = path
        self.made = create and not os.path.lexists(path) and _make(path)
        key = _read(path)
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"joblog kek id" + key).digest()[:_ID_BYTES]
        self.key_id = self._id.hex()

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap()."""
        nonce = urandom(_NONCE_BYTES)
        return (
            bytes([_VERSION]) + self._id + nonce + self._cipher.encrypt(nonce, plain, _DOMAIN + context_bytes(context))
        )

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap()."""
        if len(wrapped) < _HEAD_BYTES:
            raise Corrupt(f"a key wrapped by {self.path} is cut short: {len(wrapped)} bytes; restore a backup")
        if wrapped[0] != _VERSION:
            raise WrongVersion(f"a key wrapped by a key file has version {wrapped[0]}; this joblog knows {_VERSION}")
        wanted = wrapped[1 : 1 + _ID_BYTES]
        if wanted != self._id:
            raise Denied(
                f"wrapped with the key file of id {wanted.hex()}; {self.path} has id {self.key_id}: give the right one"
            )
        try:
            nonce, sealed = wrapped[1 + _ID_BYTES : _HEAD_BYTES], wrapped[_HEAD_BYTES:]
            return self._cipher.decrypt(nonce, sealed, _DOMAIN + context_bytes(context))
        except InvalidTag:
            raise Corrupt(f"a key wrapped by {self.path} was changed, or belongs to another store") from None


def _make(path: Path) -> bool:
    """Makes the key file, whole or not at all and on the disk when it returns; False when another was faster."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{urandom(8).hex()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.fchmod(descriptor, 0o600)
                os.write(descriptor, urandom(KEY_BYTES))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            # A link, unlike a rename, never takes the place of a key that is there.
            try:
                os.link(draft, path)
            except FileExistsError:
                return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (OutOfSpace if full else Denied)(f"key file {path}: can't be made: {error}") from error
    return True


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
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_BYTES or found.st_size != KEY_BYTES:
        raise Corrupt(
            f"key file {path}: has {found.st_size} bytes, a key has {KEY_BYTES}; restore the file from its copy"
        )
    return key
