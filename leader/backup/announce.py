"""Says in the target that a backup is being made, so that no prune deletes what it relies on.

A backup announces itself before it looks which pieces are there. A prune writes down what it means to delete before it
looks who is announced. So one of the two sees the other, whoever is first: the backup relies on nothing that is to be
deleted, or the prune waits for the backup.
"""

from __future__ import annotations

import json
import socket
import threading

from joblog.errors import Conflict, JoblogError, NotFound
from joblog.leader.archive.objects import ObjectStore, PreconditionFailed
from joblog.leader.backup.layout import running_key
from joblog.leader.backup.options import RENEW_SECONDS

# Longer than any outage that a backup lives through: its requests are tried again for far less.
DEAD_AFTER_SECONDS = 600.0


class Taken(Conflict):
    """The backup was taken for dead: what it relied on may be deleted."""


class Announcement:
    """The announcement of one backup: written again now and then by a thread of its own, until withdraw()."""

    def __init__(self, objects: ObjectStore, backup_id: str, store_id: str, *, renew_seconds: float = RENEW_SECONDS):
        """Writes it. Raises what the object store raises."""
        self._objects = objects
        self._key = running_key(backup_id)
        said = {"version": 1, "id": backup_id, "store_id": store_id, "host": socket.gethostname()}
        self._data = json.dumps(said).encode() + b"\n"
        self._renew_seconds = renew_seconds
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failure: Taken | None = None
        self._etag = objects.put(self._key, self._data, if_absent=True).etag
        self._thread = threading.Thread(target=self._renew_forever, name="backup-announcement", daemon=True)
        self._thread.start()

    def _renew_forever(self) -> None:
        while not self._ended.wait(self._renew_seconds):
            try:
                self.renew()
            except Taken:
                return
            except JoblogError:
                continue

    def renew(self) -> None:
        """Writes it again. Raises Taken when it is not there any more, and what the object store raises."""
        with self._lock:
            if self._failure is None:
                try:
                    self._etag = self._objects.put(self._key, self._data, if_match=self._etag).etag
                except (PreconditionFailed, NotFound):
                    there = self._objects.head(self._key)
                    if there is None:
                        self._failure = Taken(
                            f"{self._objects.name}: this backup was taken for dead, as it was not heard of for "
                            f"{DEAD_AFTER_SECONDS:.0f} s, and what it relied on may be deleted: make another one"
                        )
                    else:
                        # Only this backup writes it: an earlier try has come through.
                        self._etag = there.etag
            if self._failure is not None:
                raise self._failure

    def check(self) -> None:
        """Raises Taken when a renewal has found it gone."""
        if self._failure is not None:
            raise self._failure

    def withdraw(self) -> None:
        """The backup is over. Raises what the object store raises; then it is deleted as that of a dead one."""
        self._ended.set()
        self._thread.join()
        self._objects.delete([self._key])
