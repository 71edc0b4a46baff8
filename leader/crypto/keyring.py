"""The keyring: the store key, wrapped by the KMS, and under it one DEK per log."""

from __future__ import annotations

from typing import Protocol

from joblog.leader.crypto.kms import Kms


class KeyRecords(Protocol):
    """Where wrapped store keys are kept."""

    def get_key(self, name: bytes) -> bytes | None: ...

    def put_key(self, name: bytes, value: bytes) -> None:
        """On disk and synced when it returns."""
        ...


class Keyring:
    """Makes and opens DEKs. Threads may share an instance."""

    @classmethod
    def open(cls, records: KeyRecords, kms: Kms, store_id: str) -> Keyring:
        """The keyring of a store; makes its first store key when there is none yet.

        Raises Denied when the KMS's key is not the one that wrapped the store key, Corrupt when a record is damaged.
        """
        raise NotImplementedError

    def new_dek(self, uid: bytes) -> tuple[bytes, bytes]:
        """(dek, wrapped dek) for a new log; `wrapped` goes into the store with the log's record."""
        raise NotImplementedError

    def open_dek(self, uid: bytes, wrapped: bytes) -> bytes:
        """The DEK of the log `uid`. Raises Corrupt when it is damaged or another log's."""
        raise NotImplementedError
