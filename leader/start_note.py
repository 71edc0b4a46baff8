"""What a leader that can't start yet says of itself, where its address will be once it has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path


def write_leader_file(path: Path, said: Mapping[str, object]) -> None:
    """Writes what a leader says of itself, whole or not at all, for its owner alone (0600)."""
    fresh = path.with_suffix(".tmp")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump({"pid": os.getpid(), **said}, file)
    fresh.replace(path)


class StartNote:
    """Says in the leader's address file what it waits for, so that `joblog status` and others can tell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_set = False

    def set(self, reason: str) -> None:
        """Says what the leader waits for."""
        write_leader_file(self._path, {"waiting": reason})
        self._is_set = True

    def clear(self) -> None:
        """It waits no longer."""
        if self._is_set:
            self._path.unlink(missing_ok=True)
            self._is_set = False
