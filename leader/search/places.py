"""The runs that a search goes through, how many they are, and their logs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from joblog.errors import NotFound
from joblog.identity import LogName
from joblog.leader.buffer.catalog import MAX_PAGE
from joblog.leader.buffer.store import Store
from joblog.leader.search.scope import Scope
from joblog.v1 import types_pb2

# Does work in another thread.
Run = Callable[[Callable[[], Any]], Awaitable[Any]]

# Of runs, and of a run's logs. Newer runs than those on a page do not come onto the next one.
_PAGE = 100


class Places:
    """What of a store lies within a scope. One search's own; the scope was checked."""

    def __init__(self, store: Store, scope: Scope, run: Run) -> None:
        self._store = store
        self._scope = scope
        self._run = run
        self.is_one_log = scope.attempt > 0

    async def runs(self) -> AsyncGenerator[list[str], None]:
        """Names of the runs, the newest first, in pages, of which some may be empty."""
        scope = self._scope
        if scope.run:
            yield [scope.run]
            return
        left = scope.max_runs or None
        token = ""
        while left is None or left > 0:
            limit = _PAGE if left is None else min(_PAGE, left)
            found, token = await self._list_runs(token, limit)
            yield [record.run for record in found]
            if not token:
                return
            if left is not None:
                left -= len(found)

    async def count(self) -> int:
        """How many runs there are, as of now."""
        if self._scope.run:
            return 1
        most = self._scope.max_runs
        count, token = 0, ""
        while True:
            found, token = await self._list_runs(token, MAX_PAGE)
            count += len(found)
            if most and count >= most:
                return most
            if not token:
                return count

    async def _list_runs(self, token: str, limit: int) -> tuple[Sequence[types_pb2.RunRecord], str]:
        work = partial(self._store.list_runs, self._scope.namespace, self._scope.where, token, limit)
        found: tuple[Sequence[types_pb2.RunRecord], str] = await self._run(work)
        return found

    async def logs(self, run: str) -> AsyncGenerator[types_pb2.LogRecord, None]:
        """Records of a run's logs, by task and attempt. Raises NotFound when it was named and has none."""
        scope = self._scope
        if scope.attempt:
            yield await self._named()
            return
        token = ""
        none = True
        while True:
            work = partial(self._store.list_logs, scope.namespace, run, scope.task, token, _PAGE)
            logs: Sequence[types_pb2.LogRecord]
            logs, token = await self._run(work)
            for record in logs:
                none = False
                yield record
            if not token:
                break
        if none and scope.run:
            raise NotFound(f"there is no run {scope.namespace}:{scope.run}, or it has no such task")

    async def _named(self) -> types_pb2.LogRecord:
        scope = self._scope
        name = LogName(scope.namespace, scope.run, scope.task, scope.attempt)
        number: int | None = await self._run(partial(self._store.find_log, name))
        record: types_pb2.LogRecord | None = None
        if number is not None:
            record = await self._run(partial(self._store.get_log, number))
        if record is None:
            raise NotFound(f"there is no log {name}")
        return record
