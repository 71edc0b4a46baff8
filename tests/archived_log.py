"""Moving a stored log's chunks to an archive as the archiver does, step by step, and counting what reads ask for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.container import (
    KIND_PACK,
    KIND_SEALED,
    KIND_SEGMENT,
    Record,
    log_range,
    read_footer,
    read_index,
    walk_records,
    write_container,
)
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_GAP, ChunkHeader, Sealed, pack_gap
from joblog.leader.buffer.store import Store
from joblog.leader.reading.reader import LogReader
from joblog.v1.archive_pb2 import Extent
from tests.stored_log import StoredLeader, StoredLog


class CountedFolder(FolderStore):
    """A folder store that notes which ranges are read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gets: list[tuple[str, int, int]] = []
        self._counting = threading.Lock()

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        with self._counting:
            self.gets.append((key, start, len(data)))
        return data

    @property
    def got_bytes(self) -> int:
        return sum(length for _, _, length in self.gets)


def value_of(header: ChunkHeader, sealed: Sealed) -> bytes:
    """A chunk as it lies in the buffer."""
    return pack_gap(header) if header.kind == KIND_GAP else header.pack() + sealed


class Mover:
    """Moves ranges of logs to packs, and packs' ranges to segments and sealed logs."""

    def __init__(self, store: Store, objects: ObjectStore) -> None:
        self.store = store
        self.objects = objects
        self._sequence = 0

    def key(self, name: str) -> str:
        self._sequence += 1
        return f"{name}/{self._sequence:06}"

    def flush(self, logs: Sequence[StoredLog], *, upto: int | None = None) -> str:
        """All buffered chunks of the logs (those that start before `upto`) into one pack; returns its key, or ""."""
        taken: list[tuple[StoredLog, list[tuple[int, bytes]]]] = []
        for log in logs:
            with self.store.view() as view:
                chunks = [
                    (offset, value_of(header, sealed))
                    for offset, header, sealed in view.chunks(log.number, 0)
                    if upto is None or offset < upto
                ]
            if chunks:
                taken.append((log, chunks))
        if not taken:
            return ""
        key = self.key("packs")
        body = b"".join(write_container(KIND_PACK, [(log.record.uid, chunks) for log, chunks in taken]))
        self.objects.put(key, body)
        changes = Changes()
        for log, chunks in taken:
            changes.put_extent(log.number, extent_of(key, body, log.record.uid))
            changes.delete_chunks(log.number, chunks[0][0], chunks[-1][0] + 1)
        self.store.write(changes)
        return key

    def join(self, log: StoredLog, *, sealed: bool = False, delete: bool = True) -> str:
        """All extents of the log, which must lie one behind the other, into one object of its own."""
        with self.store.view() as view:
            extents = list(view.extents(log.number))
        records: list[Record] = []
        for extent in extents:
            body = self.objects.get(extent.object, extent.position, extent.length)
            records += [one for one in walk_records(body) if extent.offset <= one.offset < extent.end_offset]
        kind = KIND_SEALED if sealed else KIND_SEGMENT
        key = self.key("sealed" if sealed else "segments")
        body = b"".join(write_container(kind, [(log.record.uid, [(one.offset, one.value) for one in records])]))
        self.objects.put(key, body)
        changes = Changes()
        changes.delete_extents(log.number, 0, 2**63)
        changes.put_extent(log.number, extent_of(key, body, log.record.uid))
        self.store.write(changes)
        if delete:
            self.delete_unused()
        return key

    def delete_unused(self) -> None:
        unused = [one.key for one in self.store.objects.unused(limit=1000)]
        self.objects.delete(unused)
        changes = Changes()
        changes.forget_objects(unused)
        self.store.write(changes)


def extent_of(key: str, body: bytes, uid: bytes) -> Extent:
    """The extent of log `uid` in the object with these bytes."""
    footer = read_footer(body, len(body))
    index = read_index(body[footer.index_position :][: footer.index_length], footer)
    entries = index.logs[uid]
    found = log_range(entries)
    return Extent(
        offset=found.offset,
        end_offset=found.end_offset,
        object=key,
        kind=footer.kind,  # type: ignore[arg-type]
        object_bytes=len(body),
        position=found.position,
        length=found.length,
        chunks=found.chunks,
        lines_before=found.lines_before,
        newlines=found.newlines,
        first_time_ns=entries[0].first_time_ns,
        last_time_ns=entries[-1].first_time_ns,
        index_position=footer.index_position,
        index_length=footer.index_length,
    )


class Archived:
    """A leader with an archive that reads from it, with caches of its own."""

    def __init__(self, leader: StoredLeader, objects: ObjectStore, cache: RangeCache | None = None) -> None:
        self.objects = objects
        self.mover = Mover(leader.store, objects)
        self.extents = ExtentReader(objects, cache or RangeCache(16 << 20))
        self.reader = LogReader(
            leader.store, leader.keyring, leader.live, leader.pool, leader.metrics, archive=self.extents
        )

    def forget(self, leader: StoredLeader) -> None:
        """Empties caches, as a restart of the leader would."""
        self.extents.close()
        self.extents = ExtentReader(self.objects, RangeCache(16 << 20))
        self.reader = LogReader(
            leader.store, leader.keyring, leader.live, leader.pool, leader.metrics, archive=self.extents
        )

    def close(self) -> None:
        self.extents.close()
