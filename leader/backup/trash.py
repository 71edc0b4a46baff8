"""What a prune means to delete, written down in the target before it does so."""

from __future__ import annotations

import json
import secrets
import time
from typing import NamedTuple

from joblog.errors import NotFound
from joblog.leader.archive.fields import parse_document
from joblog.leader.archive.objects import ObjectStore, get_bounded, walk
from joblog.leader.backup.layout import TRASH_PREFIX, is_backup_id, is_copy_name

_MAX_BYTES = 64 << 20
# Of one list: some 4 MB.
MAX_NAMES = 50_000
# The first one has no `backups`.
_VERSION = 2


class TrashList(NamedTuple):
    """names: of objects with pieces. waits_for: backups that ran when it was written; None: not looked at yet.

    backups: ids of those of which old versions of the manifest are to go, once they are deleted.
    """

    key: str
    names: tuple[str, ...]
    waits_for: tuple[str, ...] | None
    backups: tuple[str, ...] = ()


def new_trash_key() -> str:
    """The key of a new list; later ones sort behind it."""
    return f"{TRASH_PREFIX}{time.time_ns():020}-{secrets.token_hex(4)}.json"


def put_trash(objects: ObjectStore, trash: TrashList) -> None:
    """Writes the list, or writes it again."""
    said = {"version": _VERSION, "names": trash.names, "waits_for": trash.waits_for, "backups": trash.backups}
    objects.put(trash.key, json.dumps(said).encode() + b"\n")


def trash_lists(objects: ObjectStore) -> list[TrashList]:
    """All that are there. Raises Corrupt for one that is not as it must be."""
    found = []
    for info in list(walk(objects, TRASH_PREFIX)):
        try:
            data = get_bounded(objects, info.key, _MAX_BYTES)
        except NotFound:
            continue
        fields = parse_document(data, info.key, _MAX_BYTES)
        version = fields.integer("version")
        if not 1 <= version <= _VERSION:
            fields.fail("version", "is not known to this joblog")
        names = fields.texts("names")
        waits = None if fields.is_null("waits_for") else tuple(fields.texts("waits_for"))
        backups = fields.texts("backups") if version > 1 else []
        if not all(map(is_copy_name, names)) or not all(map(is_backup_id, (*(waits or ()), *backups))):
            fields.fail("names", "are not those of pieces and backups")
        found.append(TrashList(info.key, tuple(names), waits, tuple(backups)))
    return found
