"""A catalog that was restored from a backup, brought up to date with the archive, which has gone on since.

What was sealed since is found there, and so are live logs' bytes beyond the backup. Objects that the restored catalog
names may be gone: their bytes lie in others by now, or the log was deleted. Killed anywhere, it is run again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from joblog.errors import Conflict
from joblog.identity import LogName
from joblog.leader.archive.census import LiveLog, sealed_extent
from joblog.leader.archive.claim import Claim, ClaimLost, read_claim
from joblog.leader.archive.layout import METADATA_NAME, parse_log_key
from joblog.leader.archive.metadata import Metadata
from joblog.leader.archive.objects import ObjectStore, walk
from joblog.leader.archive.rebuild import Progress, Rebuild
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.every import every_log
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.v1 import types_pb2
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import LogRecord

log = logging.getLogger(__name__)

# Of the archive's clock and the one by which the backup was made.
_CLOCKS_DIFFER_NS = 1200 * 10**9
_BATCH = 500
_END = 2**63


class Reconciled(NamedTuple):
    """What is other than in the backup: logs that were sealed since, live ones with more or other bytes, new ones of
    either kind, and those that were deleted since. problems: objects that could not be used, as in Rebuilt.
    """

    sealed: int
    live: int
    added: int
    deleted: int
    problems: list[tuple[str, str]]


class Reconcile(Rebuild):
    """Of a restored store. created_ns: the moment of the backup."""

    def __init__(
        self, store: Store, keyring: Keyring, objects: ObjectStore, created_ns: int, *, threads: int = 16
    ) -> None:
        super().__init__(store, keyring, objects, threads=threads)
        self._created_ns = created_ns
        # Numbers of logs that the archive knows.
        self._known: set[int] = set()
        self._sealed_since = self._live_since = self._added = 0

    def bring_up_to_date(self, progress: Progress = lambda *_: None) -> Reconciled:
        """Raises ClaimLost when another leader has the archive, and what the stores raise; then run it again."""
        self._objects.check(create=False)
        there = read_claim(self._objects)
        if there is None:
            if self._names_objects():
                raise Conflict(
                    f"archive {self._objects.name} was never claimed by a leader, and the backup's logs lie in "
                    "one: set archive.url to the archive that they are in"
                )
            return Reconciled(0, 0, 0, 0, [])
        if there.store_id != self._store.store_id:
            raise ClaimLost(
                f"archive {self._objects.name} is claimed by the leader on {there.host} with store {there.store_id}: "
                "it took over from the one whose backup this is, and has all that was archived. Let that one go on, "
                "and take what it lacks from the backup with `joblog restore --run`"
            )
        Claim(self._objects, self._store.store_id).take(force=False)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="reconcile") as pool:
            self._sealed(pool, progress)
            self._live(pool, progress)
        deleted = self._delete_gone() if not self._problems else 0
        self._announce()
        return Reconciled(self._sealed_since, self._live_since, self._added, deleted, self._problems)

    def _names_objects(self) -> bool:
        return any(True for record in every_log(self._store) if any(True for _ in self._store.extents(record.number)))

    def _sealed_keys(self) -> Iterator[str]:
        """Not those that the backup knows to be sealed and that were written before it."""
        for info in walk(self._objects, ""):
            key = parse_log_key(info.key)
            if key is None or key.file != METADATA_NAME:
                continue
            record = self._record(key.name)
            was_sealed = record is not None and record.tier == types_pb2.TIER_ARCHIVE and record.HasField("seal")
            if record is not None and was_sealed and info.modified_ns < self._created_ns - _CLOCKS_DIFFER_NS:
                self._known.add(record.number)
            else:
                yield info.key

    def _record(self, name: LogName) -> LogRecord | None:
        number = self._store.find_log(name)
        return None if number is None else self._store.get_log(number)

    def _wants(self, metadata: Metadata) -> bool:
        record = self._record(metadata.name)
        # A roster may name a log that was sealed since, or deleted and begun anew under its name.
        return record is None or record.number not in self._known

    def _add(self, changes: Changes, metadata: Metadata, live: LiveLog | None) -> None:
        mine = self._record(metadata.name)
        if mine is not None and mine.uid != metadata.record.uid:
            # Deleted since, and begun anew.
            gone = Changes()
            gone.delete_log(mine.number)
            self._store.write(gone)
            mine = None
        if mine is None:
            super()._add(changes, metadata, live)
            self._known.update(changes.logs)
            self._added += 1
            return
        self._known.add(mine.number)
        if live is None:
            self._take_sealed(changes, mine, metadata)
        else:
            self._take_live(changes, mine, live)

    def _take_sealed(self, changes: Changes, mine: LogRecord, metadata: Metadata) -> None:
        extent = sealed_extent(metadata)
        assert extent is not None
        found = [_place(one) for one in self._store.extents(mine.number)]
        if found == [_place(extent)] and mine.tier == types_pb2.TIER_ARCHIVE:
            return
        record = LogRecord()
        record.CopyFrom(metadata.record)
        record.number, record.writer_id, record.token_id = mine.number, mine.writer_id, mine.token_id
        record.tier = types_pb2.TIER_ARCHIVE
        record.stored_bytes = extent.object_bytes
        for event in metadata.events:
            changes.put_event(mine.number, event)
        changes.delete_extents(mine.number, 0, _END)
        changes.put_extent(mine.number, extent)
        changes.delete_chunks(mine.number, 0, _END)
        changes.put_log(record)
        self._sealed_since += 1

    def _take_live(self, changes: Changes, mine: LogRecord, live: LiveLog) -> None:
        """Its extents as they are now; chunks of the backup that these do not hold stay."""
        found = [_place(one) for one in self._store.extents(mine.number)]
        if found == [_place(one) for one in live.extents]:
            return
        changes.delete_extents(mine.number, 0, _END)
        for extent in live.extents:
            changes.put_extent(mine.number, extent)
            # Objects begin and end where chunks do.
            changes.delete_chunks(mine.number, extent.offset, extent.end_offset)
        changes.gaps.extend((mine.number, gap) for gap in live.gaps)
        changes.put_roster(mine.number, live.roster)
        self._live_since += 1

    def _delete_gone(self) -> int:
        """Logs that lay in the archive when the backup was made, and that it does not know any more."""
        deleted = 0
        gone = (
            record.number
            for record in every_log(self._store)
            if record.number not in self._known and any(True for _ in self._store.extents(record.number))
        )
        while batch := list(islice(gone, _BATCH)):
            changes = Changes()
            for number in batch:
                changes.delete_log(number)
            self._store.write(changes)
            deleted += len(batch)
        return deleted


def _place(extent: Extent) -> tuple[str, int, int, int, int, int]:
    """What tells two extents apart; what else they say follows from the object."""
    place = extent.object, extent.offset, extent.end_offset, extent.position, extent.length
    return *place, extent.object_bytes
