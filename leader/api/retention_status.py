"""How retention does, as messages; shared by gRPC and HTTP."""

from __future__ import annotations

from joblog.leader.retention.service import Done, Retention
from joblog.leader.retention.sweep import Due
from joblog.v1 import retention_pb2

MAX_PENDING = 100_000


def done_message(done: Done) -> retention_pb2.RetentionDone:
    """What a pass did."""
    return retention_pb2.RetentionDone(
        runs_looked_at=done.runs_looked_at,
        runs=done.runs,
        logs=done.logs,
        bytes=done.bytes,
        held_runs=done.held_runs,
        seconds=done.seconds,
    )


def due_message(due: Due) -> retention_pb2.DueRun:
    """A run that is due."""
    run = due.run
    return retention_pb2.DueRun(
        namespace=run.namespace,
        run=run.run,
        state=run.state,
        completed_ns=run.completed_ns,
        logs=run.logs_completed + run.logs_interrupted,
        bytes=run.stored_bytes,
        policy=due.why,
        held=due.is_held,
    )


def retention_status(retention: Retention) -> retention_pb2.GetRetentionResponse:
    """The policies in force, and how it does; reads the store."""
    state, policies, store = retention.state, retention.policies, retention.store
    return retention_pb2.GetRetentionResponse(
        policies=[policy.text for policy in policies.policies],
        quotas=[quota.text for quota in policies.quotas],
        next_pass_ns=state.next_pass_ns,
        passed_ns=state.passed_ns,
        last=done_message(state.last) if state.passed_ns else None,
        pending_objects=len(store.objects.unused(MAX_PENDING)),
        locked_objects=retention.locked_objects(),
        holds=len(store.holds.present.all),
        warnings=retention.warnings(),
    )
