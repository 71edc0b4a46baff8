"""Objects that nothing names any more are deleted; and large extents of live logs are joined."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from joblog.errors import Conflict, Corrupt, Denied, NotFound, WrongVersion
from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.assembling import Assembly, copy_range
from joblog.leader.archive.container import KIND_SEGMENT
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.extent_read import ExtentRead, Want
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.layout import METADATA_NAME, segment_key
from joblog.leader.archive.rollup import joined_generation, large_to_join, sizes_of
from joblog.leader.archive.sealing import COPY_BYTES
from joblog.leader.buffer.changes import Changes
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import LogRecord

log = logging.getLogger(__name__)

# A view of the store that a reader keeps may name an object for so long after nothing else does.
GRACE_SECONDS = 60.0
_AT_ONCE = 20_000
# After a denial.
DENIED_SECONDS = 3600


class Cleaner:
    """Deletes unused objects. Blocks; one call at a time."""

    def __init__(
        self,
        context: ArchiveContext,
        *,
        grace_seconds: float = GRACE_SECONDS,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._context = context
        self._grace_ns = int(grace_seconds * 1e9)
        self._clock_ns = clock_ns
        # Why objects were not deleted lately; empty: they were.
        self.refusal = ""
        # Where to go on.
        self._at = ""
        # No reader of an earlier life of the leader is left.
        self._began_ns = clock_ns()

    def clean(self) -> int:
        """Deletes what has been unused for the grace time; how many. Raises ClaimLost, what the stores raise."""
        now = self._clock_ns()
        store, busy = self._context.store, self._context.busy
        store.objects.release_locked(now, _AT_ONCE)
        unused = store.objects.unused(_AT_ONCE, self._at)
        # From the begin each time, RocksDB would pass all that was deleted before.
        self._at = unused[-1].key if len(unused) == _AT_ONCE else ""
        old = [
            found.key
            for found in unused
            if found.since_ns < self._began_ns or not 0 <= now - found.since_ns < self._grace_ns
        ]
        if not old:
            return 0
        mine = busy.take(old)
        try:
            # Looked at again now that nobody else puts them.
            keys = [key for key in old if key in mine and not store.objects.uses(key)]
            failpoints.reach("clean.listed")
            self._context.claim.ensure()
            kept = self._delete(keys, now)
            failpoints.reach("clean.deleted")
            changes = Changes()
            changes.forget_objects(keys)
            changes.lock_objects(kept)
            store.write(changes)
            failpoints.reach("clean.forgotten")
            return len(keys)
        finally:
            busy.give(mine)

    def _delete(self, keys: list[str], now_ns: int) -> Mapping[str, int]:
        """Those that are not gone yet, and when to ask again: a refusal holds up no others."""
        objects = self._context.putter.objects
        try:
            # Metadata first: whoever finds it may rely on the log beside it.
            metadata = [key for key in keys if key.endswith("/" + METADATA_NAME)]
            objects.delete(metadata)
            objects.delete([key for key in keys if key not in set(metadata)])
            self.refusal = ""
            return objects.purge(keys)
        except Denied as error:
            self.refusal = str(error)
            return dict.fromkeys(keys, now_ns + DENIED_SECONDS * 10**9)


class Joiner:
    """Joins large extents of live logs to segments, mostly by copies within the object store. Blocks."""

    def __init__(self, context: ArchiveContext, reader: ExtentReader) -> None:
        self._context = context
        self._reader = reader

    def join(self, number: int) -> int:
        """Joins extents of the log where it has too many; bytes of the segment, 0 when there was nothing to do."""
        store = self._context.store
        if not any(large_to_join(sizes_of(list(store.extents(number))))):
            return 0
        with self._context.busy.all([("roll", number)]) as free:
            rewrites = store.rewrites(number)
            record, extents = store.get_log(number), list(store.extents(number))
            begin, end = large_to_join(sizes_of(extents))
            if not free or record is None or end - begin < 2:
                return 0
            return self._join(record, extents[begin:end], rewrites)

    def _join(self, record: LogRecord, extents: list[Extent], rewrites: int) -> int:
        name = LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)
        key = segment_key(name, extents[0].offset, extents[-1].end_offset)
        with self._context.busy.all([key]) as free:
            if not free or self._context.store.objects.uses(key):
                return 0
            self._context.putter.announce([key])
            failpoints.reach("segment.announced")
            size = sum(extent.length for extent in extents)
            assembly = Assembly(self._context.putter, key, KIND_SEGMENT, record.uid, size)
            try:
                for extent in extents:
                    self._add(assembly, record, extent)
                assembled = assembly.finish()
            except (Corrupt, NotFound, WrongVersion) as error:
                assembly.abort()
                log.warning("log %d: its extents are not joined: %s", record.number, error)
                return 0
            except BaseException:
                assembly.abort()
                raise
            failpoints.reach("segment.put")
            changes = Changes()
            changes.guard(record.number, rewrites)
            changes.delete_extents(record.number, extents[0].offset, extents[-1].offset + 1)
            for joined in assembled.extents(key, joined_generation(sizes_of(extents))):
                changes.put_extent(record.number, joined)
            try:
                self._context.store.write(changes)
            except Conflict as error:
                log.info("log %d: its extents are not joined: %s", record.number, error)
            failpoints.reach("segment.committed")
            return assembled.footer.size

    def _add(self, assembly: Assembly, record: LogRecord, extent: Extent) -> None:
        entries = self._reader.entries(extent, record.uid)
        copied = copy_range(extent, entries) if extent.length >= COPY_BYTES else None
        if copied is not None:
            assembly.copy(*copied)
            return
        want = Want(extent.offset, extent.end_offset, sequential=True)
        for one in ExtentRead(self._reader, [extent], record.uid, want, _refuse).records():
            assembly.add(one.offset, one.value)


def _refuse(begin: int, end: int, why: str) -> None:
    raise Corrupt(f"offsets {begin} to {end}: {why}")
