"""An object of a folder store that is put together of parts."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from google_crc32c import extend

from joblog.errors import Conflict, Corrupt, InvalidInput
from joblog.leader.archive.folder_files import FOLDER_MODE, read_at, write_all, write_record
from joblog.leader.archive.objects import (
    MAX_PARTS,
    MIN_PART_BYTES,
    Bytes,
    Data,
    ObjectInfo,
    PreconditionFailed,
    checksum_text,
    pieces_of,
)

if TYPE_CHECKING:
    from joblog.leader.archive.folder import FolderStore

_COPY_BYTES = 1 << 20


class _Part(NamedTuple):
    size: int
    crc32c: int


class FolderUpload:
    """A MultipartUpload. Parts that come in order go straight to the object's file, others wait beside it."""

    def __init__(self, store: FolderStore, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        self._store = store
        self._key = key
        self._path = path
        self._metadata = metadata
        self._lock = threading.Lock()
        self._joined: list[_Part] = []
        self._waiting: dict[int, _Part] = {}
        self._crc32c = 0
        self._is_open = True
        self._is_complete = False
        self._folder = store.fresh_file(".parts")
        with store.errors(key):
            self._folder.mkdir(FOLDER_MODE)
            self._file = (self._folder / "object").open("xb", buffering=0)

    @property
    def key(self) -> str:
        return self._key

    def upload(self, number: int, data: Data) -> None:
        pieces = pieces_of(data)
        self._add(number, lambda: iter(pieces))

    def copy(self, number: int, source_key: str, start: int, length: int) -> None:
        with self._store.open_source(source_key) as source:
            if start < 0 or length < 1 or start + length > os.fstat(source.fileno()).st_size:
                raise Corrupt(
                    f"{self._store.name}: {source_key} ends before {start + length}, the end of what is copied"
                )
            self._add(number, lambda: _pieces(source, start, length))

    def complete(self, *, if_absent: bool = False) -> ObjectInfo:
        with self._lock, self._store.errors(self._key):
            if self._is_complete:
                return self._shown()
            self._check_open()
            if not self._joined or self._waiting:
                raise InvalidInput(f"{self._key}: part {len(self._joined) + 1} is missing")
            if any(part.size < MIN_PART_BYTES for part in self._joined[:-1]):
                raise InvalidInput(f"{self._key}: every part but the last must have {MIN_PART_BYTES} bytes")
            write_record(self._file, checksum_text(self._crc32c), self._metadata)
            os.fsync(self._file.fileno())
            try:
                self._store.move(self._folder / "object", self._path, if_absent=if_absent)
            except PreconditionFailed:
                self._end()
                raise
            self._is_complete = True
            self._end()
            return self._shown()

    def _shown(self) -> ObjectInfo:
        info = self._store.head(self._key)
        if info is None or info.size != sum(part.size for part in self._joined):
            raise Corrupt(f"{self._store.name}: {self._key} is not what was put together of its parts")
        return info

    def abort(self) -> None:
        with self._lock:
            self._end()

    def _add(self, number: int, pieces: Callable[[], Iterator[Bytes]]) -> None:
        if not 1 <= number <= MAX_PARTS:
            raise InvalidInput(f"{self._key}: part numbers are 1 to {MAX_PARTS}, not {number}")
        with self._lock, self._store.errors(self._key):
            self._check_open()
            if number <= len(self._joined):
                self._check_same(number, pieces())
            elif number == len(self._joined) + 1:
                self._waiting.pop(number, None)
                self._join(pieces())
                self._join_waiting()
            else:
                with (self._folder / str(number)).open("wb", buffering=0) as file:
                    self._waiting[number] = _write(file, pieces())[0]

    def _join(self, pieces: Iterator[Bytes]) -> None:
        begin = sum(part.size for part in self._joined)
        self._file.seek(begin)
        self._file.truncate()
        part, self._crc32c = _write(self._file, pieces, self._crc32c)
        self._joined.append(part)

    def _join_waiting(self) -> None:
        while (number := len(self._joined) + 1) in self._waiting:
            part = self._waiting[number]
            path = self._folder / str(number)
            with path.open("rb", buffering=0) as file:
                self._join(_pieces(file, 0, part.size))
            if self._joined[-1] != part:
                raise Corrupt(f"{self._store.name}: part {number} of {self._key} is not what was written")
            del self._waiting[number]
            path.unlink()

    def _check_same(self, number: int, pieces: Iterator[Bytes]) -> None:
        size = crc32c = 0
        for piece in pieces:
            size += memoryview(piece).nbytes
            crc32c = extend(crc32c, bytes(piece))
        if self._joined[number - 1] != _Part(size, crc32c):
            raise Conflict(f"{self._key}: part {number} was sent before with other bytes")

    def _check_open(self) -> None:
        if not self._is_open:
            raise Conflict(f"{self._key}: was completed or aborted already")

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._file.close()
            shutil.rmtree(self._folder, ignore_errors=True)


def _pieces(source: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    for begin in range(start, start + length, _COPY_BYTES):
        wanted = min(_COPY_BYTES, start + length - begin)
        piece = read_at(source.fileno(), begin, wanted)
        if len(piece) != wanted:
            raise Corrupt("an object became shorter while it was copied")
        yield piece


def _write(file: BinaryIO, pieces: Iterator[Bytes], before: int = 0) -> tuple[_Part, int]:
    """Writes a part; returns it, and the checksum of everything up to its end given that `before` it."""
    size = crc32c = 0
    total = before
    for piece in pieces:
        plain = piece if isinstance(piece, bytes) else bytes(piece)
        size += write_all(file, plain)
        crc32c = extend(crc32c, plain)
        total = extend(total, plain)
    return _Part(size, crc32c), total
