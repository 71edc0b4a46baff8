"""Store keys as archive objects of their own: what opens the logs once the KEK was rotated, or the KMS changed.

A log's metadata.json and rosters hold its store key as it was wrapped when they were written, and are not written
again. These small objects are, whenever a store key is wrapped anew, and count more. Layout: docs/format.md, "Store
key".
"""

from __future__ import annotations

import base64
import json
import logging
import threading

from joblog.errors import Corrupt, Denied, JoblogError, NotFound, WrongVersion
from joblog.leader.archive import failpoints
from joblog.leader.archive.fields import Fields, format_time, parse_document
from joblog.leader.archive.layout import KEYS_PREFIX, parse_store_key_key, store_key_key
from joblog.leader.archive.objects import ObjectStore, get_bounded, walk
from joblog.leader.archive.putting import Putter
from joblog.leader.crypto.keyring import DescribedKeys, KeptKeys
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_key_record import STORE_KEY_ID_BYTES, DescribedKey, unpack_record
from joblog.leader.crypto.store_keys import StoreKeys

log = logging.getLogger(__name__)

FORMAT = "joblog store key"
VERSION = 1
_MAX_BYTES = 256 << 10


def key_fields(key: DescribedKey) -> dict[str, object]:
    """What a document says of a store key; all but `record` is for people."""
    record = unpack_record(key.record)
    return {
        "store_key_id": key.key_id.hex(),
        "store_id": key.store_id,
        "kms": record.kms,
        "kms_key_id": record.key_id,
        "kms_key_version": record.kek_version,
        "made_at": format_time(record.made_ns),
        "wrapped_at": format_time(record.wrapped_ns),
        "record": base64.b64encode(key.record).decode(),
    }


def pack_store_key(key: DescribedKey) -> bytes:
    """The document: UTF-8, indented, the same for the same record."""
    document = {"format": FORMAT, "version": VERSION, **key_fields(key)}
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def parse_store_key(data: bytes, what: str) -> DescribedKey:
    """What a document says. what: for messages. Raises Corrupt, WrongVersion."""
    fields = parse_document(data, what, _MAX_BYTES)
    if fields.text("format") != FORMAT:
        fields.fail("format", f"is not {FORMAT!r}: it is none of joblog's")
    version = fields.integer("version")
    if version != VERSION:
        raise WrongVersion(f"{what} has version {version}; this joblog knows version {VERSION}")
    return parse_key_fields(fields)


def parse_key_fields(fields: Fields) -> DescribedKey:
    """What key_fields() was given. Raises Corrupt, WrongVersion, also when fields are left over."""
    key = DescribedKey(fields.hex("store_key_id", STORE_KEY_ID_BYTES), fields.text("store_id"), fields.base64("record"))
    record = unpack_record(key.record)
    if (fields.text("kms"), fields.text("kms_key_id")) != (record.kms, record.key_id):
        fields.fail("kms", "is not that of the record")
    for name in ("kms_key_version", "made_at", "wrapped_at"):
        fields.text(name)
    fields.end()
    return key


def load_store_key(objects: ObjectStore, key_id: bytes) -> DescribedKey | None:
    """The archive's copy of a store key; None when there is none. Raises Corrupt, WrongVersion."""
    at = store_key_key(key_id)
    try:
        key = parse_store_key(get_bounded(objects, at, _MAX_BYTES), at)
    except NotFound:
        if objects.head(at) is not None:
            raise
        return None
    if key.key_id != key_id:
        raise Corrupt(f"{at}: says that it is store key {key.key_id.hex()}: it was moved here")
    return key


def archive_keys(objects: ObjectStore, kms: Kms | KnownKms, more: KeptKeys | None = None) -> DescribedKeys:
    """Opens the keys of an archive's logs, with the newest copies of store keys that it holds.

    more: further copies, which are tried before.
    """

    def find(key_id: bytes) -> list[DescribedKey]:
        found = list(more(key_id)) if more is not None else []
        try:
            here = load_store_key(objects, key_id)
        except (Corrupt, WrongVersion) as error:
            log.warning("%s; the copy beside the log is used", error)
            here = None
        return found if here is None else [*found, here]

    return DescribedKeys(kms, find)


class KeyObjects:
    """Keeps the archive's copies as new as the store's own. Thread-safe; blocks."""

    def __init__(self, store_keys: StoreKeys, putter: Putter) -> None:
        self._keys = store_keys
        self._putter = putter
        self._lock = threading.Lock()
        # Generations of those that are known to be there.
        self._there: dict[bytes, int] = {}

    def behind(self) -> list[bytes]:
        """Ids of keys of which it is not known that the archive has the newest copy."""
        return [key.key_id for key in self._keys.all() if self._there.get(key.key_id, -1) < key.record.generation]

    def write(self) -> int:
        """Puts what is missing or older there; how many. Returns when each was read back.

        Call it with the claim made sure of. Raises what the store raises; then it may be called again.
        """
        with self._lock:
            return sum(self._write(key_id) for key_id in self.behind())

    def _write(self, key_id: bytes) -> bool:
        mine = self._keys.describe(key_id)
        generation = unpack_record(mine.record).generation
        at = store_key_key(key_id)
        there = self._read(key_id)
        if there is not None and unpack_record(there.record).generation >= generation:
            if unpack_record(there.record).generation > generation:
                self._take(there)
            self._there[key_id] = unpack_record(there.record).generation
            return False
        document = pack_store_key(mine)
        failpoints.reach("store_key.found")
        self._putter.put_over(at, document)
        if self._putter.objects.get(at) != document:
            raise Corrupt(f"archive object {at} is not what was put: keep the KEK from before")
        failpoints.reach("store_key.put")
        self._there[key_id] = generation
        return True

    def _read(self, key_id: bytes) -> DescribedKey | None:
        try:
            return load_store_key(self._putter.objects, key_id)
        except (Corrupt, WrongVersion) as error:
            log.warning("%s; it is written again", error)
            return None

    def _take(self, there: DescribedKey) -> None:
        """The archive knows better: this store was brought back from before the key was wrapped anew."""
        try:
            self._keys.adopt(there)
        except (Denied, Corrupt) as error:
            log.warning("the archive's copy of store key %s is newer, and is left alone: %s", there.key_id.hex(), error)


def check_store_key(objects: ObjectStore, key: str, kms: KnownKms) -> list[str]:
    """What is wrong with the object `key`, which must be a store key's: it is opened with the KMS. Raises NotFound."""
    key_id = parse_store_key_key(key)
    assert key_id is not None
    try:
        found = load_store_key(objects, key_id)
        if found is not None:
            record = unpack_record(found.record)
            found.open(kms.find(record.kms, record.key_id))
    except NotFound:
        raise
    except JoblogError as error:
        return [f"{key}: {error}"]
    return []


def load_store_keys(objects: ObjectStore) -> list[DescribedKey]:
    """All store keys that the archive holds. Raises Corrupt, WrongVersion for one that is damaged."""
    ids = [key_id for info in walk(objects, KEYS_PREFIX) if (key_id := parse_store_key_key(info.key))]
    return [key for key_id in ids if (key := load_store_key(objects, key_id)) is not None]
