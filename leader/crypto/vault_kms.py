"""A KMS that is the Transit engine of HashiCorp Vault or OpenBao.

The context goes into the derivation of the key (a key with derived = true): Transit's other way to bind it, associated
data, is not taken by its rewrap, so that secrets would have to leave the server whenever the key is rotated.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping

from joblog.errors import Corrupt, Denied, InvalidSettings, Unavailable, WrongVersion
from joblog.leader.crypto.kms import check_plain, context_bytes
from joblog.leader.crypto.kms_options import KmsSecrets, VaultOptions
from joblog.leader.crypto.vault_client import VaultClient

_VERSION = 1
_HINT_BYTES = 8
_HEAD_BYTES = 1 + _HINT_BYTES
_DOMAIN = b"joblog vault kms 1"
_MAX_WRAPPED_BYTES = 16 * 1024
_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/]+={0,2}")


class VaultKms:
    """What it wraps starts with a hint at the key, so that another one can be told from damage."""

    name = "vault"

    def __init__(self, options: VaultOptions, secrets: KmsSecrets) -> None:
        """Asks nothing yet. Raises InvalidSettings."""
        self._client = VaultClient(options, secrets)
        self._at = {"name": options.key, "mount_point": options.mount}
        self.key_id = "/".join(part for part in (options.namespace, options.mount, options.key) if part)
        self._hint = hashlib.sha256(_DOMAIN + self.key_id.encode()).digest()[:_HINT_BYTES]
        self._is_derived = False
        self._lock = threading.Lock()

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap(). Raises InvalidSettings when the key is one that would ignore the context."""
        check_plain(plain)
        self._check_key()
        text = b64encode(plain).decode()
        bound = _bound(context)
        answer = self._client.ask(lambda transit: transit.encrypt_data(plaintext=text, context=bound, **self._at))
        return self._packed(answer)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap()."""
        text, _ = self._taken_apart(wrapped)
        self._check_hint(wrapped)
        self._check_key()
        bound = _bound(context)
        answer = self._client.ask(lambda transit: transit.decrypt_data(ciphertext=text, context=bound, **self._at))
        try:
            return b64decode(str(answer["plaintext"]), validate=True)
        except (KeyError, binascii.Error):
            raise Unavailable(f"Vault, key {self.key_id}: its answer holds no secret") from None

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.rewrap(), within the server."""
        text, _ = self._taken_apart(wrapped)
        self._check_hint(wrapped)
        self._check_key()
        bound = _bound(context)
        answer = self._client.ask(lambda transit: transit.rewrap_data(ciphertext=text, context=bound, **self._at))
        return self._packed(answer)

    def version_of(self, wrapped: bytes) -> str:
        """As Kms.version_of(): a number."""
        return self._taken_apart(wrapped)[1]

    def current_version(self) -> str:
        """As Kms.current_version()."""
        return self._read_key()

    def rotate(self) -> str:
        """As Kms.rotate(). The token's policy must allow it."""
        self._client.ask(lambda transit: transit.rotate_key(**self._at))
        return self._read_key()

    def _check_key(self) -> None:
        with self._lock:
            if not self._is_derived:
                self._read_key()
                self._is_derived = True

    def _read_key(self) -> str:
        key = self._client.ask(lambda transit: transit.read_key(**self._at))
        if key.get("derived") is not True:
            raise InvalidSettings(
                f"Vault, key {self.key_id}: is not a derived one, and would ignore the context: make one with "
                "`vault write -f transit/keys/NAME derived=true`"
            )
        return str(key.get("latest_version", ""))

    def _packed(self, answer: Mapping[str, object]) -> bytes:
        text = str(answer.get("ciphertext", ""))
        if not _CIPHERTEXT.fullmatch(text):
            raise Unavailable(f"Vault, key {self.key_id}: its answer holds no ciphertext")
        return bytes([_VERSION]) + self._hint + text.encode()

    def _taken_apart(self, wrapped: bytes) -> tuple[str, str]:
        """(ciphertext, version of the key)."""
        if wrapped[:1] and wrapped[0] != _VERSION:
            raise WrongVersion(f"a key wrapped by Vault has version {wrapped[0]}; this joblog knows {_VERSION}")
        if len(wrapped) <= _MAX_WRAPPED_BYTES:
            text = wrapped[_HEAD_BYTES:].decode("ascii", "replace")
            if match := _CIPHERTEXT.fullmatch(text):
                return text, match[1]
        raise Corrupt(f"a key wrapped by Vault was cut or changed: {len(wrapped)} bytes; restore a backup")

    def _check_hint(self, wrapped: bytes) -> None:
        if wrapped[1:_HEAD_BYTES] != self._hint:
            raise Denied(f"it was wrapped with another key than {self.key_id}: give that one")


def _bound(context: Mapping[str, str]) -> str:
    return b64encode(_DOMAIN + context_bytes(context)).decode()
