"""A stored leader and a target for its backups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from joblog.identity import LogName
from joblog.leader.access.admin_token import ensure_admin_token
from joblog.leader.access.audit import Auditor, NoAudit
from joblog.leader.access.authority import Authority
from joblog.leader.access.snapshot import pack_snapshot, take_snapshot
from joblog.leader.access.store import AccessStore
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.backup.create import Creator
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import CreateLimits
from joblog.leader.backup.repository import Repository, create_repository, need_repository
from joblog.leader.backup.restore import Keys, Restore, Restored
from joblog.leader.backup.service import BackupPlan, BackupService
from joblog.leader.backup.source import Source
from joblog.leader.buffer.every import every_log
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import KmsDescription
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.reading.reader import CipherCache
from joblog.leader.reading.verify import verify_log
from joblog.paths import DataFolder
from joblog.v1 import types_pb2
from tests.stored_log import StoredLeader, StoredLog

SMALL = CreateLimits(piece_bytes=64 << 10, at_once=3)


class FileSource:
    """A KmsSource with one key file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def describe(self, settings: object = None) -> KmsDescription:
        return KmsDescription("file", {"path": str(self.path)})

    def open(self, description: KmsDescription, settings: object = None, *, create: bool = False) -> Kms:
        return FileKms(Path(str(description.parameters["path"])), create=create)


class BackedUpLeader(StoredLeader):
    """A data folder whose store, access folder and key file are backed up to a target."""

    def __init__(self, root: Path, target: ObjectStore | None = None) -> None:
        self.folder = DataFolder(root)
        self.folder.access.mkdir(parents=True, exist_ok=True)
        super().__init__(self.folder.leader)
        self.source = FileSource(self.folder.leader / "kek.key")
        self.access = AccessStore(self.folder.access_store)
        self.authority = Authority.open(self.folder.access)
        ensure_admin_token(self.access, self.folder.admin_token)
        self.target = target if target is not None else FolderStore(root.parent / "target")
        store_keys = self.keyring.store_keys
        self.repository = create_repository(self.target, store_keys.kms.find, self.kms, store_keys)

    @property
    def kms(self) -> Kms:
        return self.keyring.store_keys.kms.present

    def backup(self, limits: CreateLimits = SMALL) -> Summary:
        return self.creator(limits).create()

    def creator(self, limits: CreateLimits = SMALL) -> Creator:
        def take_access() -> bytes:
            return pack_snapshot(take_snapshot(self.access, self.folder.access))

        source = Source(self.store, take_access, lambda: (self.kms.name, self.kms.key_id))
        return Creator(self.repository, source, limits)

    def close(self) -> None:
        self.access.close()
        super().close()


def service_of(
    leader: BackedUpLeader, plan: BackupPlan | None = None, auditor: Callable[[], Auditor] = NoAudit
) -> BackupService:
    """The service of a running leader; its access is empty."""
    source = Source(leader.store, lambda: b"", lambda: (leader.kms.name, leader.kms.key_id))
    return BackupService(leader.target, source, leader.keyring, leader.source, plan or BackupPlan(), auditor=auditor)


def restore(repository: Repository, backup_id: str, to: Path, kek: Path) -> Restored:
    """Restores a backup into the data folder `to`, with this key file."""
    manifest = repository.manifest(repository.resolve(backup_id))
    return Restore(repository, manifest, DataFolder(to), Keys(FileSource(kek))).run()


def opened(target: ObjectStore, kek: Path) -> Repository:
    """The target with this key file, as a new machine opens it."""
    return need_repository(target, KnownKms(FileKms(kek)).find)


def contents(root: Path, kek: Path) -> dict[LogName, bytes]:
    """Every log of the store below a data folder, verified; its bytes as they are read."""
    store = Store.open(DataFolder(root).store)
    try:
        keyring = Keyring.open(store, FileKms(kek), store.store_id)
        ciphers = CipherCache(store, keyring)
        found = {}
        for record in every_log(store):
            name = LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)
            verdict = verify_log(store, record.number, ciphers.open, lambda _done, _all: None)
            assert not verdict.problems, verdict.problems
            found[name] = verdict.found.sha256
            assert record.state == types_pb2.LOG_STATE_COMPLETED or not verdict.complete
        return found
    finally:
        store.close()


def model_of(*logs: StoredLog) -> dict[LogName, bytes]:
    """What contents() should give."""

    return {
        LogName(log.record.id.namespace, log.record.id.run, log.record.id.task, log.record.id.attempt): hashlib.sha256(
            log.model.present(0, log.length, None)
        ).digest()
        for log in logs
    }
