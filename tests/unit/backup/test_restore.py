"""Restoring into a data folder: set aside, resumed, finished by who comes next, and never over a living store."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from joblog.errors import Conflict, OutOfSpace
from joblog.leader.access.records import CertificateRecord
from joblog.leader.access.roles import Grant
from joblog.leader.access.snapshot import AccessSnapshot, take_snapshot
from joblog.leader.access.store import AccessStore
from joblog.leader.backup import failpoints
from joblog.leader.backup.access import merged
from joblog.leader.backup.fence import Replaced, fenced_at, keep_fence
from joblog.leader.backup.restore import Keys, Restore
from joblog.leader.backup.restored import incarnation_of, restored_note
from joblog.leader.backup.swap import finish_swaps
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.spool_keys import SpoolKeys
from joblog.paths import DataFolder
from tests.backing_up import BackedUpLeader, FileSource, contents, model_of, restore
from tests.stored_log import fill


class Killed(BaseException):
    """Stands for a kill."""


def kill() -> None:
    raise Killed


def restorer(leader: BackedUpLeader, to: Path, **options: object) -> Restore:
    manifest = leader.repository.manifest(leader.repository.resolve("latest"))
    return Restore(leader.repository, manifest, DataFolder(to), Keys(FileSource(leader.source.path)), **options)  # type: ignore[arg-type]


def test_never_over_a_living_store(leader: BackedUpLeader, tmp_path: Path) -> None:
    fill(leader.log(), [b"text\n"])
    leader.backup()
    before = sorted(path.name for path in (tmp_path / "data/leader").iterdir())
    for attempt in (restorer(leader, tmp_path / "data").plan, restorer(leader, tmp_path / "data").run):
        with pytest.raises(Conflict, match="in use by a running leader: stop it first"):
            attempt()
    assert sorted(path.name for path in (tmp_path / "data/leader").iterdir()) == before


def test_what_was_there_is_set_aside_until_told_otherwise(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log()
    fill(log, [b"one\n"])
    leader.backup()
    new = tmp_path / "new"
    kek = leader.source.path
    assert restore(leader.repository, "latest", new, kek).aside == []
    first = contents(new, kek)
    fill(log, [b"two\n"])
    summary = leader.backup()
    plan = restorer(leader, new).plan()
    assert {path.name for path in plan.set_aside} == {"store", "access"}
    done = restorer(leader, new).run()
    assert {path.name for path in done.aside} == {f"store.before-{summary.id}", f"access.before-{summary.id}"}
    assert contents(new, kek) == model_of(log) != first
    # What is kept aside is whole.
    os.rename(done.aside[0], new / "leader/store.kept")
    os.rename(new / "leader/store", new / "leader/store.newest")
    os.rename(new / "leader/store.kept", new / "leader/store")
    assert contents(new, kek) == first
    # The same backup once more: what was set aside for it before stays.
    again = restorer(leader, new).run().aside
    assert {path.name for path in again} == {f"store.before-{summary.id}", f"access.before-{summary.id}.2"}
    kept = sorted((new / "leader").glob("*.before-*"))
    assert len(kept) == 3
    # What is discarded is what counted until now, and nothing else.
    assert restorer(leader, new).run(discard_old=True).aside == []
    assert sorted((new / "leader").glob("*.before-*")) == kept


BEGUN = ("restore.ready", "restore.aside", "restore.swapped")


@pytest.mark.parametrize(
    ("step", "by_restore"),
    [
        ("restore.piece", True),
        ("restore.fetched", True),
        ("restore.access", True),
        *((step, by) for step in BEGUN for by in (True, False)),
    ],
)
def test_killed_anywhere_it_goes_on(leader: BackedUpLeader, tmp_path: Path, step: str, by_restore: bool) -> None:
    log = leader.log()
    fill(log, [os.urandom(100_000) for _ in range(5)])
    leader.backup()
    new, kek = tmp_path / "new", leader.source.path
    restore(leader.repository, "latest", new, kek)
    before = contents(new, kek)
    fill(log, [os.urandom(100_000) for _ in range(5)])
    late, _ = leader.access.create_token("late", (Grant("writer"),), created_by="a")
    leader.backup()
    failpoints.arm(step, kill)
    with pytest.raises(Killed):
        restorer(leader, new).run()
    failpoints.disarm()
    gets: list[str] = []
    load = leader.repository.load_piece

    def counted(name: str) -> bytes | bytearray:
        gets.append(name)
        return load(name)

    leader.repository.load_piece = counted  # type: ignore[method-assign]
    begun = step in BEGUN
    if begun and by_restore:
        # It is finished, not done again: what it has set aside stays as it is.
        done = restorer(leader, new).run()
        assert "is finished" in done.warnings[0]
        assert contents(new, kek) == model_of(log)
        os.rename(new / "leader/store", new / "leader/store.restored")
        os.rename(done.aside[0], new / "leader/store")
        assert contents(new, kek) == before
        assert not gets
    elif begun:
        # A leader that starts finishes it.
        assert len(finish_swaps(DataFolder(new))) == 1
        assert contents(new, kek) == model_of(log)
        assert not gets
    else:
        assert finish_swaps(DataFolder(new)) == []
        assert contents(new, kek) == before
        restorer(leader, new, at_once=1).run()
        assert contents(new, kek) == model_of(log)
        if step != "restore.piece":
            assert not gets
    with closing(AccessStore(DataFolder(new).access_store)) as known:
        assert late.id in {token.id for token in take_snapshot(known, DataFolder(new).access).tokens}
    assert not list((new / "leader").glob(".restoring-*"))


def test_killed_while_it_cleans_up_it_can_be_run_again(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log()
    fill(log, [b"text\n"])
    leader.backup()
    new = tmp_path / "new"

    def kill_halfway() -> None:
        for path in (new / "leader").glob(".restoring-*/swapping"):
            path.unlink()
        raise Killed

    failpoints.arm("restore.done", kill_halfway)
    with pytest.raises(Killed):
        restorer(leader, new).run()
    failpoints.disarm()
    restorer(leader, new).run()
    assert contents(new, leader.source.path) == model_of(log)
    assert not list((new / "leader").glob(".restoring-*"))


def test_a_disk_that_is_too_small_is_said_before(
    leader: BackedUpLeader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(leader.log(), [b"text\n"])
    leader.backup()
    work = restorer(leader, tmp_path / "new")
    plan = work.plan()._replace(free_bytes=10)
    monkeypatch.setattr(work, "plan", lambda: plan)
    with pytest.raises(OutOfSpace, match="10 bytes are free"):
        work.run()
    assert not (tmp_path / "new/leader/store").exists()


def test_each_restore_is_a_life_of_its_own(leader: BackedUpLeader, tmp_path: Path) -> None:
    fill(leader.log(), [b"text\n"])
    summary = leader.backup()
    lives = []
    for name in ("one", "two"):
        restore(leader.repository, "latest", tmp_path / name, leader.source.path)
        store = Store.open(DataFolder(tmp_path / name).store)
        try:
            lives.append(incarnation_of(store))
            note = restored_note(store)
            assert note is not None and (note.backup_id, note.created_ns) == (summary.id, summary.created_ns)
        finally:
            store.close()
    assert incarnation_of(leader.store) == 0 < lives[0] < lives[1]


def test_spool_keys_that_the_archive_knows_are_in_the_restored_store(leader: BackedUpLeader, tmp_path: Path) -> None:
    """A worker that ended has none: without its key what is in its sealed spools would be lost."""
    fill(leader.log(), [b"text\n"])
    spool_keys = SpoolKeys(leader.store, leader.keyring.store_keys)
    spool_keys.keep("w1", b"1" * 32, kept_ns=1)
    leader.backup()
    spool_keys.keep("w1", b"2" * 32, kept_ns=2)
    archived = take_snapshot(leader.access, leader.folder.access, [*spool_keys.all(), ("\n", b"3" * 32, 3)])
    done = restorer(leader, tmp_path / "new", archived_access=lambda: archived).run()
    assert len(done.warnings) == 1 and "sealed spools can't be kept" in done.warnings[0]
    store = Store.open(DataFolder(tmp_path / "new").store)
    try:
        keyring = Keyring.open(store, leader.kms, store.store_id)
        found = SpoolKeys(store, keyring.store_keys).get("w1")
        assert [(one.key, one.kept_ns) for one in found] == [(b"1" * 32, 1), (b"2" * 32, 2)]
    finally:
        store.close()


def test_the_target_knows_which_life_counts(leader: BackedUpLeader) -> None:
    store_id = leader.store.store_id
    keep_fence(leader.repository, store_id, 0)
    keep_fence(leader.repository, store_id, 5)
    keep_fence(leader.repository, store_id, 5)
    with pytest.raises(Replaced, match="must not"):
        keep_fence(leader.repository, store_id, 4)
    keep_fence(leader.repository, store_id, 9)
    assert fenced_at(leader.repository, store_id) == 9
    assert fenced_at(leader.repository, "f" * 32) == 0
    # Who may write to the bucket alone can't stop a leader with it.
    key = f"_live/stores/{store_id}.json"
    leader.target.put(key, leader.target.get(key).replace(b"9", b"99", 1))
    assert fenced_at(leader.repository, store_id) in (0, 9)
    keep_fence(leader.repository, store_id, 9)


def test_what_was_revoked_since_stays_revoked(tmp_path: Path, leader: BackedUpLeader) -> None:
    store: AccessStore = leader.access
    gone, _ = store.create_token("gone", (Grant("writer"),), created_by="a")
    store.add_certificate("01", "w", gone.id, 2**62)
    backup = take_snapshot(store, leader.folder.access)
    store.revoke_token(gone.id)
    later, _ = store.create_token("later", (Grant("writer"),), created_by="a")
    archived = take_snapshot(store, leader.folder.access)
    found = merged(backup, archived)
    by_id = {token.id: token for token in found.tokens}
    assert by_id[gone.id].revoked_ns and later.id in by_id
    assert [one.revoked_ns > 0 for one in found.certificates] == [True]
    # The archive may lag behind: what was revoked in the backup already stays so.
    turned = merged(archived, backup)
    assert {token.id: bool(token.revoked_ns) for token in turned.tokens}[gone.id]
    assert isinstance(turned, AccessSnapshot)
    assert all(isinstance(one, CertificateRecord) for one in turned.certificates)
