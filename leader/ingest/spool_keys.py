"""The keys of workers' sealed spools, kept for them among the store's keys: no worker's disk has to hold one."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from google.protobuf.message import DecodeError

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput
from joblog.leader.crypto.store_keys import KeyRecords, StoreKeys
from joblog.leader.crypto.wrapped_secret import open_secret, wrap_secret
from joblog.v1 import ingest_pb2

log = logging.getLogger(__name__)

KEY_BYTES = 32
# A worker uses one for a month, and drops those that its spools do not need.
MAX_KEYS = 1000
MAX_WORKER_ID_LENGTH = 250
_NAME = b"spool/"
_PURPOSE = b"joblog spool key 1"


def key_id_of(key: bytes) -> bytes:
    """What names a spool key, on the worker too."""
    return hashlib.sha256(b"joblog spool key id" + key).digest()[:8]


class KeptKey(NamedTuple):
    """A spool key in clear."""

    worker_id: str
    key: bytes
    kept_ns: int

    def __repr__(self) -> str:
        return f"KeptKey({self.worker_id!r})"


class SpoolKeys:
    """Thread-safe. All raise InvalidInput for what can't be a worker's id, and as StoreKeys where that is needed."""

    def __init__(
        self, records: KeyRecords, store_keys: StoreKeys, *, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._records = records
        self._store_keys = store_keys
        self._clock_ns = clock_ns
        self._changing = threading.Lock()
        self._changes = 0

    def changes(self) -> int:
        """Another number whenever a key was kept or dropped since the start."""
        return self._changes

    def all(self) -> list[KeptKey]:
        """The keys of all workers, those aside that are damaged, of which the log tells."""
        found = []
        for name in self._records.key_names(_NAME):
            worker_id = name[len(_NAME) :].decode(errors="replace")
            try:
                found += [KeptKey(worker_id, one.key, one.kept_ns) for one in self.get(worker_id)]
            except (Corrupt, Denied, InvalidInput) as error:
                log.error("spool keys of worker %s can't be opened: %s", worker_id, error)
        return found

    def keep(self, worker_id: str, key: bytes, *, kept_ns: int = 0) -> None:
        """Keeps a key, on disk and synced when it returns; again: nothing happens. Raises InvalidInput, Conflict.

        kept_ns: since when, where another leader had it before.
        """
        if len(key) != KEY_BYTES:
            raise InvalidInput(f"a spool key has {len(key)} bytes, must be {KEY_BYTES}")
        key_id = key_id_of(key)
        with self._changing:
            kept = self._kept(worker_id)
            if any(one.key_id == key_id for one in kept.keys):
                return
            if len(kept.keys) >= MAX_KEYS:
                raise Conflict(f"worker {worker_id} has {MAX_KEYS} spool keys already: it has to drop some first")
            wrapped = wrap_secret(self._store_keys, _purpose(worker_id), key)
            kept.keys.add(key_id=key_id, kept_ns=kept_ns or self._clock_ns(), wrapped=wrapped)
            self._put(worker_id, kept)

    def get(self, worker_id: str) -> list[ingest_pb2.SpoolKey]:
        """The worker's keys, the oldest first. Raises Corrupt when one is damaged."""
        purpose = _purpose(worker_id)
        return [
            ingest_pb2.SpoolKey(key=open_secret(self._store_keys, purpose, one.wrapped), kept_ns=one.kept_ns)
            for one in self._kept(worker_id).keys
        ]

    def drop(self, worker_id: str, key_ids: Collection[bytes]) -> None:
        """Forgets keys; those that are not there are passed over."""
        with self._changing:
            kept = self._kept(worker_id)
            left = [one for one in kept.keys if one.key_id not in key_ids]
            if len(left) < len(kept.keys):
                self._put(worker_id, ingest_pb2.KeptSpoolKeys(keys=left))

    def _kept(self, worker_id: str) -> ingest_pb2.KeptSpoolKeys:
        record = self._records.get_key(_name(worker_id))
        try:
            return ingest_pb2.KeptSpoolKeys.FromString(record or b"")
        except DecodeError:
            raise Corrupt(f"the record of worker {worker_id}'s spool keys is damaged; restore a backup") from None

    def _put(self, worker_id: str, kept: ingest_pb2.KeptSpoolKeys) -> None:
        self._records.put_key(_name(worker_id), kept.SerializeToString(deterministic=True))
        self._changes += 1


def _name(worker_id: str) -> bytes:
    if not 1 <= len(worker_id) <= MAX_WORKER_ID_LENGTH or not worker_id.isprintable():
        raise InvalidInput(f"worker_id must be 1-{MAX_WORKER_ID_LENGTH} printable characters")
    return _NAME + worker_id.encode()


def _purpose(worker_id: str) -> bytes:
    return _PURPOSE + worker_id.encode()
