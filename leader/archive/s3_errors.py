"""What S3 and boto3 say went wrong, as joblog's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)
from urllib3.exceptions import HTTPError

from joblog.errors import Corrupt, Denied, InvalidInput, JoblogError, NotFound, OutOfSpace, Unavailable
from joblog.leader.archive.objects import PreconditionFailed

_PRECONDITION = frozenset({"PreconditionFailed", "412"})
_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "NotFound", "404"})
_DAMAGED = frozenset(
    {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
)
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "507"})
# Two conditional writes at once: which of them has won is seen when it is looked up.
_RETRIED = frozenset({"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "429"})
# Of one object among several, for which no status is told.
PASSING = _RETRIED | {"InternalError", "ServiceUnavailable", "Throttling"}
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_TOKENS = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_SERVER_ERROR = 500
_FORBIDDEN = (401, 403)


class Holder(Protocol):
    """What has a client, and can make another."""

    @property
    def client(self) -> Any:
        """boto3's client."""
        ...

    def forget_client(self) -> None:
        """The next one is a new one."""
        ...


@contextmanager
def translated(where: str, holder: Holder) -> Iterator[Any]:
    """Gives the holder's client; errors of boto3 in the block become those of an object store.

    where: store and key, for the message. Nothing else that boto3 or the server said gets into it but codes and, of
    requests that make no sense, the server's own words: those never hold credentials.
    """
    try:
        yield holder.client
    except JoblogError:
        raise
    except ClientError as error:
        raise _of_reply(where, error) from None
    except (NoCredentialsError, PartialCredentialsError):
        holder.forget_client()
        raise Denied(
            f"{where}: no credentials: set them as for any program that uses AWS, or JOBLOG_ARCHIVE_S3_ACCESS_KEY and "
            "JOBLOG_ARCHIVE_S3_SECRET_KEY (of backups: JOBLOG_BACKUP_S3_ACCESS_KEY, JOBLOG_BACKUP_S3_SECRET_KEY)"
        ) from None
    except (CredentialRetrievalError, MetadataRetrievalError) as error:
        holder.forget_client()
        raise Unavailable(f"{where}: credentials can't be had now: {type(error).__name__}") from None
    except SSLError:
        raise Unavailable(
            f"{where}: no connection over TLS; is the server's certificate signed by one that archive.s3.ca_file or "
            "the system trusts?"
        ) from None
    except ParamValidationError:
        # Its text may repeat a value, and so a key.
        raise InvalidInput(f"{where}: a setting in archive.url or archive.s3 is not one that S3 knows") from None
    except ProfileNotFound as error:
        raise InvalidInput(f"{where}: {str(error)[:300]}") from None
    except (BotoCoreError, HTTPError, OSError) as error:
        raise Unavailable(f"{where}: no answer: {type(error).__name__}") from None
    except ValueError as error:
        # What boto3 raises for an endpoint or a region that is none.
        raise InvalidInput(f"{where}: {str(error)[:300]}") from None


def code_of(error: ClientError) -> str:
    """The server's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_reply(where: str, error: ClientError) -> JoblogError:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    what = f"{where}: {error.operation_name}: {code or status}"
    if code in _PRECONDITION:
        return PreconditionFailed(f"{what}: the object is there already, or is not the one that was expected")
    if code == "NoSuchBucket":
        return NotFound(f"{what}: the bucket is not there")
    if code in _MISSING:
        return NotFound(f"{what}: there is no such object, upload or bucket")
    if code in _DAMAGED:
        return Unavailable(f"{what}: the bytes were damaged on their way")
    if code in _FULL:
        return OutOfSpace(f"{what}: the store is full")
    if code in _SKEWED:
        return Unavailable(f"{what}: this machine's clock and the server's are too far apart: set them right")
    if code.startswith("KMS."):
        return Unavailable(f"{what}: the server can't use its encryption key now")
    if status >= _SERVER_ERROR or code in _RETRIED:
        return Unavailable(f"{what}: the store can't take it now")
    if status in _FORBIDDEN or code in _TOKENS:
        return Denied(f"{what}: these credentials do not allow it")
    if code in ("InvalidRange", "416"):
        return Corrupt(f"{what}: the object ends before the range that was asked for")
    return InvalidInput(f"{what}: {str(error.response.get('Error', {}).get('Message', ''))[:300]}")
