"""The errors that joblog raises, and what each means to a program that called it.

::

    JoblogError
    ├── InvalidInput          permanent   a value is not what it must be
    │   ├── InvalidSettings   permanent   a setting is not what it must be
    │   └── BeyondEnd         permanent   a place in a log that lies behind its end
    ├── NotFound              permanent   no such run, log, file
    ├── Conflict              permanent   the state does not allow it
    ├── Denied                permanent   not allowed
    │   └── NotAuthenticated  permanent   the caller did not say who it is, or is not known
    ├── Corrupt               permanent   bytes at rest are not what was written
    ├── WrongVersion          permanent   a format that this version does not know
    ├── OutOfSpace            passing     a disk, spool or buffer is full
    ├── Unavailable           passing     a server can't be reached or can't take it now
    │   └── TooMany           passing     the caller asks for too much, or too often
    └── Interrupted           passing     stopped before the end

Each class carries the exit code of the command line and the gRPC and HTTP status that it maps to, so that the mapping
is written once.
"""

from __future__ import annotations

from typing import ClassVar


class JoblogError(Exception):
    """Base of all; the message says what was wrong, where, the limit, and what to do."""

    permanent: ClassVar[bool] = True
    exit_code: ClassVar[int] = 1
    grpc_status: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500


class InvalidInput(JoblogError):
    """A value is not what it must be; asking the same again fails again."""

    exit_code = 2
    grpc_status = "INVALID_ARGUMENT"
    http_status = 400


class BeyondEnd(InvalidInput):
    """A place in a log that lies behind its end, which a live log may reach later."""

    grpc_status = "OUT_OF_RANGE"


class InvalidSettings(InvalidInput):
    """A setting is not what it must be; the message names file, key, value and what is allowed."""


class NotFound(JoblogError):
    """No such namespace, run, log or file."""

    exit_code = 3
    grpc_status = "NOT_FOUND"
    http_status = 404


class Conflict(JoblogError):
    """The state does not allow it: in use, already completed, another writer."""

    exit_code = 4
    grpc_status = "FAILED_PRECONDITION"
    http_status = 409


class Denied(JoblogError):
    """The caller may not do this."""

    exit_code = 5
    grpc_status = "PERMISSION_DENIED"
    http_status = 403


class NotAuthenticated(Denied):
    """The caller did not say who it is, or is not known, or not any more."""

    grpc_status = "UNAUTHENTICATED"
    http_status = 401


class Corrupt(JoblogError):
    """Bytes at rest or in transit are not what was written, or a key does not fit."""

    exit_code = 6
    grpc_status = "DATA_LOSS"
    http_status = 500


class WrongVersion(JoblogError):
    """A format that this version of joblog does not know."""

    exit_code = 7
    grpc_status = "FAILED_PRECONDITION"
    http_status = 500


class OutOfSpace(JoblogError):
    """A disk, a spool or the buffer is full."""

    permanent = False
    exit_code = 8
    grpc_status = "RESOURCE_EXHAUSTED"
    http_status = 507


class Unavailable(JoblogError):
    """A server can't be reached, or can't take it now; try again."""

    permanent = False
    exit_code = 9
    grpc_status = "UNAVAILABLE"
    http_status = 503


class TooMany(Unavailable):
    """The caller asks for too much, or too often; retry_after_seconds: when it may ask again."""

    grpc_status = "RESOURCE_EXHAUSTED"
    http_status = 429

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Interrupted(JoblogError):
    """Stopped before the end; what was done stays done."""

    permanent = False
    exit_code = 10
    grpc_status = "CANCELLED"
    http_status = 503
