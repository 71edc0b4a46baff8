"""A KMS whose KEK is made from a passphrase with scrypt."""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from os import urandom
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from joblog.errors import Conflict, Corrupt, Denied, InvalidSettings, WrongVersion
from joblog.leader.crypto.kms import check_plain, context_bytes

MIN_PASSPHRASE_LENGTH = 12
_VERSION = 1
_HEAD = struct.Struct(">BBBB16s12s")
_DOMAIN = b"joblog passphrase kms 1"
_MAX_MEMORY_BYTES = 1 << 30
_MAX_PARALLEL = 16


class ScryptParams(NamedTuple):
    """Cost of a guess: memory is 128 * 2**log_n * r bytes (here 128 MiB), time grows with p."""

    log_n: int = 17
    r: int = 8
    p: int = 1

    def memory_bytes(self) -> int:
        """What one derivation takes."""
        return 128 * self.r << self.log_n


DEFAULT_PARAMS = ScryptParams()


class PassphraseKms:
    """Wraps with AES-256-GCM under a key from the passphrase; salt and cost are kept in what it wraps.

    A key is derived once per salt and kept, as it costs a third of a second and 128 MiB.
    """

    name = "passphrase"
    key_id = "passphrase"

    def __init__(self, passphrase: str, params: ScryptParams = DEFAULT_PARAMS) -> None:
        """Raises InvalidSettings when the passphrase is too short."""
        if len(passphrase) < MIN_PASSPHRASE_LENGTH:
            raise InvalidSettings(
                f"the passphrase has {len(passphrase)} characters, at least {MIN_PASSPHRASE_LENGTH} are needed"
            )
        self._passphrase = passphrase.encode()
        self._params = params
        self._salt = urandom(16)
        self._ciphers: dict[tuple[ScryptParams, bytes], AESGCM] = {}
        self._lock = threading.Lock()

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap()."""
        check_plain(plain)
        nonce = urandom(12)
        head = _HEAD.pack(_VERSION, *self._params, self._salt, nonce)
        cipher = self._cipher(self._params, self._salt)
        return head + cipher.encrypt(nonce, plain, _DOMAIN + head + context_bytes(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap(); a wrong passphrase can't be told from damage, and is the likelier."""
        params, salt, nonce = _read_head(wrapped)
        head = wrapped[: _HEAD.size]
        try:
            return self._cipher(params, salt).decrypt(
                nonce, wrapped[_HEAD.size :], _DOMAIN + head + context_bytes(context)
            )
        except InvalidTag:
            raise Denied(
                "the passphrase does not open the store's key: check it (or the key was changed, or is another store's)"
            ) from None

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.rewrap()."""
        return self.wrap(self.unwrap(wrapped, context), context)

    def version_of(self, wrapped: bytes) -> str:
        """As Kms.version_of(): a passphrase has no versions."""
        _read_head(wrapped)
        return ""

    def current_version(self) -> str:
        """As Kms.current_version()."""
        return ""

    def rotate(self) -> str:
        """As Kms.rotate()."""
        raise Conflict("a passphrase has no versions: move to another KMS")

    def _cipher(self, params: ScryptParams, salt: bytes) -> AESGCM:
        with self._lock:
            cipher = self._ciphers.get((params, salt))
            if cipher is None:
                derived = Scrypt(salt=salt, length=32, n=1 << params.log_n, r=params.r, p=params.p).derive(
                    self._passphrase
                )
                cipher = self._ciphers[params, salt] = AESGCM(derived)
            return cipher


def _read_head(wrapped: bytes) -> tuple[ScryptParams, bytes, bytes]:
    """(cost, salt, nonce). Raises Corrupt, also when the cost is one that nobody sets: it would take all memory."""
    if len(wrapped) < _HEAD.size:
        raise Corrupt(f"a key wrapped by a passphrase is cut short: {len(wrapped)} bytes; restore a backup")
    version, log_n, r, p, salt, nonce = _HEAD.unpack_from(wrapped)
    if version != _VERSION:
        raise WrongVersion(f"a key wrapped by a passphrase has version {version}; this joblog knows {_VERSION}")
    params = ScryptParams(log_n, r, p)
    if not (1 <= log_n <= 24 and r and 0 < p <= _MAX_PARALLEL and params.memory_bytes() <= _MAX_MEMORY_BYTES):
        raise Corrupt(f"a key wrapped by a passphrase asks for scrypt with 2**{log_n}, {r}, {p}: it was changed")
    return params, salt, nonce
