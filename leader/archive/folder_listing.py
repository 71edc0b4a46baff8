"""The objects of a folder store in the order of their keys, page by page, without a look at the whole tree."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from joblog.errors import InvalidInput
from joblog.leader.archive.objects import ObjectInfo, check_prefix

_KEPT_WALKS = 8


class Listing:
    """Pages of keys. A page that goes on where an earlier one ended goes on with the same walk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._walks: dict[tuple[str, str], Iterator[ObjectInfo]] = {}

    def page(self, prefix: str, after: str, limit: int) -> tuple[list[ObjectInfo], bool]:
        """See ObjectStore.list; raises OSError."""
        check_prefix(prefix)
        if limit < 1:
            raise InvalidInput(f"a page of {limit} objects is not one")
        with self._lock:
            walk = self._walks.pop((prefix, after), None)
        if walk is None:
            walk = self._walk("", prefix, after)
        found: list[ObjectInfo] = []
        for info in walk:
            found.append(info)
            if len(found) == limit:
                self._keep(prefix, info.key, walk)
                return found, True
        return found, False

    def _keep(self, prefix: str, after: str, walk: Iterator[ObjectInfo]) -> None:
        with self._lock:
            self._walks[prefix, after] = walk
            while len(self._walks) > _KEPT_WALKS:
                del self._walks[next(iter(self._walks))]

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Objects below `folder` ("" or ending in "/")."""
        for name, entry in self._entries(folder, prefix, after):
            key = folder + name
            if name.endswith("/"):
                yield from self._walk(key, prefix, after)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield ObjectInfo(key, status.st_size, "", "", status.st_mtime_ns)

    def _entries(self, folder: str, prefix: str, after: str) -> list[tuple[str, os.DirEntry[str]]]:
        """What of a folder can hold keys with `prefix` beyond `after`, in order; a folder's name ends in "/"."""
        entries = []
        try:
            with os.scandir(self._root / folder) as scan:
                for entry in scan:
                    if entry.name.startswith("."):
                        continue
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if not is_folder and not entry.is_file(follow_symlinks=False):
                        continue
                    name = f"{entry.name}/" if is_folder else entry.name
                    key = folder + name
                    if not (key.startswith(prefix) or (is_folder and prefix.startswith(key))):
                        continue
                    if _beyond(key, after, is_folder):
                        entries.append((name, entry))
        except (FileNotFoundError, NotADirectoryError):
            return []
        entries.sort(key=lambda item: os.fsencode(item[0]))
        return entries


def _beyond(key: str, after: str, is_folder: bool) -> bool:
    return os.fsencode(key) > os.fsencode(after) or (is_folder and after.startswith(key))
