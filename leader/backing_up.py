"""Backups as the leader's daemon runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from joblog.leader.access.audit import Auditor
from joblog.leader.access.snapshot import pack_snapshot, take_snapshot
from joblog.leader.access.store import AccessStore
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.backup.service import BackupPlan, BackupService
from joblog.leader.backup.source import Source
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.remembered import KmsSource
from joblog.leader.key_service import KeyService


def make_source(store: Store, access: AccessStore, access_folder: Path, kms: Callable[[], tuple[str, str]]) -> Source:
    """What is backed up of a leader. access_folder: of its CA."""
    return Source(store, lambda: pack_snapshot(take_snapshot(access, access_folder)), kms)


def backup_service(
    objects: ObjectStore,
    plan: BackupPlan,
    keys: KeyService,
    kms_source: KmsSource,
    *,
    access: AccessStore,
    access_folder: Path,
    archive: tuple[ObjectStore, ExtentReader] | None,
    auditor: Callable[[], Auditor],
) -> BackupService:
    """The service, tied to the leader's keys: what wraps those anew does so with the target's copies."""

    def kms() -> tuple[str, str]:
        present = keys.keys.kms.present
        return present.name, present.key_id

    exists = None
    if archive is not None:
        archived = archive[0]
        exists = lambda key: archived.head(key) is not None  # noqa: E731
    service = BackupService(
        objects,
        make_source(keys.store, access, access_folder, kms),
        keys.keyring,
        kms_source,
        plan,
        archive=archive[1] if archive is not None else None,
        exists=exists,
        auditor=auditor,
    )
    to_archive = keys.write_archive

    def write_all() -> int:
        return to_archive() + service.write_keys()

    keys.write_archive = write_all
    return service
