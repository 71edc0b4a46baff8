"""A backup target: its key, which a KMS has wrapped, and the backups in it."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from os import urandom
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Corrupt, Denied, InvalidInput, JoblogError, NotFound, WrongVersion
from joblog.leader.archive.fields import format_time, parse_document
from joblog.leader.archive.objects import ObjectInfo, ObjectStore, PreconditionFailed, get_bounded, walk
from joblog.leader.backup.keys import BACKUP_KEY_BYTES, NONCE_BYTES, BackupKeys
from joblog.leader.backup.layout import (
    BACKUPS_PREFIX,
    PIECES_PREFIX,
    REPOSITORY_KEY,
    backup_key,
    check_backup_id,
    parse_backup_key,
    parse_piece_key,
    piece_key,
    piece_of,
)
from joblog.leader.backup.manifest import (
    HEAD_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SUMMARY_BYTES,
    Manifest,
    Summary,
    summary_end,
    unpack_manifest,
    unpack_summary,
)
from joblog.leader.backup.piece import MAX_PACKED_BYTES, unpack_piece
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.store_key_record import STORE_KEY_ID_BYTES, StoreKeyRecord, unpack_record

log = logging.getLogger(__name__)

FORMAT = "joblog backup target"
VERSION = 1
LATEST = "latest"
_MAX_BYTES = 64 << 10
_ID_BYTES = 16
_DOMAIN = b"joblog backup key 1"


class Sealer(Protocol):
    """What wraps the backup key a second time: the store key of a leader."""

    def current(self) -> tuple[bytes, AESGCM]:
        """(id, key)."""
        ...


# find_kms(name, key id)
FindKms = Callable[[str, str], Kms]
FindStoreKey = Callable[[bytes], AESGCM | None]


class KeyRecord(NamedTuple):
    """The wrapped backup key. record: by the KMS. by_store_key: by that store key, for where the KEK is lost."""

    target_id: bytes
    record: StoreKeyRecord
    store_key_id: bytes
    by_store_key: bytes

    def context(self) -> dict[str, str]:
        """What the KMS binds the key to."""
        return {"purpose": "joblog backup key", "target": self.target_id.hex()}


def _pack(record: KeyRecord) -> bytes:
    wrapped = record.record
    document = {
        "format": FORMAT,
        "version": VERSION,
        "id": record.target_id.hex(),
        "kms": wrapped.kms,
        "kms_key_id": wrapped.key_id,
        "kms_key_version": wrapped.kek_version,
        "wrapped_at": format_time(wrapped.wrapped_ns),
        "record": _base64(wrapped.pack()),
        "store_key_id": record.store_key_id.hex(),
        "by_store_key": _base64(record.by_store_key),
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _parse(data: bytes) -> KeyRecord:
    fields = parse_document(data, REPOSITORY_KEY, _MAX_BYTES)
    if fields.text("format") != FORMAT:
        fields.fail("format", f"is not {FORMAT!r}: it is no target of joblog's backups")
    version = fields.integer("version")
    if version != VERSION:
        raise WrongVersion(
            f"{REPOSITORY_KEY} has version {version}; this joblog knows version {VERSION}: use a newer one"
        )
    target_id = fields.hex("id", _ID_BYTES)
    record = unpack_record(fields.base64("record"))
    if (fields.text("kms"), fields.text("kms_key_id")) != (record.kms, record.key_id):
        fields.fail("kms", "is not that of the record")
    for name in ("kms_key_version", "wrapped_at"):
        fields.text(name)
    found = KeyRecord(
        target_id, record, fields.hex("store_key_id", 0, STORE_KEY_ID_BYTES), fields.base64("by_store_key")
    )
    fields.end()
    return found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Repository:
    """An opened target. Thread-safe; blocks. All methods raise what the object store raises."""

    def __init__(self, objects: ObjectStore, keys: BackupKeys, record: KeyRecord, key: bytes) -> None:
        """Use open_repository()."""
        self.objects = objects
        self.keys = keys
        self._record = record
        self._key = key
        self._rewrapping = threading.Lock()

    @property
    def kms(self) -> tuple[str, str]:
        """(name of the KMS, its key id) that has wrapped the backup key."""
        return self._record.record.kms, self._record.record.key_id

    def backup_ids(self) -> list[str]:
        """Ids of all backups, the newest first."""
        found = (parse_backup_key(info.key) for info in walk(self.objects, BACKUPS_PREFIX))
        return sorted((one for one in found if one is not None), reverse=True)

    def summaries(self, problem: Callable[[str, JoblogError], None]) -> list[Summary]:
        """All backups, the newest first. problem(id, why): of one that can't be used."""
        found = []
        for info in walk(self.objects, BACKUPS_PREFIX):
            backup_id = parse_backup_key(info.key)
            if backup_id is None:
                continue
            try:
                found.append(self._summary(backup_id, info))
            except (Corrupt, WrongVersion, NotFound) as error:
                problem(backup_id, error)
        return sorted(found, key=lambda one: one.id, reverse=True)

    def _summary(self, backup_id: str, info: ObjectInfo) -> Summary:
        begin = self.objects.get(info.key, 0, min(info.size, HEAD_BYTES + MAX_SUMMARY_BYTES))
        summary_end(begin, backup_id, info.size)
        return unpack_summary(self.keys, begin, backup_id, info.size)

    def summary(self, backup_id: str) -> Summary:
        """Raises NotFound, Corrupt, WrongVersion."""
        key = backup_key(backup_id)
        info = self.objects.head(key)
        if info is None:
            raise NotFound(f"{self.objects.name}: there is no backup {backup_id}")
        return self._summary(backup_id, info)

    def resolve(self, name: str) -> str:
        """The id of the backup: `name`, or the newest one for "latest". Raises NotFound, InvalidInput."""
        if name != LATEST:
            return check_backup_id(name)
        ids = self.backup_ids()
        if not ids:
            raise NotFound(f"{self.objects.name}: there is no backup; `joblog backup create` makes one")
        return ids[0]

    def manifest(self, backup_id: str) -> Manifest:
        """Raises NotFound, Corrupt, WrongVersion."""
        key = backup_key(backup_id)
        try:
            data = get_bounded(self.objects, key, MAX_MANIFEST_BYTES)
        except NotFound:
            raise NotFound(
                f"{self.objects.name}: there is no backup {backup_id}; `joblog backup list` shows those that are there"
            ) from None
        except Corrupt as error:
            raise Corrupt(f"backup {backup_id}: {error}") from None
        return unpack_manifest(self.keys, data, backup_id)

    def manifests(self, without: Collection[str] = ()) -> Iterator[Manifest]:
        """Those of all backups but some; one that is deleted meanwhile is passed over. Raises Corrupt, WrongVersion."""
        for backup_id in self.backup_ids():
            if backup_id in without:
                continue
            try:
                yield self.manifest(backup_id)
            except NotFound:
                continue

    def piece_objects(self) -> Iterator[tuple[str, ObjectInfo]]:
        """Names of all objects with pieces, and what the store says of each."""
        for info in walk(self.objects, PIECES_PREFIX):
            name = parse_piece_key(info.key)
            if name is not None:
                yield name, info

    def load_piece(self, name: str) -> bytes | bytearray:
        """The piece in the object with this name. Raises NotFound, Corrupt, WrongVersion."""
        key = piece_key(name)
        try:
            return unpack_piece(self.keys, piece_of(name), get_bounded(self.objects, key, MAX_PACKED_BYTES))
        except NotFound:
            raise NotFound(f"{self.objects.name}: {key} is missing") from None
        except (Corrupt, WrongVersion) as error:
            raise type(error)(f"{self.objects.name}: {key}: {error}") from None

    def is_wrapped_by(self, kms: Kms, version: str) -> bool:
        """Whether this KMS has wrapped the backup key, under that version of its key as far as versions are known."""
        record = self._record.record
        older = bool(version and record.kek_version) and record.kek_version != version
        return self.kms == (kms.name, kms.key_id) and not older

    def rewrap(self, kms: Kms, store_key: Sealer) -> None:
        """Has the backup key wrapped by `kms` from now on, and by the store key of now. Raises Denied, Unavailable."""
        with self._rewrapping:
            there = self.objects.head(REPOSITORY_KEY)
            fresh = _wrapped(self._record.target_id, self._key, kms, store_key, self._record.record.generation + 1)
            if kms.unwrap(fresh.record.wrapped, fresh.context()) != self._key:
                raise Corrupt(
                    f"KMS {kms.name!r} gives back other bytes than it was given: the backup key stays as it is"
                )
            self.objects.put(REPOSITORY_KEY, _pack(fresh), if_match=there.etag if there else None, if_absent=not there)
            self._record = fresh


def _wrapped(target_id: bytes, key: bytes, kms: Kms, store_key: Sealer, generation: int) -> KeyRecord:
    now = time.time_ns()
    bare = KeyRecord(target_id, StoreKeyRecord("", "", b""), b"", b"")
    wrapped = kms.wrap(key, bare.context())
    record = StoreKeyRecord(kms.name, kms.key_id, wrapped, kms.version_of(wrapped), generation, now, now)
    key_id, cipher = store_key.current()
    nonce = urandom(NONCE_BYTES)
    return KeyRecord(target_id, record, key_id, nonce + cipher.encrypt(nonce, key, _DOMAIN + target_id + key_id))


def create_repository(objects: ObjectStore, find_kms: FindKms, kms: Kms, store_key: Sealer) -> Repository:
    """The target, made when it is not there yet: then its key is wrapped by `kms`. Raises as open_repository()."""
    objects.check(create=True)
    found = _load(objects)
    if found is None:
        if objects.list(BACKUPS_PREFIX, limit=1)[0]:
            raise Corrupt(f"{objects.name}: holds backups, and {REPOSITORY_KEY} with their key is missing: put it back")
        key = urandom(BACKUP_KEY_BYTES)
        record = _wrapped(urandom(_ID_BYTES), key, kms, store_key, 0)
        try:
            objects.put(REPOSITORY_KEY, _pack(record), if_absent=True)
        except PreconditionFailed:
            # Another leader was here just now.
            found = _load(objects)
        else:
            log.info("backup target %s: made its key", objects.name)
            return Repository(objects, BackupKeys(key), record, key)
    if found is None:
        raise Corrupt(f"{objects.name}: {REPOSITORY_KEY} is there, and is not")
    return _opened(objects, found, find_kms, None)


def _load(objects: ObjectStore) -> KeyRecord | None:
    try:
        return _parse(get_bounded(objects, REPOSITORY_KEY, _MAX_BYTES))
    except NotFound:
        if objects.head(REPOSITORY_KEY) is not None:
            raise
        return None
    except (Corrupt, WrongVersion) as error:
        raise type(error)(f"{objects.name}: {error}") from None


def open_repository(
    objects: ObjectStore, find_kms: FindKms, find_store_key: FindStoreKey | None = None
) -> Repository | None:
    """The target; None when nothing was ever backed up there.

    find_kms: raises NotFound, Denied and the like where that one can't be had. find_store_key: opens the backup key
    where the KMS can't. Raises Denied that says which KMS it needs, Corrupt, WrongVersion, NotFound when the bucket or
    folder is missing.
    """
    objects.check(create=False)
    found = _load(objects)
    return None if found is None else _opened(objects, found, find_kms, find_store_key)


def need_repository(objects: ObjectStore, find_kms: FindKms, find_store_key: FindStoreKey | None = None) -> Repository:
    """As open_repository(). Raises NotFound when nothing was ever backed up there."""
    found = open_repository(objects, find_kms, find_store_key)
    if found is None:
        raise NotFound(f"{objects.name}: holds no backups")
    return found


def _opened(
    objects: ObjectStore, record: KeyRecord, find_kms: FindKms, find_store_key: FindStoreKey | None
) -> Repository:
    key = _by_store_key(record, find_store_key)
    if key is None:
        wrapped = record.record
        needs = f"backups in {objects.name} need KMS {wrapped.kms!r}, key {wrapped.key_id!r}"
        try:
            key = find_kms(wrapped.kms, wrapped.key_id).unwrap(wrapped.wrapped, record.context())
        except (Denied, Corrupt, NotFound, InvalidInput) as error:
            # A KMS or key that is not there is not a target that is not there.
            raise (Denied if isinstance(error, NotFound) else type(error))(
                f"{needs}, which has wrapped their key: {error}. Set that one (keys.kind, keys.file and the like), or "
                "give a recovery file with --keys"
            ) from None
    if len(key) != BACKUP_KEY_BYTES:
        raise Corrupt(f"{objects.name}: the backup key has {len(key)} bytes, must be {BACKUP_KEY_BYTES}")
    return Repository(objects, BackupKeys(key), record, key)


def _by_store_key(record: KeyRecord, find: FindStoreKey | None) -> bytes | None:
    cipher = find(record.store_key_id) if find is not None and record.store_key_id else None
    if cipher is None:
        return None
    nonce, sealed = record.by_store_key[:NONCE_BYTES], record.by_store_key[NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, sealed, _DOMAIN + record.target_id + record.store_key_id)
    except (InvalidTag, ValueError):
        raise Corrupt(
            f"{REPOSITORY_KEY}: the backup key does not open with store key {record.store_key_id.hex()}"
        ) from None
