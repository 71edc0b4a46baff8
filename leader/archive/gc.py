"""Objects that no leader needs: what a leader that was killed between two steps, or lost its disk, left behind.

A leader deletes what it does not need any more by itself; this finds the rest, with the catalog of the leader that has
the archive. A sealed log with its metadata is never an orphan, whoever knows of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from joblog.errors import Conflict
from joblog.leader.archive import failpoints
from joblog.leader.archive.claim import read_claim
from joblog.leader.archive.layout import (
    LIVE_PREFIX,
    METADATA_NAME,
    PLAIN_NAME,
    SEALED_NAME,
    parse_log_key,
    parse_pack_key,
    parse_roster_key,
)
from joblog.leader.archive.objects import MAX_DELETES, ObjectInfo, ObjectStore, walk
from joblog.leader.archive.rebuild import is_unfinished
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store

DEFAULT_MIN_AGE_SECONDS = 24 * 3600.0


class Orphan(NamedTuple):
    """An object that nothing needs, and why."""

    key: str
    size: int
    modified_ns: int
    why: str


class Collector:
    """Finds orphans, and deletes them. store: that of the leader that has the archive; it must not run meanwhile."""

    def __init__(
        self,
        objects: ObjectStore,
        store: Store,
        *,
        min_age_seconds: float = DEFAULT_MIN_AGE_SECONDS,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Raises Conflict when the store is not that of the leader that has the archive, or lacks logs."""
        self._objects = objects
        self._store = store
        self._before_ns = clock_ns() - int(min_age_seconds * 1e9)
        claim = read_claim(objects)
        if claim is None or claim.store_id != store.store_id:
            whose = "nobody has claimed it" if claim is None else f"store {claim.store_id} on {claim.host} has it"
            raise Conflict(
                f"archive {objects.name} is not this leader's, whose store is {store.store_id}: {whose}. Run this with "
                "the data folder of the leader that has the archive"
            )
        if is_unfinished(store):
            raise Conflict(f"store {store.path} is not complete: run `joblog archive rebuild` again first")

    def find(self) -> Iterator[Orphan]:
        """Orphans, by key. Objects whose keys are none of joblog's are passed over."""
        folders = groupby(walk(self._objects, ""), key=lambda info: info.key.rpartition("/")[0])
        for folder, infos in folders:
            if folder.startswith(LIVE_PREFIX):
                yield from self._live(infos)
            else:
                yield from self._of_log(list(infos))

    def _live(self, infos: Iterable[ObjectInfo]) -> Iterator[Orphan]:
        for info in infos:
            if (parse_pack_key(info.key) or parse_roster_key(info.key)) and self._unused(info):
                yield Orphan(info.key, info.size, info.modified_ns, "no log has bytes in it")

    def _of_log(self, infos: list[ObjectInfo]) -> Iterator[Orphan]:
        files = {parsed.file: info for info in infos if (parsed := parse_log_key(info.key)) is not None}
        whole = SEALED_NAME in files and METADATA_NAME in files
        for file, info in files.items():
            if file not in (SEALED_NAME, METADATA_NAME, PLAIN_NAME):
                if self._unused(info):
                    yield Orphan(info.key, info.size, info.modified_ns, "no log has bytes in it")
            elif not whole and self._old(info) and not self._used(files.get(SEALED_NAME)):
                missing = METADATA_NAME if SEALED_NAME in files else SEALED_NAME
                yield Orphan(info.key, info.size, info.modified_ns, f"there is no {missing} beside it")

    def _old(self, info: ObjectInfo) -> bool:
        return info.modified_ns <= self._before_ns

    def _used(self, info: ObjectInfo | None) -> bool:
        return info is not None and self._store.objects.uses(info.key) > 0

    def _unused(self, info: ObjectInfo) -> bool:
        return self._old(info) and not self._used(info)

    def delete(self, orphans: Iterable[Orphan]) -> Iterator[list[Orphan]]:
        """Deletes them, some at a time; gives those that are gone now."""
        batch: list[Orphan] = []
        for orphan in orphans:
            batch.append(orphan)
            if len(batch) == MAX_DELETES:
                yield self._delete(batch)
                batch = []
        if batch:
            yield self._delete(batch)

    def _delete(self, batch: list[Orphan]) -> list[Orphan]:
        failpoints.reach("gc.found")
        keys = [orphan.key for orphan in batch]
        # No list shows old versions of what is deleted: the leader asks again if this does not come to its end.
        changes = Changes()
        changes.announce_objects(keys)
        self._store.write(changes, sync=True)
        self._objects.delete(keys)
        failpoints.reach("gc.deleting")
        kept = self._objects.purge(keys)
        failpoints.reach("gc.deleted")
        changes = Changes()
        changes.forget_objects(keys)
        changes.lock_objects(kept)
        self._store.write(changes)
        return batch
