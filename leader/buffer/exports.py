"""How far logs were exported, as entries of the index: of each log that is to be, until all of it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from joblog.leader.buffer import keys
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.engine import Engine, Operations
from joblog.v1.types_pb2 import LogRecord


class Exported(NamedTuple):
    """Of each stream, all bytes in the log below the offset were exported, and none at or above it."""

    stdout: int = 0
    stderr: int = 0

    @property
    def offset(self) -> int:
        """All of the log below it was exported."""
        return min(self)


NOTHING = Exported()


def pack_exported(exported: Exported) -> bytes:
    """The value of an entry."""
    return keys.u64(exported.stdout) + keys.u64(exported.stderr)


def unpack_exported(value: bytes) -> Exported:
    """The reverse of pack_exported."""
    return Exported(int.from_bytes(value[:8], "big"), int.from_bytes(value[8:16], "big"))


class Exports:
    """All methods may be called from any thread. lock: the ledger's, so that no entry outlives its log.

    wanted: whether a log is to be exported, asked when it is opened. on_deleted: called with the number of bytes when
    one is deleted before all of it was; under the ledger's lock. Both are set before logs are opened.
    """

    def __init__(self, engine: Engine, lock: threading.Lock) -> None:
        self._engine = engine
        self._lock = lock
        self.wanted: Callable[[LogRecord], bool] = lambda _record: False
        self.on_deleted: Callable[[int], None] = lambda _bytes: None

    def pending(self, after: int = 0, limit: int = 1000) -> list[tuple[int, Exported]]:
        """Logs that are not exported wholly, by number, those beyond `after`."""
        begin, end = keys.export_key(after + 1), keys.after(keys.export_prefix())
        found = islice(scan(self._engine, keys.INDEX, begin, end), limit)
        return [(keys.number_of(key), unpack_exported(value)) for key, value in found]

    def begin(self, records: Iterable[LogRecord]) -> int:
        """Notes logs that were opened before anybody wanted them, from their beginning; how many."""
        with self._lock:
            fresh = [
                keys.export_key(record.number)
                for record in records
                if self.wanted(record) and self._engine.get(keys.INDEX, keys.export_key(record.number)) is None
            ]
            self._put((), [(keys.INDEX, key, pack_exported(NOTHING)) for key in fresh])
        return len(fresh)

    def advance(self, exported: Mapping[int, Exported | None]) -> None:
        """Notes how far logs were exported; None: wholly. Of those that were deleted meanwhile, nothing.

        Not synced: after a crash of the machine, some of it may be exported again.
        """
        with self._lock:
            there = {number for number in exported if self._engine.get(keys.INDEX, keys.export_key(number)) is not None}
            puts = [
                (keys.INDEX, keys.export_key(number), pack_exported(place))
                for number, place in exported.items()
                if place is not None and number in there
            ]
            self._put({number for number in there if exported[number] is None}, puts)

    def _put(self, done: Iterable[int], puts: list[tuple[str, bytes, bytes]]) -> None:
        deletes = [(keys.INDEX, keys.export_key(number)) for number in done]
        if deletes or puts:
            self._engine.write(Operations([], deletes, puts))
