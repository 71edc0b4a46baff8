"""Sealing of a spool with a key that is on no disk of this machine (docs/format.md, "Sealed spool").

What a supervisor of a spool in clear never loads; cryptography is loaded with the first spool that is sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os

from joblog.worker.spool.format import (
    CHECKED_BYTES,
    MAX_BODY_BYTES,
    SEALED_VERSION,
    TASK_FILE,
    SpoolTask,
    check_header,
    decode_task,
    pack_header,
    task_from_fields,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
CRC_BYTES = 4
# What sealing adds to a record's body.
OVERHEAD_BYTES = NONCE_BYTES + CRC_BYTES + TAG_BYTES
# One key seals records of one GiB of the log: far fewer than random nonces allow.
_RANGE_BITS = 30
_TASK_DOMAIN = b"joblog spool task 2"


class SpoolKey:
    """A worker's spool key, 32 bytes; it is in memory only. key_id: names it, and tells nothing of it."""

    __slots__ = ("key", "key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a spool key has {len(key)} bytes, must be {KEY_BYTES}")
        self.key = key
        self.key_id = hashlib.sha256(b"joblog spool key id" + key).digest()[:8].hex()

    def __repr__(self) -> str:
        return f"SpoolKey({self.key_id})"


def new_key() -> SpoolKey:
    """A key that was never used."""
    return SpoolKey(os.urandom(KEY_BYTES))


class SpoolCipher:
    """Seals and opens what one spool holds: AES-256-GCM, random nonces, each record bound to its header.

    A spool has one writer, and that one a salt of its own: no key is ever used by two processes, and none that a
    rewound machine could make use one nonce twice.
    """

    __slots__ = ("_cipher", "_range", "_root")

    def __init__(self, key: SpoolKey, spool_id: str, salt: bytes) -> None:
        self._root = hmac.digest(key.key, b"joblog spool 2\0" + salt + spool_id.encode(), "sha256")
        self._range = -1
        self._cipher: AESGCM

    def _derived(self, info: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(hmac.digest(self._root, info, "sha256"))

    def _of_records(self, offset: int) -> AESGCM:
        if self._range != offset >> _RANGE_BITS:
            self._range = offset >> _RANGE_BITS
            self._cipher = self._derived(b"records" + self._range.to_bytes(8, "little"))
        return self._cipher

    def seal(self, header: bytes, offset: int, body: Sequence[bytes | bytearray | memoryview], crc32c: int) -> bytes:
        """A record's body as it is written; it is bound to `header`."""
        nonce = os.urandom(NONCE_BYTES)
        plain = b"".join((crc32c.to_bytes(CRC_BYTES, "little"), *body))
        return nonce + self._of_records(offset).encrypt(nonce, plain, header)

    def open(self, header: bytes, offset: int, sealed: memoryview) -> tuple[int, bytes]:
        """(CRC-32C, body) that seal() was given. Raises Corrupt when key, header or bytes are other ones."""
        from cryptography.exceptions import InvalidTag

        from joblog.errors import Corrupt

        try:
            plain = self._of_records(offset).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], header)
        except (InvalidTag, ValueError):
            raise Corrupt(
                f"spool record at offset {offset} does not open: it was changed, or belongs elsewhere"
            ) from None
        return int.from_bytes(plain[:CRC_BYTES], "little"), plain[CRC_BYTES:]

    def seal_task(self, content: bytes) -> bytes:
        """What task.json would say, sealed."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._derived(b"task").encrypt(nonce, content, _TASK_DOMAIN)

    def open_task(self, sealed: bytes) -> bytes | None:
        """What seal_task() was given; None when key or bytes are other ones."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._derived(b"task").decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _TASK_DOMAIN)
        except (InvalidTag, ValueError):
            return None


def encode_sealed(
    cipher: SpoolCipher,
    kind: int,
    body: Sequence[bytes | bytearray | memoryview],
    *,
    offset: int,
    raw_crc32c: int = 0,
    **fields: int,
) -> tuple[bytearray, bytes]:
    """A record as encode_header and its body would be, sealed. The bytes' CRC, which would tell of them, is inside."""
    header = pack_header(kind, sum(map(len, body)) + OVERHEAD_BYTES, offset=offset, **fields)
    sealed = cipher.seal(bytes(header[:CHECKED_BYTES]), offset, body, raw_crc32c)
    check_header(header, (sealed,))
    return header, sealed


def begin_sealed(key: SpoolKey, spool_id: str, task: SpoolTask) -> tuple[SpoolCipher, bytes]:
    """(cipher, content of task.json) of a new spool."""
    salt = os.urandom(SALT_BYTES)
    cipher = SpoolCipher(key, spool_id, salt)
    sealed = cipher.seal_task(json.dumps(task.fields()).encode())
    said = {"version": SEALED_VERSION, "key": key.key_id, "salt": salt.hex(), "sealed": sealed.hex()}
    return cipher, json.dumps(said).encode()


def no_keys(_key_id: str) -> SpoolKey | None:
    """For who reads spools in clear only."""
    return None


def _task_file(folder: str) -> bytes:
    # What only looks like a spool may have a pipe of this name, which is not waited for.
    with open(f"{folder}/{TASK_FILE}", "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        return file.read(MAX_BODY_BYTES)


def open_task(folder: str, keys: Callable[[str], SpoolKey | None]) -> tuple[SpoolTask, SpoolCipher | None]:
    """What task.json says, and what opens the spool's records where it is sealed. keys: finds a key by its id.

    Raises OSError when it can't be read, Unavailable when the key is not at hand, Corrupt when it does not open it, or
    the file is not whole, WrongVersion.
    """
    content, where = _task_file(folder), f"{folder}/{TASK_FILE}"
    said = _sealed_fields(content)
    if said is None:
        return decode_task(content, where), None
    from joblog.errors import Corrupt, Unavailable

    key = keys(str(said.get("key")))
    if key is None:
        raise Unavailable(
            f"{where}: sealed with spool key {said.get('key')!s:.40}, which is not at hand: the leader to which this "
            "worker gave it has it; nothing is deleted"
        )
    try:
        cipher = SpoolCipher(key, os.path.basename(folder), bytes.fromhex(said["salt"]))
        opened = cipher.open_task(bytes.fromhex(said["sealed"]))
        if opened is not None:
            return task_from_fields(json.loads(opened)), cipher
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{where}: is not a task file of a spool: {error!r:.200}; move the folder away to go on"
        ) from None
    raise Corrupt(
        f"{where}: does not open with spool key {key.key_id}: it was changed, or the folder was renamed or is another "
        "spool's; nothing is deleted"
    )


def _sealed_fields(content: bytes) -> dict[str, Any] | None:
    """What a sealed task.json says in clear; None when it is any other file."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and said.get("version") == SEALED_VERSION else None


def sealed_with(folder: str) -> str | None:
    """The id of the key with which a spool is sealed; None when it is in clear, or no spool."""
    try:
        said = _sealed_fields(_task_file(folder))
    except OSError:
        return None
    return None if said is None else str(said.get("key"))
