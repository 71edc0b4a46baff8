"""A new leader's catalog from a folder of sealed logs."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.measuring import MIB, reset_memory_peak, self_memory_bytes, self_memory_peak_bytes
from bench.results import Result
from joblog.identity import LogName
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.layout import metadata_key, sealed_key
from joblog.leader.archive.metadata import Metadata, pack_metadata, parse_metadata
from joblog.leader.archive.rebuild import Rebuild
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from tests.archiving import ArchiveSite, CountedPuts
from tests.stored_log import fill

MAX_SECONDS = 120
COUNTED = 100_000
MAX_GROWTH_MIB = 256


def rebuild(result: Result, folder: Path, count: int) -> None:
    """Adds the figures for `count` sealed logs, in runs of 100."""
    archive = folder / "sealed"
    kek = _make_archive(folder, archive, count)
    store = Store.open(folder / "rebuilt")
    try:
        keyring = Keyring.open(store, FileKms(kek), store.store_id)
        reset_memory_peak()
        before = self_memory_bytes()
        began = time.monotonic()
        done = Rebuild(store, keyring, FolderStore(archive)).run()
        took = time.monotonic() - began
        growth = self_memory_peak_bytes() - before
    finally:
        store.close()
    if (done.sealed, done.problems) != (count, []):
        raise RuntimeError(f"{done.sealed} of {count} logs came back: {done.problems[:3]}")
    name = f"rebuild of {COUNTED:,} sealed logs"
    result.add(name, took * COUNTED / count, "s", at_most=MAX_SECONDS)
    result.add(f"{name}: memory that it takes", growth / MIB, "MiB", at_most=MAX_GROWTH_MIB)


def _make_archive(folder: Path, archive: Path, count: int) -> Path:
    """One log is sealed as logs are, the others are written like it: their metadata is real, their bytes are not read.

    Returns the key file.
    """
    objects = CountedPuts(archive)
    site = ArchiveSite(folder / "sealing", objects)
    try:
        first = LogName("default", "r0", "t0", 1)
        log = site.leader.log(first)
        fill(log, [b"a line\n" * 100])
        log.complete()
        site.seal()
        known = parse_metadata(objects.get(metadata_key(first)))
        body = objects.get(sealed_key(first))
        for number in range(1, count):
            _write_log(
                site.leader.keyring, archive, known, body, LogName("default", f"r{number // 100}", f"t{number}", 1)
            )
    finally:
        site.close()
    return folder / "sealing" / "kek.key"


def _write_log(keyring: Keyring, archive: Path, like: Metadata, body: bytes, name: LogName) -> None:
    uid = os.urandom(16)
    dek, wrapped = keyring.new_dek(uid)
    record = type(like.record)()
    record.CopyFrom(like.record)
    record.uid = uid
    record.id.run, record.id.task = name.run, name.task
    cipher = LogCipher(dek, uid)
    writer = cipher.seal_writer(os.urandom(16))
    document = pack_metadata(like._replace(record=record, dek=keyring.describe(wrapped), writer=writer), cipher.vouch)
    at = archive / metadata_key(name)
    at.parent.mkdir(parents=True)
    at.write_bytes(document)
    (archive / sealed_key(name)).write_bytes(body)
