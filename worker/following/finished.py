"""Which logs were followed to their end: their files may lie here for long, and are not collected again."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

_REWRITE_LINES = 1000


class Finished(NamedTuple):
    """How far a log went. part: from 1; what comes after a log that was ended for being quiet is a part of its own.

    proven: its end was known, so that nothing comes any more. place: where it ended (Place.encode), None: not known.
    run_ns: the last of its runs (Found.runs) that is in it; 0: it has none.
    """

    part: int
    proven: bool
    place: object = None
    run_ns: int = 0


class FinishedLogs:
    """Kept in a file of one line each. Losing it costs time: what is read again the leader has already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._logs: dict[str, Finished] = {}
        self._lines = 0
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        for line in lines:
            try:
                key, part, proven, place, *run_ns = json.loads(line)
                self._logs[str(key)] = Finished(int(part), bool(proven), place, int(run_ns[0]) if run_ns else 0)
            except (ValueError, TypeError):
                continue
        self._lines = len(lines)

    def get(self, key: str) -> Finished | None:
        """What is known of a log; None: it was not followed to its end."""
        return self._logs.get(key)

    def known(self) -> list[str]:
        """All logs that are known."""
        return list(self._logs)

    def add(self, key: str, finished: Finished) -> None:
        """Notes a log that is about to be ended."""
        self._logs[key] = finished
        self._append(key, finished)

    def forget_others(self, keys: set[str]) -> None:
        """Forgets logs whose files are gone."""
        gone = [key for key in self._logs if key not in keys]
        for key in gone:
            del self._logs[key]
        if self._lines > _REWRITE_LINES and self._lines > 2 * len(self._logs):
            self._rewrite()

    def _append(self, key: str, finished: Finished) -> None:
        try:
            with open(self._path, "a", opener=_private) as file:
                file.write(_line(key, finished))
            self._lines += 1
        except OSError as error:
            log.warning("%s: %s", self._path, error)

    def _rewrite(self) -> None:
        new = f"{self._path}.new"
        try:
            with open(new, "w", opener=_private) as file:
                file.writelines(_line(key, finished) for key, finished in self._logs.items())
            os.rename(new, self._path)
            self._lines = len(self._logs)
        except OSError as error:
            log.warning("%s: %s", self._path, error)


def _line(key: str, finished: Finished) -> str:
    return json.dumps([key, *finished]) + "\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
