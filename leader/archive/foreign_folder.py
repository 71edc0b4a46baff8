"""A folder of somebody else's as a source of logs. Symbolic links below it are not followed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from joblog.errors import Denied, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.folder_files import read_at, translated
from joblog.leader.archive.folder_listing import Listing
from joblog.leader.archive.foreign import GZIP_SUFFIX, ForeignInfo, unreachable
from joblog.leader.archive.objects import ObjectInfo, check_key
from joblog.leader.buffer.opening import SourceChanged

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class ForeignFolder:
    """A ForeignSource. An object is a regular file; size and time of its last change tell it from any other."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listing = Listing(root)

    @property
    def url(self) -> str:
        return f"file://{self._root}"

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[Sequence[ObjectInfo], bool]:
        self._check()
        try:
            found, more = self._listing.page(prefix, after, limit)
        except OSError as error:
            raise self._passing(error) from None
        return [info._replace(etag=_etag(info.size, info.modified_ns)) for info in found], more

    def look(self, key: str) -> ForeignInfo:
        try:
            with self._file(key) as (_, info):
                return info
        except NotFound:
            self._check()
            raise

    def get(self, info: ForeignInfo, start: int, length: int) -> bytes:
        where = f"{self.url}/{info.key}"
        try:
            with self._file(info.key) as (descriptor, now):
                if now.etag != info.etag:
                    raise SourceChanged(f"{where} was changed since it was adopted")
                data = read_at(descriptor, start, length)
        except (NotFound, InvalidInput):
            self._check()
            raise SourceChanged(f"{where} is not there any more") from None
        if len(data) != length:
            raise SourceChanged(f"{where} ends at {start + len(data)}, before the end of what was adopted")
        return data

    def close(self) -> None:
        """Nothing is held."""

    def _check(self) -> None:
        """A mount that is missing is no reason to believe that logs are gone."""
        try:
            with os.scandir(self._root) as entries:
                if next(entries, None) is None:
                    raise Unavailable(f"{self.url} is empty: is its folder mounted?")
        except OSError as error:
            raise self._passing(error) from None

    def _passing(self, error: OSError) -> Exception:
        known = translated(self.url, error)
        return unreachable(self.url, known) if isinstance(known, Denied | NotFound) else known

    @contextmanager
    def _file(self, key: str) -> Iterator[tuple[int, ForeignInfo]]:
        """The file, opened folder by folder: none of them is a link, so that no other place can be read."""
        check_key(key)
        opened: list[int] = []
        try:
            try:
                *folders, name = key.split("/")
                opened.append(os.open(self._root, _FOLDER_FLAGS))
                for folder in folders:
                    opened.append(os.open(folder, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=opened[-1]))
                opened.append(os.open(name, _FILE_FLAGS, dir_fd=opened[-1]))
                status = os.fstat(opened[-1])
            except OSError as error:
                raise self._of_file(key, error) from None
            if not _is_file(status):
                raise NotFound(f"{self.url}/{key}: is no regular file")
            etag = _etag(status.st_size, status.st_mtime_ns)
            yield opened[-1], ForeignInfo(key, status.st_size, etag, status.st_mtime_ns, gzip=key.endswith(GZIP_SUFFIX))
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _of_file(self, key: str, error: OSError) -> Exception:
        known = translated(f"{self.url}/{key}", error)
        if isinstance(known, InvalidInput):
            return NotFound(f"{self.url}/{key}: there is no such file, or it is a link")
        return unreachable(f"{self.url}/{key}", known) if isinstance(known, Denied) else known


def _etag(size: int, modified_ns: int) -> str:
    return f"{size:x}-{modified_ns:x}"


def _is_file(status: os.stat_result) -> bool:
    return (status.st_mode & 0o170000) == 0o100000
