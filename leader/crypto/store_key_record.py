"""A store key as it is kept: wrapped, with which KMS wrapped it, and when. Layout: docs/format.md, "Keys"."""

from __future__ import annotations

import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, InvalidInput, WrongVersion
from joblog.leader.crypto.kms import Kms

STORE_KEY_BYTES = 32
STORE_KEY_ID_BYTES = 16
_FIRST_VERSION = 1
_VERSION = 2
_NUMBERS = struct.Struct(">IQQ")
_MAX_NAME_BYTES = 2**16 - 1


class StoreKeyRecord(NamedTuple):
    """kms, key_id, kek_version: what wrapped it; the version is "" where the KMS has none, or it is not known.

    generation: how often it was wrapped anew; of two copies of a record the higher one counts. made_ns: when the key
    was made, wrapped_ns: when it was wrapped; 0 in records of before that was noted.
    """

    kms: str
    key_id: str
    wrapped: bytes
    kek_version: str = ""
    generation: int = 0
    made_ns: int = 0
    wrapped_ns: int = 0

    def pack(self) -> bytes:
        """As it is kept."""
        names = [name.encode() for name in (self.kms, self.key_id, self.kek_version)]
        if any(len(name) > _MAX_NAME_BYTES for name in names):
            raise InvalidInput(f"the name of KMS {self.kms!r} or of its key has more than {_MAX_NAME_BYTES} bytes")
        numbers = _NUMBERS.pack(self.generation, self.made_ns, self.wrapped_ns)
        return bytes([_VERSION]) + b"".join(len(n).to_bytes(2, "big") + n for n in names) + numbers + self.wrapped


def unpack_record(packed: bytes) -> StoreKeyRecord:
    """What pack() was given, of this version or the first one. Raises Corrupt, WrongVersion."""
    version = packed[0] if packed else _VERSION
    if version not in (_FIRST_VERSION, _VERSION):
        raise WrongVersion(f"the store key's record has version {version}; this joblog knows versions up to {_VERSION}")
    size_bytes = 1 if version == _FIRST_VERSION else 2
    names: list[str] = []
    at = 1
    for _ in range(2 if version == _FIRST_VERSION else 3):
        end = at + size_bytes + int.from_bytes(packed[at : at + size_bytes], "big")
        names.append(_text(packed[at + size_bytes : end]))
        at = end
    head = at + (0 if version == _FIRST_VERSION else _NUMBERS.size)
    if len(packed) <= head:
        raise Corrupt("the store key's record is cut short; restore a backup of the store")
    if version == _FIRST_VERSION:
        return StoreKeyRecord(names[0], names[1], packed[head:])
    return StoreKeyRecord(names[0], names[1], packed[head:], names[2], *_NUMBERS.unpack(packed[at:head]))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Corrupt("the store key's record was changed: a name in it is no text; restore a backup") from None


class DescribedKey(NamedTuple):
    """A store key's record with what it takes to open it, the KMS aside.

    store_id: the store for which it was made; the KMS binds the key to it.
    """

    key_id: bytes
    store_id: str
    record: bytes

    def context(self) -> dict[str, str]:
        """What the KMS binds the key to."""
        return store_key_context(self.store_id, self.key_id)

    def unwrap(self, kms: Kms) -> bytes:
        """The key's bytes. Raises Denied, Corrupt, Unavailable."""
        key = kms.unwrap(unpack_record(self.record).wrapped, self.context())
        if len(key) != STORE_KEY_BYTES:
            raise Corrupt(f"store key {self.key_id.hex()} has {len(key)} bytes, must be {STORE_KEY_BYTES}")
        return key

    def open(self, kms: Kms) -> AESGCM:
        """The key, to open DEKs with. Raises as unwrap()."""
        return AESGCM(self.unwrap(kms))


def store_key_context(store_id: str, key_id: bytes) -> dict[str, str]:
    """What a KMS binds a store key to."""
    return {"purpose": "joblog store key", "store": store_id, "key": key_id.hex()}
