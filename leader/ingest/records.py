"""New records of logs that are open for writing: one after another, through the same commits as their bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from joblog.death import EVENT_KIND
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.ingest.committer import Committer, commit
from joblog.leader.ingest.live_log import LiveLog
from joblog.v1 import types_pb2


class _Leader:
    """The source of a commit that no stream sent: nothing follows on it."""

    broken = False


class Records:
    """Belongs to the event loop; whoever writes a log's record holds the log's `changing`."""

    def __init__(self, store: Store, committer: Committer, pool: Executor) -> None:
        self._store = store
        self._committer = committer
        self._pool = pool
        # There is a death report to send out.
        self.on_death: Callable[[], None] = lambda: None

    async def write(self, live: LiveLog, record: types_pb2.LogRecord, event: types_pb2.Event | None = None) -> None:
        """Writes a log's new record, which is also that of `live` once it is on disk. Raises what the commit raises."""
        is_death = event is not None and event.kind == EVENT_KIND

        def apply(changes: Changes) -> None:
            if not live.gone:
                changes.put_log(record)
                if event is not None:
                    changes.put_event(live.number, event)
                if is_death and not live.death_reported:
                    changes.put_death(live.number)

        await commit(self._committer, _Leader(), apply, record.ByteSize())
        live.record = record
        if is_death and not live.death_reported:
            live.death_reported = True
            self.on_death()

    async def with_death_known(self, live: LiveLog, report: types_pb2.Event | None) -> types_pb2.Event | None:
        """A report as it is to be written; whether it is the log's first one is known to the log then."""
        if report is not None and live.death_reported is None:
            loop = asyncio.get_running_loop()
            events = await loop.run_in_executor(self._pool, self._store.events, live.number)
            live.death_reported = any(event.kind == EVENT_KIND for event in events)
        return report
