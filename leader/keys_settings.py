"""The settings of the leader's KMS: the section `keys` of config/leader.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from joblog.leader.crypto.kms_options import (
    KINDS,
    VAULT_LOGINS,
    FileOptions,
    KmsDescription,
    KmsSecrets,
    PassphraseOptions,
    check_address,
)
from joblog.settings import section, setting


@dataclass(frozen=True, slots=True)
class AwsKeysSettings:
    """A key in AWS KMS, or in what speaks its API. Credentials are those that boto3 finds."""

    key_id: str = setting("", "The key: its id, its ARN, or alias/NAME.")
    endpoint: str = setting("", "The server's address, http(s)://HOST:PORT. Empty: AWS.", check=check_address)
    region: str = setting("", "The key's region. Empty: that in the ARN, else as boto3 finds it, else us-east-1.")
    ca_file: Path | None = setting(None, "Certificates (PEM) to trust instead of the system's.")
    connect_timeout_seconds: float = setting(5.0, "How long a connection may take.", unit="seconds", low=0.1, high=300)
    read_timeout_seconds: float = setting(10.0, "How long an answer may take.", unit="seconds", low=0.1, high=300)


@dataclass(frozen=True, slots=True)
class VaultKeysSettings:
    """A key in the Transit engine of HashiCorp Vault or OpenBao."""

    address: str = setting("", "The server's address, https://HOST:PORT.", check=check_address)
    key: str = setting("joblog", "Name of the key. It must have been made with derived = true.")
    mount: str = setting("transit", "Where the Transit engine is mounted.")
    namespace: str = setting("", "The namespace. Empty: none.")
    ca_file: Path | None = setting(None, "Certificates (PEM) to trust instead of the system's.")
    login: str = setting("token", "How the leader says who it is.", choices=VAULT_LOGINS)
    token: str = setting("", "The token, for login = token. Empty: the file's, else that in VAULT_TOKEN.", secret=True)
    token_file: Path | None = setting(
        None, "File with the token, for login = token; read again when it changes, as when Vault's agent renews it."
    )
    login_mount: str = setting("", "Where the login is mounted. Empty: kubernetes, or approle.")
    role: str = setting("", "The role for login = kubernetes, the role id for approle.")
    secret_id: str = setting("", "The secret id, for login = approle.", secret=True)
    jwt_file: Path | None = setting(
        None, "File with the service account's token, for login = kubernetes. Empty: where Kubernetes puts it."
    )
    timeout_seconds: float = setting(10.0, "How long an answer may take.", unit="seconds", low=0.1, high=300)


@dataclass(frozen=True, slots=True)
class Pkcs11KeysSettings:
    """A key in a PKCS#11 token: a hardware security module, or SoftHSM."""

    module: Path | None = setting(None, "The token's library, as /usr/lib/softhsm/libsofthsm2.so.")
    token: str = setting("", "The token's label.")
    key: str = setting(
        "joblog", "The key's label. Keys that share it are versions of one; that with the highest id wraps."
    )
    pin: str = setting("", "The PIN. Empty: the file's.", secret=True)
    pin_file: Path | None = setting(None, "File with the PIN, mode 0600.")
    create: bool = setting(
        True, "Make the key in the token when there is none: 256 bits of AES that can't be exported."
    )


@dataclass(frozen=True, slots=True)
class KeysSettings:
    """The key (KEK) that all others are wrapped with. Whoever has it and the store can read every log."""

    kind: str = setting(
        "file",
        "Where the KEK is: in a key file, made from a passphrase (scrypt), in AWS KMS, in HashiCorp Vault or OpenBao, "
        "or in a PKCS#11 token. `joblog keys rewrap --to` moves the keys of a store from one to another.",
        choices=tuple(KINDS),
    )
    file: Path | None = setting(
        None,
        "The key file. It is made, mode 0600, when it does not exist. Better on another disk than the store. "
        "Empty: leader/kek.key in the data folder.",
    )
    passphrase: str = setting(
        "", "The passphrase, for kind = passphrase. Rather give it in the variable than in a file.", secret=True
    )
    store_key_days: int = setting(
        30,
        "How old a store key may become. Then a new one is made, for new logs; the old ones stay. 0: for ever.",
        unit="days",
        low=0,
        high=36_500,
    )
    aws: AwsKeysSettings = section(AwsKeysSettings, "For kind = aws. Credentials are those that boto3 finds.")
    vault: VaultKeysSettings = section(VaultKeysSettings, "For kind = vault.")
    pkcs11: Pkcs11KeysSettings = section(Pkcs11KeysSettings, "For kind = pkcs11.")

    def description(self, kek_file: Path) -> KmsDescription:
        """Which KMS is set. kek_file: the key file where none is named."""
        if self.kind == "file":
            return KmsDescription.of(FileOptions(str((self.file or kek_file).absolute())))
        if self.kind == "passphrase":
            return KmsDescription.of(PassphraseOptions())
        asked, kind = getattr(self, self.kind), KINDS[self.kind]
        given = {item.name: getattr(asked, item.name) for item in fields(kind)}
        paths = {name: str(value.absolute()) for name, value in given.items() if isinstance(value, Path)}
        set_ones = {name: value for name, value in given.items() if value is not None}
        return KmsDescription.of(kind(**(set_ones | paths)))

    def secrets(self, environ: Mapping[str, str]) -> KmsSecrets:
        """All secrets that are set, of whichever kind. environ: where VAULT_TOKEN is."""
        token = self.vault.token or ("" if self.vault.token_file else environ.get("VAULT_TOKEN", ""))
        return KmsSecrets(self.passphrase, token, self.vault.secret_id, self.pkcs11.pin)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Values that do not fit together."""
        if self.kind == "passphrase" and not self.passphrase:
            yield "keys.kind", "needs a passphrase: set JOBLOG_KEYS_PASSPHRASE"
        if self.kind == "aws" and not self.aws.key_id:
            yield "keys.kind", "needs a key: set keys.aws.key_id"
        vault, pkcs11 = self.vault, self.pkcs11
        if self.kind == "vault":
            if not (vault.address and vault.key and vault.mount):
                yield "keys.kind", "needs a server and a key: set keys.vault.address, keys.vault.key, keys.vault.mount"
            if vault.login != "token" and not vault.role:
                yield "keys.vault.login", "needs keys.vault.role"
            if vault.login == "approle" and not vault.secret_id:
                yield "keys.vault.login", "needs a secret id: set JOBLOG_KEYS_VAULT_SECRET_ID"
        if self.kind == "pkcs11":
            if not (pkcs11.module and pkcs11.token and pkcs11.key):
                yield "keys.kind", "needs a token: set keys.pkcs11.module, keys.pkcs11.token, keys.pkcs11.key"
            if not (pkcs11.pin or pkcs11.pin_file):
                yield "keys.kind", "needs a PIN: set JOBLOG_KEYS_PKCS11_PIN or keys.pkcs11.pin_file"
