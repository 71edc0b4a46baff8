"""Which life of a leader a worker has talked to: one that was replaced by a restored one is not written to any more."""

from __future__ import annotations

import json
import logging
import os

from joblog.errors import Conflict

log = logging.getLogger(__name__)

_MAX_LEADERS = 100


class LeaderLives:
    """The newest life of each leader that this worker has met, kept in a file. Used by one thread."""

    def __init__(self, path: str = "") -> None:
        """path: "" keeps it in memory only."""
        self._path = path
        self._lives: dict[str, int] = {}
        try:
            with open(path) if path else open(os.devnull) as file:
                found = json.loads(file.read() or "{}")
            self._lives = {str(leader): int(life) for leader, life in found.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("%s: can't be read, and is written anew: %s", path, error)

    def met(self, leader_id: str, incarnation: int) -> None:
        """Notes the life that a leader says it is in. Raises Conflict when a later one was met before."""
        known = self._lives.get(leader_id, 0)
        if incarnation < known:
            raise Conflict(
                f"leader {leader_id} was restored from a backup elsewhere since, and this is the one of before: "
                "nothing is sent to it. Stop it, and have this worker find the restored one"
            )
        if incarnation > known:
            self._lives[leader_id] = incarnation
            for oldest in list(self._lives)[:-_MAX_LEADERS]:
                del self._lives[oldest]
            self._write()

    def _write(self) -> None:
        if not self._path:
            return
        fresh = f"{self._path}.tmp"
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                json.dump(self._lives, file)
                file.flush()
                os.fsync(fd)
            os.replace(fresh, self._path)
        except OSError as error:
            log.warning("%s: can't be written: %s", self._path, error)
