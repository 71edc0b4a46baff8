"""A client of HashiCorp Vault or OpenBao that is logged in; its errors as joblog's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac import exceptions

from joblog.errors import Corrupt, Denied, InvalidSettings, JoblogError, Unavailable
from joblog.leader.crypto.kms_options import VAULT_LOGINS, KmsSecrets, VaultOptions

_MAX_TOKEN_BYTES = 64 * 1024
_LOGIN_MOUNTS = {"kubernetes": "kubernetes", "approle": "approle"}
# What Vault says of a ciphertext or a context that is not what it was.
_DAMAGED = (
    *("message authentication failed", "invalid ciphertext", "could not decode", "failed to decode"),
    *("ciphertext", "context"),
)


class VaultClient:
    """Thread-safe. Logs in when it is first asked, and once more when its token is refused."""

    def __init__(self, options: VaultOptions, secrets: KmsSecrets) -> None:
        """Asks nothing yet. Raises InvalidSettings."""
        if not (options.address and options.key and options.mount) or options.login not in VAULT_LOGINS:
            raise InvalidSettings("keys.vault: address, key, mount and login are needed")
        self._options = options
        self._secrets = secrets
        self._where = f"Vault at {options.address}, key {options.mount}/{options.key}"
        # A client's session keeps connections, and requests does not promise that threads may share one.
        self._lock = threading.Lock()
        # It takes no token from variables or files of its own accord.
        self._client = hvac.Client(
            url=options.address,
            token="",
            verify=options.ca_file or True,
            timeout=options.timeout_seconds,
            namespace=options.namespace or None,
        )
        self._token_file_was: tuple[int, int, int] | None = None

    def ask(self, request: Callable[[Any], Any]) -> dict[str, Any]:
        """The `data` of the answer to `request`, which is given Transit's calls of hvac. Raises as Kms.unwrap()."""
        with self._lock:
            try:
                self._log_in()
                try:
                    answer = request(self._client.secrets.transit)
                except exceptions.Forbidden:
                    # A token that ran out is refused like one that may not do it.
                    refused = self._client.token
                    self._log_out()
                    self._log_in()
                    if self._client.token == refused:
                        raise
                    answer = request(self._client.secrets.transit)
            except JoblogError:
                raise
            except exceptions.VaultError as error:
                raise self._of_reply(error) from None
            except requests.exceptions.SSLError:
                raise Unavailable(
                    f"{self._where}: no connection over TLS; is the server's certificate signed by one that "
                    "keys.vault.ca_file or the system trusts?"
                ) from None
            except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
                raise InvalidSettings(f"{self._where}: keys.vault.address is no address of a server") from None
            except (requests.exceptions.RequestException, OSError) as error:
                raise Unavailable(f"{self._where}: no answer: {type(error).__name__}") from None
        if isinstance(answer, dict):
            data = answer.get("data")
            return data if isinstance(data, dict) else {}
        return {}

    # Login

    def _log_out(self) -> None:
        self._client.token = ""
        self._token_file_was = None

    def _log_in(self) -> None:
        options = self._options
        if options.login == "token":
            self._take_token()
        elif not self._client.token:
            mount = options.login_mount or _LOGIN_MOUNTS[options.login]
            if options.login == "kubernetes":
                jwt = _read_secret(Path(options.jwt_file), "keys.vault.jwt_file")
                self._client.auth.kubernetes.login(options.role, jwt, mount_point=mount)
            else:
                self._client.auth.approle.login(options.role, self._secrets.vault_secret_id, mount_point=mount)

    def _take_token(self) -> None:
        if self._secrets.vault_token:
            self._client.token = self._secrets.vault_token
            return
        if not self._options.token_file:
            raise Denied(f"{self._where}: there is no token: set VAULT_TOKEN or keys.vault.token_file")
        path = Path(self._options.token_file)
        try:
            found = path.stat()
            now = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError as error:
            raise Denied(f"{self._where}: keys.vault.token_file {path}: {error.strerror}") from None
        if now != self._token_file_was:
            self._client.token = _read_secret(path, "keys.vault.token_file")
            self._token_file_was = now

    # Errors

    def _of_reply(self, error: exceptions.VaultError) -> JoblogError:
        """Of what the server said only the kind gets into the message: its words may repeat what it was sent."""
        text = " ".join(str(item) for item in error.errors or [error.text or ""]).lower()
        what = f"{self._where}: {type(error).__name__}"
        if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
            return Denied(f"{what}: the token is refused: has it run out, or does its policy not allow this?")
        if isinstance(error, exceptions.InvalidPath | exceptions.UnsupportedOperation):
            return Denied(f"{what}: there is no such key, Transit engine or login: see keys.vault.key and .mount")
        if isinstance(error, exceptions.VaultDown | exceptions.VaultNotInitialized):
            return Unavailable(f"{what}: it is sealed, or not ready")
        if isinstance(error, exceptions.InvalidRequest):
            if "encryption key not found" in text or "policy not found" in text:
                return Denied(f"{what}: there is no such key")
            if "version" in text:
                return Denied(f"{what}: the version of the key that wrapped it is not allowed any more, or not there")
            if any(part in text for part in _DAMAGED):
                return Corrupt(f"{what}: what it wrapped was changed, or belongs to another store")
            return Denied(f"{what}: it refuses")
        return Unavailable(f"{what}: it can't take it now")


def _read_secret(path: Path, setting: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TOKEN_BYTES)
        text = data.decode("ascii").strip()
    except OSError as error:
        raise Denied(f"{setting} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise Denied(f"{setting} {path}: holds no token")
    return text
