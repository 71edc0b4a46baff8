"""What is done with backups while a leader runs, each in a thread of its own: made, verified, runs taken from them."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.backup.create import Creator, Progress
from joblog.leader.backup.fetch import Fetcher
from joblog.leader.backup.jobs import Job
from joblog.leader.backup.manifest import Manifest
from joblog.leader.backup.options import CreateLimits
from joblog.leader.backup.partly import PartlyFetched
from joblog.leader.backup.repository import Repository
from joblog.leader.backup.restore import Keys, open_keys
from joblog.leader.backup.runs import RunNames, RunTaker
from joblog.leader.backup.source import Source
from joblog.leader.backup.verify import BackupVerifier, VerifiedBackup, note_verified
from joblog.leader.buffer.every import logs_of_run
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import KmsSource, open_present
from joblog.leader.crypto.store_keys import StoreKeys

log = logging.getLogger(__name__)


class BackupWork:
    """Of one leader. Each method blocks, tells its job how far it is, and ends soon when the job is stopped."""

    def __init__(
        self,
        source: Source,
        keyring: Keyring,
        kms_source: KmsSource,
        *,
        archive: ExtentReader | None,
        exists: Callable[[str], bool] | None,
    ) -> None:
        """As BackupService."""
        self._source = source
        self._keyring = keyring
        self._kms_source = kms_source
        self._archive = archive
        self._exists = exists

    def back_up(self, repository: Repository, limits: CreateLimits, job: Job) -> None:
        """Makes a backup."""

        def show(at: Progress) -> None:
            job.tell(done_bytes=at.read_bytes, total_bytes=at.total_bytes, sent_bytes=at.sent_bytes)

        creator = Creator(repository, self._source, limits, reason=job.state.reason, progress=show)
        job.stops_by(creator.stop)
        job.tell(backup_id=creator.id)
        creator.create()

    def verify(self, repository: Repository, manifest: Manifest, restore: bool, job: Job) -> None:
        """Reads a backup back, and restores it into a scratch folder where that is asked for."""

        def show(done: int, total: int) -> None:
            job.tell(done_bytes=done, total_bytes=total)

        verifier = BackupVerifier(repository, manifest, progress=show)
        job.stops_by(verifier.stop)
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
            Keys(self._kms_source),
            archive=self._archive,
            on_log=lambda logs, _bytes: job.tell(logs=logs),
        )

    def restore(self, repository: Repository, manifest: Manifest, runs: RunNames, job: Job) -> None:
        """Fetches what it needs of the store in the backup into a scratch folder, and takes the runs from there."""
        stopping = threading.Event()
        scratch = self._scratch(manifest)

        def show(done: int, total: int) -> None:
            job.tell(done_bytes=done, total_bytes=total)

        fetcher = Fetcher(repository, scratch, progress=show)

        def stop() -> None:
            stopping.set()
            fetcher.stop()

        job.stops_by(stop)
        partly = PartlyFetched(fetcher, manifest, scratch)
        try:
            old = partly.open()
            try:
                warnings = open_keys(old, repository, Keys(self._kms_source))
                keyring = Keyring(StoreKeys(old, open_present(old, self._kms_source).kms, old.store_id))
                for namespace, run in runs:
                    for record in partly.trying(lambda: list(logs_of_run(old, namespace, run))):  # noqa: B023
                        partly.fetch_chunks(old, record.number)
                taker = RunTaker(
                    manifest.summary.id,
                    old,
                    keyring,
                    self._source.store,
                    self._keyring,
                    archive=self._archive,
                    exists=self._exists,
                    progress=lambda done, _total: job.tell(logs=done),
                    stopped=stopping.is_set,
                )
                taken = partly.trying(lambda: taker.take(runs))
            finally:
                old.close()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        job.tell(logs=taken.logs, problems=tuple(warnings + taken.problems))
        log.info("backup %s: took %d logs from it, %d bytes", manifest.summary.id, taken.logs, taken.bytes)

    def _scratch(self, manifest: Manifest) -> Path:
        scratch = self._source.store.path.parent / f".backup-{manifest.summary.id}-scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        return scratch
