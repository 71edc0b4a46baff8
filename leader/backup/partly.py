"""The store in a backup for whoever wants little of it: files with chunks are fetched when one in them is first read.

RocksDB opens a store whose blob files are not there. It says which one is missing when it comes to read from it, and
finds it once it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from joblog.errors import Unavailable
from joblog.leader.backup.fetch import Fetcher, check_room
from joblog.leader.backup.manifest import BackedUp, Manifest
from joblog.leader.backup.source import ACCESS_PATH
from joblog.leader.buffer.options import Spared
from joblog.leader.buffer.sparing import Sparing
from joblog.leader.buffer.store import Store

T = TypeVar("T")

_BLOB = ".blob"
_NAMED = re.compile(r"/([0-9]+\.blob)\b", re.ASCII)


class PartlyFetched:
    """Of one backup, in `folder`. Used by one thread."""

    def __init__(self, fetcher: Fetcher, manifest: Manifest, folder: Path) -> None:
        self._fetcher = fetcher
        self._folder = folder
        # Who may come in is not asked for: the CA's key need not lie there.
        files = [file for file in manifest.files if file.path != ACCESS_PATH]
        self._first = [file for file in files if not file.path.endswith(_BLOB)]
        self._left = {Path(file.path).name: file for file in files if file.path.endswith(_BLOB)}

    def open(self) -> Store:
        """The store. Raises what Fetcher.run() and Store.open() raise."""
        self._fetch(self._first)
        store = self._folder / "store"
        # A compaction that moves blobs would read those that are missing.
        Sparing(store).more(Spared.BLOBS)
        return self.trying(lambda: Store.open(store))

    def trying(self, work: Callable[[], T]) -> T:
        """Does it, and fetches the file that it lacked and does it again, until it lacks none."""
        while True:
            try:
                return work()
            except Unavailable as error:
                self._fetch_named(error)

    def fetch_chunks(self, store: Store, number: int) -> None:
        """Has all chunks of a log there."""
        at = 0

        def read_on() -> None:
            nonlocal at
            with store.view() as view:
                for offset, header, _ in view.chunks(number, at):
                    at = max(at, offset + max(1, header.raw_length))

        self.trying(read_on)

    def _fetch_named(self, error: Unavailable) -> None:
        """Raises the error where it names no file that is still to come."""
        named = _NAMED.search(str(error)) if str(self._folder) in str(error) else None
        file = self._left.pop(named[1], None) if named is not None else None
        if file is None:
            raise error
        self._fetch([file])

    def _fetch(self, files: list[BackedUp]) -> None:
        check_room(self._folder.parent, sum(file.size for file in files))
        self._fetcher.run(files)
