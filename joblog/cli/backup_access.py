"""What the commands about backups need: the leader that makes them, or its settings and the target itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import grpc
import typer

from joblog.address import own_token
from joblog.cli.archive_access import ArchiveAccess, RecoveryFile, read_recovery
from joblog.cli.options import open_client
from joblog.cli.output import err
from joblog.cli.words import printable
from joblog.errors import InvalidInput, JoblogError
from joblog.replies import error_from
from joblog.v1 import backup_pb2_grpc

if TYPE_CHECKING:
    from joblog.leader.access.snapshot import AccessSnapshot
    from joblog.leader.archive.fetch import ExtentReader
    from joblog.leader.archive.objects import ObjectStore
    from joblog.leader.backup.repository import Repository
    from joblog.leader.backup.restore import Keys
    from joblog.leader.crypto.kms import Kms

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Where backups lie: s3://BUCKET/PREFIX or file:///FOLDER; no leader is asked then. Without it: where the "
        "running leader has them, else backup.url in the settings.",
    ),
]
Recovery = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="A recovery file, as `joblog keys export` writes it, where the KMS of a backup is gone.",
        exists=True,
        dir_okay=False,
    ),
]
Which = Annotated[str, typer.Argument(metavar="BACKUP", help="The backup's id, or `latest`.")]


class BackupAccess:
    """The leader's settings, with which the target is opened when it is needed."""

    def __init__(
        self,
        url: str | None,
        config: Path | None,
        assignments: list[str] | None,
        data_dir: Path | None,
        recovery: Path | None = None,
    ) -> None:
        given = [*(assignments or []), *([f"backup.url={url}"] if url else [])]
        self.leader_access = ArchiveAccess(None, config, given, data_dir)
        self.settings = self.leader_access.settings
        self.folder = self.leader_access.folder
        self.recovery: RecoveryFile | None = read_recovery(recovery) if recovery is not None else None

    @contextmanager
    def objects(self) -> Iterator[ObjectStore]:
        """The target's object store. Raises InvalidInput when none is set."""
        from joblog.leader.archive.open import open_store

        if not self.settings.backup.url:
            raise InvalidInput("no place for backups is set: give --url, or set backup.url (JOBLOG_BACKUP_URL)")
        store = open_store(self.settings.backup.options())
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def repository(self) -> Iterator[Repository]:
        """The target. Raises NotFound when it holds no backups, Denied that says which KMS it needs."""
        from joblog.leader.backup.repository import need_repository

        with self.objects() as objects:
            yield need_repository(objects, self.find_kms, self.find_store_key)

    def find_kms(self, name: str, key_id: str) -> Kms:
        """The KMS that is set, which must be this one. Raises NotFound, Denied."""
        from joblog.leader.crypto.known_kms import KnownKms

        return KnownKms(self.leader_access.kms()).find(name, key_id)

    def find_store_key(self, key_id: bytes) -> Any:
        """The recovery file's store key, opened; None where there is none."""
        if self.recovery is None:
            return None
        for key in self.recovery.copies(key_id):
            if self.recovery.kms is not None:
                return key.open(self.recovery.kms)
            from joblog.leader.crypto.store_key_record import unpack_record

            record = unpack_record(key.record)
            return key.open(self.find_kms(record.kms, record.key_id))
        return None

    def restore_keys(self) -> Keys:
        """What opens the logs' keys."""
        from joblog.leader.backup.restore import Keys

        found = self.recovery
        source = self.leader_access.source()
        return Keys(source) if found is None else Keys(source, found.keys, found.kms)

    @contextmanager
    def archive_reader(self) -> Iterator[ExtentReader | None]:
        """Reads logs that are archived; None where no archive is set."""
        if not self.settings.archive.url:
            yield None
            return
        from joblog.leader.archive.cache import RangeCache
        from joblog.leader.archive.fetch import ExtentReader

        with self.leader_access.objects() as objects:
            reader = ExtentReader(objects, RangeCache(0), foreign=self.leader_access.foreign())
            try:
                yield reader
            finally:
                reader.close()

    def archived_access(self) -> AccessSnapshot | None:
        """Who may come in by what the archive says; None where none is set, or it can't be asked: that is told."""
        if not self.settings.archive.url:
            return None
        from joblog.leader.access.snapshot import unpack_snapshot
        from joblog.leader.archive.state_object import ACCESS, load_state

        try:
            with self.leader_access.objects() as objects:
                found = load_state(ACCESS, objects, self.leader_access.keys(objects, None))
            return None if found is None else unpack_snapshot(found)
        except JoblogError as error:
            err.print(
                printable(
                    f"joblog: the archive can't be asked who may come in ({error}): tokens that were revoked since the "
                    "backup count again; revoke them once more"
                ),
                markup=False,
            )
            return None


@contextmanager
def leader_stub(leader: str | None, data_dir: Path | None) -> Iterator[Any]:
    """The leader's service. Raises what its answers mean."""
    with open_client(leader, data_dir) as client:
        try:
            yield client.stub(backup_pb2_grpc.BackupsStub)
        except grpc.RpcError as error:
            raise error_from(error, client.leader) from None


def leader_runs(access: BackupAccess, leader: str | None) -> bool:
    """Whether a leader is to be asked: one that is named, or that of the data folder while it runs."""
    if leader or os.environ.get("JOBLOG_LEADER"):
        return True
    try:
        json.loads(access.folder.leader_file.read_text())
        own_token(access.folder.root)
    except (OSError, ValueError, JoblogError):
        return False
    return access.folder.store.is_dir() and _is_locked(access)


def _is_locked(access: BackupAccess) -> bool:
    from joblog.errors import Conflict
    from joblog.leader.backup.swap import not_live

    try:
        with not_live(access.folder):
            return False
    except Conflict:
        return True
