"""An object store in a folder, local or mounted: an object is a file, with the same name and bytes.

A file is written aside, synced and then moved or linked to its name, and the folder is synced: it is there whole or
not at all, also after a power cut. What was put with it and its checksum lie in an extended attribute, where the file
system has those. Conditional writes of several processes on one machine exclude each other by a lock file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from joblog.errors import Corrupt, Denied, InvalidInput, JoblogError, NotFound, Unavailable
from joblog.leader.archive.folder_files import (
    FOLDER_MODE,
    link,
    make_folders,
    read_at,
    read_record,
    sync_folder,
    translated,
    write_all,
    write_record,
)
from joblog.leader.archive.folder_listing import Listing
from joblog.leader.archive.folder_upload import FolderUpload
from joblog.leader.archive.objects import Data, ObjectInfo, PreconditionFailed, check_key, checksum_of

INCOMING = ".incoming"
_LOCK = ".lock"
_MOVE_ATTEMPTS = 20


class FolderStore:
    """An ObjectStore in `root`; see the module."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self._root = root
        self._create = create
        self._incoming = root / INCOMING
        self._mutex = threading.Lock()
        self._listing = Listing(root)

    @property
    def name(self) -> str:
        return f"file://{self._root}"

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        path = self._path(key)
        with self.errors(key):
            fresh = self.fresh_file()
            try:
                with fresh.open("xb", buffering=0) as file:
                    size = write_all(file, data)
                    checksum = checksum_of(data)
                    write_record(file, checksum, metadata or {})
                    os.fsync(file.fileno())
                    if os.fstat(file.fileno()).st_size != size:
                        raise Corrupt(f"{self.name}: {key}: the file system did not take all bytes")
                self.move(fresh, path, if_absent=if_absent, if_match=if_match)
            finally:
                fresh.unlink(missing_ok=True)
        info = self.head(key)
        if info is None:
            raise Unavailable(f"{self.name}: {key} was deleted as soon as it was written")
        return info

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        path = self._path(key)
        if length is not None and (length < 0 or start < 0):
            raise InvalidInput(f"{key}: a range of {length} bytes from {start} is not one")
        with self.errors(key), path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            begin = max(0, size + start) if start < 0 else start
            wanted = size - begin if length is None else length
            if begin > size or begin + wanted > size or (begin == size and begin > 0 and length is None):
                raise Corrupt(f"{self.name}: {key} ends at {size}, before the end of the range that was asked for")
            data = read_at(file.fileno(), begin, wanted)
            if len(data) != wanted:
                raise Corrupt(f"{self.name}: {key} became shorter while it was read")
            if start == 0 and length is None:
                recorded = str(read_record(file.fileno()).get("checksum", ""))
                if recorded and recorded != checksum_of(data):
                    raise Corrupt(f"{self.name}: {key}: its bytes are not those that were written")
        return data

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with self.errors(key), self._path(key).open("rb", buffering=0) as file:
                return _info(key, os.fstat(file.fileno()), read_record(file.fileno()))
        except NotFound:
            return None

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        with self.errors(prefix):
            return self._listing.page(prefix, after, limit)

    def delete(self, keys: Sequence[str]) -> None:
        for path in [self._path(key) for key in keys]:
            with self.errors(path.name):
                try:
                    path.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                self._drop_empty(path.parent)

    def keeps_versions(self) -> bool:
        return False

    def purge(self, keys: Sequence[str]) -> Mapping[str, int]:  # noqa: ARG002 - a folder has no such thing
        return {}

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> FolderUpload:
        return FolderUpload(self, key, self._path(key), dict(metadata or {}))

    def drop_uploads(self, older_than_seconds: float) -> int:
        dropped = 0
        with self.errors(INCOMING):
            for entry in os.scandir(self._incoming) if self._incoming.is_dir() else ():
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime < older_than_seconds:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink()
                    dropped += 1
        return dropped

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:  # noqa: ARG002 - a folder has no such thing
        return False

    def check(self, *, create: bool) -> None:
        with self.errors(""):
            if not self._root.is_dir():
                if not create:
                    raise NotFound(f"{self.name}: there is no such folder")
                make_folders(self._root)
            self._incoming.mkdir(FOLDER_MODE, exist_ok=True)
            if not os.access(self._incoming, os.W_OK | os.X_OK):
                raise Denied(f"{self.name}: this user may not write there")

    def close(self) -> None:
        """Nothing is held."""

    def open_source(self, key: str) -> BinaryIO:
        """The file of an object, for a copy of a part of it; raises NotFound."""
        with self.errors(key):
            return self._path(key).open("rb", buffering=0)

    def fresh_file(self, suffix: str = "") -> Path:
        """A name for a new file beside the objects, on the same file system."""
        if not self._incoming.is_dir():
            self.check(create=self._create)
        return self._incoming / f"{secrets.token_hex(12)}{suffix}"

    def move(self, fresh: Path, path: Path, *, if_absent: bool = False, if_match: str | None = None) -> None:
        """Gives the synced file `fresh` the name `path`; raises PreconditionFailed, OSError."""
        for attempt in range(_MOVE_ATTEMPTS):
            try:
                make_folders(path.parent, self._root)
                if if_match is not None:
                    self._swap(fresh, path, if_match)
                elif if_absent:
                    link(fresh, path)
                else:
                    fresh.replace(path)
                break
            except FileNotFoundError:
                # A delete() of the last object in that folder took the folder away in between.
                if attempt == _MOVE_ATTEMPTS - 1 or not fresh.exists():
                    raise
            except FileExistsError:
                raise PreconditionFailed(f"{self.name}: {path.name} is there already") from None
        sync_folder(path.parent)

    def _swap(self, fresh: Path, path: Path, etag: str) -> None:
        with self._mutex, (self._incoming / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            key = path.relative_to(self._root).as_posix()
            info = self.head(key)
            if info is None or info.etag != etag:
                raise PreconditionFailed(f"{self.name}: {key} is not the object that was expected")
            fresh.replace(path)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _drop_empty(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    @contextlib.contextmanager
    def errors(self, key: str) -> Iterator[None]:
        """Errors of the file system as those of an object store."""
        try:
            yield
        except JoblogError:
            raise
        except OSError as error:
            raise translated(f"{self.name}: {key}" if key else self.name, error) from error


def _info(key: str, status: os.stat_result, record: Mapping[str, object]) -> ObjectInfo:
    metadata = record.get("metadata")
    return ObjectInfo(
        key,
        status.st_size,
        str(record.get("etag") or f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"),
        str(record.get("checksum", "")),
        status.st_mtime_ns,
        {str(name): str(value) for name, value in metadata.items()} if isinstance(metadata, dict) else {},
    )
