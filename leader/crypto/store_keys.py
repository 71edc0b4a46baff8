"""The store keys of one store: made, opened when they are needed, rotated, and wrapped anew."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterator
from os import urandom
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Conflict, Corrupt, Denied, Unavailable
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_key_record import (
    STORE_KEY_BYTES,
    STORE_KEY_ID_BYTES,
    DescribedKey,
    StoreKeyRecord,
    store_key_context,
    unpack_record,
)

_CURRENT = b"current"
_STORE_KEY = b"store/"
_STORE_OF = b"from/"
# While a KMS can't be reached, those who need it are told so at once for so long, without asking it again.
_AWAY_SECONDS = 2.0


class KeyRecords(Protocol):
    """Where wrapped store keys are kept."""

    def get_key(self, name: bytes) -> bytes | None:
        """What was put under `name`."""
        ...

    def put_key(self, name: bytes, value: bytes) -> None:
        """On disk and synced when it returns."""
        ...

    def key_names(self, prefix: bytes) -> list[bytes]:
        """All names that start with `prefix`, in order."""
        ...


class StoreKey(NamedTuple):
    """A store key as it is kept. current: it wraps the DEKs of new logs. adopted: it was made for another store."""

    key_id: bytes
    store_id: str
    record: StoreKeyRecord
    current: bool
    adopted: bool


class StoreKeys:
    """Thread-safe. A KMS is asked once for each key that is needed, and once for each that is made or wrapped anew."""

    def __init__(
        self,
        records: KeyRecords,
        kms: KnownKms,
        store_id: str,
        *,
        clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks no KMS yet."""
        self.kms = kms
        self._records = records
        self._store_id = store_id
        self._clock_ns = clock_ns
        self._clock = clock
        self._ciphers: dict[bytes, AESGCM] = {}
        self._lock = threading.Lock()
        # Held while a key is opened: the KMS is asked once, however many wait for the key.
        self._opening: dict[bytes, threading.Lock] = {}
        # Keys that could not be opened lately: (since when to ask again, why not).
        self._away: dict[bytes, tuple[float, str]] = {}
        # Held while keys are made, wrapped anew or taken over.
        self._changing = threading.RLock()
        self._current_id = records.get_key(_CURRENT)

    # Opening

    def current(self) -> tuple[bytes, AESGCM]:
        """(id, key) that wraps new DEKs; makes the store's first one. Raises Denied, Corrupt, Unavailable."""
        key_id = self._current_id
        if key_id is None:
            with self._changing:
                key_id = self._current_id or self._make(0)
        return key_id, self.cipher(key_id)

    def cipher(self, key_id: bytes) -> AESGCM:
        """The store key. Raises Denied when its KMS is not known, Corrupt when it is damaged, Unavailable."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            with self._lock:
                opening = self._opening.setdefault(key_id, threading.Lock())
            with opening:
                cipher = self._ciphers.get(key_id) or self._open(key_id)
        return cipher

    def _open(self, key_id: bytes) -> AESGCM:
        again_at, why = self._away.get(key_id, (0.0, ""))
        if why and self._clock() < again_at:
            raise Unavailable(why)
        described = self.describe(key_id)
        record = unpack_record(described.record)
        try:
            cipher = described.open(self.kms.find(record.kms, record.key_id))
        except Unavailable as error:
            self._away[key_id] = self._clock() + _AWAY_SECONDS, str(error)
            raise
        self._away.pop(key_id, None)
        self._ciphers[key_id] = cipher
        return cipher

    def is_open(self, key_id: bytes) -> bool:
        """Whether the key is in memory: no KMS is needed for it."""
        return key_id in self._ciphers

    def describe(self, key_id: bytes) -> DescribedKey:
        """The key as it can be kept elsewhere. Raises Corrupt when it is missing."""
        record = self._records.get_key(_STORE_KEY + key_id)
        if record is None:
            raise Corrupt(f"store key {key_id.hex()} is missing from the store; restore a backup")
        origin = self._records.get_key(_STORE_OF + key_id)
        return DescribedKey(key_id, self._store_id if origin is None else origin.decode(), record)

    def all(self) -> list[StoreKey]:
        """Every key, the oldest first; asks no KMS. Raises Corrupt, WrongVersion."""
        found = []
        for name in self._records.key_names(_STORE_KEY):
            described = self.describe(name[len(_STORE_KEY) :])
            record = unpack_record(described.record)
            adopted = described.store_id != self._store_id
            current = described.key_id == self._current_id
            found.append(StoreKey(described.key_id, described.store_id, record, current, adopted))
        return sorted(found, key=lambda key: (key.current, key.record.made_ns, key.key_id))

    def current_made_ns(self) -> int | None:
        """When the current key was made; 0 where that was not noted, None when there is no key yet."""
        key_id = self._current_id
        return None if key_id is None else unpack_record(self.describe(key_id).record).made_ns

    # Changing

    def _make(self, generation: int) -> bytes:
        kms, key_id, key = self.kms.present, urandom(STORE_KEY_ID_BYTES), urandom(STORE_KEY_BYTES)
        wrapped = kms.wrap(key, store_key_context(self._store_id, key_id))
        now = self._clock_ns()
        record = self._record(kms, wrapped, StoreKeyRecord("", "", b"", "", generation, now, now))
        self._records.put_key(_STORE_KEY + key_id, record.pack())
        # Before anybody wraps with it, and after it is safe: a key in use is never missing.
        self._ciphers[key_id] = AESGCM(key)
        self._records.put_key(_CURRENT, key_id)
        self._current_id = key_id
        return key_id

    @staticmethod
    def _record(kms: Kms, wrapped: bytes, like: StoreKeyRecord) -> StoreKeyRecord:
        version = kms.version_of(wrapped)
        return like._replace(kms=kms.name, key_id=kms.key_id, kek_version=version, wrapped=wrapped)

    def rotate(self) -> bytes:
        """Makes a new current key; returns its id. When it raises Unavailable, the old one goes on."""
        with self._changing:
            return self._make(0)

    def note_made(self, made_ns: int) -> None:
        """Notes when the current key was made, where its record does not say so."""
        with self._changing:
            key_id = self._current_id
            if key_id is not None:
                record = unpack_record(self.describe(key_id).record)
                if not record.made_ns:
                    self._records.put_key(_STORE_KEY + key_id, record._replace(made_ns=made_ns).pack())

    def rewrap(self, is_fresh: Callable[[StoreKeyRecord], bool]) -> Iterator[StoreKey]:
        """Wraps every key for which `is_fresh` is false under the present KMS; gives each that is done.

        Each is opened once with the KMS before it counts. What was done stays done when it is stopped, or raises:
        Denied, Corrupt, Unavailable.
        """
        for key in self.all():
            with self._changing:
                # Another one may have come by it meanwhile.
                described = self.describe(key.key_id)
                if not is_fresh(unpack_record(described.record)):
                    self._rewrap(described)
            yield key._replace(record=unpack_record(self.describe(key.key_id).record))

    def _rewrap(self, described: DescribedKey) -> None:
        record, target = unpack_record(described.record), self.kms.present
        before = self.kms.find(record.kms, record.key_id)
        plain = described.unwrap(before)
        if before is target:
            wrapped = target.rewrap(record.wrapped, described.context())
        else:
            wrapped = target.wrap(plain, described.context())
        if not hmac.compare_digest(target.unwrap(wrapped, described.context()), plain):
            raise Corrupt(f"KMS {target.name!r} gives back other bytes than it was given: store keys stay as they are")
        newer = self._record(target, wrapped, record)
        newer = newer._replace(generation=record.generation + 1, wrapped_ns=self._clock_ns())
        self._records.put_key(_STORE_KEY + described.key_id, newer.pack())

    def adopt(self, described: DescribedKey) -> bool:
        """Keeps the key of another store, or a copy of one here that was wrapped later; whether it was of use.

        Raises Denied when its KMS is not known, Corrupt when the record is damaged, or is another one here, Conflict.
        """
        with self._changing:
            known = self._records.get_key(_STORE_KEY + described.key_id)
            record = unpack_record(described.record)
            if known is not None:
                here = self.describe(described.key_id)
                if here.store_id != described.store_id:
                    raise Corrupt(
                        f"store key {described.key_id.hex()} is said to be of store {described.store_id}: it is of "
                        "another one"
                    )
                if record.generation <= unpack_record(known).generation:
                    return False
            self._ciphers[described.key_id] = described.open(self.kms.find(record.kms, record.key_id))
            if described.store_id != self._store_id:
                # First, so that a key without its origin is never there.
                self._records.put_key(_STORE_OF + described.key_id, described.store_id.encode())
            self._records.put_key(_STORE_KEY + described.key_id, described.record)
            if not self.kms.is_present(record.kms, record.key_id):
                # That KMS may be at hand now only.
                self._rewrap(described)
            return True

    def restore(self, described: DescribedKey) -> bool:
        """As adopt(), and in place of a copy here that opens with no KMS that is known; whether it was of use."""
        with self._changing:
            if self.adopt(described):
                return True
            try:
                self.cipher(described.key_id)
            except (Denied, Corrupt):
                here = unpack_record(self.describe(described.key_id).record)
                newer = unpack_record(described.record)._replace(generation=here.generation + 1)
                return self.adopt(described._replace(record=newer.pack()))
            return False

    def switch(self, kms: Kms, remember: Callable[[], None]) -> None:
        """Makes `kms` the present one once remember() has noted so; no key is made or wrapped meanwhile."""
        with self._changing:
            remember()
            self.kms.switch(kms)


def check_kms(kms: Kms, store_id: str) -> None:
    """Raises Conflict when the KMS does not give back what it was given; what it raises when it can't be used."""
    probe, context = urandom(STORE_KEY_BYTES), store_key_context(store_id, bytes(STORE_KEY_ID_BYTES))
    if not hmac.compare_digest(kms.unwrap(kms.wrap(probe, context), context), probe):
        raise Conflict(f"KMS {kms.name!r}, key {kms.key_id!r}, does not give back what it was given: it can't be used")
