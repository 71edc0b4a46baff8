"""The keyring: the store key, wrapped by the KMS, and under it one DEK per log."""

from __future__ import annotations

from os import urandom
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, Denied, WrongVersion
from joblog.leader.crypto.envelope import DEK_BYTES, NONCE_BYTES, TAG_BYTES, UID_BYTES
from joblog.leader.crypto.kms import Kms

STORE_KEY_BYTES = 32
STORE_KEY_ID_BYTES = 16
_DEK_VERSION = 1
_RECORD_VERSION = 1
_DEK_DOMAIN = b"joblog dek"
_DEK_HEAD_BYTES = 1 + STORE_KEY_ID_BYTES
_WRAPPED_DEK_BYTES = _DEK_HEAD_BYTES + NONCE_BYTES + DEK_BYTES + TAG_BYTES
_CURRENT = b"current"
_STORE_KEY = b"store/"
_STORE_OF = b"from/"


class KeyRecords(Protocol):
    """Where wrapped store keys are kept."""

    def get_key(self, name: bytes) -> bytes | None:
        """What was put under `name`."""
        ...

    def put_key(self, name: bytes, value: bytes) -> None:
        """On disk and synced when it returns."""
        ...


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
        return _store_key_id(self.dek)

    @property
    def kms(self) -> tuple[str, str]:
        """(name of the KMS, its key id) that wrapped the store key. Raises Corrupt, WrongVersion."""
        return _unpack_record(self.store_key)[:2]


def _pack_record(kms: Kms, wrapped: bytes) -> bytes:
    names = [kms.name.encode(), kms.key_id.encode()]
    return bytes([_RECORD_VERSION]) + b"".join(bytes([len(name)]) + name for name in names) + wrapped


def _unpack_record(record: bytes) -> tuple[str, str, bytes]:
    """(name of the KMS, its key id, wrapped store key)."""
    if record[:1] not in (b"", bytes([_RECORD_VERSION])):
        raise WrongVersion(
            f"the store key's record has version {record[:1].hex()}; this joblog knows {_RECORD_VERSION}"
        )
    parts: list[str] = []
    rest = record[1:]
    for _ in range(2):
        if not rest or len(rest) <= rest[0]:
            raise Corrupt("the store key's record is cut short; restore a backup of the store")
        parts.append(rest[1 : 1 + rest[0]].decode(errors="replace"))
        rest = rest[1 + rest[0] :]
    return parts[0], parts[1], rest


class Keyring:
    """Makes and opens DEKs. Threads may share an instance."""

    def __init__(self, records: KeyRecords, kms: Kms, store_id: str, current: bytes) -> None:
        """Use open()."""
        self._records = records
        self._kms = kms
        self._store_id = store_id
        self._store_keys: dict[bytes, AESGCM] = {}
        self._current = current
        self._store_key(current)

    @classmethod
    def open(cls, records: KeyRecords, kms: Kms, store_id: str) -> Keyring:
        """The keyring of a store; makes its first store key when there is none yet.

        Raises Denied when the KMS's key is not the one that wrapped the store key, Corrupt when a record is damaged.
        """
        current = records.get_key(_CURRENT)
        if current is None:
            current = urandom(STORE_KEY_ID_BYTES)
            wrapped = kms.wrap(urandom(STORE_KEY_BYTES), _context(store_id, current))
            records.put_key(_STORE_KEY + current, _pack_record(kms, wrapped))
            records.put_key(_CURRENT, current)
        return cls(records, kms, store_id, current)

    def new_dek(self, uid: bytes) -> tuple[bytes, bytes]:
        """(dek, wrapped dek) for the new log `uid`; the wrapped one goes into the store with the log's record."""
        if len(uid) != UID_BYTES:
            raise Corrupt(f"a log's uid has {len(uid)} bytes, must be {UID_BYTES}")
        dek, nonce = urandom(DEK_BYTES), urandom(NONCE_BYTES)
        head = bytes([_DEK_VERSION]) + self._current
        return dek, head + nonce + self._store_key(self._current).encrypt(nonce, dek, _DEK_DOMAIN + uid)

    def open_dek(self, uid: bytes, wrapped: bytes) -> bytes:
        """The DEK of the log `uid`. Raises Corrupt when it is damaged or another log's."""
        return _open_dek(self._store_key(_store_key_id(wrapped)), uid, wrapped)

    def describe(self, wrapped: bytes) -> WrappedDek:
        """A DEK that this keyring can open, to be kept where the store is not. Raises Corrupt."""
        key_id = _store_key_id(wrapped)
        return WrappedDek(wrapped, self._origin(key_id), self._record(key_id))

    def adopt(self, described: WrappedDek) -> None:
        """Keeps the store key of another store, so that open_dek() opens what it wrapped. Again: nothing happens.

        Raises Denied when the KMS's key is another one, Corrupt when the record is damaged, or is another one here.
        """
        key_id = described.store_key_id
        known = self._records.get_key(_STORE_KEY + key_id)
        if known is None:
            key = _open_store_key(self._kms, described.store_id, key_id, described.store_key)
            # First, so that a key without its origin is never there.
            self._records.put_key(_STORE_OF + key_id, described.store_id.encode())
            self._records.put_key(_STORE_KEY + key_id, described.store_key)
            self._store_keys[key_id] = key
        elif self._origin(key_id) != described.store_id:
            raise Corrupt(f"store key {key_id.hex()} is said to be of store {described.store_id}: it is of another one")

    def _record(self, key_id: bytes) -> bytes:
        record = self._records.get_key(_STORE_KEY + key_id)
        if record is None:
            raise Corrupt(f"store key {key_id.hex()} is missing from the store; restore a backup")
        return record

    def _origin(self, key_id: bytes) -> str:
        origin = self._records.get_key(_STORE_OF + key_id)
        return self._store_id if origin is None else origin.decode()

    def _store_key(self, key_id: bytes) -> AESGCM:
        key = self._store_keys.get(key_id)
        if key is None:
            record = self._record(key_id)
            key = self._store_keys[key_id] = _open_store_key(self._kms, self._origin(key_id), key_id, record)
        return key


def open_described(kms: Kms, uid: bytes, described: WrappedDek) -> bytes:
    """The DEK of the log `uid`, without its store. Raises Denied when the KMS's key is another one, Corrupt."""
    key_id = described.store_key_id
    return _open_dek(_open_store_key(kms, described.store_id, key_id, described.store_key), uid, described.dek)


def _store_key_id(wrapped: bytes) -> bytes:
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


def _open_store_key(kms: Kms, store_id: str, key_id: bytes, record: bytes) -> AESGCM:
    name, kms_key_id, wrapped = _unpack_record(record)
    if (name, kms_key_id) != (kms.name, kms.key_id):
        raise Denied(
            f"the store's key was wrapped by KMS {name!r}, key {kms_key_id!r}; set is {kms.name!r}, "
            f"key {kms.key_id!r}: give the key file or passphrase that the store was made with"
        )
    return AESGCM(kms.unwrap(wrapped, _context(store_id, key_id)))


def _context(store_id: str, key_id: bytes) -> dict[str, str]:
    return {"purpose": "joblog store key", "store": store_id, "key": key_id.hex()}
