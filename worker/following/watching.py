"""Tells when something changes in a folder, through the kernel's inotify; what counts is looking now and then.

Only folders are watched: files that are written to all the time would tell of nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class FolderWatch:
    """Calls `changed(folder)` in the event loop for each change in a folder that is watched."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._inotify: Any = None
        self._watches: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._complained = False

    def start(self) -> None:
        """Begins; without the library, or where the kernel gives no more watches, nothing is told."""
        try:
            from asyncinotify import Inotify

            self._inotify = Inotify()
        except (ImportError, OSError) as error:
            self._complain(error)
            return
        self._task = asyncio.create_task(self._read())

    def set_folders(self, folders: Iterable[str]) -> None:
        """Watches these folders, and no others."""
        if self._inotify is None:
            return
        from asyncinotify import Mask

        mask = Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.ONLYDIR
        wanted = set(folders)
        for folder in self._watches.keys() - wanted:
            # The kernel has let go of it already where the folder is gone.
            with contextlib.suppress(Exception):
                self._inotify.rm_watch(self._watches[folder])
            del self._watches[folder]
        for folder in wanted - self._watches.keys():
            try:
                self._watches[folder] = self._inotify.add_watch(Path(folder), mask)
            except OSError as error:
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            log.warning("changes in folders are found by looking only, up to a second late: %s", error)
            self._complained = True

    async def _read(self) -> None:
        from asyncinotify import Mask

        async for event in self._inotify:
            # An overflow belongs to no watch.
            folder = "" if event.watch is None else str(event.watch.path)
            if event.mask & Mask.IGNORED:
                # The folder is gone; one that is made in its place is another one.
                self._watches.pop(folder, None)
            self._changed(folder)

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._inotify is not None:
            self._inotify.close()
