"""What is known of the workers that were heard of: for `joblog status`, and as metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from joblog.leader.metrics import Metrics
from joblog.v1 import admin_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.session import Session

# Of more workers that are gone, those heard of longest ago are forgotten: each container may bring a new one.
MAX_GONE = 1000


class Workers:
    """Who is connected, who was, and what they said of themselves. Belongs to the event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.workers
        self._connected: dict[str, set[Session]] = {}
        # The one heard of last comes last.
        self._seen: dict[str, admin_pb2.WorkerStatus] = {}
        # Bytes that were stored, and how long the last ones had waited.
        self._taken: dict[str, tuple[int, int]] = {}

    def came(self, session: Session) -> None:
        """A stream has begun. A worker may have several: each task that ships its own spool has one."""
        self._connected.setdefault(session.worker_id, set()).add(session)
        self._metrics.connected.set(len(self._connected))
        self.heard(session)

    def heard(self, session: Session) -> None:
        """Takes note of what the worker says of itself."""
        stats = session.stats
        received_bytes, lag_ns = self._taken.get(session.worker_id, (0, 0))
        self._seen.pop(session.worker_id, None)
        self._seen[session.worker_id] = admin_pb2.WorkerStatus(
            worker_id=session.worker_id,
            host=session.host,
            version=session.version,
            connected=session.worker_id in self._connected,
            last_seen_ns=time.time_ns(),
            spool_bytes=stats.spool_bytes,
            spool_limit_bytes=stats.spool_limit_bytes,
            logs=stats.logs,
            received_bytes=received_bytes,
            lag_ns=lag_ns,
        )
        self._metrics.spool_bytes.labels(session.worker_id).set(stats.spool_bytes)
        self._metrics.spool_limit_bytes.labels(session.worker_id).set(stats.spool_limit_bytes)

    def took(self, session: Session, size: int, first_time_ns: int) -> None:
        """So many bytes of the worker's logs were stored; the oldest was read at its task at that time."""
        status = self._seen.get(session.worker_id)
        if status is None:
            return
        status.received_bytes += size
        status.lag_ns = max(0, time.time_ns() - first_time_ns)
        self._taken[session.worker_id] = status.received_bytes, status.lag_ns

    def went(self, session: Session) -> None:
        """A stream is over."""
        streams = self._connected.get(session.worker_id, set())
        streams.discard(session)
        if not streams:
            self._connected.pop(session.worker_id, None)
        self._metrics.connected.set(len(self._connected))
        self.heard(session)
        self._forget()

    def _forget(self) -> None:
        gone = [worker_id for worker_id in self._seen if worker_id not in self._connected]
        for worker_id in gone[: max(0, len(gone) - MAX_GONE)]:
            del self._seen[worker_id]
            self._taken.pop(worker_id, None)
            self._metrics.spool_bytes.remove(worker_id)
            self._metrics.spool_limit_bytes.remove(worker_id)

    def all(self) -> list[admin_pb2.WorkerStatus]:
        """Those connected, and those gone that are remembered."""
        return list(self._seen.values())
