"""The KMSes of the tests: for each kind, a key of a given name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from joblog.leader.crypto.aws_kms import AwsKms
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import AwsOptions, KmsSecrets, Pkcs11Options, VaultOptions
from joblog.leader.crypto.passphrase_kms import PassphraseKms, ScryptParams
from joblog.leader.crypto.pkcs11_kms import Pkcs11Kms
from joblog.leader.crypto.vault_kms import VaultKms
from tests.soft_hsm import PIN, SoftHsm
from tests.vault_server import TransitKey, VaultServer

# make(place, name): the KMS of that name at that place; asked twice, the same keys.
Make = Callable[[Path, str], Kms]
KINDS = ("file", "passphrase", "aws", "vault", "pkcs11")


def make_for(kind: str, request: pytest.FixtureRequest) -> Make:
    """How a KMS of that kind is made; the server that it needs is started."""
    if kind == "aws":
        request.getfixturevalue("aws_credentials")
        endpoint: str = request.getfixturevalue("moto")
        return lambda place, name: AwsKms(aws_options(endpoint, name_at(place, name)))
    if kind == "vault":
        vault: VaultServer = request.getfixturevalue("vault")
        return lambda place, name: VaultKms(
            vault_options(vault, name_at(place, name)), KmsSecrets(vault_token="root-token")
        )
    if kind == "pkcs11":
        hsm: SoftHsm = request.getfixturevalue("soft_hsm")
        return lambda place, name: Pkcs11Kms(pkcs11_options(hsm, name_at(place, name)), PIN, create=True)
    if kind == "file":
        return lambda place, name: FileKms(place / f"{name}.key")
    return lambda place, name: PassphraseKms(f"{name} at {place}", ScryptParams(log_n=6))


def name_at(place: Path, name: str) -> str:
    """A name for a key on a server that all tests share."""
    return f"{name}-{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"


def aws_options(endpoint: str, name: str) -> AwsOptions:
    """Of a key with that alias, which is made when there is none."""
    client = boto3.client("kms", endpoint_url=endpoint, region_name="us-east-1")
    try:
        client.describe_key(KeyId=f"alias/{name}")
    except ClientError:
        key = client.create_key()["KeyMetadata"]["KeyId"]
        client.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    finally:
        client.close()
    return AwsOptions(f"alias/{name}", endpoint, "us-east-1", connect_timeout_seconds=2, read_timeout_seconds=5)


def vault_options(vault: VaultServer, name: str) -> VaultOptions:
    """Of a derived key of that name, which is made when there is none."""
    vault.keys.setdefault(name, TransitKey(derived=True))
    return VaultOptions(vault.url, name, timeout_seconds=5)


def pkcs11_options(hsm: SoftHsm, name: str) -> Pkcs11Options:
    """Of a token with that label, which is made when there is none."""
    hsm.add_token(name)
    return Pkcs11Options(hsm.module, name)
