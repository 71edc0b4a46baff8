"""What a store that was restored says of itself: from which backup, and which life of the leader begins with it."""

from __future__ import annotations

import json
from typing import NamedTuple

from joblog.errors import Corrupt
from joblog.leader.buffer.store import Store

# Kept among the keyring's records, which are synced one by one and part of every backup.
_NOTE = b"restored/note"
_INCARNATION = b"restored/incarnation"


class RestoredNote(NamedTuple):
    """backup_id, created_ns: the backup, and the moment that it holds. restored_ns: when it was restored."""

    backup_id: str
    created_ns: int
    restored_ns: int


def incarnation_of(store: Store) -> int:
    """Which life of the store this is: of several the highest counts. 0: it was never restored."""
    return int.from_bytes(store.get_key(_INCARNATION) or b"", "big")


def note_restored(store: Store, note: RestoredNote) -> None:
    """Begins another life of the store, which has to be told apart from all before it, and from all other restores."""
    incarnation = max(incarnation_of(store) + 1, note.restored_ns)
    store.put_key(_INCARNATION, incarnation.to_bytes(8, "big"))
    store.put_key(_NOTE, json.dumps(note._asdict()).encode())


def restored_note(store: Store) -> RestoredNote | None:
    """What was noted, until forget_restored(). Raises Corrupt."""
    data = store.get_key(_NOTE)
    if not data:
        return None
    try:
        said = json.loads(data)
        return RestoredNote(str(said["backup_id"]), int(said["created_ns"]), int(said["restored_ns"]))
    except (ValueError, KeyError, TypeError):
        raise Corrupt(f"store {store.path}: what it says of its restore is damaged; restore it again") from None


def forget_restored(store: Store) -> None:
    """All that follows from the restore is done."""
    store.put_key(_NOTE, b"")
