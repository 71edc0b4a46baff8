"""What the archive says of a log beside its bytes: the documents for rosters and for metadata.json."""

from __future__ import annotations

from collections.abc import Callable

from joblog.leader.archive.metadata import Metadata, SealedObject, pack_metadata
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import Keyring
from joblog.v1.types_pb2 import LogRecord


class Describer:
    """Makes the documents. Thread-safe. open_cipher: the cipher of a log by its number."""

    def __init__(self, store: Store, keyring: Keyring, open_cipher: Callable[[int], LogCipher]) -> None:
        self._store = store
        self._keyring = keyring
        self._open_cipher = open_cipher

    def live(self, number: int) -> bytes | None:
        """The document of a live log; None when it is not there (any more)."""
        record = self._store.get_log(number)
        return None if record is None else self._document(record, None)

    def sealed(self, record: LogRecord, sealed: SealedObject) -> bytes | None:
        """The metadata.json of a completed log; None when it is not there (any more)."""
        return self._document(record, sealed)

    def _document(self, record: LogRecord, sealed: SealedObject | None) -> bytes | None:
        wrapped = self._store.get_dek(record.number)
        if wrapped is None:
            return None
        cipher = self._open_cipher(record.number)
        return pack_metadata(
            Metadata(
                record,
                self._store.events(record.number),
                self._keyring.describe(wrapped),
                cipher.seal_writer(record.writer_id),
                sealed,
            ),
            cipher.vouch,
        )
