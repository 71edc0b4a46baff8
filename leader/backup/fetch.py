"""Fetches the files of a backup into a folder: piece by piece, each checked, some at once; can be gone on with."""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from joblog.errors import Corrupt, Interrupted, NotFound, OutOfSpace
from joblog.leader.backup import failpoints
from joblog.leader.backup.layout import piece_key, piece_of
from joblog.leader.backup.manifest import BackedUp, Manifest, PieceRef
from joblog.leader.backup.repository import Repository

# progress(bytes done of the files, bytes of them in all)
Progress = Callable[[int, int], None]


# Room that a file system needs beside the files themselves.
SPARE_BYTES = 64 << 20


def check_room(folder: Path, wanted_bytes: int) -> None:
    """Raises OutOfSpace when files of so many bytes do not fit below `folder`."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < wanted_bytes + SPARE_BYTES:
        raise OutOfSpace(
            f"{folder}: {wanted_bytes + SPARE_BYTES:,} bytes are needed for a while, {free_bytes:,} are free: make room"
        )


def missing_pieces(repository: Repository, manifest: Manifest) -> list[str]:
    """Names of objects that the backup needs and that are not in the target, from its listing."""
    there = {name for name, _ in repository.piece_objects()}
    return sorted({name for name in manifest.names() if name not in there})


def check_complete(repository: Repository, manifest: Manifest) -> None:
    """Raises NotFound when an object is missing."""
    if missing := missing_pieces(repository, manifest):
        raise NotFound(
            f"backup {manifest.summary.id}: {len(missing)} objects are missing in {repository.objects.name}, the first "
            f"is {piece_key(missing[0])}; `joblog backup list` shows other backups"
        )


class Fetcher:
    """Files of one backup into one folder. run() blocks; stop() may be called from any thread."""

    def __init__(
        self,
        repository: Repository,
        folder: Path,
        *,
        at_once: int = 8,
        progress: Progress = lambda _done, _total: None,
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._at_once = at_once
        self._progress = progress
        self._done = self._total = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Has run() end soon. What was fetched stays, and is used when it is run again."""
        self._stopping.set()

    def run(self, files: Iterable[BackedUp]) -> None:
        """Returns when all files are there, checked and synced.

        What an earlier run has left is held against its pieces, and used where it is whole. Raises Interrupted,
        NotFound for a piece that is missing, Corrupt, WrongVersion, OutOfSpace, Unavailable.
        """
        wanted = list(files)
        self._total += sum(file.size for file in wanted)
        folders = {self._folder / file.path for file in wanted}
        for folder in {path.parent for path in folders}:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming: deque[Future[None]] = deque()
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="restore") as pool:
            try:
                for file in wanted:
                    at = 0
                    self._make(file)
                    for piece in file.pieces:
                        coming.append(pool.submit(self._piece, file, piece, at))
                        at += piece.length
                        if len(coming) > 2 * self._at_once:
                            coming.popleft().result()
                while coming:
                    coming.popleft().result()
            except BaseException:
                for one in coming:
                    one.cancel()
                raise
        for file in wanted:
            _sync(self._folder / file.path)
        for folder in {path.parent for path in folders}:
            _sync(folder)

    def _make(self, file: BackedUp) -> None:
        path = self._folder / file.path
        with _told(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if os.fstat(descriptor).st_size != file.size:
                    os.ftruncate(descriptor, file.size)
            finally:
                os.close(descriptor)

    def _piece(self, file: BackedUp, piece: PieceRef, at: int) -> None:
        if self._stopping.is_set():
            raise Interrupted("the restore was stopped; run it again, and it goes on from what was fetched")
        path = self._folder / file.path
        if not self._has(path, piece, at):
            data = self._repository.load_piece(piece.name)
            if len(data) != piece.length:
                raise Corrupt(f"{piece_key(piece.name)}: has {len(data)} bytes, its backup says {piece.length}")
            with _told(path), path.open("r+b", buffering=0) as out, memoryview(data) as view:
                written = 0
                while written < piece.length:
                    written += os.pwrite(out.fileno(), view[written:], at + written)
            failpoints.reach("restore.piece")
        with self._lock:
            self._done += piece.length
            self._progress(self._done, self._total)

    def _has(self, path: Path, piece: PieceRef, at: int) -> bool:
        """Whether an earlier run has fetched it. A hole, which a new file is, costs no hash."""
        with path.open("rb", buffering=0) as there:
            try:
                if os.lseek(there.fileno(), at, os.SEEK_DATA) >= at + piece.length:
                    return False
            except OSError:
                return False
            data = os.pread(there.fileno(), piece.length, at)
        return len(data) == piece.length and self._repository.keys.name(data) == piece_of(piece.name)


class _told:  # noqa: N801 - reads as a statement
    """A block in which a full disk becomes OutOfSpace."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutOfSpace(
                f"{self._path}: can't be written: {error.strerror}; make room, and run it again"
            ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
