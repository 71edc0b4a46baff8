"""A log of 20 GiB by its sizes alone: what is joined, copied and sealed is planned by the real code on a store that
keeps no bytes of records, but every size, range, index and footer.
"""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from joblog.errors import Corrupt, NotFound
from joblog.leader.archive.assembling import MAX_COPY_BYTES
from joblog.leader.archive.container import KIND_PACK, MAGIC, ContainerWriter
from joblog.leader.archive.index import Entry, LogEntries
from joblog.leader.archive.layout import pack_key, sealed_key
from joblog.leader.archive.objects import (
    MAX_PARTS,
    MIN_PART_BYTES,
    Bytes,
    Data,
    ObjectInfo,
    PreconditionFailed,
    pieces_of,
    size_of,
)
from joblog.leader.archive.packing import extents_of
from joblog.leader.archive.rollup import LARGE_EXTENTS, SMALL_EXTENTS
from joblog.leader.archive.seal import SealResult
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.chunk import KIND_DATA
from joblog.v1.archive_pb2 import Extent
from joblog.v1.types_pb2 import LOG_STATE_COMPLETED, TIER_ARCHIVE
from tests.archiving import ArchiveSite
from tests.stored_log import NAME, StoredLog

MIB, GIB = 1 << 20, 1 << 30
RAW_BYTES = 20 * GIB
# As of text that hardly compresses: what is stored is as large as what was written.
CHUNK_BYTES = MIB
MAX_MEMORY_BYTES = 24 * MIB


class Hollow:
    """What lies where in an object: bytes that were given, and ranges of which only the length is known."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self.size = 0
        self.metadata = dict(metadata)
        self._given: list[tuple[int, bytes]] = []

    def give(self, data: Bytes) -> None:
        if len(data) > MIB:
            self.skip(len(data))
            return
        self._given.append((self.size, bytes(data)))
        self.size += len(data)

    def skip(self, length: int) -> None:
        self.size += length

    def get(self, start: int, length: int) -> bytes:
        found = bytearray(length)
        for at, data in self._given:
            begin, end = max(at, start), min(at + len(data), start + length)
            if begin < end:
                found[begin - start : end - start] = data[begin - at : end - at]
        return bytes(found)


class HollowStore:
    """An object store that keeps lengths. Holds parts and copies to what S3 allows of them."""

    name = "hollow:"

    def __init__(self) -> None:
        self.objects: dict[str, Hollow] = {}
        self.copied_bytes = self.sent_bytes = self.got_bytes = 0
        self.uploads: list[_HollowUpload] = []
        self._lock = threading.Lock()

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        if if_absent and key in self.objects:
            raise PreconditionFailed(key)
        made = self.objects[key] = Hollow(metadata or {})
        for piece in pieces_of(data):
            made.give(piece)
        self.sent_bytes += made.size
        return self._info(key)

    def _info(self, key: str) -> ObjectInfo:
        made = self.objects[key]
        return ObjectInfo(key, made.size, str(id(made)), "", 1, made.metadata)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if key not in self.objects:
            raise NotFound(key)
        there = self.objects[key]
        begin = max(0, there.size + start) if start < 0 else start
        wanted = there.size - begin if length is None else length
        if begin + wanted > there.size:
            raise Corrupt(key)
        self.got_bytes += wanted
        return there.get(begin, wanted)

    def head(self, key: str) -> ObjectInfo | None:
        return self._info(key) if key in self.objects else None

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        return [self._info(key) for key in keys[:limit]], len(keys) > limit

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> _HollowUpload:
        self.uploads.append(_HollowUpload(self, key, metadata or {}))
        return self.uploads[-1]

    def keeps_versions(self) -> bool:
        return False

    def purge(self, keys: Sequence[str]) -> dict[str, int]:
        return {}

    def drop_uploads(self, older_than_seconds: float) -> int:
        return 0

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        return False

    def check(self, *, create: bool) -> None:
        """It is there."""

    def close(self) -> None:
        """Nothing is held."""


class _HollowUpload:
    def __init__(self, store: HollowStore, key: str, metadata: Mapping[str, str]) -> None:
        self._store = store
        self.key = key
        self._metadata = metadata
        self._lock = threading.Lock()
        self.sizes: dict[int, int] = {}
        self._parts: dict[int, Hollow] = {}

    def _add(self, number: int, part: Hollow) -> None:
        assert 1 <= number <= MAX_PARTS
        with self._lock:
            self.sizes[number] = part.size
            self._parts[number] = part

    def upload(self, number: int, data: Data) -> None:
        part = Hollow({})
        for piece in pieces_of(data):
            part.give(piece)
        self._store.sent_bytes += size_of(data)
        self._add(number, part)

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        assert 0 < length <= 5 * GIB
        assert start + length <= self._store.objects[source_key].size
        part = Hollow({})
        part.skip(length)
        self._store.copied_bytes += length
        self._add(number, part)

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        numbers = sorted(self.sizes)
        assert numbers == list(range(1, len(numbers) + 1))
        assert all(self.sizes[number] >= MIN_PART_BYTES for number in numbers[:-1])
        if if_absent and self.key in self._store.objects:
            raise PreconditionFailed(self.key)
        made = Hollow(self._metadata)
        for number in numbers:
            for at, data in self._parts[number]._given:
                made._given.append((made.size + at, data))
            made.size += self._parts[number].size
        self._store.objects[self.key] = made
        return self._store._info(self.key)

    def abort(self) -> None:
        """Nothing is held."""


@pytest.fixture
def objects() -> HollowStore:
    return HollowStore()


@pytest.fixture
def site(tmp_path: Path, objects: HollowStore) -> Iterator[ArchiveSite]:
    made = ArchiveSite(tmp_path / "leader", objects)
    made.context.claim.ensure()
    yield made
    made.close()


class Growing:
    """A live log whose chunks come into packs by their sizes alone, as a flush commits them."""

    def __init__(self, site: ArchiveSite, objects: HollowStore) -> None:
        self.site = site
        self.objects = objects
        self.log: StoredLog = site.leader.log()
        self.length = self.stored_bytes = self.chunks = self.lines = 0

    def flush(self, chunks: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        """So many chunks of a MiB each in a pack of their own."""
        writer = ContainerWriter(KIND_PACK)
        pack = Hollow({})
        pack.give(writer.begin_log(self.log.record.uid))
        writer.adopt(self._entries(chunks, chunk_bytes))
        pack.skip(chunks * chunk_bytes)
        pack.give(writer.finish())
        key = pack_key(self.site.store.store_id, self.site.context.claim.next_sequence())
        self.objects.objects[key] = pack
        entries = writer.index.find(self.log.record.uid)
        assert entries is not None
        changes = Changes()
        for extent in extents_of(entries, writer.footer, key, 0):
            changes.put_extent(self.log.number, extent)
        self.site.store.write(changes)
        self.length += chunks * MIB
        self.lines += chunks * 1000
        self.stored_bytes += chunks * chunk_bytes
        self.chunks += chunks

    def _entries(self, chunks: int, chunk_bytes: int) -> Iterator[Entry]:
        for at in range(chunks):
            offset, lines = self.length + at * MIB, self.lines + at * 1000
            yield Entry(offset, 0, chunk_bytes, MIB, lines, 1000, 1 + offset, KIND_DATA)

    def extents(self) -> list[Extent]:
        return list(self.site.store.extents(self.log.number))

    def complete(self) -> None:
        record = self.log.record
        record.state = LOG_STATE_COMPLETED
        record.next_offset = record.seal.length = self.length
        record.newlines = record.seal.newlines = self.lines
        record.seal.sha256 = b"\1" * 32
        self.log.put_record()

    def sealed(self) -> tuple[Extent, LogEntries]:
        """Its only extent, and its object's index as a reader gets it."""
        (extent,) = self.extents()
        found = self.site.store.get_log(self.log.number)
        assert found is not None
        assert found.tier == TIER_ARCHIVE
        return extent, self.site.extents.entries(extent, self.log.record.uid)

    def assert_whole(self) -> None:
        """The index of the sealed object says of each chunk where it lies."""
        extent, entries = self.sealed()
        assert extent.object == sealed_key(NAME)
        assert (extent.offset, extent.end_offset, extent.position) == (0, self.length, len(MAGIC))
        assert (extent.length, extent.chunks, extent.newlines) == (self.stored_bytes, self.chunks, self.lines)
        assert extent.object_bytes == self.objects.objects[extent.object].size > 2**32
        assert len(entries) == self.chunks
        assert [entry.offset for entry in entries] == list(range(0, self.length, MIB))
        assert entries[-1].position + entries[-1].length == extent.index_position
        beyond = entries.between(17 * GIB + 5, 17 * GIB + 6)
        assert [(entry.offset, entry.end) for entry in beyond] == [(17 * GIB, 17 * GIB + MIB)]
        # 45 bytes for each chunk, packed.
        assert extent.index_length < 45 * self.chunks


def seal(site: ArchiveSite, log: Growing) -> int:
    """Seals the log; memory that it took, in bytes."""
    log.complete()
    tracemalloc.start()
    done = site.sealer.seal(log.log.number)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.result is SealResult.SEALED
    return peak


def test_packs_are_joined_and_sealed(site: ArchiveSite, objects: HollowStore) -> None:
    log = Growing(site, objects)
    most = 0
    while log.length < RAW_BYTES:
        log.flush(64)
        site.joiner.join(log.log.number)
        site.cleaner.clean()
        most = max(most, len(log.extents()))
    assert most <= LARGE_EXTENTS + SMALL_EXTENTS <= 100
    # Joined within the object store: some of it again and again, and hardly a byte through the leader.
    assert 0 < objects.copied_bytes < 4 * log.stored_bytes
    assert objects.sent_bytes < log.stored_bytes / 100
    assert objects.got_bytes < log.stored_bytes / 20
    copied, sent = objects.copied_bytes, objects.sent_bytes
    peak = seal(site, log)
    assert peak < MAX_MEMORY_BYTES, f"{peak:,} bytes"
    assert objects.copied_bytes - copied > 0.98 * log.stored_bytes
    assert objects.sent_bytes - sent < log.stored_bytes / 50
    sizes = objects.uploads[-1].sizes
    assert len(sizes) < 2 * LARGE_EXTENTS
    assert max(sizes.values()) <= MAX_COPY_BYTES
    log.assert_whole()
    while site.clean():
        pass
    assert sorted(key for key in objects.objects if not key.startswith("_live/claim")) == [
        sealed_key(NAME),
        sealed_key(NAME).replace("log.joblog", "metadata.json"),
    ]


def test_one_extent_that_is_larger_than_what_one_request_copies(site: ArchiveSite, objects: HollowStore) -> None:
    log = Growing(site, objects)
    log.flush(12 * 1024)
    log.flush(8 * 1024)
    assert seal(site, log) < MAX_MEMORY_BYTES
    sizes = objects.uploads[-1].sizes
    assert sum(size == MAX_COPY_BYTES for size in sizes.values()) >= 18
    log.assert_whole()
