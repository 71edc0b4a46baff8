"""What a leader does at its first start after a restore, before it takes anything in.

The archive has gone on since the backup: the catalog is brought up to date with it. Live logs are told of what may be
missing. And whoever was the leader of before must not go on. At each start, halves of logs that were being taken from a
backup when the leader was killed are deleted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from joblog.errors import JoblogError, OutOfSpace, Unavailable
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.reconcile import Reconcile
from joblog.leader.backup.fence import Replaced
from joblog.leader.backup.restored import RestoredNote, forget_restored, restored_note
from joblog.leader.backup.runs import drop_half_taken
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.start_note import StartNote
from joblog.service import Service
from joblog.v1 import types_pb2

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.5, 30.0
_BATCH = 1000


def time_words(time_ns: int) -> str:
    """A time in UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ns // 10**9))


class AfterRestore(Service):
    """Goes before ingest, and after what opens the keys. archive: None where none is set."""

    name = "after a restore"

    def __init__(self, store: Store, keyring: Keyring, archive: ObjectStore | None, start_note: StartNote) -> None:
        self._store = store
        self._keyring = keyring
        self._archive = archive
        self._start_note = start_note
        # Called first: makes sure that no other leader goes on with the store.
        self.fence: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Raises ClaimLost and the like; an archive that can't be reached now is waited for."""
        await asyncio.to_thread(drop_half_taken, self._store)
        note = restored_note(self._store)
        if note is None:
            return
        log.warning("this store was restored from backup %s of %s", note.backup_id, time_words(note.created_ns))
        pause, said = _FIRST_PAUSE_SECONDS, ""
        try:
            while True:
                try:
                    await asyncio.to_thread(self._work, note)
                    return
                except (Unavailable, OutOfSpace) as error:
                    reason = f"restored from a backup, and waiting for what it needs to go on: {error}"
                if reason != said:
                    log.warning("%s", reason)
                    self._start_note.set(reason)
                    said = reason
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
        finally:
            self._start_note.clear()

    def _work(self, note: RestoredNote) -> None:
        try:
            self.fence()
        except Replaced:
            raise
        except JoblogError as error:
            # What keeps the backups, or opens them, may be gone for good; the service that makes them tries again.
            log.warning("the target of backups can't be told that this leader goes on: %s", error)
        if self._archive is not None:
            self._reconcile(note, self._archive)
        self._tell_live_logs(note)
        forget_restored(self._store)

    def _reconcile(self, note: RestoredNote, archive: ObjectStore) -> None:
        found = Reconcile(self._store, self._keyring, archive, note.created_ns).bring_up_to_date(
            lambda what, done, _total: log.info("looking through the archive: %d %s", done, what)
        )
        log.warning(
            "archive %s: since the backup %d logs were sealed, %d live ones have other bytes there, %d are new, %d "
            "were deleted; %d objects could not be used",
            archive.name,
            found.sealed,
            found.live,
            found.added,
            found.deleted,
            len(found.problems),
        )

    def _tell_live_logs(self, note: RestoredNote) -> None:
        """Each live log says from where on bytes may be missing: what its worker still holds comes again."""
        numbers = self._store.open_numbers()
        for at in range(0, len(numbers), _BATCH):
            changes = Changes()
            for number in numbers[at : at + _BATCH]:
                end = self._store.log_end(number)
                offset = end.offset if end is not None else 0
                message = (
                    f"the leader was restored from backup {note.backup_id} of {time_words(note.created_ns)}: what came "
                    f"after offset {offset} since then is missing, but for what the worker still holds"
                )
                event = types_pb2.Event(offset=offset, time_ns=note.restored_ns, kind="restored", message=message)
                changes.put_event(number, event)
            self._store.write(changes)
