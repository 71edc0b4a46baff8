"""What S3 and boto3 say went wrong, as joblog's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectionError,  # noqa: A004 - botocore's name for it
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)

from joblog.errors import Corrupt, Denied, InvalidInput, JoblogError, NotFound, OutOfSpace, Unavailable
from joblog.leader.archive.objects import PreconditionFailed

_PRECONDITION = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound", "404"})
_DAMAGED = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "507"})
_RETRIED = frozenset({"SlowDown", "RequestTimeout", "OperationAborted", "RequestTimeTooSkewed", "BadRequest"})
_TRANSPORT = (
    ConnectionError,
    ConnectionClosedError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)
_SERVER_ERROR = 500
_FORBIDDEN = (401, 403)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of boto3 in the block as those of an object store. where: store and key, for the message."""
    try:
        yield
    except JoblogError:
        raise
    except ClientError as error:
        raise _of_reply(where, error) from None
    except _TRANSPORT as error:
        raise Unavailable(f"{where}: no answer: {type(error).__name__}") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise Denied(
            f"{where}: no credentials: set them as for any program that uses AWS, or JOBLOG_ARCHIVE_S3_ACCESS_KEY and "
            "JOBLOG_ARCHIVE_S3_SECRET_KEY"
        ) from None
    except BotoCoreError as error:
        raise InvalidInput(f"{where}: {error}") from None


def _of_reply(where: str, error: ClientError) -> JoblogError:
    said = error.response.get("Error", {})
    code = str(said.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    what = f"{where}: {code or status}"
    if code in _PRECONDITION:
        return PreconditionFailed(f"{what}: the object is there already, or is not the one that was expected")
    if code in _MISSING:
        return NotFound(f"{what}: there is no such object, upload or bucket")
    if code in _DAMAGED:
        return Unavailable(f"{what}: the bytes were damaged on their way")
    if code in _FULL:
        return OutOfSpace(f"{what}: the store is full")
    if status >= _SERVER_ERROR or code in _RETRIED:
        return Unavailable(f"{what}: the store can't take it now")
    if status in _FORBIDDEN:
        return Denied(f"{what}: these credentials do not allow {error.operation_name}")
    if code == "InvalidRange":
        return Corrupt(f"{what}: the object ends before the range that was asked for")
    return InvalidInput(f"{what}: {str(said.get('Message', ''))[:300]}")
