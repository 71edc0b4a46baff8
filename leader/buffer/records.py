"""What the store's records and indexes say as of now: look-ups and lists, which change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from joblog.identity import LogName
from joblog.leader.buffer import catalog, keys
from joblog.leader.buffer.catalog import EVERY_RUN, RunFilter
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.engine import Engine
from joblog.leader.buffer.extents import read_extents
from joblog.leader.buffer.ledger import read_log, read_run
from joblog.leader.buffer.view import read_events, read_gaps
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import Event, Gap, LogRecord, RunRecord, Verification


class WriterEntry(NamedTuple):
    """What the store knows of a writer id in a task: its log's number, and whether that log was deleted."""

    number: int
    deleted: bool


class Records:
    """The part of a Store that needs nothing but its database. All methods may be called from any thread."""

    _engine: Engine

    def get_dek(self, number: int) -> bytes | None:
        """The log's wrapped DEK."""
        return self._engine.get(keys.KEYS, keys.dek_key(number))

    def find_log(self, name: LogName) -> int | None:
        """The number of the log; attempt 0 means the newest."""
        attempt = name.attempt or self.last_attempt(name.namespace, name.run, name.task)
        value = self._engine.get(keys.INDEX, keys.attempt_key(name.namespace, name.run, name.task, attempt))
        return None if value is None else keys.number_of(value)

    def find_writer(self, namespace: str, run: str, task: str, writer_id: bytes) -> WriterEntry | None:
        """The log that this writer id opened in the task, also after it was deleted."""
        value = self._engine.get(keys.INDEX, keys.writer_key(namespace, run, task, writer_id))
        return None if value is None else WriterEntry(*keys.unpack_writer(value))

    def last_attempt(self, namespace: str, run: str, task: str) -> int:
        """The task's highest attempt; 0 when it has none."""
        prefix = keys.attempt_prefix(namespace, run, task)
        key = self._engine.cursor(keys.INDEX).seek_back(keys.after(prefix))
        return keys.parse_attempt_key(key)[3] if key is not None and key.startswith(prefix) else 0

    def live_logs(self) -> Iterator[LogRecord]:
        """Records of all logs that are live or interrupted, by number, as they were written.

        Their next_offset and newlines are not those of this moment, for which get_log() looks at the log's end.
        """
        for number in self.open_numbers():
            record = read_log(self._engine, number)
            if record is not None:
                yield record

    def unsealed_logs(self, limit: int, after: int = 0) -> list[int]:
        """Numbers of completed logs that are not sealed in the archive, in order, those beyond `after`."""
        begin, end = keys.unsealed_key(after + 1), keys.after(keys.unsealed_prefix())
        found = scan(self._engine, keys.INDEX, begin, end)
        return [keys.number_of(key) for key, _ in islice(found, limit)]

    def unmerged_logs(self, after: int = 0, limit: int = 100) -> list[int]:
        """Numbers, those beyond `after`, of completed logs whose small chunks are not merged yet, in order."""
        prefix = keys.unmerged_prefix()
        found = scan(self._engine, keys.INDEX, keys.unmerged_key(after + 1), keys.after(prefix))
        return [keys.number_of(key) for key, _ in islice(found, limit)]

    def deaths(self, limit: int = 100) -> list[int]:
        """Numbers of logs whose death report was not sent out yet, in order."""
        prefix = keys.death_prefix()
        found = scan(self._engine, keys.INDEX, prefix, keys.after(prefix))
        return [keys.number_of(key) for key, _ in islice(found, limit)]

    def open_numbers(self) -> list[int]:
        """Numbers of all logs that are live or interrupted, in order."""
        prefix = keys.open_prefix()
        return [keys.number_of(key) for key, _ in scan(self._engine, keys.INDEX, prefix, keys.after(prefix))]

    def extents(self, number: int, from_offset: int = 0) -> Iterator[Extent]:
        """As View.extents(), as of now; of use where nobody else changes them meanwhile."""
        return read_extents(self._engine, number, from_offset)

    def list_namespaces(
        self, after: str = "", limit: int = 1000, wanted: Callable[[str], bool] | None = None
    ) -> list[str]:
        """Namespaces with at least one run, sorted, those beyond `after`, that are wanted.

        Raises InvalidInput for a bad limit.
        """
        return catalog.list_namespaces(self._engine, after, catalog.check_limit(limit), wanted)

    def list_runs(
        self, namespace: str, where: RunFilter = EVERY_RUN, page_token: str = "", limit: int = 100
    ) -> tuple[list[RunRecord], str]:
        """(runs newest first, token of the next page or ""). Raises InvalidInput for a bad limit, state or token."""
        source = self._engine.moment((keys.RUNS, keys.INDEX))
        return catalog.list_runs(source, namespace, where, page_token, catalog.check_limit(limit))

    def get_run(self, namespace: str, run: str) -> RunRecord | None:
        """The run's record."""
        return read_run(self._engine, namespace, run)

    def events(self, number: int) -> list[Event]:
        """The log's events by offset and time."""
        return read_events(self._engine, number)

    def verification(self, number: int) -> Verification | None:
        """What the log's last verification has found; None when there was none."""
        value = self._engine.get(keys.LOGS, keys.verified_key(number))
        return None if value is None else Verification.FromString(value)

    def gaps(self, number: int) -> list[Gap]:
        """The log's gaps by offset."""
        return read_gaps(self._engine, number)

    def get_key(self, name: bytes) -> bytes | None:
        """A record of the keyring."""
        return self._engine.get(keys.KEYS, keys.keyring_key(name))

    def key_names(self, prefix: bytes) -> list[bytes]:
        """Names of the keyring's records that start with `prefix`, in order."""
        begin = keys.keyring_key(prefix)
        found = scan(self._engine, keys.KEYS, begin, keys.after(begin))
        return [keys.keyring_name(key) for key, _ in found]

    def count_deks(self) -> dict[bytes, int]:
        """How many logs' DEKs each store key has wrapped, by its id. Reads one small entry of each log."""
        found = scan(self._engine, keys.KEYS, keys.dek_key(0), keys.after(keys.dek_key(keys.MAX_U64 - 1)))
        return Counter(keys.wrapping_key_of(value) for _, value in found)
