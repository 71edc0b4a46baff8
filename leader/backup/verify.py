"""Verifies a backup: every piece is read back, opened and held against its id; and what was restored is read whole."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from joblog.errors import Corrupt, Interrupted, JoblogError, NotFound, WrongVersion
from joblog.identity import LogName
from joblog.leader.access.snapshot import unpack_snapshot
from joblog.leader.archive.fetch import ExtentReader
from joblog.leader.archive.fields import format_time, parse_document
from joblog.leader.archive.objects import get_bounded
from joblog.leader.backup.fetch import Fetcher, Progress, check_room, missing_pieces
from joblog.leader.backup.layout import backup_key, piece_key, verified_key
from joblog.leader.backup.manifest import Manifest
from joblog.leader.backup.repository import Repository
from joblog.leader.backup.restore import Keys, check_store_version, open_keys
from joblog.leader.backup.source import ACCESS_PATH
from joblog.leader.buffer.every import every_log
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.crypto.remembered import open_present
from joblog.leader.crypto.store_keys import StoreKeys
from joblog.leader.reading.reader import CipherCache
from joblog.leader.reading.verify import verify_log
from joblog.v1 import types_pb2

MAX_PROBLEMS = 1000
_MAX_NOTE_BYTES = 64 << 10


class VerifiedBackup(NamedTuple):
    """What verifying found. logs: that were read whole, where it was restored; problems: the first ones, for people."""

    id: str
    verified_ns: int
    bytes: int
    objects: int
    restored: bool
    logs: int
    problems: list[str]


class BackupVerifier:
    """Verifies one backup. Blocks; stop() may be called from any thread."""

    def __init__(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        at_once: int = 8,
        progress: Progress = lambda _done, _total: None,
    ) -> None:
        self._repository = repository
        self._manifest = manifest
        self._at_once = at_once
        self._progress = progress
        self._problems: list[str] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._done = 0
        self._fetcher: Fetcher | None = None

    def stop(self) -> None:
        """Has it end soon."""
        self._stopping.set()
        if self._fetcher is not None:
            self._fetcher.stop()

    def _problem(self, text: str) -> None:
        with self._lock:
            if len(self._problems) < MAX_PROBLEMS:
                self._problems.append(text)

    def verify(self) -> VerifiedBackup:
        """Reads everything back.

        Raises Interrupted, NotFound when the backup is deleted meanwhile, and what the object store raises.
        """
        needed = {piece.name: piece.length for file in self._manifest.files for piece in file.pieces}
        total = sum(needed.values())
        for name in missing_pieces(self._repository, self._manifest):
            self._problem(f"{piece_key(name)}: is missing")
            needed.pop(name)
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="verify") as pool:
            coming: list[Future[None]] = []
            try:
                for name, length in needed.items():
                    coming.append(pool.submit(self._check, name, length, total))
                    if len(coming) > 4 * self._at_once:
                        coming.pop(0).result()
                for one in coming:
                    one.result()
            except BaseException:
                for one in coming:
                    one.cancel()
                raise
        if self._problems and self._repository.objects.head(backup_key(self._manifest.summary.id)) is None:
            raise NotFound(f"backup {self._manifest.summary.id} was deleted while it was verified")
        return self._verdict(len(needed), restored=False, logs=0)

    def _verdict(self, objects: int, *, restored: bool, logs: int) -> VerifiedBackup:
        summary = self._manifest.summary
        return VerifiedBackup(summary.id, time.time_ns(), summary.bytes, objects, restored, logs, list(self._problems))

    def _check(self, name: str, length: int, total: int) -> None:
        if self._stopping.is_set():
            raise Interrupted("verifying was stopped")
        try:
            if len(self._repository.load_piece(name)) != length:
                self._problem(f"{piece_key(name)}: has another length than its backup says")
        except (Corrupt, NotFound, WrongVersion) as error:
            self._problem(str(error))
        with self._lock:
            self._done += length
            self._progress(self._done, total)

    def verify_restored(
        self,
        scratch: Path,
        keys: Keys,
        *,
        archive: ExtentReader | None = None,
        on_log: Callable[[int, int], None] = lambda _done, _bytes: None,
    ) -> VerifiedBackup:
        """Restores into `scratch`, which is deleted at the end, and reads every log whole, as `joblog verify --all`.

        archive: where bytes of logs that are archived are read; without it such logs are passed over. on_log(logs,
        bytes) so far. Where it can't be restored, that is a problem, and the others are found as by verify(). Raises
        OutOfSpace before anything is fetched, and what the store raises.
        """
        check_store_version(self._manifest)
        check_room(scratch.parent, self._manifest.summary.bytes)
        try:
            store = self._fetched(scratch)
            if store is None:
                return self.verify()
            try:
                for warning in open_keys(store, self._repository, keys):
                    self._problem(warning)
                logs = self._verify_logs(store, keys, archive, on_log)
            finally:
                store.close()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return self._verdict(len(set(self._manifest.names())), restored=True, logs=logs)

    def _fetched(self, scratch: Path) -> Store | None:
        """The store in the backup; None where there is none to be had, which is a problem."""
        self._fetcher = Fetcher(self._repository, scratch, at_once=self._at_once, progress=self._progress)
        if self._stopping.is_set():
            self._fetcher.stop()
        try:
            self._fetcher.run(self._manifest.files)
            unpack_snapshot((scratch / ACCESS_PATH).read_bytes())
            return Store.open(scratch / "store")
        except (Corrupt, NotFound, WrongVersion) as error:
            self._problem(f"it can't be restored: {error}")
            return None

    def _verify_logs(
        self,
        store: Store,
        keys: Keys,
        archive: ExtentReader | None,
        on_log: Callable[[int, int], None],
    ) -> int:
        ciphers = CipherCache(store, Keyring(StoreKeys(store, open_present(store, keys.source).kms, store.store_id)))
        logs = done_bytes = 0
        for record in every_log(store):
            if self._stopping.is_set():
                raise Interrupted("verifying was stopped")
            if archive is None and any(True for _ in store.extents(record.number)):
                continue
            name = LogName(record.id.namespace, record.id.run, record.id.task, record.id.attempt)
            try:
                verdict = verify_log(
                    store,
                    record.number,
                    ciphers.open,
                    lambda _done, _all: None,
                    stopped=self._stopping.is_set,
                    archive=archive,
                )
            except Interrupted:
                raise
            except JoblogError as error:
                self._problem(f"{name}: {error}")
                continue
            if record.state == types_pb2.LOG_STATE_COMPLETED or verdict.problems:
                for problem in verdict.problems:
                    self._problem(f"{name}: {problem}")
            logs += 1
            done_bytes += verdict.found.length
            on_log(logs, done_bytes)
        return logs


def note_verified(repository: Repository, found: VerifiedBackup) -> None:
    """Keeps in the target what was found, for those who list backups."""
    said = {
        "version": 1,
        "id": found.id,
        "verified_at": format_time(found.verified_ns),
        "restored": found.restored,
        "problems": len(found.problems),
    }
    repository.objects.put(verified_key(found.id), json.dumps(said).encode() + b"\n")


class VerifiedNote(NamedTuple):
    """When a backup was verified last, whether it was restored for that, and how many problems were found."""

    verified_ns: int
    restored: bool
    problems: int


def verified_note(repository: Repository, backup_id: str) -> VerifiedNote | None:
    """What note_verified() kept; None where there is nothing that can be used."""
    key = verified_key(backup_id)
    try:
        fields = parse_document(get_bounded(repository.objects, key, _MAX_NOTE_BYTES), key, _MAX_NOTE_BYTES)
        found = VerifiedNote(fields.time_ns("verified_at"), fields.truth("restored"), fields.integer("problems"))
    except (NotFound, Corrupt):
        return None
    return found
