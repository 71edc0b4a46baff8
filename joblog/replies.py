"""What a gRPC status that comes back from a leader means, as one of joblog's errors."""

from __future__ import annotations

from typing import cast

import grpc

from joblog.address import KnownLeader, unreachable
from joblog.errors import (
    BeyondEnd,
    Conflict,
    Corrupt,
    Denied,
    Interrupted,
    InvalidInput,
    JoblogError,
    NotAuthenticated,
    NotFound,
    OutOfSpace,
    Unavailable,
    WrongVersion,
)
from joblog.handshake import explain

_ERRORS: dict[grpc.StatusCode, type[JoblogError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: BeyondEnd,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAUTHENTICATED: NotAuthenticated,
    grpc.StatusCode.DATA_LOSS: Corrupt,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OutOfSpace,
    grpc.StatusCode.CANCELLED: Interrupted,
}


def _code_and_details(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    # Every error that a call raises is a grpc.Call too, which the type stubs do not say.
    call = cast(grpc.Call, error)
    return call.code(), call.details() or "no details given"


def error_from(error: grpc.RpcError, leader: KnownLeader) -> JoblogError:
    """The JoblogError for a call that failed; what the leader wrote is its message.

    Where no connection came about, tries once more to find out why, which may take a few seconds.
    """
    address = leader.address
    code, details = _code_and_details(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        return explain(address, leader.trust) or unreachable(address, details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"the leader at {address} did not answer in time: try again, or see `joblog status`")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return WrongVersion(f"what answers at {address} is no joblog leader, or one of another version ({details})")
    if code in _ERRORS:
        return _ERRORS[code](details)
    return JoblogError(f"the leader at {address} failed: {details} ({code.name}): its own log says more")


def is_passing(error: grpc.RpcError) -> bool:
    """Whether the call may succeed when it is made again: the leader went away, or a connection was cut."""
    code, details = _code_and_details(error)
    # A connection that ends within a stream is told as one of these, by where it was cut.
    cut = "RST_STREAM" in details or "Stream removed" in details or "GOAWAY" in details
    return code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ) or (cut and code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED))
