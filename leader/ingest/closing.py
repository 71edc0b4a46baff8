"""Completing a log: its end, its seal, and what its task came to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from joblog.errors import Unavailable
from joblog.leader.ingest.live_log import LiveLog, Refused
from joblog.leader.ingest.outcome import bounded_outcome
from joblog.leader.ingest.seal import make_seal, stored_bytes
from joblog.v1 import ingest_pb2, types_pb2

if TYPE_CHECKING:
    from joblog.leader.ingest.ingest import Ingest
    from joblog.leader.ingest.session import Session

CLOSE_POLL_SECONDS = 1.0


class Closing:
    """Closes logs for streams. Belongs to the event loop."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest

    async def close(self, session: Session, live: LiveLog, close: ingest_pb2.CloseLog) -> types_pb2.Seal:
        """Completes a log once all its bytes are durable; raises Refused when they are not those of the close."""
        async with live.changing:
            # An earlier stream of the same writer may have closed it and not lived to hear so.
            if live.gone:
                if live.record.state != types_pb2.LOG_STATE_COMPLETED:
                    raise Refused(ingest_pb2.REFUSAL_CODE_DELETED, f"{live.record.id.task}: the log was deleted")
                return live.record.seal
            live.closing = True
            try:
                return await self._complete(session, live, close)
            finally:
                live.closing = False

    async def _complete(self, session: Session, live: LiveLog, close: ingest_pb2.CloseLog) -> types_pb2.Seal:
        ingest = self._ingest
        if close.length != live.next_offset:
            raise Refused(
                ingest_pb2.REFUSAL_CODE_OFFSET if close.length > live.next_offset else ingest_pb2.REFUSAL_CODE_SEAL,
                f"{live.record.id.task}: closed with length {close.length}, {live.next_offset} bytes have arrived",
                live.next_offset,
                retry=close.length > live.next_offset,
            )
        while live.durable_offset < close.length:
            if session.failed.done() or live.gone:
                raise Unavailable(f"{live.record.id.task}: not all of its bytes could be stored; close it again")
            await ingest.live.wait(live.number, live.durable_offset, CLOSE_POLL_SECONDS)
        loop = asyncio.get_running_loop()
        seal = await loop.run_in_executor(ingest.pool, make_seal, ingest.store, live, close)
        record = types_pb2.LogRecord()
        record.CopyFrom(live.record)
        record.state = types_pb2.LOG_STATE_COMPLETED
        record.completed_ns = time.time_ns()
        record.outcome.CopyFrom(bounded_outcome(close.outcome))
        record.seal.CopyFrom(seal)
        record.next_offset = seal.length
        record.newlines = seal.newlines
        record.stored_bytes = await loop.run_in_executor(ingest.pool, stored_bytes, ingest.store, live)
        ingest.archiving.expect_seal(live.number, session, live.handle)
        report = await ingest.records.with_death_known(live, ingest.deaths.at_end(record)) if ingest.deaths else None
        await ingest.records.write(live, record, report)
        ingest.registry.remove(live.number)
        ingest.live.changed(live.number, open_for_writing=False)
        ingest.metrics.logs_completed.inc()
        ingest.completed()
        return seal
