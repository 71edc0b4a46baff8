"""Sealing of a log's chunks with the log's own key: AES-256-GCM, bound to log, offset and header.

A chunk moved to another log or offset, or changed in one bit, does not open. Nonces are random, because an offset may
be written again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, NotFound

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES
DEK_BYTES = 32
UID_BYTES = 16

_DOMAIN = b"joblog chunk 1"
_WRITER_DOMAIN = b"joblog writer 1"
_FACTS_DOMAIN = b"joblog metadata 2"
_Crypt = Callable[[bytes | memoryview, bytes | memoryview, bytes], bytes]


def _forgotten(*_: object) -> NoReturn:
    raise NotFound("the log was deleted, and its key with it")


class LogCipher:
    """Seals and opens the chunks of one log. Make one per log and keep it: setting up the key is the dear part.

    dek: 32 bytes, this log's own key. uid: 16 bytes, the log's. Threads may share an instance.
    """

    __slots__ = ("_decrypt", "_encrypt", "_facts_data", "_prefix", "_writer_data")

    def __init__(self, dek: bytes, uid: bytes) -> None:
        if len(dek) != DEK_BYTES or len(uid) != UID_BYTES:
            raise Corrupt(
                f"a log's key has {len(dek)} bytes and its uid {len(uid)}: must be {DEK_BYTES} and {UID_BYTES}"
            )
        cipher = AESGCM(dek)
        self._encrypt: _Crypt = cipher.encrypt
        self._decrypt: _Crypt = cipher.decrypt
        self._prefix = _DOMAIN + uid
        self._writer_data = _WRITER_DOMAIN + uid
        self._facts_data = _FACTS_DOMAIN + uid

    def forget(self) -> None:
        """Lets go of the key, as the log was deleted: seal() and open() raise NotFound from now on. Any thread."""
        self._encrypt = self._decrypt = _forgotten

    def seal(self, header: bytes, offset: int, plain: bytes) -> bytes:
        """nonce, ciphertext and tag of `plain`, the chunk at `offset` whose packed header is `header`."""
        nonce = urandom(NONCE_BYTES)
        return nonce + self._encrypt(nonce, plain, self._prefix + offset.to_bytes(8, "big") + header)

    def open(self, header: bytes, offset: int, sealed: bytes | memoryview) -> bytes:
        """The bytes that seal() was given. Raises Corrupt when key, log, offset, header or bytes are other ones."""
        if len(sealed) < OVERHEAD_BYTES:
            raise Corrupt(f"chunk at offset {offset}: {len(sealed)} sealed bytes, at least {OVERHEAD_BYTES} are needed")
        view = memoryview(sealed)
        try:
            return self._decrypt(
                view[:NONCE_BYTES], view[NONCE_BYTES:], self._prefix + offset.to_bytes(8, "big") + header
            )
        except InvalidTag:
            raise Corrupt(
                f"chunk at offset {offset} does not open with its log's key: it was changed, or belongs elsewhere"
            ) from None

    def seal_writer(self, writer_id: bytes) -> bytes:
        """nonce, ciphertext and tag of the log's writer id, which lets its holder write."""
        nonce = urandom(NONCE_BYTES)
        return nonce + self._encrypt(nonce, writer_id, self._writer_data)

    def open_writer(self, sealed: bytes) -> bytes:
        """The writer id that seal_writer() was given. Raises Corrupt."""
        try:
            return self._decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._writer_data)
        except (InvalidTag, ValueError):
            raise Corrupt(
                "the writer id does not open with its log's key: it was changed, or belongs elsewhere"
            ) from None

    def vouch(self, digest: bytes) -> bytes:
        """Nonce and tag over a digest of what is said of the log in clear: only who has its key can make them."""
        nonce = urandom(NONCE_BYTES)
        return nonce + self._encrypt(nonce, b"", self._facts_data + digest)

    def check_vouched(self, digest: bytes, vouched: bytes) -> None:
        """Raises Corrupt unless vouch() of the log's own key made `vouched` for this digest."""
        try:
            self._decrypt(vouched[:NONCE_BYTES], vouched[NONCE_BYTES:], self._facts_data + digest)
        except (InvalidTag, ValueError):
            raise Corrupt("what is said of the log was changed, or was said of another one") from None
