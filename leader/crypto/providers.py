"""Opens the KMS that a description names. The client libraries of services are loaded only when they are asked for."""

from __future__ import annotations

from pathlib import Path

from joblog.errors import InvalidSettings
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import (
    AwsOptions,
    FileOptions,
    KmsDescription,
    KmsSecrets,
    Pkcs11Options,
    VaultOptions,
)
from joblog.leader.crypto.metered_kms import MeteredKms
from joblog.leader.metrics import KmsMetrics

# The modules that an extra brings.
_EXTRAS = {"boto3": "aws", "botocore": "aws", "hvac": "vault", "requests": "vault", "pkcs11": "pkcs11"}


def open_kms(
    description: KmsDescription, secrets: KmsSecrets, *, create: bool = False, metrics: KmsMetrics | None = None
) -> Kms:
    """The KMS. A service is not asked anything yet. create: a key that is not there may be made.

    Raises InvalidSettings when a value or a client library is missing, and of a key file what FileKms raises.
    """
    try:
        kms = _open(description, secrets, create)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise InvalidSettings(
            f"keys.kind = {description.kind} needs a library that is not installed: pip install 'joblog[{extra}]'"
        ) from None
    return kms if metrics is None else MeteredKms(kms, metrics)


def _open(description: KmsDescription, secrets: KmsSecrets, create: bool) -> Kms:
    if description.kind == "file":
        from joblog.leader.crypto.file_kms import FileKms

        return FileKms(Path(description.options(FileOptions).path), create=create)
    if description.kind == "passphrase":
        from joblog.leader.crypto.passphrase_kms import PassphraseKms

        return PassphraseKms(secrets.passphrase)
    if description.kind == "aws":
        from joblog.leader.crypto.aws_kms import AwsKms

        return AwsKms(description.options(AwsOptions))
    if description.kind == "vault":
        from joblog.leader.crypto.vault_kms import VaultKms

        return VaultKms(description.options(VaultOptions), secrets)
    if description.kind == "pkcs11":
        from joblog.leader.crypto.pkcs11_kms import Pkcs11Kms

        return Pkcs11Kms(description.options(Pkcs11Options), secrets.pkcs11_pin, create=create)
    raise InvalidSettings(f"keys.kind = {description.kind!r} is not a kind of KMS")
