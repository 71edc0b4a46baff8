"""The keyring: one DEK per log, wrapped by store keys, which a KMS has wrapped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from os import urandom
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, Denied, JoblogError, NotFound, WrongVersion
from joblog.leader.crypto.envelope import DEK_BYTES, NONCE_BYTES, TAG_BYTES, UID_BYTES
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_key_record import STORE_KEY_ID_BYTES, DescribedKey, unpack_record
from joblog.leader.crypto.store_keys import KeyRecords, StoreKeys

_DEK_VERSION = 1
_DEK_DOMAIN = b"joblog dek"
_DEK_HEAD_BYTES = 1 + STORE_KEY_ID_BYTES
_WRAPPED_DEK_BYTES = _DEK_HEAD_BYTES + NONCE_BYTES + DEK_BYTES + TAG_BYTES


class WrappedDek(NamedTuple):
    """A log's wrapped DEK with all that is needed to open it, the KMS aside.

    store_id: the store for which the store key was made; the KMS binds the key to it. store_key: its record.
    """

    dek: bytes
    store_id: str
    store_key: bytes

    @property
    def store_key_id(self) -> bytes:
        """Which store key wrapped the DEK. Raises Corrupt, WrongVersion."""
        return store_key_id(self.dek)

    @property
    def kms(self) -> tuple[str, str]:
        """(name of the KMS, its key id) that wrapped the store key. Raises Corrupt, WrongVersion."""
        record = unpack_record(self.store_key)
        return record.kms, record.key_id

    @property
    def key(self) -> DescribedKey:
        """The store key that wrapped the DEK. Raises Corrupt, WrongVersion."""
        return DescribedKey(self.store_key_id, self.store_id, self.store_key)


class Keyring:
    """Makes and opens DEKs. Threads may share an instance. store_keys: what wraps them."""

    def __init__(self, store_keys: StoreKeys) -> None:
        """Asks no KMS yet."""
        self.store_keys = store_keys

    @classmethod
    def open(
        cls, records: KeyRecords, kms: Kms | KnownKms, store_id: str, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> Keyring:
        """The keyring of a store, its current store key opened; makes the first one when there is none yet.

        Raises Denied when the KMS's key is not the one that wrapped the store key, Corrupt when a record is damaged,
        Unavailable when the KMS can't be reached.
        """
        known = kms if isinstance(kms, KnownKms) else KnownKms(kms)
        keyring = cls(StoreKeys(records, known, store_id, clock_ns=clock_ns))
        keyring.store_keys.current()
        return keyring

    def new_dek(self, uid: bytes) -> tuple[bytes, bytes]:
        """(dek, wrapped dek) for the new log `uid`; the wrapped one goes into the store with the log's record."""
        if len(uid) != UID_BYTES:
            raise Corrupt(f"a log's uid has {len(uid)} bytes, must be {UID_BYTES}")
        dek = urandom(DEK_BYTES)
        return dek, self.wrap_dek(uid, dek)

    def wrap_dek(self, uid: bytes, dek: bytes) -> bytes:
        """The DEK of the log `uid`, wrapped by the store key of now. Raises as StoreKeys.current()."""
        nonce = urandom(NONCE_BYTES)
        key_id, store_key = self.store_keys.current()
        head = bytes([_DEK_VERSION]) + key_id
        return head + nonce + store_key.encrypt(nonce, dek, _DEK_DOMAIN + uid)

    def open_dek(self, uid: bytes, wrapped: bytes) -> bytes:
        """The DEK of the log `uid`.

        Raises Corrupt when it is damaged or another log's, and as StoreKeys.cipher() when its store key does not open.
        """
        return _open_dek(self.store_keys.cipher(store_key_id(wrapped)), uid, wrapped)

    def describe(self, wrapped: bytes) -> WrappedDek:
        """A DEK that this keyring can open, to be kept where the store is not. Raises Corrupt."""
        key = self.store_keys.describe(store_key_id(wrapped))
        return WrappedDek(wrapped, key.store_id, key.record)

    def adopt(self, described: WrappedDek) -> None:
        """Keeps the store key of another store, so that open_dek() opens what it wrapped. Again: nothing happens.

        Raises Denied when the KMS's key is another one, Corrupt when the record is damaged, or is another one here.
        """
        self.store_keys.adopt(described.key)


# kept(id): copies of a store key that are kept by themselves, the one to be tried first being the first.
KeptKeys = Callable[[bytes], Sequence[DescribedKey]]


def _none_kept(_key_id: bytes) -> Sequence[DescribedKey]:
    return ()


class DescribedKeys:
    """Opens DEKs without their store. A KMS is asked once for each store key. Thread-safe.

    kept: finds copies of store keys that count more than the ones beside the DEKs: they were wrapped anew when the
    KMS's key was rotated, or the KMS was changed. Asked once for each.
    """

    def __init__(self, kms: Kms | KnownKms, kept: KeptKeys = _none_kept) -> None:
        self.kms = kms if isinstance(kms, KnownKms) else KnownKms(kms)
        self._kept = kept
        self._ciphers: dict[bytes, AESGCM] = {}
        self._lock = threading.Lock()

    def copies(self, beside: DescribedKey) -> list[DescribedKey]:
        """The copies of a store key, in the order in which they are to be tried: `beside`, a DEK's own, is the last."""
        return [*self._kept(beside.key_id), beside]

    def open_dek(self, uid: bytes, described: WrappedDek) -> bytes:
        """The DEK of the log `uid`. Raises Denied when the KMS's key is another one, Corrupt, Unavailable."""
        key = described.key
        with self._lock:
            cipher = self._ciphers.get(key.key_id)
            if cipher is None:
                cipher = self._ciphers[key.key_id] = self._open(key)
        return _open_dek(cipher, uid, described.dek)

    def _open(self, beside: DescribedKey) -> AESGCM:
        first: JoblogError | None = None
        # Only the KMS from before may be at hand; or one copy is damaged.
        for copy in self.copies(beside):
            try:
                return self._open_copy(copy)
            except (Denied, Corrupt, NotFound, WrongVersion) as error:
                first = first or error
        assert first is not None
        raise first

    def _open_copy(self, copy: DescribedKey) -> AESGCM:
        record = unpack_record(copy.record)
        return copy.open(self.kms.find(record.kms, record.key_id))


def open_described(kms: Kms, uid: bytes, described: WrappedDek) -> bytes:
    """The DEK of the log `uid`, without its store. Raises Denied when the KMS's key is another one, Corrupt."""
    return DescribedKeys(kms).open_dek(uid, described)


def store_key_id(wrapped: bytes) -> bytes:
    """Which store key wrapped a DEK. Raises Corrupt, WrongVersion."""
    if wrapped[:1] and wrapped[0] != _DEK_VERSION:
        raise WrongVersion(f"a wrapped DEK has version {wrapped[0]}; this joblog knows version {_DEK_VERSION}")
    if len(wrapped) != _WRAPPED_DEK_BYTES:
        raise Corrupt(f"a wrapped DEK has {len(wrapped)} bytes, must be {_WRAPPED_DEK_BYTES}; restore a backup")
    return wrapped[1:_DEK_HEAD_BYTES]


def _open_dek(store_key: AESGCM, uid: bytes, wrapped: bytes) -> bytes:
    nonce, sealed = wrapped[_DEK_HEAD_BYTES:][:NONCE_BYTES], wrapped[_DEK_HEAD_BYTES + NONCE_BYTES :]
    try:
        return store_key.decrypt(nonce, sealed, _DEK_DOMAIN + uid)
    except InvalidTag:
        raise Corrupt(f"the DEK of log {uid.hex()} does not open: it was changed, or is another log's") from None
