"""What a leader knows beside its logs, as an archive object: a leader that takes the archive over goes on with it.

That is whom it lets in, and which logs are on legal hold. Each object is sealed with a DEK of its own, which a store
key wraps, as a log's is: bucket and KMS open it. Layout: docs/format.md, "Access state" and "Holds".
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from os import urandom
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, JoblogError, NotFound, WrongVersion
from joblog.leader.archive import failpoints
from joblog.leader.archive.fields import format_time, parse_document
from joblog.leader.archive.key_objects import archive_keys
from joblog.leader.archive.layout import ACCESS_KEY, HOLDS_KEY
from joblog.leader.archive.objects import ObjectStore, PreconditionFailed
from joblog.leader.crypto.envelope import NONCE_BYTES, UID_BYTES
from joblog.leader.crypto.keyring import DescribedKeys, Keyring, WrappedDek
from joblog.leader.crypto.store_key_record import STORE_KEY_ID_BYTES

VERSION = 1
# Of what is sealed, in base64, and what is beside it.
MAX_BYTES = 96 << 20


class StateKind(NamedTuple):
    """One of these objects. name: what its steps are called, see failpoints.py."""

    key: str
    format: str
    name: str

    @property
    def domain(self) -> bytes:
        """What the sealed content is bound to, with the object's uid."""
        return f"{self.format} {VERSION}".encode()


ACCESS = StateKind(ACCESS_KEY, "joblog access", "access")
HOLDS = StateKind(HOLDS_KEY, "joblog holds", "holds")
STATES = {kind.key: kind for kind in (ACCESS, HOLDS)}


def pack_state(kind: StateKind, content: bytes, keyring: Keyring, *, now_ns: int) -> bytes:
    """The document, `content` sealed. Raises as Keyring.new_dek()."""
    uid, nonce = urandom(UID_BYTES), urandom(NONCE_BYTES)
    dek, wrapped = keyring.new_dek(uid)
    key = keyring.describe(wrapped)
    document = {
        "format": kind.format,
        "version": VERSION,
        "uid": uid.hex(),
        "written_at": format_time(now_ns),
        "key": {
            "dek": _base64(key.dek),
            "store_id": key.store_id,
            "store_key_id": key.store_key_id.hex(),
            "store_key": _base64(key.store_key),
            "kms": key.kms[0],
            "kms_key_id": key.kms[1],
        },
        "sealed": _base64(nonce + AESGCM(dek).encrypt(nonce, content, kind.domain + uid)),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def open_state(kind: StateKind, data: bytes, keys: DescribedKeys) -> bytes:
    """What pack_state() was given. Raises Corrupt, WrongVersion, Denied when the KMS's key is another one."""
    fields = parse_document(data, kind.key, MAX_BYTES)
    if fields.text("format") != kind.format:
        fields.fail("format", f"is not {kind.format!r}: it is none of joblog's")
    version = fields.integer("version")
    if version != VERSION:
        raise WrongVersion(f"{kind.key} has version {version}; this joblog knows version {VERSION}")
    uid = fields.hex("uid", UID_BYTES)
    fields.time_ns("written_at")
    key = fields.object("key")
    dek = WrappedDek(key.base64("dek"), key.text("store_id"), key.base64("store_key"))
    if dek.store_key_id != key.hex("store_key_id", STORE_KEY_ID_BYTES):
        key.fail("store_key_id", "is not that of the wrapped DEK")
    if dek.kms != (key.text("kms"), key.text("kms_key_id")):
        key.fail("kms", "is not that of the store key")
    key.end()
    sealed = fields.base64("sealed")
    fields.end()
    try:
        return AESGCM(keys.open_dek(uid, dek)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], kind.domain + uid)
    except (InvalidTag, ValueError):
        raise Corrupt(f"{kind.key} does not open with its key: it was changed") from None


def load_state(kind: StateKind, objects: ObjectStore, keys: DescribedKeys) -> bytes | None:
    """What the archive keeps; None where it keeps nothing. Raises as open_state(), and what the store raises."""
    try:
        data = objects.get(kind.key)
    except NotFound:
        if objects.head(kind.key) is not None:
            raise
        return None
    return open_state(kind, data, keys)


def check_state(kind: StateKind, objects: ObjectStore, keys: DescribedKeys) -> list[str]:
    """What is wrong with the object: it is opened with the KMS. Raises NotFound."""
    try:
        if load_state(kind, objects, keys) is None:
            raise NotFound(f"{kind.key} is not there")
    except NotFound:
        raise
    except JoblogError as error:
        return [f"{kind.key}: {error}"]
    return []


def state_keys(objects: ObjectStore, keyring: Keyring) -> DescribedKeys:
    """Opens what this archive holds, for a leader with this keyring."""
    return archive_keys(objects, keyring.store_keys.kms)


class StateWriter:
    """Keeps the object as new as what it is given. Used by one thread at a time; blocks.

    ready: makes sure of the claim, see Archiver.ready().
    """

    def __init__(
        self,
        kind: StateKind,
        objects: ObjectStore,
        keyring: Keyring,
        ready: Callable[[], None],
        *,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._kind = kind
        self._objects = objects
        self._keyring = keyring
        self._ready = ready
        self._clock_ns = clock_ns
        self._written = b""
        self._key_id = b""

    def is_new_enough(self) -> bool:
        """Whether the object is under the store key that new logs get."""
        return self._key_id == self._keyring.store_keys.current()[0]

    def is_current(self, content: bytes) -> bool:
        """Whether the archive has this content, so sealed."""
        return self._written == content and self.is_new_enough()

    def write(self, content: bytes) -> None:
        """Puts it. Raises ClaimLost, and what the store raises; then it may be called again."""
        key_id = self._keyring.store_keys.current()[0]
        document = pack_state(self._kind, content, self._keyring, now_ns=self._clock_ns())
        self._ready()
        # Looked at before the claim is: who takes over after that has either not read this yet, or written another one.
        there = self._objects.head(self._kind.key)
        if there is None and not content:
            # There is nothing to be kept, and never was.
            self._written, self._key_id = content, key_id
            return
        self._ready()
        failpoints.reach(f"{self._kind.name}.ready")
        try:
            self._objects.put(self._kind.key, document, if_absent=there is None, if_match=there and there.etag)
        except PreconditionFailed:
            # An earlier try of the same put has come through, or another leader was here.
            self._ready()
            if self._objects.get(self._kind.key) != document:
                raise
        failpoints.reach(f"{self._kind.name}.put")
        self._written, self._key_id = content, key_id


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
