"""What was read from the archive last, as it lies there: in memory, and behind that in files of a folder.

Bytes stay sealed. A file that was damaged or exchanged counts as absent, and a disk that fails only makes the cache
smaller: nothing that goes wrong here makes a read fail.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path

import google_crc32c

from joblog.paths import make_folder

log = logging.getLogger(__name__)

KEY_BYTES = 16
_MAGIC = b"JLCACHE1"
_HEAD_BYTES = len(_MAGIC) + KEY_BYTES + 4
# Smaller ranges are not worth a file.
_MIN_FILE_BYTES = 4 << 10


class RangeCache:
    """Ranges of objects under keys of KEY_BYTES bytes, the least recently used ones dropped first. Thread-safe.

    memory_bytes, disk_bytes: what is kept at most; 0 keeps nothing there. folder: made when it is needed; only this
    cache may use it. A range that leaves the memory goes to the disk.
    """

    def __init__(self, memory_bytes: int, disk_bytes: int = 0, folder: Path | None = None) -> None:
        self._memory_bytes = memory_bytes
        self._memory: OrderedDict[bytes, bytes] = OrderedDict()
        self._memory_used = 0
        self._lock = threading.Lock()
        self._files = _Files(folder, disk_bytes) if folder is not None and disk_bytes > 0 else None

    def get(self, key: bytes) -> bytes | None:
        """What was put under `key`, if it is still there."""
        with self._lock:
            data = self._memory.get(key)
            if data is not None:
                self._memory.move_to_end(key)
                return data
        if self._files is None:
            return None
        data = self._files.get(key)
        if data is not None:
            self._keep(key, data)
        return data

    def put(self, key: bytes, data: bytes) -> None:
        """Keeps `data` for a while."""
        self._keep(key, data)

    def drop(self, key: bytes) -> None:
        """Forgets what is under `key`."""
        with self._lock:
            self._memory_used -= len(self._memory.pop(key, b""))
        if self._files is not None:
            self._files.drop(key)

    def _keep(self, key: bytes, data: bytes) -> None:
        leaving: list[tuple[bytes, bytes]] = []
        with self._lock:
            self._memory_used += len(data) - len(self._memory.pop(key, b""))
            self._memory[key] = data
            while self._memory_used > self._memory_bytes:
                oldest, old = self._memory.popitem(last=False)
                self._memory_used -= len(old)
                leaving.append((oldest, old))
        if self._files is not None:
            for oldest, old in leaving:
                self._files.put(oldest, old)


class _Files:
    """The part of the cache that is on disk: a file per range, `<2 hex digits>/<30 hex digits>`."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._sizes: OrderedDict[bytes, int] | None = None
        self._used = 0
        self._lock = threading.Lock()

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            sizes = self._known()
            if key not in sizes:
                return None
            sizes.move_to_end(key)
        try:
            found = self._path(key).read_bytes()
        except OSError:
            found = b""
        data = found[_HEAD_BYTES:]
        if found[:_HEAD_BYTES] != _head(key, data):
            self.drop(key)
            return None
        return data

    def put(self, key: bytes, data: bytes) -> None:
        size = _HEAD_BYTES + len(data)
        with self._lock:
            sizes = self._known()
            if key in sizes or not _MIN_FILE_BYTES <= size <= self._limit_bytes:
                return
            sizes[key] = size
            self._used += size
            leaving = self._make_room(sizes)
        for old in leaving:
            self._unlink(old)
        path = self._path(key)
        draft = path.with_name(f".{path.name}.{threading.get_ident()}")
        try:
            make_folder(path.parent)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_head(key, data))
                file.write(data)
            draft.replace(path)
        except Exception as error:  # noqa: BLE001 - whatever the disk does, the read has its bytes
            log.warning("cache %s: a range can't be kept: %s", self._folder, error)
            draft.unlink(missing_ok=True)
            self.drop(key)

    def drop(self, key: bytes) -> None:
        with self._lock:
            self._used -= self._known().pop(key, 0)
        self._unlink(key)

    def _make_room(self, sizes: OrderedDict[bytes, int]) -> list[bytes]:
        leaving = []
        while self._used > self._limit_bytes:
            old, size = sizes.popitem(last=False)
            self._used -= size
            leaving.append(old)
        return leaving

    def _unlink(self, key: bytes) -> None:
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self._folder / name[:2] / name[2:]

    def _known(self) -> OrderedDict[bytes, int]:
        """Sizes of the files by key, those used last at the end; looks at the folder when it is asked first."""
        if self._sizes is None:
            found = sorted(self._look())
            self._sizes = OrderedDict((key, size) for _, key, size in found)
            self._used = sum(self._sizes.values())
            for old in self._make_room(self._sizes):
                self._unlink(old)
        return self._sizes

    def _look(self) -> list[tuple[int, bytes, int]]:
        """(time, key, size) of every file; removes those that are none of the cache's, such as unfinished ones."""
        found = []
        for file in self._folder.glob("??/*"):
            with contextlib.suppress(OSError):
                try:
                    key = bytes.fromhex(file.parent.name + file.name)
                except ValueError:
                    key = b""
                if len(key) == KEY_BYTES:
                    status = file.stat()
                    found.append((status.st_mtime_ns, key, status.st_size))
                else:
                    file.unlink()
        return found


def _head(key: bytes, data: bytes) -> bytes:
    check: int = google_crc32c.extend(google_crc32c.value(key), data)
    return _MAGIC + key + check.to_bytes(4, "big")
