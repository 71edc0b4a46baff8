"""Whom the leader lets in, kept in the archive: written there when it changes, taken from there onto an empty disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, JoblogError, NotFound, WrongVersion
from joblog.leader.access.authority import Authority
from joblog.leader.access.snapshot import pack_snapshot, restore, take_snapshot, unpack_snapshot
from joblog.leader.access.store import AccessStore
from joblog.leader.archive.claim import read_claim
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.state_object import ACCESS, StateWriter, load_state
from joblog.leader.archived_state import StateKeeper
from joblog.leader.crypto.keyring import DescribedKeys
from joblog.leader.ingest.spool_keys import SpoolKeys

log = logging.getLogger(__name__)

_JOIN_AGAIN = (
    "this leader goes on with a CA of its own: workers and users on other machines need new tokens (`joblog token "
    "create`), workers keep their spools until they have joined with one"
)


class AccessRestorer:
    """Puts in force what an archive keeps. renew: called when the CA has become another one. Blocks."""

    def __init__(
        self,
        store: AccessStore,
        authority: Authority,
        folder: Path,
        spool_keys: SpoolKeys,
        *,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._authority = authority
        self._folder = folder
        self._spool_keys = spool_keys
        self._renew = renew

    def keeper(self, writer: StateWriter) -> StateKeeper:
        """What keeps the archive's copy new."""
        return StateKeeper(
            "access",
            "tokens and certificates",
            lambda: (self._store.changes(), self._spool_keys.changes()),
            lambda: pack_snapshot(take_snapshot(self._store, self._folder, self._spool_keys.all())),
            writer,
        )

    @property
    def is_needed(self) -> bool:
        """Whether nobody is known here."""
        return self._store.is_new()

    def restore(self, objects: ObjectStore, keys: DescribedKeys) -> bool:
        """Whether there was anything that could be used. Raises Unavailable and the like when that can't be told."""
        try:
            content = load_state(ACCESS, objects, keys)
            if content is None:
                log.warning("archive %s keeps no tokens and no CA: %s", objects.name, _JOIN_AGAIN)
                return False
            found = unpack_snapshot(content)
            # First, as tokens say that all of it was restored.
            for worker_id, key, kept_ns in found.spool_keys:
                self._spool_keys.keep(worker_id, key, kept_ns=kept_ns)
            restore(self._store, self._authority, self._folder, found)
        except (Conflict, Corrupt, Denied, InvalidInput, NotFound, WrongVersion) as error:
            log.error("tokens and CA of archive %s can't be used (%s): %s", objects.name, error, _JOIN_AGAIN)
            return False
        self._renew()
        log.warning(
            "archive %s: took over the CA, %d tokens, %d certificates, %d spool keys; the former leader's own admin "
            "token is revoked",
            objects.name,
            len(found.tokens),
            len(found.certificates),
            len(found.spool_keys),
        )
        return True

    def restore_own(self, objects: ObjectStore, keys: DescribedKeys, store_id: str) -> None:
        """The same for the leader that has the archive already, if nobody is known to it; else nothing happens.

        An archive that can't be reached holds up nobody.
        """
        if not self.is_needed:
            return
        try:
            claim = read_claim(objects)
            if claim is not None and claim.store_id == store_id:
                self.restore(objects, keys)
        except JoblogError as error:
            log.warning(
                "archive: can't be asked who is known to this leader: %s. If it keeps that, %s", error, _JOIN_AGAIN
            )
