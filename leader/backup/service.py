"""Backups while a leader runs: made and verified by schedule or when somebody asks, listed, pruned."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Conflict, InvalidInput, JoblogError, NotFound, OutOfSpace
from joblog.leader.access.audit import Auditor, NoAudit
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.key_objects import KeyObjects
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.putting import Putter
from joblog.leader.backup.acts import note_deleted, record_prune, record_restore
from joblog.leader.backup.create import Creator, Progress
from joblog.leader.backup.fence import Replaced, keep_fence
from joblog.leader.backup.fetch import Fetcher
from joblog.leader.backup.jobs import Job, Jobs
from joblog.leader.backup.manifest import Manifest, Summary
from joblog.leader.backup.options import CreateLimits, KeepRules
from joblog.leader.backup.prune import Pruned, Pruner
from joblog.leader.backup.repository import LATEST, Repository, create_repository, open_repository
from joblog.leader.backup.restore import Keys, check_store_version, open_keys
from joblog.leader.backup.restored import incarnation_of
from joblog.leader.backup.runs import RunNames, RunTaker
from joblog.leader.backup.schedule import Schedule
from joblog.leader.backup.source import Source, drop_leftovers
from joblog.leader.backup.verify import BackupVerifier, VerifiedBackup, VerifiedNote, note_verified, verified_note
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import KmsSource, open_present
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.service import Service

log = logging.getLogger(__name__)

# The clock may be set, and a suspended machine has none.
_LOOK_SECONDS = 30.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 5.0, 600.0
_MIN_PART_BYTES = 16 << 20
_SPARE_BYTES = 64 << 20
BACKUP, VERIFY, RESTORE = "backup", "verify", "restore"


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What is done by itself. schedule, verify_schedule: None is never."""

    limits: CreateLimits = field(default_factory=CreateLimits)
    keep: KeepRules = field(default_factory=KeepRules)
    schedule: Schedule | None = None
    verify_schedule: Schedule | None = None


class Listed(NamedTuple):
    """All backups, the newest first, what verifying has found, and those that can't be used: (id, why)."""

    target: str
    backups: list[tuple[Summary, VerifiedNote | None]]
    unreadable: list[tuple[str, str]]


class Shown(NamedTuple):
    """One backup. objects: that it needs; stored_bytes: their size; missing: how many are not there."""

    manifest: Manifest
    verified: VerifiedNote | None
    objects: int
    stored_bytes: int
    missing: int


def list_backups(repository: Repository | None, target: str) -> Listed:
    """What is in a target. Blocks. Raises what the object store raises."""
    if repository is None:
        return Listed(target, [], [])
    unreadable: list[tuple[str, str]] = []
    found = repository.summaries(lambda backup_id, why: unreadable.append((backup_id, str(why))))
    return Listed(target, [(one, verified_note(repository, one.id)) for one in found], unreadable)


def show_backup(repository: Repository, name: str) -> Shown:
    """One backup; "latest" is the newest. Blocks. Raises NotFound, Corrupt, WrongVersion."""
    manifest = repository.manifest(repository.resolve(name))
    needed = set(manifest.names())
    sizes = {name: info.size for name, info in repository.piece_objects() if name in needed}
    verified = verified_note(repository, manifest.summary.id)
    return Shown(manifest, verified, len(needed), sum(sizes.values()), len(needed) - len(sizes))


def prune_backups(
    repository: Repository, rules: KeepRules, *, drop: Collection[str] = (), dry_run: bool = False
) -> Pruned:
    """Deletes what no rule keeps. Blocks. Raises as Pruner.prune(), Conflict when nothing is to be done."""
    if not rules and not drop:
        raise Conflict("no rule says which backups to keep: set backup.keep_last and the like, or give a rule")
    summaries = repository.summaries(lambda backup_id, why: log.warning("backup %s: %s", backup_id, why))
    return Pruner(repository).prune(rules, summaries, time.time_ns(), drop=drop, dry_run=dry_run)


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
        self.exists = exists
        self.objects = objects
        self.source = source
        self.keyring = keyring
        self.kms_source = kms_source
        self.plan = plan
        self.archive = archive
        self.jobs = Jobs()
        self._opened: Repository | None = None
        self._opening = threading.Lock()
        self._putter = Putter(source.store, objects, multipart_bytes=_MIN_PART_BYTES)
        self._key_objects = KeyObjects(keyring.store_keys, self._putter)
        self._failures: dict[str, str] = {}
        self.next_ns: dict[str, int] = {}
        self._clock_ns = time.time_ns

    # What others ask; all of it blocks but what is async

    def repository(self, *, create: bool = False) -> Repository | None:
        """The target, opened once; None while nothing was ever backed up there. Raises what opening it raises."""
        with self._opening:
            if self._opened is None:
                keys = self.keyring.store_keys
                if create:
                    self._opened = create_repository(self.objects, keys.kms.find, keys.kms.present, keys)
                else:
                    try:
                        self._opened = open_repository(self.objects, keys.kms.find)
                    except NotFound:
                        return None
            return self._opened

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
        work = partial(self._verify, repository, manifest, restore)
        return self.jobs.start(Job(VERIFY, manifest.summary.id, reason), work)

    async def start_restore(self, name: str, runs: RunNames) -> Job:
        """Begins to take runs from a backup. Raises Conflict, InvalidInput, NotFound, Corrupt."""
        if not runs:
            raise InvalidInput("no run is named that is to be restored")
        repository = await asyncio.to_thread(self.need)
        manifest = await asyncio.to_thread(lambda: repository.manifest(repository.resolve(name)))
        check_store_version(manifest)
        await record_restore(self._auditor(), manifest.summary.id, runs)
        work = partial(self._restore, repository, manifest, list(runs))
        return self.jobs.start(Job(RESTORE, manifest.summary.id, "asked"), work)

    def keep_fence(self) -> None:
        """Has the target know that this leader goes on with its store. Raises Replaced when another one does."""
        repository = self.repository()
        if repository is not None:
            keep_fence(repository, self.source.store.store_id, incarnation_of(self.source.store))

    def warnings(self) -> list[str]:
        """What is wrong with backups now, for people."""
        return [f"backups: {what}: {why}" for what, why in sorted(self._failures.items())]

    # The jobs, in a thread

    def _back_up(self, job: Job) -> None:
        repository = self.repository(create=True)
        assert repository is not None
        self.write_keys()

        def show(at: Progress) -> None:
            job.tell(done_bytes=at.read_bytes, total_bytes=at.total_bytes, sent_bytes=at.sent_bytes)

        creator = Creator(repository, self.source, self.plan.limits, reason=job.state.reason, progress=show)
        job.stop = creator.stop
        job.tell(backup_id=creator.id)
        creator.create()

    def _verify(self, repository: Repository, manifest: Manifest, restore: bool, job: Job) -> None:
        def show(done: int, total: int) -> None:
            job.tell(done_bytes=done, total_bytes=total)

        verifier = BackupVerifier(repository, manifest, progress=show)
        job.stop = verifier.stop
        found = self._verify_restored(verifier, manifest, job) if restore else verifier.verify()
        note_verified(repository, found)
        job.tell(problems=tuple(found.problems), logs=found.logs)
        if found.problems:
            log.error("backup %s: %d problems, the first: %s", found.id, len(found.problems), found.problems[0])
        else:
            log.info("backup %s is verified: %d bytes, %d logs", found.id, found.bytes, found.logs)

    def _verify_restored(self, verifier: BackupVerifier, manifest: Manifest, job: Job) -> VerifiedBackup:
        return verifier.verify_restored(
            self._scratch(manifest),
            Keys(self.kms_source),
            archive=self.archive,
            on_log=lambda logs, _bytes: job.tell(logs=logs),
        )

    def _restore(self, repository: Repository, manifest: Manifest, runs: RunNames, job: Job) -> None:
        """Fetches the store in the backup into a scratch folder, and takes the runs from there."""
        stopping = threading.Event()
        scratch = self._scratch(manifest)
        free = shutil.disk_usage(scratch.parent).free
        if free < manifest.summary.bytes + _SPARE_BYTES:
            raise OutOfSpace(
                f"{scratch.parent}: restoring needs {manifest.summary.bytes:,} bytes for a while, {free:,} are free"
            )

        def show(done: int, total: int) -> None:
            job.tell(done_bytes=done, total_bytes=total)

        fetcher = Fetcher(repository, scratch, progress=show)

        def stop() -> None:
            stopping.set()
            fetcher.stop()

        job.stop = stop
        try:
            fetcher.run(manifest.files)
            old = Store.open(scratch / "store")
            try:
                warnings = open_keys(old, repository, Keys(self.kms_source))
                keyring = Keyring(StoreKeys(old, open_present(old, self.kms_source).kms, old.store_id))
                taker = RunTaker(
                    manifest.summary.id,
                    old,
                    keyring,
                    self.source.store,
                    self.keyring,
                    archive=self.archive,
                    exists=self.exists,
                    progress=lambda done, _total: job.tell(logs=done),
                    stopped=stopping.is_set,
                )
                taken = taker.take(runs)
            finally:
                old.close()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        job.tell(logs=taken.logs, problems=tuple(warnings + taken.problems))
        log.info("backup %s: took %d logs from it, %d bytes", manifest.summary.id, taken.logs, taken.bytes)

    def _scratch(self, manifest: Manifest) -> Path:
        scratch = self.source.store.path.parent / f".backup-{manifest.summary.id}-scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        return scratch

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
            self._failures["target"] = str(error)

    async def run(self) -> None:
        """Makes and verifies backups when they are due."""
        loops = [
            asyncio.create_task(self._forever(BACKUP, self.plan.schedule)),
            asyncio.create_task(self._forever(VERIFY, self.plan.verify_schedule)),
            asyncio.create_task(self._fence_forever()),
        ]
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
                self._failures["target"] = str(error)
            else:
                self._failures.pop("target", None)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _forever(self, what: str, schedule: Schedule | None) -> None:
        if schedule is None:
            await asyncio.Event().wait()
            return
        started_ns, pause = self._clock_ns(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                last_ns = await asyncio.to_thread(self._last_ns, what)
                if last_ns is None:
                    await asyncio.sleep(_FIRST_PAUSE_SECONDS)
                    continue
                # An interval counts from the last one, also when the leader was started anew since.
                first_ns = 0 if schedule.interval_seconds else started_ns
                due_ns = schedule.next_after(last_ns or first_ns)
                self.next_ns[what] = max(due_ns, self._clock_ns())
                left = (due_ns - self._clock_ns()) / 1e9
                if left > 0:
                    await asyncio.sleep(min(left, _LOOK_SECONDS))
                    continue
                await self._scheduled(what)
            except JoblogError as error:
                if self._failures.get(what) != str(error):
                    log.error("scheduled %s failed, it is tried again: %s", what, error)
                self._failures[what] = str(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(2 * pause, _LAST_PAUSE_SECONDS)
            else:
                self._failures.pop(what, None)
                pause = _FIRST_PAUSE_SECONDS

    def _last_ns(self, what: str) -> int | None:
        """When this store was last backed up, or a backup of it verified; 0: never. None: there is none to verify."""
        repository = self.repository()
        last_ns = 0 if what == BACKUP else None
        if repository is None:
            return last_ns
        for backup_id in repository.backup_ids():
            summary = repository.summary(backup_id)
            if summary.store_id != self.source.store.store_id:
                continue
            if what == BACKUP:
                return summary.created_ns
            last_ns = last_ns or 0
            if (note := verified_note(repository, backup_id)) is not None:
                return note.verified_ns
        return last_ns

    async def _scheduled(self, what: str) -> None:
        while (running := self.jobs.running) is not None:
            async for _ in running.watch():
                pass
        if what == BACKUP:
            job = self.start_backup("schedule")
            async for _ in job.watch():
                pass
            if self.plan.keep:
                await self.prune_now(KeepRules())
            return
        job = await self.start_verify(LATEST, restore=False, reason="schedule")
        async for state in job.watch():
            if state.problems:
                raise JoblogError(f"backup {state.backup_id}: {first_problem(state.problems)}")

    async def drain(self, deadline_seconds: float) -> None:  # noqa: ARG002 - what is stopped ends soon
        """Stops what runs: the next backup goes on from what was sent."""
        await self.jobs.close()

    async def stop(self) -> None:
        """Closes the target."""
        await self.jobs.close()
        await asyncio.to_thread(self._putter.close)
        await asyncio.to_thread(self.objects.close)


def first_problem(problems: tuple[str, ...]) -> str:
    """The first of them, and how many more there are."""
    more = f", and {len(problems) - 1} more problems" if len(problems) > 1 else ""
    return problems[0] + more
