"""Logs whose worker is gone, is back, or stays silent: their state says so, and an event of theirs."""

from __future__ import annotations

import asyncio
import logging
import time

from joblog.errors import JoblogError
from joblog.leader.ingest.deaths import DeathRules
from joblog.leader.ingest.live import Live
from joblog.leader.ingest.live_log import LiveLog
from joblog.leader.ingest.records import Records
from joblog.leader.ingest.registry import Registry
from joblog.leader.metrics import Metrics
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)


class Absences:
    """Belongs to the event loop.

    lost_after_seconds: after so long without a word, a log's worker counts as lost. deaths: None where none is told.
    """

    def __init__(
        self,
        registry: Registry,
        records: Records,
        live: Live,
        metrics: Metrics,
        *,
        lost_after_seconds: float,
        deaths: DeathRules | None,
    ) -> None:
        self._registry = registry
        self._records = records
        self._live = live
        self._metrics = metrics
        self._lost_after_seconds = lost_after_seconds
        self._deaths = deaths

    async def look(self, now: float) -> None:
        """Writes down what has changed by now, in monotonic seconds. What can't be written now is the next time."""
        logs = self._registry.all()
        lost = [live for live in logs if live.record.state == types_pb2.LOG_STATE_INTERRUPTED]
        self._metrics.logs_live.set(len(logs) - len(lost))
        self._metrics.logs_interrupted.set(len(lost))
        late = [live for live in logs if live.is_lost(now - self._lost_after_seconds)]
        # A worker may come back in the very moment in which its loss is written down.
        back = [live for live in lost if live.session is not None]
        await asyncio.gather(*map(self._lose, late), *map(self._regain, back))
        if self._deaths is not None and (silence := self._deaths.silent_after_seconds):
            silent = [live for live in lost if live.is_silent(now - silence)]
            await asyncio.gather(*(self._tell_silence(live, self._deaths) for live in silent))

    async def _lose(self, live: LiveLog) -> None:
        message = f"has not been heard of for {self._lost_after_seconds:g} s"
        await self._change_state(live, types_pb2.LOG_STATE_INTERRUPTED, "worker_lost", message)

    async def _regain(self, live: LiveLog) -> None:
        message = f"is back and goes on at offset {live.next_offset}"
        await self._change_state(live, types_pb2.LOG_STATE_LIVE, "worker_back", message)

    async def _tell_silence(self, live: LiveLog, rules: DeathRules) -> None:
        if live.changing.locked():
            return
        async with live.changing:
            report = await self._records.with_death_known(live, rules.at_silence(live.record, live.durable_offset))
            if report is None:
                live.death_reported = True
            if report is None or live.death_reported or live.session is not None:
                return
            try:
                await self._records.write(live, live.record, report)
            except JoblogError as error:
                log.error("log %d: its death report could not be noted: %s", live.number, error)
                return
        self._live.changed(live.number, open_for_writing=not live.gone)

    async def _change_state(self, live: LiveLog, state: types_pb2.LogState, kind: str, message: str) -> None:
        if live.changing.locked():
            return
        async with live.changing:
            record = types_pb2.LogRecord()
            record.CopyFrom(live.record)
            record.state = state
            event = types_pb2.Event(
                offset=live.durable_offset,
                time_ns=time.time_ns(),
                kind=kind,
                message=f"worker {record.start.worker_id} {message}",
            )
            try:
                await self._records.write(live, record, event)
            except JoblogError as error:
                log.error("log %d: its new state could not be noted: %s", live.number, error)
                return
        self._live.changed(live.number, open_for_writing=not live.gone)
