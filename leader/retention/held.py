"""Which holds keep a run as a whole: those on it, on its labels, and on the labels of one of its logs."""

from __future__ import annotations

from itertools import islice

from joblog.leader.buffer.every import logs_of_run
from joblog.leader.buffer.store import Store
from joblog.v1.retention_pb2 import Hold
from joblog.v1.types_pb2 import RunRecord


def holds_on(store: Store, run: RunRecord, max_logs: int | None = None) -> list[Hold]:
    """Each of them once. Logs are read, max_logs at most, only where a hold may be on a label of their own."""
    holds = store.holds.present
    found = {id(hold): hold for hold in holds.of(run.namespace, run.run, run.labels)}
    if holds.may_be_on_logs(run.namespace, run.labels):
        for log in islice(logs_of_run(store, run.namespace, run.run), max_logs):
            found |= {id(hold): hold for hold in holds.of(run.namespace, run.run, log.start.labels)}
    return list(found.values())
