"""How the leader and its workers do, as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from joblog.leader.api.http.words import moment
from joblog.v1 import admin_pb2


class Worker(BaseModel):
    """What a worker says about itself."""

    worker_id: str
    host: str
    version: str
    connected: bool
    last_seen_at: str | None
    spool_bytes: int
    spool_limit_bytes: int
    logs: int
    received_bytes: int = Field(description="Of logs, before compression, stored since the leader started")
    lag_seconds: float = Field(
        description="How long the oldest byte of the last message had waited until it was stored"
    )

    @classmethod
    def of(cls, worker: admin_pb2.WorkerStatus) -> Worker:
        """From a message."""
        return cls(
            worker_id=worker.worker_id,
            host=worker.host,
            version=worker.version,
            connected=worker.connected,
            last_seen_at=moment(worker.last_seen_ns),
            spool_bytes=worker.spool_bytes,
            spool_limit_bytes=worker.spool_limit_bytes,
            logs=worker.logs,
            received_bytes=worker.received_bytes,
            lag_seconds=worker.lag_ns / 1e9,
        )


class Status(BaseModel):
    """Who the leader is and how it does."""

    leader_id: str
    version: str
    store_id: str
    started_at: str | None
    logs_live: int
    buffer_bytes: int
    workers: list[Worker]
    warnings: list[str]

    @classmethod
    def of(cls, status: admin_pb2.GetStatusResponse) -> Status:
        """From a message."""
        return cls(
            leader_id=status.leader_id,
            version=status.version,
            store_id=status.store_id,
            started_at=moment(status.started_ns),
            logs_live=status.logs_live,
            buffer_bytes=status.buffer_bytes,
            warnings=list(status.warnings),
            workers=[Worker.of(worker) for worker in status.workers],
        )
