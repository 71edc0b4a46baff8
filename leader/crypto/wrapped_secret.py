"""A secret that is kept for somebody else, wrapped by the store key."""

from __future__ import annotations

from os import urandom

from cryptography.exceptions import InvalidTag

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.crypto.envelope import NONCE_BYTES, TAG_BYTES
from joblog.leader.crypto.store_key_record import STORE_KEY_ID_BYTES
from joblog.leader.crypto.store_keys import StoreKeys

_VERSION = 1
_HEAD_BYTES = 1 + STORE_KEY_ID_BYTES


def wrap_secret(store_keys: StoreKeys, purpose: bytes, secret: bytes) -> bytes:
    """Version, store key's id, nonce, ciphertext and tag of a secret; `purpose` says what it is, and whose.

    Raises as StoreKeys.current().
    """
    key_id, store_key = store_keys.current()
    nonce = urandom(NONCE_BYTES)
    return bytes([_VERSION]) + key_id + nonce + store_key.encrypt(nonce, secret, purpose)


def open_secret(store_keys: StoreKeys, purpose: bytes, wrapped: bytes) -> bytes:
    """What wrap_secret() was given. Raises Corrupt, WrongVersion, and as StoreKeys.cipher()."""
    if wrapped[:1] not in (b"", bytes([_VERSION])):
        raise WrongVersion(f"a wrapped secret has version {wrapped[0]}; this joblog knows version {_VERSION}")
    if len(wrapped) < _HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
        raise Corrupt(f"a wrapped secret has {len(wrapped)} bytes: it is cut short; restore a backup of the store")
    nonce, sealed = wrapped[_HEAD_BYTES:][:NONCE_BYTES], wrapped[_HEAD_BYTES + NONCE_BYTES :]
    try:
        return store_keys.cipher(wrapped[1:_HEAD_BYTES]).decrypt(nonce, sealed, purpose)
    except InvalidTag:
        raise Corrupt("a wrapped secret does not open: it was changed, or belongs to somebody else") from None
