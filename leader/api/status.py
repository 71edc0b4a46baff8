"""What the leader says about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joblog.leader.buffer.store import Store
from joblog.v1 import admin_pb2


def _nothing() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class LeaderStatus:
    """Where the answers about the leader's state come from; shared by gRPC and HTTP.

    http_url, workers, logs_live, warnings: asked each time.
    not_ready: why the leader can't take anything now, None when it can.
    """

    leader_id: str
    version: str
    started_ns: int
    store: Store
    http_url: Callable[[], str]
    workers: Callable[[], Sequence[admin_pb2.WorkerStatus]]
    logs_live: Callable[[], int]
    not_ready: Callable[[], str | None]
    warnings: Callable[[], Sequence[str]] = _nothing

    def collect(self) -> admin_pb2.GetStatusResponse:
        """The status as of now; reads the store, so call it outside the event loop."""
        stats = self.store.stats()
        reason = self.not_ready()
        return admin_pb2.GetStatusResponse(
            leader_id=self.leader_id,
            version=self.version,
            store_id=self.store.store_id,
            started_ns=self.started_ns,
            logs_live=self.logs_live(),
            buffer_bytes=stats.disk_bytes,
            workers=self.workers(),
            http_url=self.http_url(),
            warnings=[*filter(None, (reason, self.store.damage.warning())), *self.warnings()],
        )
