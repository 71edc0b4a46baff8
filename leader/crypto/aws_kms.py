"""A KMS with the API of AWS KMS, through boto3."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
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

from joblog import __version__
from joblog.errors import Conflict, Corrupt, Denied, InvalidSettings, JoblogError, Unavailable, WrongVersion
from joblog.leader.crypto.kms import check_plain
from joblog.leader.crypto.kms_options import AwsOptions

_DEFAULT_REGION = "us-east-1"
_VERSION = 1
# What AWS takes; a longer one is nothing that it gave.
_MAX_WRAPPED_BYTES = 6144
_SERVER_ERROR = 500
# Tries of one request, for what passes by itself within a second or two.
_ATTEMPTS = 3

_PASSING = frozenset(
    {
        *("ThrottlingException", "Throttling", "LimitExceededException", "RequestLimitExceeded", "TooManyRequests"),
        *("KeyUnavailableException", "DependencyTimeoutException", "KMSInternalException", "ServiceUnavailable"),
        *("RequestTimeTooSkewed", "RequestExpired", "RequestTimeout", "429"),
    }
)
_REFUSED = {
    "DisabledException": "the key is disabled",
    "KMSInvalidStateException": "the key is to be deleted, or can't be used in its state",
    "NotFoundException": "there is no such key in this region",
    "IncorrectKeyException": "it was wrapped with another key: give that one (is the alias of another one now?)",
    "InvalidKeyUsageException": "the key is not one for encryption: make a symmetric one",
}


class AwsKms:
    """Encrypt, Decrypt and ReEncrypt with an encryption context.

    The service rotates keys under one id and opens what older versions wrapped, but what it gives does not show which
    version that was: there are none here. What is unwrapped must be of the key that is set, so that nobody who can
    write to the store slips in a secret that is wrapped with a key of theirs.
    """

    name = "aws"

    def __init__(self, options: AwsOptions) -> None:
        """Asks nothing yet."""
        if not options.key_id:
            raise InvalidSettings("keys.aws.key_id is empty: give a key's id, its ARN or alias/NAME")
        self._options = options
        self.key_id = options.key_id
        self._client: Any = None
        self._lock = threading.Lock()

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap()."""
        check_plain(plain)
        with self._asked() as client:
            answer = client.encrypt(KeyId=self.key_id, Plaintext=plain, EncryptionContext=dict(context))
        return bytes([_VERSION]) + bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap()."""
        sealed = _sealed(wrapped)
        with self._asked() as client:
            answer = client.decrypt(KeyId=self.key_id, CiphertextBlob=sealed, EncryptionContext=dict(context))
        return bytes(answer["Plaintext"])

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.rewrap(), within the service."""
        sealed = _sealed(wrapped)
        with self._asked() as client:
            answer = client.re_encrypt(
                CiphertextBlob=sealed,
                SourceKeyId=self.key_id,
                SourceEncryptionContext=dict(context),
                DestinationKeyId=self.key_id,
                DestinationEncryptionContext=dict(context),
            )
        return bytes([_VERSION]) + bytes(answer["CiphertextBlob"])

    def version_of(self, wrapped: bytes) -> str:
        """As Kms.version_of()."""
        _sealed(wrapped)
        return ""

    def current_version(self) -> str:
        """As Kms.current_version()."""
        return ""

    def rotate(self) -> str:
        """As Kms.rotate(): rotation on demand. AWS allows it a few times per key."""
        with self._asked() as client:
            # It takes no alias.
            arn = client.describe_key(KeyId=self.key_id)["KeyMetadata"]["Arn"]
            try:
                client.rotate_key_on_demand(KeyId=arn)
            except ClientError as error:
                if _code(error) in ("LimitExceededException", "UnsupportedOperationException", "ConflictException"):
                    raise Conflict(f"{self._where()}: can't be rotated: {_code(error)}: move to another key") from None
                raise
        return ""

    def _where(self) -> str:
        return f"AWS KMS, key {self.key_id}"

    def _made(self) -> Any:
        options = self._options
        session = boto3.session.Session()
        arn = options.key_id.split(":")
        region = options.region or (arn[3] if options.key_id.startswith("arn:") and len(arn) > 5 else "")
        return session.client(
            "kms",
            region_name=region or session.region_name or _DEFAULT_REGION,
            endpoint_url=options.endpoint or None,
            verify=options.ca_file or None,
            config=Config(
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                connect_timeout=options.connect_timeout_seconds,
                read_timeout=options.read_timeout_seconds,
                tcp_keepalive=True,
                user_agent_extra=f"joblog/{__version__}",
            ),
        )

    def _forget_client(self) -> None:
        """Credentials that come later are found by a new one."""
        with self._lock:
            self._client = None

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """boto3's client; its errors in the block become joblog's.

        Of what it or the server said only codes get into them, and words of replies to requests that make no sense.
        """
        where = self._where()
        try:
            with self._lock:
                client = self._client = self._client or self._made()
            yield client
        except JoblogError:
            raise
        except ClientError as error:
            raise self._of_reply(error) from None
        except (NoCredentialsError, PartialCredentialsError):
            self._forget_client()
            raise Denied(f"{where}: no credentials: set them as for any program that uses AWS") from None
        except (CredentialRetrievalError, MetadataRetrievalError) as error:
            self._forget_client()
            raise Unavailable(f"{where}: credentials can't be had now: {type(error).__name__}") from None
        except SSLError:
            raise Unavailable(
                f"{where}: no connection over TLS; is the server's certificate signed by one that keys.aws.ca_file or "
                "the system trusts?"
            ) from None
        except ParamValidationError:
            # Its text may repeat a value.
            raise InvalidSettings(f"{where}: a setting in keys.aws is not one that AWS knows") from None
        except ProfileNotFound as error:
            raise InvalidSettings(f"{where}: {str(error)[:300]}") from None
        except (BotoCoreError, OSError) as error:
            raise Unavailable(f"{where}: no answer: {type(error).__name__}") from None
        except ValueError as error:
            # What boto3 raises for an endpoint or a region that is none.
            raise InvalidSettings(f"{where}: {str(error)[:300]}") from None

    def _of_reply(self, error: ClientError) -> JoblogError:
        code = _code(error)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        what = f"{self._where()}: {error.operation_name}: {code or status}"
        if code in _REFUSED:
            return Denied(f"{what}: {_REFUSED[code]}")
        if code in _PASSING or status >= _SERVER_ERROR:
            return Unavailable(f"{what}: it can't take it now")
        if code == "InvalidCiphertextException":
            return Corrupt(f"{what}: what it wrapped was changed, or belongs to another store")
        if code == "InvalidArnException":
            return InvalidSettings(f"{what}: keys.aws.key_id is not a key")
        if code in ("ValidationException", "InvalidAction", "UnsupportedOperationException"):
            return InvalidSettings(f"{what}: {str(error.response.get('Error', {}).get('Message', ''))[:300]}")
        self._forget_client()
        return Denied(f"{what}: these credentials do not allow it")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _sealed(wrapped: bytes) -> bytes:
    if not 1 < len(wrapped) <= _MAX_WRAPPED_BYTES:
        raise Corrupt(f"a key wrapped by AWS KMS has {len(wrapped)} bytes: it was cut or changed; restore a backup")
    if wrapped[0] != _VERSION:
        raise WrongVersion(f"a key wrapped by AWS KMS has version {wrapped[0]}; this joblog knows {_VERSION}")
    return wrapped[1:]
