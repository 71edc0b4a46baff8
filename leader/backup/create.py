"""Makes a backup: new pieces first, the manifest last. A backup is there once its manifest is.

Files of the store that never change are known by name, size, inode and time, and are not read again when the backup
before, of the same store, has them. All others are read and cut into pieces, of which only those go out that the target
does not have.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import joblog
from joblog.errors import Corrupt, Interrupted, JoblogError, NotFound, WrongVersion
from joblog.leader.archive.objects import size_of
from joblog.leader.backup import failpoints
from joblog.leader.backup.announce import Announcement
from joblog.leader.backup.layout import backup_key, new_backup_id, new_copy_name, piece_key, piece_of
from joblog.leader.backup.manifest import BackedUp, Manifest, PieceRef, Summary, content_of, pack_manifest
from joblog.leader.backup.options import CreateLimits
from joblog.leader.backup.pace import BytePace
from joblog.leader.backup.piece import pack_piece
from joblog.leader.backup.repository import Repository
from joblog.leader.backup.source import ACCESS_PATH, Moment, Source, moment
from joblog.leader.backup.trash import trash_lists

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """How far a backup is. read_bytes: of total_bytes that it takes note of; sent_bytes: of new objects."""

    id: str
    read_bytes: int
    total_bytes: int
    sent_bytes: int


@dataclass
class _Known:
    """Objects with pieces that this backup may rely on, by the pieces' ids, and what is sent just now."""

    names: dict[bytes, str] = field(default_factory=dict)
    coming: dict[bytes, Future[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Creator:
    """Makes one backup. create() blocks; stop() may be called from any thread."""

    def __init__(
        self,
        repository: Repository,
        source: Source,
        limits: CreateLimits,
        *,
        reason: str = "asked",
        progress: Callable[[Progress], None] = lambda _: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.id = new_backup_id(clock_ns())
        self._repository = repository
        self._source = source
        self._limits = limits
        self._reason = reason
        self._progress = progress
        self._clock_ns = clock_ns
        self._pace = BytePace(limits.bytes_per_second)
        self._stopping = threading.Event()
        self._known = _Known()
        self._told = threading.Lock()
        self._read_bytes = self._sent_bytes = self._total_bytes = 0

    def stop(self) -> None:
        """Has create() end soon; what was sent is used by the next backup."""
        self._stopping.set()

    def create(self) -> Summary:
        """Returns once the backup is complete. Raises Interrupted, Conflict, OutOfSpace, Unavailable and the like."""
        objects = self._repository.objects
        announcement = Announcement(
            objects, self.id, self._source.store.store_id, renew_seconds=self._limits.renew_seconds
        )
        try:
            failpoints.reach("backup.announced")
            self._look()
            with moment(self._source, self.id) as now:
                created_ns = self._clock_ns()
                manifest = self._files(now, created_ns, announcement)
            return self._commit(manifest, announcement)
        finally:
            try:
                announcement.withdraw()
            except JoblogError as error:
                log.warning("backup %s: is over, and can't be withdrawn from those that run: %s", self.id, error)

    def _look(self) -> None:
        """Which pieces are there, and not to be deleted."""
        trash = {name for trash in trash_lists(self._repository.objects) for name in trash.names}
        found = (name for name, _ in self._repository.piece_objects() if name not in trash)
        self._known.names = {piece_of(name): name for name in found}

    def _before(self) -> dict[tuple[str, int, int, int], BackedUp]:
        """Files of this store's last backup, by what shows that they are the same."""
        for backup_id in self._repository.backup_ids():
            try:
                manifest = self._repository.manifest(backup_id)
            except (Corrupt, NotFound, WrongVersion) as error:
                log.warning("%s", error)
                continue
            if manifest.summary.store_id == self._source.store.store_id:
                return {(one.path, one.size, one.modified_ns, one.inode): one for one in manifest.files}
        return {}

    def _files(self, now: Moment, created_ns: int, announcement: Announcement) -> Manifest:
        before = self._before()
        wanted = [_Wanted(path, file, file.stat()) for path, file in now.files]
        self._total_bytes = sum(one.size for one in wanted) + len(now.access)
        with ThreadPoolExecutor(self._limits.at_once, thread_name_prefix="backup") as pool:
            pieces = _Pieces(self.piece, pool, self._limits)
            for one in wanted:
                announcement.check()
                same = before.get((one.path, one.size, one.status.st_mtime_ns, one.status.st_ino))
                if same is not None and self._has_all(same):
                    self._tell(read=same.size)
                    one.pieces.extend(same.pieces)
                else:
                    pieces.cut(one.size, one.load, one.pieces)
            access: list[PieceRef] = []
            pieces.cut(len(now.access), lambda at, length: now.access[at : at + length], access)
            pieces.finish()
        failpoints.reach("backup.pieces")
        files = [self._entry(one.path, one.pieces, one.status.st_mtime_ns, one.status.st_ino) for one in wanted]
        files.append(self._entry(ACCESS_PATH, access, 0, 0))
        return Manifest(self._summary(files, now, created_ns), tuple(files))

    def _entry(self, path: str, pieces: list[PieceRef], modified_ns: int, inode: int) -> BackedUp:
        refs = tuple(pieces)
        content = content_of(self._repository.keys, refs)
        return BackedUp(path, sum(ref.length for ref in refs), content, modified_ns, inode, refs)

    def _summary(self, files: list[BackedUp], now: Moment, created_ns: int) -> Summary:
        kms, kms_key_id = self._source.kms()
        return Summary(
            id=self.id,
            created_ns=created_ns,
            finished_ns=self._clock_ns(),
            store_id=self._source.store.store_id,
            store_version=now.store_version,
            host=socket.gethostname(),
            joblog=joblog.__version__,
            files=len(files),
            bytes=sum(file.size for file in files),
            sent_bytes=self._sent_bytes,
            kms=kms,
            kms_key_id=kms_key_id,
            reason=self._reason,
        )

    def _has_all(self, file: BackedUp) -> bool:
        return all(self._known.names.get(piece_of(piece.name)) == piece.name for piece in file.pieces)

    def _commit(self, manifest: Manifest, announcement: Announcement) -> Summary:
        objects, key = self._repository.objects, backup_key(self.id)
        announcement.renew()
        failpoints.reach("backup.committing")
        objects.put(key, pack_manifest(self._repository.keys, manifest), if_absent=True)
        try:
            # A prune that took this backup for dead before the manifest was there may have missed it.
            announcement.renew()
        except JoblogError:
            objects.delete([key])
            raise
        failpoints.reach("backup.committed")
        log.info(
            "backup %s is complete: %d files, %d bytes, %d bytes sent",
            self.id,
            manifest.summary.files,
            manifest.summary.bytes,
            manifest.summary.sent_bytes,
        )
        return manifest.summary

    def piece(self, data: bytes | bytearray) -> str:
        """The name of an object with this piece, which is sent unless it is there. Called by threads of the pool."""
        self._check_stopped()
        piece_id = self._repository.keys.name(data)
        mine: Future[str] = Future()
        with self._known.lock:
            name = self._known.names.get(piece_id)
            coming = self._known.coming.setdefault(piece_id, mine) if name is None else None
        if name is None:
            name = self._send(piece_id, data, mine) if coming is mine or coming is None else coming.result()
        self._tell(read=len(data))
        return name

    def _check_stopped(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("the backup was stopped; the next one goes on from what was sent")

    def _send(self, piece_id: bytes, data: bytes | bytearray, mine: Future[str]) -> str:
        name = new_copy_name(piece_id)
        try:
            packed = pack_piece(self._repository.keys, piece_id, data)
            size = size_of(packed)
            self._pace.wait(size, self._stopping)
            self._check_stopped()
            info = self._repository.objects.put(piece_key(name), packed, if_absent=True)
            if info.size != size:
                raise Corrupt(f"{info.key} has {info.size} bytes, {size} were put")
        except BaseException as error:
            mine.set_exception(error)
            raise
        failpoints.reach("backup.piece")
        with self._known.lock:
            self._known.names[piece_id] = name
            del self._known.coming[piece_id]
        mine.set_result(name)
        self._tell(sent=size)
        return name

    def _tell(self, *, read: int = 0, sent: int = 0) -> None:
        with self._told:
            self._read_bytes += read
            self._sent_bytes += sent
            self._progress(Progress(self.id, self._read_bytes, self._total_bytes, self._sent_bytes))


class _Wanted:
    """A file of the checkpoint, and its pieces as far as they are known."""

    def __init__(self, path: str, file: Path, status: os.stat_result) -> None:
        self.path = path
        self.status = status
        self.size = status.st_size
        self.pieces: list[PieceRef] = []
        self._file = file

    def load(self, at: int, length: int) -> bytearray:
        """Bytes of the file."""
        data = bytearray(length)
        with self._file.open("rb", buffering=0) as opened, memoryview(data) as view:
            filled = 0
            while filled < length:
                count = os.preadv(opened.fileno(), [view[filled:]], at + filled)
                if not count:
                    raise Corrupt(f"{self.path}: became shorter than {self.size} bytes")
                filled += count
        return data


class _Pieces:
    """Cuts contents into pieces, of which some are worked on at once; memory does not grow with what is cut."""

    def __init__(
        self, send: Callable[[bytes | bytearray], str], pool: ThreadPoolExecutor, limits: CreateLimits
    ) -> None:
        self._send = send
        self._pool = pool
        self._limits = limits
        self._coming: deque[tuple[Future[str], int, list[PieceRef]]] = deque()

    def cut(self, size: int, load: Callable[[int, int], bytes | bytearray], into: list[PieceRef]) -> None:
        """Has `size` bytes sent, as far as they are missing. into: gets their pieces, at the latest by finish()."""
        for at in range(0, size, self._limits.piece_bytes):
            length = min(self._limits.piece_bytes, size - at)
            self._coming.append((self._pool.submit(self._load, load, at, length), length, into))
            # Some wait, so that no thread has to.
            if len(self._coming) > 2 * self._limits.at_once:
                self._take()

    def _load(self, load: Callable[[int, int], bytes | bytearray], at: int, length: int) -> str:
        return self._send(load(at, length))

    def _take(self) -> None:
        done, length, into = self._coming.popleft()
        try:
            into.append(PieceRef(done.result(), length))
        except BaseException:
            for one, _, _ in self._coming:
                one.cancel()
            raise

    def finish(self) -> None:
        """Returns when all are sent. Raises what sending one of them raised."""
        while self._coming:
            self._take()
