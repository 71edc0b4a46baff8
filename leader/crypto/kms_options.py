"""Which key of which KMS, and how to get there, as plain values. Loads no client library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

from joblog.errors import Corrupt, InvalidInput, InvalidSettings, WrongVersion

_VERSION = 1
VAULT_LOGINS = ("token", "kubernetes", "approle")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """path: the key file."""

    path: str


@dataclass(frozen=True, slots=True)
class PassphraseOptions:
    """A passphrase is all that it takes."""


@dataclass(frozen=True, slots=True)
class AwsOptions:
    """key_id: the key's id, ARN or alias/NAME. Empty texts: as boto3 finds it (variables, files, instance roles)."""

    key_id: str
    endpoint: str = ""
    region: str = ""
    ca_file: str = ""
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class VaultOptions:
    """key: name of a key of Transit with derived = true, in the engine at `mount`.

    login: one of VAULT_LOGINS. token_file: for "token", read again when it changes. login_mount, role, jwt_file: for
    "kubernetes"; login_mount, role (the role id): for "approle". Empty texts: what Vault has by default.
    """

    address: str
    key: str
    mount: str = "transit"
    namespace: str = ""
    ca_file: str = ""
    login: str = "token"
    token_file: str = ""
    login_mount: str = ""
    role: str = ""
    jwt_file: str = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Pkcs11Options:
    """module: the token's library. token, key: labels. create: the key is made when the token has none."""

    module: str
    token: str
    key: str = "joblog"
    pin_file: str = ""
    create: bool = True


KmsOptions = FileOptions | PassphraseOptions | AwsOptions | VaultOptions | Pkcs11Options
KINDS: dict[str, type[KmsOptions]] = {
    "file": FileOptions,
    "passphrase": PassphraseOptions,
    "aws": AwsOptions,
    "vault": VaultOptions,
    "pkcs11": Pkcs11Options,
}
Options = TypeVar("Options", bound=KmsOptions)


@dataclass(frozen=True, slots=True)
class KmsSecrets:
    """What it takes beside the options, where the KMS asks for it. In no message, log line or repr."""

    passphrase: str = field(default="", repr=False)
    vault_token: str = field(default="", repr=False)
    vault_secret_id: str = field(default="", repr=False)
    pkcs11_pin: str = field(default="", repr=False)

    def all(self) -> list[str]:
        """Those that are there."""
        return [secret for secret in (getattr(self, item.name) for item in fields(self)) if secret]


@dataclass(frozen=True, slots=True)
class KmsDescription:
    """Where a KEK is, without any secret: `kind` (one of KINDS) and its options by name."""

    kind: str
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, options: KmsOptions) -> KmsDescription:
        """The description of a KMS with these options."""
        kind = next(kind for kind, known in KINDS.items() if isinstance(options, known))
        return cls(kind, asdict(options))

    def options(self, kind: type[Options]) -> Options:
        """The options, of the class that KINDS names. Raises InvalidSettings."""
        types = {item.name: item.type for item in fields(kind)}
        for name, value in self.parameters.items():
            if name not in types or not _fits(types[name], value):
                raise InvalidSettings(f"{name!r} is not what describes a KMS of kind {self.kind!r}")
        try:
            return kind(**self.parameters)
        except TypeError:
            raise InvalidSettings(f"the description of a KMS of kind {self.kind!r} lacks what it needs") from None

    def to_json(self) -> str:
        """As a store keeps it."""
        return json.dumps({"version": _VERSION, "kind": self.kind, "parameters": dict(self.parameters)})

    @classmethod
    def from_json(cls, text: str | bytes) -> KmsDescription:
        """What to_json() gave. Raises Corrupt, WrongVersion for one of a later joblog."""
        try:
            found = json.loads(text)
            version, kind, parameters = found["version"], found["kind"], found["parameters"]
        except (ValueError, KeyError, TypeError):
            raise Corrupt("the description of a KMS is not JSON with version, kind and parameters") from None
        if version != _VERSION:
            raise WrongVersion(f"the description of a KMS has version {version!r}; this joblog knows {_VERSION}")
        if not isinstance(kind, str) or kind not in KINDS or not isinstance(parameters, dict):
            raise Corrupt(f"the description of a KMS names a kind that is none: {str(kind)[:40]!r}")
        return cls(kind, parameters)


def _fits(declared: object, value: object) -> bool:
    if declared == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if declared == "bool" else str)


def check_address(url: str) -> str:
    """Returns `url` when it is "" or http(s)://HOST[:PORT] without credentials in it; raises InvalidInput."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("write http://host:port or https://host:port") from None
    if "@" in parts.netloc:
        raise InvalidInput("it has a user name or password in it: give credentials in variables")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise InvalidInput("write http://host:port or https://host:port")
    return url
