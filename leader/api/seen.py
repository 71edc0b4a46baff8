"""What of an answer the one who asked may see."""

from __future__ import annotations

from collections.abc import Callable

from joblog.leader.access.principal import Principal
from joblog.leader.access.roles import Permission
from joblog.v1 import admin_pb2


def namespaces_seen(principal: Principal) -> Callable[[str], bool] | None:
    """Tells which namespaces are listed; None: all of them."""
    if principal.kind == "open":
        return None
    return lambda namespace: principal.may(Permission.RUN_SEE, namespace)


def status_seen(status: admin_pb2.GetStatusResponse, principal: Principal) -> admin_pb2.GetStatusResponse:
    """The status without what is about namespaces, workers or disks that are none of the principal's business."""
    seen = admin_pb2.GetStatusResponse()
    seen.CopyFrom(status)
    if not (principal.may(Permission.LEADER_OPERATE) or principal.may(Permission.WORKERS_MANAGE)):
        del seen.workers[:]
        del seen.warnings[:]
    if not principal.may(Permission.STATUS_SEE):
        # How much there is in all namespaces together.
        seen.logs_live = 0
        seen.buffer_bytes = 0
    return seen
