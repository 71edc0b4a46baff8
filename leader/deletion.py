"""Deleting logs and runs, keys included, also while they are written and read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

from joblog.errors import Denied, JoblogError
from joblog.identity import AUDIT_NAMESPACE, RUN_LOG_TASK, LogName, check_attempt, check_name
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.every import logs_of_run
from joblog.leader.buffer.store import Store

log = logging.getLogger(__name__)

_PAGE = 500
# Once logs of so many bytes were deleted, the disk is to get their space back.
_RECLAIM_BYTES = 1 << 30


class Fence(Protocol):
    """What ingest does about a log that is deleted."""

    def forget(self, number: int) -> None:
        """The log is being deleted: nothing is accepted or committed for it any more. Called from a pool's thread."""
        ...

    def forgotten(self, number: int) -> None:
        """The log was deleted: those who tail it are woken. Called in the event loop."""
        ...


class Deleted(NamedTuple):
    """What a deletion took away; nothing, when it was done before."""

    logs: int
    bytes: int


class Deleter:
    """Deletes logs. A live one too: its writer is fenced, and its readers are told that it is gone.

    forget_reader: LogReader.forget. on_deleted: told when logs are gone for good. Called in the event loop.
    """

    def __init__(
        self,
        store: Store,
        fence: Fence,
        forget_reader: Callable[[int], None],
        pool: Executor,
        *,
        reclaim_bytes: int = _RECLAIM_BYTES,
        on_deleted: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_deleted = on_deleted
        self._store = store
        self._fence = fence
        self._forget_reader = forget_reader
        self._pool = pool
        self._reclaim_bytes = reclaim_bytes
        self._unreclaimed_bytes = 0
        self._reclaiming: asyncio.Future[None] | None = None

    async def delete(self, namespace: str, run: str, task: str = "", attempt: int = 0) -> Deleted:
        """Deletes one attempt; all of a task's with attempt 0; the whole run with an empty task.

        Doing it again deletes nothing more. Raises InvalidInput, OutOfSpace, Denied for the audit log, and Held.
        """
        check_name("namespace", namespace)
        if namespace == AUDIT_NAMESPACE:
            raise Denied("the audit log can't be deleted")
        check_name("run", run)
        if task:
            check_name("task", task, reserved=task == RUN_LOG_TASK)
        if attempt:
            check_attempt(attempt)
            check_name("task", task, reserved=task == RUN_LOG_TASK)
        loop = asyncio.get_running_loop()
        numbers: list[int] = []
        total = 0
        try:
            await loop.run_in_executor(self._pool, self._check_holds, namespace, run)
            while found := await loop.run_in_executor(self._pool, self._some, namespace, run, task, attempt):
                await loop.run_in_executor(self._pool, self._delete, list(found))
                numbers += found
                total += sum(found.values())
            if not task:
                await loop.run_in_executor(self._pool, self._delete_run, namespace, run)
        finally:
            for number in numbers:
                self._forget_reader(number)
                self._fence.forgotten(number)
            if numbers:
                self._on_deleted()
            self._reclaim(total)
        return Deleted(len(numbers), total)

    def _reclaim(self, deleted_bytes: int) -> None:
        """Has the store give space back beside everything else, one pass at a time."""
        self._unreclaimed_bytes += deleted_bytes
        busy = self._reclaiming is not None and not self._reclaiming.done()
        if busy or self._unreclaimed_bytes < self._reclaim_bytes:
            return
        self._unreclaimed_bytes = 0
        self._reclaiming = asyncio.get_running_loop().run_in_executor(self._pool, self._compact)

    def _compact(self) -> None:
        try:
            self._store.reclaim()
        except JoblogError as error:
            log.warning("the space of deleted logs is not given back yet: %s", error)

    def _some(self, namespace: str, run: str, task: str, attempt: int) -> dict[int, int]:
        """Lengths, by number, of the next few logs to delete."""
        if attempt:
            number = self._store.find_log(LogName(namespace, run, task, attempt))
            record = self._store.get_log(number) if number is not None else None
            return {record.number: record.next_offset} if record is not None else {}
        records, _ = self._store.list_logs(namespace, run, task, limit=_PAGE)
        return {record.number: record.next_offset for record in records}

    def _check_holds(self, namespace: str, run: str) -> None:
        """Raises Held before anything is deleted. A run is held as a whole, also by a label of one of its logs."""
        holds = self._store.holds.present
        record = self._store.get_run(namespace, run)
        if record is None or not (holds.all or holds.unreadable):
            return
        holds.check(namespace, run, record.labels)
        if holds.has_labels:
            for log_record in logs_of_run(self._store, namespace, run):
                holds.check(namespace, run, log_record.start.labels)

    def _delete(self, numbers: list[int]) -> None:
        changes = Changes()
        for number in numbers:
            changes.delete_log(number)
        self._store.write(changes, deleting=self._fence.forget)

    def _delete_run(self, namespace: str, run: str) -> None:
        if self._store.get_run(namespace, run) is None:
            return
        changes = Changes()
        changes.delete_run(namespace, run)
        self._store.write(changes, sync=True)
