"""A KMS that is a PKCS#11 token: a hardware security module, or SoftHSM."""

from __future__ import annotations

from collections.abc import Mapping
from os import urandom

from joblog.errors import Corrupt, Denied, NotFound, WrongVersion
from joblog.leader.crypto.kms import check_plain, context_bytes
from joblog.leader.crypto.kms_options import Pkcs11Options
from joblog.leader.crypto.pkcs11_token import NONCE_BYTES, Pkcs11Token, TokenKey

_VERSION = 1
_DOMAIN = b"joblog pkcs11 kms 1"
_TAG_BYTES = 16
_COUNTER_BYTES = 4
_RANDOM_BYTES = 4


class Pkcs11Kms:
    """AES-256-GCM with associated data, done in the token under a key that does not leave it.

    Keys with one label are versions of the KEK; that with the highest id wraps. An id that is made here is a counter
    and some random bytes, so that keys of two tokens are not taken for one another.
    """

    name = "pkcs11"

    def __init__(self, options: Pkcs11Options, pin: str, *, create: bool = False) -> None:
        """Asks nothing yet. Raises InvalidSettings."""
        self._token = Pkcs11Token(options.module, options.token, options.key, pin, options.pin_file)
        self._create = create and options.create
        self.key_id = f"{options.token}/{options.key}"

    def wrap(self, plain: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.wrap(); makes the key when there is none and it may. Raises NotFound where it may not."""
        check_plain(plain)
        self._have_key()
        return self._token.ask(lambda keys: _sealed(self._newest(keys), plain, context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.unwrap()."""
        key_id = _key_id(wrapped)
        return self._token.ask(lambda keys: _opened(self._find(keys, key_id), wrapped, context))

    def rewrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """As Kms.rewrap(); the secret passes through this process, for tokens can't do it alone."""
        key_id = _key_id(wrapped)
        return self._token.ask(
            lambda keys: _sealed(self._newest(keys), _opened(self._find(keys, key_id), wrapped, context), context)
        )

    def version_of(self, wrapped: bytes) -> str:
        """As Kms.version_of(): the key's id in the token, in hex."""
        return _key_id(wrapped).hex()

    def current_version(self) -> str:
        """As Kms.current_version()."""
        self._have_key()
        return self._token.ask(lambda keys: self._newest(keys).key_id.hex())

    def rotate(self) -> str:
        """As Kms.rotate(): makes a key with the same label and a higher id."""
        return self._token.make_key(_next_id).hex()

    def _have_key(self) -> None:
        if self._create and not self._token.ask(len):
            self._token.make_key(_next_id)

    def _newest(self, keys: list[TokenKey]) -> TokenKey:
        if not keys:
            raise NotFound(f"PKCS#11 token has no AES key {self.key_id!r}; keys.pkcs11.create lets the leader make one")
        return keys[-1]

    def _find(self, keys: list[TokenKey], key_id: bytes) -> TokenKey:
        for key in keys:
            if key.key_id == key_id:
                return key
        raise Denied(f"wrapped with key {key_id.hex()} of a PKCS#11 token; {self.key_id} has none of that id")


def _next_id(known: list[bytes]) -> bytes:
    highest = max((int.from_bytes(key_id, "big") for key_id in known), default=0)
    counter = (highest >> 8 * _RANDOM_BYTES) + 1
    size = max(_COUNTER_BYTES, (counter.bit_length() + 7) // 8)
    return counter.to_bytes(size, "big") + urandom(_RANDOM_BYTES)


def _sealed(key: TokenKey, plain: bytes, context: Mapping[str, str]) -> bytes:
    head = bytes([_VERSION, len(key.key_id)]) + key.key_id
    nonce = urandom(NONCE_BYTES)
    return head + nonce + key.seal(nonce, plain, _DOMAIN + head + context_bytes(context))


def _opened(key: TokenKey, wrapped: bytes, context: Mapping[str, str]) -> bytes:
    at = 2 + len(key.key_id)
    nonce, sealed = wrapped[at : at + NONCE_BYTES], wrapped[at + NONCE_BYTES :]
    return key.open(nonce, sealed, _DOMAIN + wrapped[:at] + context_bytes(context))


def _key_id(wrapped: bytes) -> bytes:
    if wrapped[:1] and wrapped[0] != _VERSION:
        raise WrongVersion(f"a key wrapped by a PKCS#11 token has version {wrapped[0]}; this joblog knows {_VERSION}")
    size = wrapped[1] if len(wrapped) > 1 else 0
    if not size or len(wrapped) <= 2 + size + NONCE_BYTES + _TAG_BYTES:
        raise Corrupt(f"a key wrapped by a PKCS#11 token is cut short: {len(wrapped)} bytes; restore a backup")
    return wrapped[2 : 2 + size]
