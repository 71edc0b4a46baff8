"""The keys in a PKCS#11 token, through python-pkcs11; its errors as joblog's.

A session lasts for one request: it is never shared by threads, and a token that went away and came back is found again.
Requests are a handful a day.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass

from joblog.errors import Conflict, Corrupt, Denied, InvalidSettings, JoblogError, Unavailable
from joblog.private_file import is_open_to_others

KEY_BITS = 256
TAG_BITS = 128
NONCE_BYTES = 12
_MAX_PIN_BYTES = 1024

# A library has one state for the whole process, its login too.
_LIBRARY = threading.RLock()
_PIN_WRONG = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked, pkcs11.PinExpired)
_KEY_REFUSED = (
    *(pkcs11.MechanismInvalid, pkcs11.MechanismParamInvalid, pkcs11.KeyTypeInconsistent, pkcs11.KeySizeRange),
    *(pkcs11.FunctionNotSupported, pkcs11.FunctionRejected, pkcs11.TemplateInconsistent, pkcs11.TokenWriteProtected),
    *(pkcs11.UserPinNotInitialized, pkcs11.MultipleTokensReturned),
)
# Some libraries have a code for a tag that does not fit, others call it a general error.
_DAMAGED = (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.GeneralError, pkcs11.FunctionFailed)

Answer = TypeVar("Answer")


class TokenKey(NamedTuple):
    """A key of the token, good for as long as its session."""

    key_id: bytes
    handle: Any

    def seal(self, nonce: bytes, plain: bytes, data: bytes) -> bytes:
        """AES-GCM of `plain` with associated data, done in the token; the tag is at its end."""
        parameters = GCMParams(nonce, data, TAG_BITS)
        return bytes(self.handle.encrypt(plain, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))

    def open(self, nonce: bytes, sealed: bytes, data: bytes) -> bytes:
        """What seal() was given. Raises Corrupt."""
        parameters = GCMParams(nonce, data, TAG_BITS)
        try:
            return bytes(self.handle.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
        except _DAMAGED:
            # Where the token itself has failed, this fails too.
            probe = os.urandom(NONCE_BYTES)
            if (
                self.handle.decrypt(
                    self.seal(probe, probe, b""),
                    mechanism=Mechanism.AES_GCM,
                    mechanism_param=GCMParams(probe, b"", TAG_BITS),
                )
                == probe
            ):
                raise Corrupt("a key wrapped by the token was changed, or belongs to another store") from None
            raise


class Pkcs11Token:
    """Thread-safe; all of a process's requests to PKCS#11 libraries go one after another."""

    def __init__(self, module: str, label: str, key_label: str, pin: str, pin_file: str) -> None:
        """Asks nothing yet. Raises InvalidSettings."""
        if not (module and label and key_label and (pin or pin_file)):
            raise InvalidSettings("keys.pkcs11: module, token, key and a PIN are needed")
        if not Path(module).is_file():
            raise InvalidSettings(f"keys.pkcs11.module: there is no {module}: is the token's library installed?")
        self._module = module
        self._label = label
        self._key_label = key_label
        self._pin = pin
        self._pin_file = pin_file
        self._where = f"PKCS#11 token {label!r}, key {key_label!r}"
        # A token locks itself after a few wrong PINs: each one is tried once.
        self._wrong_pin = ""

    def ask(self, request: Callable[[list[TokenKey]], Answer]) -> Answer:
        """`request` with the key's versions, the newest last. Raises as Kms.unwrap()."""
        return self._with_session(lambda session: request(self._keys(session)), rw=False)

    def make_key(self, next_id: Callable[[list[bytes]], bytes]) -> bytes:
        """Makes a version that can't be exported; next_id: of the ids that are there. Returns its id."""

        def make(session: Any) -> bytes:
            key_id = next_id([key.key_id for key in self._keys(session)])
            session.generate_key(
                KeyType.AES,
                KEY_BITS,
                id=key_id,
                label=self._key_label,
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
            )
            return key_id

        return self._with_session(make, rw=True)

    def _keys(self, session: Any) -> list[TokenKey]:
        wanted = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.LABEL: self._key_label,
        }
        found = [TokenKey(bytes(key.id or b""), key) for key in session.get_objects(wanted)]
        if any(not 0 < len(key.key_id) < 256 for key in found):
            raise InvalidSettings(f"{self._where}: a key with that label has no id: give it one (CKA_ID)")
        return sorted(found, key=lambda key: (int.from_bytes(key.key_id, "big"), key.key_id))

    def _with_session(self, request: Callable[[Any], Answer], *, rw: bool) -> Answer:
        with _LIBRARY:
            try:
                with self._session(rw=rw) as session:
                    return request(session)
            except (JoblogError, *_PIN_WRONG, *_KEY_REFUSED) as error:
                raise self._translated(error) from None
            except pkcs11.PKCS11Error:
                # The token was out for a while, or is new: a library sees that when it is started anew.
                try:
                    self._library().reinitialize()
                    with self._session(rw=rw) as session:
                        return request(session)
                except (JoblogError, pkcs11.PKCS11Error) as error:
                    raise self._translated(error) from None

    def _library(self) -> Any:
        return pkcs11.lib(self._module)

    @contextlib.contextmanager
    def _session(self, *, rw: bool) -> Iterator[Any]:
        pin = self._pin or self._read_pin()
        if pin == self._wrong_pin:
            raise Denied(f"{self._where}: the PIN is wrong; it is not tried again, for the token would lock itself")
        token = self._library().get_token(token_label=self._label)
        try:
            session = token.open(rw=rw, user_pin=pin)
        except _PIN_WRONG:
            self._wrong_pin = pin
            raise
        try:
            yield session
        finally:
            # A token that is gone has no session to close.
            with contextlib.suppress(pkcs11.PKCS11Error):
                session.close()

    def _read_pin(self) -> str:
        path = Path(self._pin_file)
        try:
            with path.open("rb") as file:
                if is_open_to_others(os.fstat(file.fileno())):
                    raise Denied(f"keys.pkcs11.pin_file {path}: others may use it; do: chmod 600 {path}")
                pin = file.read(_MAX_PIN_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Denied(f"keys.pkcs11.pin_file {path}: can't be read: {type(error).__name__}") from None
        if not pin:
            raise Denied(f"keys.pkcs11.pin_file {path}: is empty")
        return pin

    def _translated(self, error: JoblogError | pkcs11.PKCS11Error) -> JoblogError:
        if isinstance(error, JoblogError):
            return error
        kind = type(error).__name__
        if isinstance(error, _PIN_WRONG):
            return Denied(f"{self._where}: {kind}: the token refuses the PIN; it is not tried again")
        if isinstance(error, pkcs11.MultipleTokensReturned):
            return InvalidSettings(f"{self._where}: several tokens have that label")
        if isinstance(error, pkcs11.TokenWriteProtected):
            return Conflict(f"{self._where}: the token can't be written: no key can be made")
        if isinstance(error, _KEY_REFUSED):
            return Denied(f"{self._where}: {kind}: the key or the token can't do AES-GCM for this user")
        if isinstance(error, pkcs11.NoSuchToken):
            return Unavailable(f"{self._where}: {self._module} knows no such token now")
        return Unavailable(f"{self._where}: {kind}: it can't be used now")
