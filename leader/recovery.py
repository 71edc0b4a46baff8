"""The recovery file: store keys, wrapped, to be kept where neither the leader's disk nor the archive is.

The keys are wrapped as in the store, so that the file is of use with the KMS alone; or under a passphrase of the file's
own (scrypt), so that it is of use where the KEK is lost. Layout: docs/format.md, "Recovery file".
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from joblog.errors import Corrupt, WrongVersion
from joblog.leader.archive.fields import format_time, parse_document
from joblog.leader.archive.key_objects import key_fields, parse_key_fields
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.passphrase_kms import PassphraseKms
from joblog.leader.crypto.remembered import KmsSource, remember
from joblog.leader.crypto.store_key_record import DescribedKey, unpack_record
from joblog.leader.crypto.store_keys import StoreKeys

FORMAT = "joblog keys"
VERSION = 1
_MAX_BYTES = 64 << 20


class RecoveryKms(PassphraseKms):
    """Wraps the keys of a recovery file under its passphrase."""

    name = "recovery"
    key_id = "passphrase"


def wrap_again(key: DescribedKey, kms: Kms, target: Kms) -> DescribedKey:
    """The key, wrapped by `kms`, wrapped by `target`. Raises Denied, Corrupt, Unavailable."""
    record = unpack_record(key.record)
    wrapped = target.wrap(key.unwrap(kms), key.context())
    again = record._replace(kms=target.name, key_id=target.key_id, kek_version="", wrapped=wrapped)
    return key._replace(record=again.pack())


def pack_recovery(keys: Iterable[DescribedKey], store_id: str, made_ns: int) -> bytes:
    """The file: UTF-8, indented."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "store_id": store_id,
        "made_at": format_time(made_ns),
        "keys": [key_fields(key) for key in keys],
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def parse_recovery(data: bytes, what: str) -> list[DescribedKey]:
    """The keys in a file. Raises Corrupt, WrongVersion."""
    fields = parse_document(data, what, _MAX_BYTES)
    if fields.text("format") != FORMAT:
        fields.fail("format", f"is not {FORMAT!r}: it is no recovery file")
    version = fields.integer("version")
    if version != VERSION:
        raise WrongVersion(f"{what} has version {version}; this joblog knows version {VERSION}")
    fields.text("store_id")
    fields.text("made_at")
    keys = [parse_key_fields(each) for each in fields.objects("keys")]
    fields.end()
    if len({key.key_id for key in keys}) != len(keys):
        raise Corrupt(f"{what}: holds a key twice")
    return keys


def is_under_passphrase(keys: Iterable[DescribedKey]) -> bool:
    """Whether the file's own passphrase is needed."""
    return any(unpack_record(key.record).kms == RecoveryKms.name for key in keys)


def import_into(store: Store, source: KmsSource, keys: Iterable[DescribedKey], recovery: Kms | None) -> int:
    """Puts keys that the store lacks, or has in an older copy or in one that no KMS at hand opens; returns how many.

    Afterwards the KMS that is set is the present one, and has wrapped each of them. recovery: opens those under the
    file's passphrase. Raises Denied, Corrupt, NotFound, Unavailable; then what was put stays.
    """
    description = source.describe()
    present = source.open(description, create=True)
    known = KnownKms(present, [recovery] if recovery is not None else [])
    store_keys = StoreKeys(store, known, store.store_id)
    done = sum(store_keys.restore(key) for key in keys)
    # Whatever was noted before.
    remember(store, None, present, description)
    return done
