"""A new leader's catalog made from the bucket and the KMS alone.

Sealed logs come from their metadata, live ones from rosters, packs and segments. The store is claimed for the archive
first, so that a leader that still runs stops writing to it. What was done stays done: a rebuild that was interrupted
goes on when it is run again, and until it is through the store says that it is not complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, Denied, JoblogError, NotFound, WrongVersion
from joblog.identity import AUDIT_NAMESPACE
from joblog.leader.access.audit_line import chain_of
from joblog.leader.archive import failpoints
from joblog.leader.archive.census import (
    LiveLog,
    load_metadata,
    load_rosters,
    locate,
    parallel,
    sealed_extent,
    sealed_keys,
)
from joblog.leader.archive.claim import Claim, ClaimState
from joblog.leader.archive.key_objects import archive_keys
from joblog.leader.archive.layout import LIVE_PREFIX, claim_key
from joblog.leader.archive.metadata import Metadata, vouched_cipher
from joblog.leader.archive.objects import ObjectStore, walk
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.every import runs_of
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.keyring import DescribedKeys, Keyring
from joblog.leader.crypto.store_key_record import DescribedKey
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import LogRecord

log = logging.getLogger(__name__)

_UNFINISHED = b"rebuild"
_BATCH = 500
_MAX_PROBLEMS = 1000

# progress(what is done, how many, of how many; 0: not known)
Progress = Callable[[str, int, int], None]


class Rebuilt(NamedTuple):
    """What a rebuild brought back, and objects that could not be used: (key, why), the first ones."""

    sealed: int
    live: int
    bytes: int
    problems: list[tuple[str, str]]


def has_logs(store: Store) -> bool:
    """Whether a store holds logs that those of an archive can't come beside.

    An audit log that its leader has kept apart, as it could not look into the archive, can have others beside it.
    """
    if store.list_namespaces(limit=1, wanted=lambda namespace: namespace != AUDIT_NAMESPACE):
        return True
    return any(not chain_of(run.run) for run in runs_of(store, AUDIT_NAMESPACE))


def is_unfinished(store: Store) -> bool:
    """Whether a rebuild of the store was begun and not finished: its catalog lacks logs then."""
    return bool(store.get_key(_UNFINISHED))


class Rebuild:
    """Fills the store from the archive. keyring: the store's own, with the KMS that the archive's logs need.

    over: the archive is taken over from this leader alone, and not from one that has claimed it since; None: from any.
    keys: store keys that are there beside those in the archive. claimed: called once the archive is claimed, and again
    when the rebuild is run again, before the store counts as complete.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        objects: ObjectStore,
        *,
        over: ClaimState | None = None,
        keys: DescribedKeys | None = None,
        claimed: Callable[[], object] = lambda: None,
        threads: int = 16,
    ) -> None:
        self._claimed = claimed
        self._over = over
        self._keys = keys
        self._store = store
        self._keyring = keyring
        self._objects = objects
        self._threads = threads
        self._problems: list[tuple[str, str]] = []
        self._adopted: set[bytes] = set()
        self._bytes = 0

    def run(self, progress: Progress = lambda *_: None) -> Rebuilt:
        """Raises Conflict when the store has logs already, ClaimLost, Denied when the KMS's key is another one, and
        what the stores raise; then it may be run again.
        """
        if not is_unfinished(self._store) and has_logs(self._store):
            raise Conflict(f"store {self._store.path} has logs already: rebuild into an empty data folder")
        self._objects.check(create=False)
        self._store.put_key(_UNFINISHED, b"1")
        Claim(self._objects, self._store.store_id).take(force=True, over=self._over)
        failpoints.reach("rebuild.claimed")
        self._claimed()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="rebuild") as pool:
            sealed = self._sealed(pool, progress)
            live = self._live(pool, progress)
            self._announce()
        self._store.put_key(_UNFINISHED, b"")
        return Rebuilt(sealed, live, self._bytes, self._problems)

    def _problem(self, key: str, why: str) -> None:
        log.warning("%s: %s", key, why)
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append((key, why))

    def _sealed(self, pool: ThreadPoolExecutor, progress: Progress) -> int:
        loaded = parallel(pool, self._load, self._sealed_keys())
        done = 0
        while batch := list(islice(loaded, _BATCH)):
            changes = Changes()
            for metadata in batch:
                if metadata is not None:
                    self._add(changes, metadata, None)
            self._store.write(changes)
            failpoints.reach("rebuild.batch")
            done += sum(metadata is not None for metadata in batch)
            progress("sealed logs", done, 0)
        return done

    def _sealed_keys(self) -> Iterator[str]:
        """Keys of the metadata that is looked at."""
        return sealed_keys(self._objects)

    def _load(self, key: str) -> Metadata | None:
        try:
            metadata = load_metadata(self._objects, key)
            if metadata.sealed is None:
                raise Corrupt("it says that the log is not sealed")
            return metadata
        except (Corrupt, WrongVersion) as error:
            self._problem(key, str(error))
        except NotFound:
            if self._objects.head(key) is not None:
                raise
        return None

    def _live(self, pool: ThreadPoolExecutor, progress: Progress) -> int:
        named = load_rosters(self._objects, self._problem)
        wanted = {uid: named_in for uid, named_in in named.items() if self._wants(named_in[0])}
        located = locate(self._objects, pool, wanted, self._problem)
        done = 0
        logs = iter(located.values())
        while batch := list(islice(logs, _BATCH)):
            changes = Changes()
            for live in batch:
                self._add(changes, live.metadata, live)
            self._store.write(changes)
            failpoints.reach("rebuild.live")
            done += len(batch)
            progress("live logs", done, len(located))
        return done

    def _wants(self, metadata: Metadata) -> bool:
        """Whether a log that a roster names is to be looked for. One that is sealed is known by then."""
        return self._store.find_log(metadata.name) is None

    def _announce(self) -> None:
        """What the last leader left and nothing names is the archiver's to delete; what is damaged stays."""
        damaged = {key for key, _ in self._problems}
        keys = (info.key for info in walk(self._objects, LIVE_PREFIX) if info.key != claim_key())
        unused = [key for key in keys if key not in damaged and not self._store.objects.uses(key)]
        changes = Changes()
        changes.announce_objects(unused)
        self._store.write(changes)

    def _add(self, changes: Changes, metadata: Metadata, live: LiveLog | None) -> None:
        if self._store.find_log(metadata.name) is not None:
            # An earlier try of this rebuild was interrupted behind it.
            return
        record = LogRecord()
        record.CopyFrom(metadata.record)
        try:
            cipher = self._cipher(metadata)
            record.writer_id = cipher.open_writer(metadata.writer)
        except (Corrupt, WrongVersion) as error:
            self._problem(str(metadata.name), str(error))
            return
        record.number = self._store.next_number()
        changes.put_dek(record.number, metadata.dek.dek)
        for event in metadata.events:
            changes.put_event(record.number, event)
        if live is None:
            self._add_sealed(changes, record, metadata)
        else:
            self._add_live(changes, record, live)
        changes.put_log(record)

    def _cipher(self, metadata: Metadata) -> LogCipher:
        dek = metadata.dek
        if dek.store_key_id not in self._adopted:
            self._adopt(dek.key)
            self._adopted.add(dek.store_key_id)
        return vouched_cipher(self._keyring.open_dek(metadata.record.uid, dek.dek), metadata)

    def _adopt(self, beside: DescribedKey) -> None:
        """Takes the store key over: the first of its copies that opens."""
        store_keys = self._keyring.store_keys
        first: JoblogError | None = None
        for copy in (self._keys or archive_keys(self._objects, store_keys.kms)).copies(beside):
            try:
                store_keys.adopt(copy)
            except (Corrupt, Denied) as error:
                first = first or error
            else:
                return
        assert first is not None
        raise first

    def _add_sealed(self, changes: Changes, record: LogRecord, metadata: Metadata) -> None:
        extent = sealed_extent(metadata)
        assert extent is not None
        record.tier = types_pb2.TIER_ARCHIVE
        record.stored_bytes = extent.object_bytes
        self._bytes += record.seal.length
        changes.put_extent(record.number, extent)

    def _add_live(self, changes: Changes, record: LogRecord, live: LiveLog) -> None:
        """What the buffer held beyond the archive is gone with it: the worker sends it again."""
        record.state = types_pb2.LOG_STATE_INTERRUPTED
        record.tier = types_pb2.TIER_BUFFER
        for field in ("seal", "outcome", "completed_ns", "next_offset", "newlines", "last_append_ns"):
            record.ClearField(field)
        changes.put_roster(record.number, live.roster)
        for extent in live.extents:
            changes.put_extent(record.number, extent)
        changes.gaps.extend((record.number, gap) for gap in live.gaps)
        if live.extents:
            self._bytes += live.extents[-1].end_offset
