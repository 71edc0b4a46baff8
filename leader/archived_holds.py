"""Legal holds, kept in the archive: who takes it over, or is rebuilt from it, deletes nothing that is held."""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256

from joblog.errors import Conflict, Corrupt, Denied, NotFound, WrongVersion
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.state_object import HOLDS, StateWriter, load_state, state_keys
from joblog.leader.archived_state import StateKeeper
from joblog.leader.buffer.holds import pack_holds, unpack_holds, words_of
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import DescribedKeys, Keyring

log = logging.getLogger(__name__)

# A record of the keyring's: the hash of what this store has written to the archive last.
_WRITTEN = b"holds"


def restore_holds(store: Store, objects: ObjectStore, keys: DescribedKeys) -> None:
    """Sets in the store what the archive keeps. Raises Unavailable and the like when that can't be told.

    Where it can't be read, nothing is deleted any more before an admin has said that this is known.
    """
    try:
        content = load_state(HOLDS, objects, keys)
        holds = [] if content is None else unpack_holds(content)
    except (Corrupt, Denied, NotFound, WrongVersion) as error:
        unreadable = f"the legal holds in archive {objects.name} can't be read: {error}"
        log.error("%s; nothing is deleted before an admin has set them anew", unreadable)
        store.holds.restore([], unreadable)
        return
    store.holds.restore(holds)
    if holds:
        log.warning("archive %s: took over %d legal holds", objects.name, len(holds))


class HoldWriter(StateWriter):
    """Writes holds, and loses none that the archive has and the store, brought back from a backup, does not know."""

    def __init__(self, store: Store, objects: ObjectStore, keyring: Keyring, ready: Callable[[], None]) -> None:
        super().__init__(HOLDS, objects, keyring, ready)
        self._store = store
        self._keys = state_keys(objects, keyring)
        self._has_looked = False

    def write(self, content: bytes) -> None:
        """As StateWriter.write(). Raises Corrupt and the like where it can't tell what it would write over."""
        if not self._has_looked:
            self._look()
            content = pack_holds(self._store.holds.present.all.values())
        super().write(content)
        self._store.put_key(_WRITTEN, sha256(content).digest())

    def _look(self) -> None:
        there = load_state(HOLDS, self._objects, self._keys)
        if there is not None and sha256(there).digest() != self._store.get_key(_WRITTEN):
            for hold in unpack_holds(there):
                if self._store.holds.set(hold) is None:
                    log.warning("a legal hold of the archive is in force again: %s", words_of(hold))
        self._has_looked = True


def hold_keeper(store: Store, writer: StateWriter) -> StateKeeper:
    """What keeps the archive's copy new."""

    def content() -> bytes:
        present = store.holds.present
        if present.unreadable:
            # What is there is not written over.
            raise Conflict(present.unreadable)
        return pack_holds(present.all.values())

    # Another object takes its place with each change.
    return StateKeeper("holds", "legal holds", lambda: store.holds.present, content, writer)
