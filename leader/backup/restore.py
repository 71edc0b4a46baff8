"""Restores a whole backup into a data folder: all of it is fetched and checked before anything there is touched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, OutOfSpace, WrongVersion
from joblog.leader.access.snapshot import AccessSnapshot, unpack_snapshot
from joblog.leader.archive.folder_files import sync_folder
from joblog.leader.archive.key_objects import load_store_keys
from joblog.leader.backup import failpoints, swap
from joblog.leader.backup.access import merged, write_access
from joblog.leader.backup.fetch import SPARE_BYTES, Fetcher, Progress, check_complete
from joblog.leader.backup.manifest import Manifest
from joblog.leader.backup.repository import Repository
from joblog.leader.backup.restored import RestoredNote, note_restored
from joblog.leader.backup.source import ACCESS_PATH
from joblog.leader.buffer.format import FORMAT_VERSION
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.remembered import KmsSource, open_present, remember
from joblog.leader.crypto.store_key_record import DescribedKey, unpack_record
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.leader.recovery import import_into
from joblog.paths import DataFolder, make_folder

_STORE_KEY = b"store/"


class Plan(NamedTuple):
    """What restoring would do. bytes: of files; set_aside: folders that would be; free_bytes: of the file system."""

    backup_id: str
    created_ns: int
    files: int
    bytes: int
    folder: Path
    free_bytes: int
    set_aside: list[Path]


class Restored(NamedTuple):
    """What was restored. aside: where what was there before is kept; warnings: for people."""

    folder: Path
    aside: list[Path]
    warnings: list[str]


class Keys(NamedTuple):
    """What opens the logs' keys. recovery: store keys of a recovery file, and what opens those under its passphrase."""

    source: KmsSource
    recovery: Iterable[DescribedKey] = ()
    recovery_kms: Kms | None = None


def check_store_version(manifest: Manifest) -> None:
    """Raises WrongVersion when this joblog can't open the store in the backup."""
    if manifest.summary.store_version != FORMAT_VERSION:
        raise WrongVersion(
            f"backup {manifest.summary.id} holds a store of format {manifest.summary.store_version}, written by "
            f"joblog {manifest.summary.joblog}; this joblog knows {FORMAT_VERSION}: use that one"
        )


class Restore:
    """Of one backup into one data folder. Blocks."""

    def __init__(
        self,
        repository: Repository,
        manifest: Manifest,
        folder: DataFolder,
        keys: Keys,
        *,
        archived_access: Callable[[], AccessSnapshot | None] = lambda: None,
        progress: Progress = lambda _done, _total: None,
        at_once: int = 8,
    ) -> None:
        """archived_access: who may come in by what the archive says, which may be newer; None where it says nothing."""
        self._repository = repository
        self._manifest = manifest
        self._folder = folder
        self._keys = keys
        self._archived_access = archived_access
        self._restoring = swap.restoring_folder(folder, manifest.summary.id)
        self._warnings: list[str] = []
        self.fetcher = Fetcher(repository, self._restoring, at_once=at_once, progress=progress)

    def plan(self) -> Plan:
        """What run() would do. Raises Conflict where a leader runs, NotFound when pieces are missing, WrongVersion."""
        check_store_version(self._manifest)
        check_complete(self._repository, self._manifest)
        with swap.not_live(self._folder):
            pass
        place = next(path for path in (self._folder.leader, *self._folder.leader.parents) if path.exists())
        summary = self._manifest.summary
        there = [path for path in (self._folder.store, self._folder.access) if path.exists()]
        free = shutil.disk_usage(place).free
        return Plan(summary.id, summary.created_ns, summary.files, summary.bytes, self._folder.root, free, there)

    def run(self, *, discard_old: bool = False) -> Restored:
        """Returns when the backup is in place. Ended before, it goes on when it is run again.

        discard_old: what is there is deleted once the backup is in its place; what was set aside before stays, also
        where this restore has done so and was ended. Raises Conflict, NotFound, Denied that says which KMS is needed,
        Corrupt, WrongVersion, OutOfSpace, Unavailable; then nothing has changed.
        """
        make_folder(self._folder.root)
        make_folder(self._folder.leader)
        for backup_id in swap.finish_swaps(self._folder):
            self._warnings.append(f"the restore of backup {backup_id} had come to its last step, and is finished")
            if backup_id == self._manifest.summary.id:
                return Restored(self._folder.root, swap.aside(self._folder, backup_id), self._warnings)
        if not (self._restoring / swap.FETCHED).exists():
            plan = self.plan()
            held = sum(path.stat().st_blocks * 512 for path in self._restoring.rglob("*") if path.is_file())
            if plan.bytes - held + SPARE_BYTES > plan.free_bytes:
                raise OutOfSpace(
                    f"{plan.folder}: {plan.free_bytes:,} bytes are free, {plan.bytes + SPARE_BYTES:,} are needed: "
                    "make room, or restore into another folder with --to"
                )
        with swap.locked(self._restoring):
            if not (self._restoring / swap.FETCHED).exists():
                self.fetcher.run(self._manifest.files)
                swap.note(self._restoring, swap.FETCHED)
            failpoints.reach("restore.fetched")
            self._prepare()
            with swap.not_live(self._folder):
                aside = swap.swap(self._folder, self._restoring)
        if discard_old:
            for path in aside:
                shutil.rmtree(path)
            aside = []
        return Restored(self._folder.root, aside, self._warnings)

    def _prepare(self) -> None:
        """Looks into what was fetched: whether it is a store, whether it opens, who may come in. Can be repeated."""
        archived = self._archived_access()
        self._prepare_store(archived.spool_keys if archived is not None else ())
        self._prepare_access(archived)

    def _prepare_store(self, spool_keys: Iterable[tuple[str, bytes, int]]) -> None:
        summary = self._manifest.summary
        store = Store.open(self._restoring / "store")
        try:
            if store.store_id != summary.store_id:
                raise Corrupt(f"backup {summary.id} is of store {summary.store_id}, and holds {store.store_id}")
            self._warnings += open_keys(store, self._repository, self._keys)
            # The archive may have newer ones, and no others than those of now from the leader's start on.
            known = SpoolKeys(store, StoreKeys(store, open_present(store, self._keys.source).kms, store.store_id))
            for worker_id, key, kept_ns in spool_keys:
                try:
                    known.keep(worker_id, key, kept_ns=kept_ns)
                except (Conflict, Corrupt, InvalidInput) as error:
                    self._warnings.append(f"a key of worker {worker_id}'s sealed spools can't be kept: {error}")
            note_restored(store, RestoredNote(summary.id, summary.created_ns, time.time_ns()))
        finally:
            store.close()

    def _prepare_access(self, archived: AccessSnapshot | None) -> None:
        """Makes the access folder of what was fetched in its place."""
        fetched, fresh = self._restoring / ACCESS_PATH, self._restoring / "access.new"
        if fetched.exists():
            found = unpack_snapshot(fetched.read_bytes())
            if archived is not None:
                found = merged(found, archived)
            shutil.rmtree(fresh, ignore_errors=True)
            write_access(fresh, found, former=self._folder.access)
            sync_folder(fresh)
            # The new folder counts once this is gone.
            fetched.unlink()
        failpoints.reach("restore.access")
        if fresh.exists():
            shutil.rmtree(fetched.parent, ignore_errors=True)
            fresh.rename(fetched.parent)


def open_keys(store: Store, repository: Repository, keys: Keys) -> list[str]:
    """Gives the store its store keys as they were wrapped last, and opens them; what is wrong with some, for people.

    Raises Denied that says which KMS is needed where the key for new logs does not open, Corrupt, Unavailable.
    """
    own = set(store.key_names(_STORE_KEY))
    copies = [key for key in load_store_keys(repository.objects) if _STORE_KEY + key.key_id in own]
    recovery = [key for key in keys.recovery if _STORE_KEY + key.key_id in own]
    if recovery:
        import_into(store, keys.source, recovery, keys.recovery_kms)
    store_keys = StoreKeys(store, _known_kms(store, keys.source, copies), store.store_id)
    warnings = []
    for key in copies:
        try:
            store_keys.adopt(key)
        except (Denied, Corrupt) as error:
            warnings.append(f"the target's copy of store key {key.key_id.hex()} can't be used: {error}")
    for found in store_keys.all():
        try:
            store_keys.cipher(found.key_id)
        except (Denied, Corrupt) as error:
            what = f"store key {found.key_id.hex()} needs KMS {found.record.kms!r}, key {found.record.key_id!r}"
            if found.current:
                raise Denied(
                    f"{what}: {error}. Set that one (keys.kind, keys.file and the like), or give a recovery file of "
                    "`joblog keys export` with --keys"
                ) from None
            warnings.append(f"{what}, without which the logs under it can't be read: {error}")
    return warnings


def _known_kms(store: Store, source: KmsSource, copies: Iterable[DescribedKey]) -> KnownKms:
    """The KMSes that the store's keys need; the one that is set is the present one where it wrapped them last."""
    asked = source.describe()
    present = source.open(asked)
    newer = {key.key_id: unpack_record(key.record) for key in copies}
    for found in StoreKeys(store, KnownKms(present), store.store_id).all():
        record = max(found.record, newer.get(found.key_id, found.record), key=lambda one: one.generation)
        if found.current and (record.kms, record.key_id) == (present.name, present.key_id):
            remember(store, None, present, asked)
    return open_present(store, source).kms
