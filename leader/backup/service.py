"""Backups while a leader runs: made and verified by schedule or when somebody asks, listed, pruned."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, JoblogError, NotFound, WrongVersion
from joblog.leader.access.audit import Auditor, NoAudit
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.key_objects import KeyObjects
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.putting import Putter
from joblog.leader.backup.acts import note_deleted, record_prune, record_restore
from joblog.leader.backup.fence import Replaced, keep_fence
from joblog.leader.backup.jobs import Job, Jobs
from joblog.leader.backup.listing import Listed, Shown, list_backups, show_backup
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import CreateLimits, KeepRules
from joblog.leader.backup.prune import Pruned, prune_backups
from joblog.leader.backup.repository import Repository, create_repository, open_repository
from joblog.leader.backup.restore import check_store_version
from joblog.leader.backup.restored import incarnation_of
from joblog.leader.backup.runs import RunNames
from joblog.leader.backup.schedule import Schedule
from joblog.leader.backup.scheduled import LOOK_SECONDS, Scheduled
from joblog.leader.backup.source import Source, drop_leftovers
from joblog.leader.backup.verify import verified_note
from joblog.leader.backup.work import BackupWork
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import KmsSource
from joblog.service import Service

log = logging.getLogger(__name__)

_MIN_PART_BYTES = 16 << 20
BACKUP, VERIFY, RESTORE = "backup", "verify", "restore"


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What is done by itself. schedule, verify_schedule: None is never."""

    limits: CreateLimits = field(default_factory=CreateLimits)
    keep: KeepRules = field(default_factory=KeepRules)
    schedule: Schedule | None = None
    verify_schedule: Schedule | None = None


class BackupService(Service):
    """Goes after all that writes to the store. archive: None where there is none.

    kms_source: opens the KMSes of a store that is restored to be verified.
    """

    name = "backups"

    def __init__(
        self,
        objects: ObjectStore,
        source: Source,
        keyring: Keyring,
        kms_source: KmsSource,
        plan: BackupPlan,
        *,
        archive: ExtentReader | None = None,
        exists: Callable[[str], bool] | None = None,
        auditor: Callable[[], Auditor] = NoAudit,
    ) -> None:
        """exists(key): whether the archive has an object."""
        self._auditor = auditor
        self.objects = objects
        self.source = source
        self.keyring = keyring
        self.plan = plan
        self._work = BackupWork(source, keyring, kms_source, archive=archive, exists=exists)
        self.jobs = Jobs()
        self._opened: Repository | None = None
        self._opening = threading.Lock()
        self._putter = Putter(source.store, objects, multipart_bytes=_MIN_PART_BYTES)
        self._key_objects = KeyObjects(keyring.store_keys, self._putter)
        self._target_failure = ""
        self._scheduled = {
            BACKUP: Scheduled(BACKUP, plan.schedule, self._backed_up_ns, self._scheduled_backup),
            VERIFY: Scheduled(VERIFY, plan.verify_schedule, self._verified_ns, self._scheduled_verify),
        }

    # What others ask; all of it blocks but what is async

    def repository(self, *, create: bool = False) -> Repository | None:
        """The target, opened once; None while nothing was ever backed up there. Raises what opening it raises."""
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            if self._opened is None and create:
                keys = self.keyring.store_keys
                self._opened = create_repository(self.objects, keys.kms.find, keys.kms.present, keys)
            return self._opened

    def _open(self) -> Repository | None:
        find_kms = self.keyring.store_keys.kms.find
        try:
            return open_repository(self.objects, find_kms)
        except NotFound:
            return None
        except Denied:
            # As after the KMS was lost, and the store's keys came from a recovery file.
            return open_repository(self.objects, find_kms, self._find_store_key)

    def _find_store_key(self, key_id: bytes) -> AESGCM | None:
        try:
            return self.keyring.store_keys.cipher(key_id)
        except JoblogError:
            return None

    def need(self) -> Repository:
        """The target. Raises NotFound when it holds no backup."""
        found = self.repository()
        if found is None:
            raise NotFound(f"{self.objects.name}: there is no backup yet; `joblog backup create` makes one")
        return found

    def listed(self) -> Listed:
        """All backups."""
        return list_backups(self.repository(), self.objects.name)

    def show(self, name: str) -> Shown:
        """One of them."""
        return show_backup(self.need(), name)

    def prune(self, rules: KeepRules, *, drop: Collection[str] = (), dry_run: bool = False) -> Pruned:
        """Deletes what no rule keeps; without rules those of the settings count, unless some are dropped by name."""
        return prune_backups(self.need(), rules or (self.plan.keep if not drop else rules), drop=drop, dry_run=dry_run)

    async def prune_now(self, rules: KeepRules, *, drop: Collection[str] = (), dry_run: bool = False) -> Pruned:
        """As prune(), and the audit log is told. Raises Unavailable when that is not to be had."""
        if not dry_run:
            await record_prune(self._auditor(), rules or (self.plan.keep if not drop else rules), drop)
        found = await asyncio.to_thread(self.prune, rules, drop=drop, dry_run=dry_run)
        if not dry_run:
            note_deleted(self._auditor(), found.deleted)
        return found

    def write_keys(self) -> int:
        """Has the target's copies of store keys, and its own key, wrapped as the store's are now; how many changed."""
        repository = self.repository()
        if repository is None:
            return 0
        present = self.keyring.store_keys.kms.present
        version = present.current_version()
        stale = not repository.is_wrapped_by(present, version)
        if stale:
            repository.rewrap(present, self.keyring.store_keys)
        return self._key_objects.write() + stale

    def start_backup(self, reason: str = "asked") -> Job:
        """Begins a backup. Raises Conflict. Called in the event loop."""
        return self.jobs.start(Job(BACKUP, "", reason), self._back_up)

    async def start_verify(self, name: str, *, restore: bool, reason: str = "asked") -> Job:
        """Begins to verify a backup. Raises Conflict, NotFound, Corrupt."""
        repository = await asyncio.to_thread(self.need)
        manifest = await asyncio.to_thread(lambda: repository.manifest(repository.resolve(name)))
        work = partial(self._work.verify, repository, manifest, restore)
        return self.jobs.start(Job(VERIFY, manifest.summary.id, reason), work)

    async def start_restore(self, name: str, runs: RunNames) -> Job:
        """Begins to take runs from a backup. Raises Conflict, InvalidInput, NotFound, Corrupt."""
        if not runs:
            raise InvalidInput("no run is named that is to be restored")
        repository = await asyncio.to_thread(self.need)
        manifest = await asyncio.to_thread(lambda: repository.manifest(repository.resolve(name)))
        check_store_version(manifest)
        await record_restore(self._auditor(), manifest.summary.id, runs)
        work = partial(self._work.restore, repository, manifest, list(runs))
        return self.jobs.start(Job(RESTORE, manifest.summary.id, "asked"), work)

    def _back_up(self, job: Job) -> None:
        repository = self.repository(create=True)
        assert repository is not None
        self.write_keys()
        self._work.back_up(repository, self.plan.limits, job)

    def keep_fence(self) -> None:
        """Has the target know that this leader goes on with its store. Raises Replaced when another one does."""
        repository = self.repository()
        if repository is not None:
            keep_fence(repository, self.source.store.store_id, incarnation_of(self.source.store))

    def warnings(self) -> list[str]:
        """What is wrong with backups now, for people."""
        failures = {"target": self._target_failure} | {what: one.failure for what, one in self._scheduled.items()}
        return [f"backups: {what}: {why}" for what, why in sorted(failures.items()) if why]

    def next_ns(self, what: str) -> int:
        """When the next BACKUP or VERIFY is due by schedule; 0: never, or not known yet."""
        return self._scheduled[what].next_ns

    # By schedule

    async def start(self) -> None:
        """Removes what a killed leader left of backups. Raises Replaced when another leader goes on with the store."""
        await asyncio.to_thread(drop_leftovers, self.source.store)
        try:
            await asyncio.to_thread(self.keep_fence)
        except Replaced:
            raise
        except JoblogError as error:
            # Whatever is wrong with the target, logs are taken in.
            log.error("backups: the target can't be used now: %s", error)
            self._target_failure = str(error)

    async def run(self) -> None:
        """Makes and verifies backups when they are due."""
        loops = [asyncio.create_task(one.run()) for one in self._scheduled.values()]
        loops.append(asyncio.create_task(self._fence_forever()))
        try:
            await asyncio.gather(*loops)
        finally:
            for one in loops:
                one.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def _fence_forever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.keep_fence)
            except Replaced:
                raise
            except JoblogError as error:
                self._target_failure = str(error)
            else:
                self._target_failure = ""
            await asyncio.sleep(LOOK_SECONDS)

    def _own(self, unreadable: list[str]) -> Iterator[Summary]:
        """Backups of this store, the newest first. unreadable: is told why others can't be used."""
        repository = self.repository()
        if repository is None:
            return
        for backup_id in repository.backup_ids():
            try:
                summary = repository.summary(backup_id)
            except (Corrupt, NotFound, WrongVersion) as error:
                unreadable.append(str(error))
                continue
            if summary.store_id == self.source.store.store_id:
                yield summary

    def _backed_up_ns(self) -> int:
        newest = next(self._own([]), None)
        return newest.created_ns if newest is not None else 0

    def _verified_ns(self) -> int | None:
        """Raises Corrupt when none can be verified that may be of this store."""
        last_ns = None
        unreadable: list[str] = []
        for summary in self._own(unreadable):
            last_ns = 0
            if (note := verified_note(self.need(), summary.id)) is not None:
                return note.verified_ns
        if last_ns is None and unreadable:
            raise Corrupt(unreadable[0])
        return last_ns

    async def _nothing_runs(self) -> None:
        while (running := self.jobs.running) is not None:
            await running.ended()

    async def _scheduled_backup(self) -> None:
        await self._nothing_runs()
        async for _ in self.start_backup("schedule").watch():
            pass
        if self.plan.keep:
            await self.prune_now(KeepRules())

    async def _scheduled_verify(self) -> None:
        problems: list[str] = []
        job = None
        while job is None:
            await self._nothing_runs()
            problems.clear()
            newest = await asyncio.to_thread(lambda: next(self._own(problems), None))
            if newest is None:
                return
            try:
                job = await self.start_verify(newest.id, restore=False, reason="schedule")
            except Conflict:
                # Another job was quicker: a backup that is due at the same time, say.
                if self.jobs.running is None:
                    raise
        async for _ in job.watch():
            pass
        problems += (f"backup {job.state.backup_id}: {problem}" for problem in job.state.problems)
        if problems:
            more = f", and {len(problems) - 1} more problems" if len(problems) > 1 else ""
            raise JoblogError(problems[0] + more)

    async def drain(self, deadline_seconds: float) -> None:  # noqa: ARG002 - what is stopped ends soon
        """Stops what runs: the next backup goes on from what was sent."""
        await self.jobs.close()

    async def stop(self) -> None:
        """Closes the target."""
        await self.jobs.close()
        await asyncio.to_thread(self._putter.close)
        await asyncio.to_thread(self.objects.close)
