"""Who may come in, as a backup holds it: put into an empty folder, with what an archive knows that is newer."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TypeVar

from joblog.leader.access.admin_token import ADMIN_TOKEN_FILE
from joblog.leader.access.authority import Authority
from joblog.leader.access.records import CertificateRecord, TokenRecord
from joblog.leader.access.snapshot import AccessSnapshot, restore
from joblog.leader.access.store import AccessStore

T = TypeVar("T", TokenRecord, CertificateRecord)


def merged(backup: AccessSnapshot, archived: AccessSnapshot) -> AccessSnapshot:
    """What both know. What was revoked since the backup stays revoked; of what both have the archive's counts."""
    tokens = _union({one.id: one for one in backup.tokens}, {one.id: one for one in archived.tokens})
    certificates = _union(
        {one.serial: one for one in backup.certificates}, {one.serial: one for one in archived.certificates}
    )
    return AccessSnapshot(archived.ca, archived.ca_key, tokens, certificates)


def _union(older: dict[str, T], newer: dict[str, T]) -> list[T]:
    found = {**older, **newer}
    for key in older.keys() & newer.keys():
        revoked = older[key].revoked_ns or newer[key].revoked_ns
        found[key] = dataclasses.replace(found[key], revoked_ns=revoked)
    return [found[key] for key in sorted(found)]


def write_access(folder: Path, found: AccessSnapshot, *, former: Path) -> None:
    """Makes `folder` an access folder with what was found. Can be repeated. Raises Corrupt, OutOfSpace.

    former: the access folder that was there until now. Its admin token goes on, where the backup knows it; all others
    that leaders made for themselves are revoked.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = former / ADMIN_TOKEN_FILE
    if token.is_file():
        shutil.copy2(token, folder / ADMIN_TOKEN_FILE)
    store = AccessStore(folder / "access.sqlite3")
    try:
        restore(store, Authority.open(folder), folder, found)
    finally:
        store.close()
