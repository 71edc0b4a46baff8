"""The archiver's parts around a stored leader and a folder, step by step, with all puts counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from joblog.leader.archive import failpoints
from joblog.leader.archive.busy import Busy
from joblog.leader.archive.cache import RangeCache
from joblog.leader.archive.claim import Claim
from joblog.leader.archive.clean import Cleaner, Joiner
from joblog.leader.archive.context import ArchiveContext
from joblog.leader.archive.describing import Describer
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.flush import Flushed, Flusher, FlushLimits
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import Data, MultipartUpload, ObjectInfo, ObjectStore, size_of, walk
from joblog.leader.archive.putting import Putter
from joblog.leader.archive.rosters import Rosters
from joblog.leader.archive.seal import Sealer
from joblog.leader.reading.piece import ReadSpec
from joblog.leader.reading.reader import CipherCache, LogReader
from joblog.leader.reading.verify import Verdict
from tests.stored_log import StoredLeader, StoredLog

DEFAULT_LIMITS = FlushLimits()
WHOLE = ReadSpec()


class Killed(BaseException):
    """The leader was killed at this step."""


class CountedPuts(FolderStore):
    """A folder store that counts puts, parts and their bytes, and gets."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._counting = threading.Lock()
        self.puts: list[tuple[str, int]] = []
        self.gets: list[tuple[str, int, int]] = []
        self.copied_bytes = 0

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        info = super().put(key, data, if_absent=if_absent, if_match=if_match, metadata=metadata)
        self.count(key, size_of(data))
        return info

    def count(self, key: str, size: int) -> None:
        with self._counting:
            self.puts.append((key, size))

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        with self._counting:
            self.gets.append((key, start, len(data)))
        return data

    def start_multipart(  # type: ignore[override]
        self, key: str, metadata: Mapping[str, str] | None = None
    ) -> MultipartUpload:
        return _CountedUpload(self, super().start_multipart(key, metadata))

    @property
    def put_bytes(self) -> int:
        return sum(size for _, size in self.puts)

    def all_keys(self) -> list[str]:
        return [info.key for info in walk(self, "")]


class _CountedUpload:
    def __init__(self, store: CountedPuts, upload: MultipartUpload) -> None:
        self._store = store
        self._upload = upload

    @property
    def key(self) -> str:
        return self._upload.key

    def upload(self, number: int, data: Data) -> None:
        self._upload.upload(number, data)
        self._store.count(f"{self.key}#{number}", size_of(data))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        self._upload.copy(number, source_key, start, length)
        self._store.copied_bytes += length

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        return self._upload.complete(if_absent=if_absent)

    def abort(self) -> None:
        self._upload.abort()


class ArchiveSite:
    """One life of a leader with an archive. clock: seconds, moved by the test."""

    def __init__(
        self,
        folder: Path,
        objects: ObjectStore,
        *,
        limits: FlushLimits = DEFAULT_LIMITS,
        multipart_bytes: int = 16 << 20,
        loss_patience_seconds: float = 0.0,
        grace_seconds: float = 0.0,
    ) -> None:
        self.leader = StoredLeader(folder)
        self.objects = objects
        self.now = 0.0
        self.store = self.leader.store
        self.ciphers = CipherCache(self.store, self.leader.keyring)
        self.pool = ThreadPoolExecutor(8)
        self.extents = ExtentReader(objects, RangeCache(0))
        describer = Describer(self.store, self.leader.keyring, self.ciphers.open)
        self.context = ArchiveContext(
            self.store,
            Putter(self.store, objects, multipart_bytes=multipart_bytes),
            Claim(objects, self.store.store_id),
            describer,
            self.ciphers.open,
            self.pool,
            Busy(),
        )
        self.flusher = Flusher(self.context, Rosters(self.context), limits, clock=lambda: self.now)
        self.sealer = Sealer(
            self.context, self.extents, loss_patience_seconds=loss_patience_seconds, clock=lambda: self.now
        )
        self.cleaner = Cleaner(self.context, grace_seconds=grace_seconds)
        self.joiner = Joiner(self.context, self.extents)
        self.reader = self.new_reader()

    def new_reader(self) -> LogReader:
        """A reader with empty caches."""
        leader = self.leader
        return LogReader(
            self.store, leader.keyring, leader.live, leader.pool, leader.metrics,
            archive=ExtentReader(self.objects, RangeCache(16 << 20)),
        )  # fmt: skip

    def flush(self, *, everything: bool = False) -> Flushed:
        """One interval later."""
        self.now += 10.0
        self.context.claim.ensure()
        return self.flusher.flush(everything=everything)

    def seal(self) -> None:
        """Seals all that is completed."""
        self.context.claim.ensure()
        for number in self.store.unsealed_logs(1000):
            self.sealer.seal(number)

    def clean(self) -> int:
        """Deletes what is not needed."""
        return self.cleaner.clean()

    async def text(self, number: int, spec: ReadSpec = WHOLE) -> bytes:
        """What a reader gets."""
        pieces = [piece async for piece in self.reader.read(number, spec)]
        return b"".join(piece.data for piece in pieces)

    async def verify(self, number: int) -> Verdict:
        """The log held against its seal."""
        return await self.reader.verify(number, lambda _done, _all: None)

    def orphans(self) -> list[str]:
        """Objects in the archive that neither an extent, a roster nor the list of unused ones knows of."""
        unused = {one.key for one in self.store.objects.unused(10_000)}
        known = {key for log in self._records() for extent in self.store.extents(log) for key in
                 (extent.object, *extent.companions)}  # fmt: skip
        found = {info.key for info in walk(self.objects, "")} - unused - known
        return sorted(key for key in found if not self.store.objects.uses(key) and not key.endswith("claim.json"))

    def _records(self) -> list[int]:
        return [
            log.number
            for namespace in self.store.list_namespaces()
            for run in self.store.list_runs(namespace)[0]
            for log in self.store.list_logs(namespace, run.run, limit=1000)[0]
        ]

    def close(self) -> None:
        failpoints.disarm()
        self.context.putter.close()
        self.extents.close()
        self.pool.shutdown()
        self.leader.close()


def kill_at(step: str) -> None:
    """The work that reaches the step ends there."""

    def kill() -> None:
        failpoints.disarm()
        raise Killed(step)

    failpoints.arm(step, kill)


def once(step: str, work: Callable[[], object]) -> None:
    """Does something when the step is reached for the first time."""

    def hook() -> None:
        failpoints.disarm()
        work()

    failpoints.arm(step, hook)


def data_of(logs: Sequence[StoredLog]) -> list[bytes]:
    """What the logs should read as."""
    return [log.model.present(0, log.length, None) for log in logs]
