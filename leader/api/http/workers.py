"""Routes for workers: what they say of themselves, and what they show to be let in."""

from __future__ import annotations

import time

from fastapi import APIRouter
from pydantic import BaseModel

from joblog.leader.access.records import CertificateRecord
from joblog.leader.api.http.access import Certificate
from joblog.leader.api.http.context import Context
from joblog.leader.api.http.leader_status import Worker
from joblog.leader.api.http.words import moment

router = APIRouter(prefix="/api/v1", tags=["leader"])


class KnownWorker(Worker):
    """A worker, and the certificate that it would be let in with; None where it has none, as in plaintext."""

    certificate: Certificate | None


class Workers(BaseModel):
    """Workers that were heard of since the leader started. time: the leader's, with which theirs are to be compared."""

    time: str | None
    workers: list[KnownWorker]


@router.get("/workers")
async def list_workers(context: Context) -> Workers:
    """Workers that were heard of since the leader started; of those gone, the last thousand."""
    found = context.status.workers()

    def certificates() -> list[CertificateRecord | None]:
        return [_best(context.issuer.certificates_of(worker.worker_id)) for worker in found]

    best = await context.reader.run(certificates)
    return Workers(
        time=moment(time.time_ns()),
        workers=[
            KnownWorker(
                **Worker.of(worker).model_dump(),
                certificate=Certificate.of(record) if record is not None else None,
            )
            for worker, record in zip(found, best, strict=True)
        ],
    )


def _best(records: list[CertificateRecord]) -> CertificateRecord | None:
    """The one that is good for longest; a revoked one where there is no other."""
    return max(records, key=lambda record: (not record.revoked_ns, record.expires_ns), default=None)
