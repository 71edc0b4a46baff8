"""The spools of followed logs: found again after a restart, taken up, made, and ended where their files are gone."""

from __future__ import annotations

import hmac
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from joblog.errors import Conflict, JoblogError, NotFound, Unavailable
from joblog.identity import LogName, check_labels, check_writable_name, new_run_id
from joblog.uncounted import LOST_LINES
from joblog.worker.following.outcome import outcome_of
from joblog.worker.kubernetes.pods import ContainerEnd, LogTarget
from joblog.worker.spool.bound import SpoolBounds
from joblog.worker.spool.followed import FollowedWriter
from joblog.worker.spool.format import FOLLOWED, SpoolTask
from joblog.worker.spool.sealing import SpoolKey, open_task

log = logging.getLogger(__name__)

_WRITER_ID_BYTES = 16
# How the sources of logs begin that are sent here, and are in no file.
RECEIVED = "otlp:"
FROM_JOURNAL = "journal:"
# Between the key of a log and the number of its part, where that is not the first.
PART = "\n"


def spool_source(key: str, part: int) -> str:
    """By this a log's spool is known again. part: from 1."""
    return key if part == 1 else f"{key}{PART}{part}"


def key_of_source(source: str) -> str:
    """The key that spool_source was given."""
    return source.partition(PART)[0]


class FollowedSpools:
    """by_source: where the spools of logs that are not ended lie. unread: spools whose key is not at hand yet.

    keys: finds the key of one that is there. secret: what writer ids are made from. host: this machine. mine: which
    sources; those of others are left alone.
    """

    def __init__(
        self,
        root: Path,
        bounds: SpoolBounds,
        keys: Callable[[str], SpoolKey | None],
        secret: bytes,
        *,
        host: str,
        mine: Callable[[str], bool] = lambda source: not source.startswith((RECEIVED, FROM_JOURNAL)),
    ) -> None:
        self.by_source: dict[str, str] = {}
        self.unread: set[str] = set()
        self._root = root
        self._bounds = bounds
        self._keys = keys
        self._secret = secret
        self._host = host
        self._mine = mine

    def look(self, names: set[str] | None = None) -> None:
        """Finds those of followed logs among all spools, or these."""
        self.unread.clear()
        for name in names if names is not None else set(os.listdir(self._root)):
            try:
                task, _cipher = open_task(str(self._root / name), self._keys)
            except Unavailable:
                self.unread.add(name)
                continue
            except (OSError, JoblogError):
                continue
            if task.kind == FOLLOWED and task.source and self._mine(task.source):
                self.by_source[task.source] = name

    def writer_id(self, source: str) -> bytes:
        """That of a log: the same whenever and wherever it is asked for, where the secret is the same."""
        return hmac.digest(self._secret, source.encode(errors="surrogateescape"), "sha256")[:_WRITER_ID_BYTES]

    def drop(self, spool_id: str) -> None:
        """Removes a spool that is of no use any more."""
        shutil.rmtree(self._root / spool_id, ignore_errors=True)

    def take_up(self, spool_id: str) -> FollowedWriter:
        """The writer of a spool that is there. Raises what FollowedWriter raises."""
        return FollowedWriter(self._root / spool_id, self._bounds, keys=self._keys)

    def left(self, known: set[str]) -> Iterator[tuple[str, FollowedWriter | None]]:
        """Takes up those that are not known, by source; None for one that is ended, or shipped and gone."""
        for source, spool_id in list(self.by_source.items()):
            if source in known:
                continue
            try:
                yield source, self.take_up(spool_id)
            except (Conflict, NotFound):
                del self.by_source[source]
                yield source, None
            except (OSError, JoblogError) as error:
                log.error("%s: left as it is: %s", spool_id, error)
                del self.by_source[source]

    def make(
        self, source: str, target: LogTarget, part: int, key: SpoolKey | None, *, is_certain: bool, run_ns: int = 0
    ) -> FollowedWriter:
        """A spool for a log. is_certain: no other bytes than these can be the log's: where the leader has some of them
        already, from a spool that was lost, it goes on behind those. run_ns: see Found; each run is an attempt of its
        own. Raises InvalidInput, OutOfSpace.
        """
        name = target.name
        if part > 1 and name.attempt and not run_ns:
            name = name._replace(task=f"{name.task}~{part}")
        check_writable_name(name)
        folder = self._root / new_run_id()
        task = self._task(source, target, name, is_certain=is_certain, run_ns=run_ns)
        try:
            writer = FollowedWriter(folder, self._bounds, task, key=key)
        except JoblogError:
            # It is tried again, with another one.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.by_source[source] = writer.spool_id
        return writer

    def _task(self, source: str, target: LogTarget, name: LogName, *, is_certain: bool, run_ns: int) -> SpoolTask:
        made_for = f"{source}@{run_ns}" if run_ns else source
        return SpoolTask(
            # What the leader has of the log it is not given again.
            writer_id=self.writer_id(made_for) if is_certain else os.urandom(_WRITER_ID_BYTES),
            namespace=name.namespace,
            run=name.run,
            task=name.task,
            attempt=name.attempt,
            command=target.command,
            host=target.host or self._host,
            labels=check_labels(dict(target.labels)),
            started_ns=target.started_ns or time.time_ns(),
            max_spool_bytes=self._bounds.task_bytes,
            kind=FOLLOWED,
            source=source,
        )

    def end(self, source: str, end: ContainerEnd | None) -> None:
        """Ends a log whose files are gone. Raises what FollowedWriter raises."""
        writer = self.take_up(self.by_source.pop(source))
        message = (
            "the files were deleted while nobody followed them; what they held behind this, if anything, is missing; "
            "nobody knows how much"
        )
        writer.append_event(LOST_LINES, message)
        if not writer.end(outcome_of(end, message, writer.task.started_ns)):
            writer.close()
