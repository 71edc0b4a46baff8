"""How far the journal was read, on disk."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from joblog.errors import JoblogError
from joblog.worker.journald.cursor import Cursor

log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_WRITE_SECONDS = 1.0
# What a machine that lost its power had not written to its disk is younger than this.
_OLDER_SECONDS = 60.0


class ReadPlace:
    """Where reading begins again: at the last entry that was noted; on a machine that was started again, where spools
    may have lost what they had last, at an older one. What comes twice by that is in its log already.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic, boot_id: Path = _BOOT_ID) -> None:
        self._path = path
        self._clock = clock
        try:
            self._boot = boot_id.read_text().strip()
        except OSError:
            self._boot = ""
        self.cursor: Cursor | None = None
        self._marks: list[tuple[float, Cursor]] = []
        self._written: str = ""
        self._written_at = -_WRITE_SECONDS
        self._load()

    def _load(self) -> None:
        try:
            said = json.loads(self._path.read_bytes())
            same = bool(self._boot) and said["boot"] == self._boot
            self.cursor = Cursor.parse(said["cursor"] if same else said["older"])
            self._marks = [(self._clock(), Cursor.parse(said["older"]))]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, JoblogError) as error:
            log.error("%s: can't be read, the journal is read as for the first time: %s", self._path, error)

    def note(self, cursor: Cursor) -> None:
        """All entries up to this one are in spools, or in no log."""
        self.cursor = cursor
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] >= _OLDER_SECONDS:
            self._marks = [*self._marks[-1:], (now, cursor)]
        if now - self._written_at >= _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Writes it down, where it has changed."""
        if self.cursor is None or self.cursor.text == self._written:
            return
        said = {"cursor": self.cursor.text, "older": self._marks[0][1].text, "boot": self._boot}
        new = f"{self._path}.new"
        try:
            with open(new, "w", opener=_private) as file:
                file.write(json.dumps(said))
                file.flush()
                os.fsync(file.fileno())
            os.rename(new, self._path)
            self._written, self._written_at = self.cursor.text, self._clock()
        except OSError as error:
            log.warning("%s: %s", self._path, error)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
