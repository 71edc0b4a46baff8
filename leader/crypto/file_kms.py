"""A KMS whose KEK lies in a file of this machine."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from os import urandom
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, Denied, WrongVersion
from joblog.leader.crypto.key_file import ID_BYTES, KeyFile, add_version, make_key_file, read_key_file, version_id
from joblog.leader.crypto.kms import check_plain, context_bytes

log = logging.getLogger(__name__)

_VERSION = 1
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + ID_BYTES + _NONCE_BYTES
_DOMAIN = b"joblog file kms 1"


class FileKms:
    """Wraps with AES-256-GCM under the newest key of a file (mode 0600, of this user, not a link).

    made: this object made the file, so that its user can be told where it lies and to keep a copy elsewhere; after
    rotate() a copy is to be made anew.
    """

    name = "file"

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Reads the key file; with `create`, makes it when there is none.

        Raises Denied when others may read it or it is not a plain file, Corrupt when it was changed, NotFound.
        """
        self.path = path
        self.made = create and not os.path.lexists(path) and make_key_file(path)
        self._lock = threading.Lock()
        self._ciphers: dict[bytes, AESGCM] = {}
        self._newest = b""
        found = read_key_file(path)
        self._take(found)
        self.key_id = found.key_id.hex()

    def _take(self, found: KeyFile) -> None:
        with self._lock:
            self._ciphers = {version_id(key): AESGCM(key) for key in found.keys}
            self._newest = version_id(found.keys[-1])

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap()."""
        check_plain(plain)
        with self._lock:
            newest, cipher = self._newest, self._ciphers[self._newest]
        nonce = urandom(_NONCE_BYTES)
        return bytes([_VERSION]) + newest + nonce + cipher.encrypt(nonce, plain, _DOMAIN + context_bytes(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap()."""
        cipher = self._cipher(self._id_of(wrapped))
        try:
            nonce, sealed = wrapped[1 + ID_BYTES : _HEAD_BYTES], wrapped[_HEAD_BYTES:]
            return cipher.decrypt(nonce, sealed, _DOMAIN + context_bytes(context))
        except InvalidTag:
            raise Corrupt(f"a key wrapped by {self.path} was changed, or belongs to another store") from None

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.rewrap()."""
        return self.wrap(self.unwrap(wrapped, context), context)

    def version_of(self, wrapped: bytes) -> str:
        """As Kms.version_of()."""
        return self._id_of(wrapped).hex()

    def current_version(self) -> str:
        """As Kms.current_version()."""
        return self._newest.hex()

    def rotate(self) -> str:
        """As Kms.rotate(): adds a version to the file. Raises as the file does, and OutOfSpace."""
        self._take(add_version(self.path))
        log.warning("key file %s has a new version of the key: copy it anew to where its copy is", self.path)
        return self.current_version()

    def _id_of(self, wrapped: bytes) -> bytes:
        if len(wrapped) < _HEAD_BYTES:
            raise Corrupt(f"a key wrapped by {self.path} is cut short: {len(wrapped)} bytes; restore a backup")
        if wrapped[0] != _VERSION:
            raise WrongVersion(f"a key wrapped by a key file has version {wrapped[0]}; this joblog knows {_VERSION}")
        return wrapped[1 : 1 + ID_BYTES]

    def _cipher(self, wanted: bytes) -> AESGCM:
        cipher = self._ciphers.get(wanted)
        if cipher is None:
            # Another program may have added a version since.
            found = read_key_file(self.path)
            if found.key_id.hex() == self.key_id:
                self._take(found)
                cipher = self._ciphers.get(wanted)
        if cipher is None:
            raise Denied(
                f"wrapped with the key file of id {wanted.hex()}; {self.path} has id {self.key_id} and no version "
                f"{wanted.hex()}: give the right one, or its newest copy"
            )
        return cipher
