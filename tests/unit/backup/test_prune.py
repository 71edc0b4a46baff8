"""What a prune keeps, what it deletes, and that neither a kill nor a backup beside it costs a kept one a piece."""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import Corrupt, NotFound, Unavailable
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import walk
from joblog.leader.archive.s3 import S3Store
from joblog.leader.backup import failpoints
from joblog.leader.backup.announce import Taken
from joblog.leader.backup.keeping import kept
from joblog.leader.backup.layout import backup_key, piece_key
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import KeepRules
from joblog.leader.backup.prune import Pruned, Pruner
from joblog.leader.backup.trash import trash_lists
from joblog.leader.backup.verify import BackupVerifier
from tests.backing_up import BackedUpLeader, contents, restore
from tests.object_servers import options_for
from tests.stored_log import StoredLog, fill


class Killed(BaseException):
    """Stands for a kill: nothing of joblog's catches it."""


def prune(leader: BackedUpLeader, rules: KeepRules, **options: object) -> Pruned:
    def problem(backup_id: str, why: Exception) -> None:
        raise AssertionError((backup_id, why))

    dead = float(options.pop("dead_after_seconds", 600.0))  # type: ignore[arg-type]
    pruner = Pruner(leader.repository, dead_after_seconds=dead)
    return pruner.prune(rules, leader.repository.summaries(problem), 2**62, **options)  # type: ignore[arg-type]


def pieces(leader: BackedUpLeader) -> set[str]:
    return {info.key for info in walk(leader.target, "pieces/")}


def check_all(leader: BackedUpLeader) -> None:
    for manifest in leader.repository.manifests():
        assert not BackupVerifier(leader.repository, manifest).verify().problems


def replace_noise(leader: BackedUpLeader, log: StoredLog) -> None:
    """Bytes that the next backup does not have: the store drops them and has others."""
    leader.store.compact_chunks()
    fill(log, [os.urandom(60_000) for _ in range(5)])


def test_what_no_kept_backup_needs_goes_and_the_rest_stays(leader: BackedUpLeader, tmp_path: Path) -> None:
    log = leader.log()
    ids = []
    for _ in range(4):
        replace_noise(leader, log)
        ids.append(leader.backup().id)
    before = pieces(leader)
    tried = prune(leader, KeepRules(last=2), dry_run=True)
    assert pieces(leader) == before and leader.repository.backup_ids() == ids[::-1]
    done = prune(leader, KeepRules(last=2))
    assert (done.deleted, done.deleted_pieces, done.deleted_bytes) == (
        tried.deleted,
        tried.deleted_pieces,
        tried.deleted_bytes,
    )
    assert leader.repository.backup_ids() == ids[:1:-1]
    needed = {name for manifest in leader.repository.manifests() for name in manifest.names()}
    assert {key.rpartition("/")[2] for key in pieces(leader)} == needed
    check_all(leader)
    restore(leader.repository, ids[2], tmp_path / "new", leader.source.path)
    assert contents(tmp_path / "new", leader.source.path)
    assert not list(walk(leader.target, "_live/trash/"))


@pytest.mark.parametrize("step", ["prune.manifest", "prune.trash", "prune.waits", "prune.pieces"])
def test_a_killed_prune_is_finished_by_the_next(leader: BackedUpLeader, step: str) -> None:
    log = leader.log()
    for _ in range(3):
        replace_noise(leader, log)
        leader.backup()

    def kill() -> None:
        raise Killed

    failpoints.arm(step, kill)
    with pytest.raises(Killed):
        prune(leader, KeepRules(last=1))
    check_all(leader)
    failpoints.disarm()
    replace_noise(leader, log)
    leader.backup()
    prune(leader, KeepRules(last=1))
    check_all(leader)
    needed = {name for manifest in leader.repository.manifests() for name in manifest.names()}
    assert {key.rpartition("/")[2] for key in pieces(leader)} == needed


@pytest.mark.parametrize("step", ["backup.announced", "backup.piece", "backup.pieces", "backup.committing"])
def test_a_killed_backup_leaves_nothing_for_good(leader: BackedUpLeader, step: str) -> None:
    fill(leader.log(), [os.urandom(100_000) for _ in range(5)])

    def kill() -> None:
        raise Killed

    failpoints.arm(step, kill)
    creator = leader.creator()
    with pytest.raises(Killed):
        creator.create()
    failpoints.disarm()
    assert leader.repository.backup_ids() == []
    leader.backup()
    prune(leader, KeepRules(last=1), dead_after_seconds=0.0)
    prune(leader, KeepRules(last=1), dead_after_seconds=0.0)
    check_all(leader)
    needed = {name for manifest in leader.repository.manifests() for name in manifest.names()}
    assert {key.rpartition("/")[2] for key in pieces(leader)} == needed
    assert not list(walk(leader.target, "_live/running/"))


@pytest.mark.parametrize("step", ["backup.announced", "backup.checkpoint", "backup.pieces", "backup.committing"])
def test_a_prune_in_the_middle_of_a_backup_hurts_neither(leader: BackedUpLeader, step: str) -> None:
    """The backup relies on pieces of the one that the prune deletes meanwhile."""
    log = leader.log()
    replace_noise(leader, log)
    leader.backup()
    replace_noise(leader, log)
    first, second = leader.backup().id, []
    done: list[Pruned] = []

    def beside() -> None:
        failpoints.disarm()
        leader.target.delete([backup_key(first)])
        done.append(prune(leader, KeepRules(last=1), drop=[leader.repository.backup_ids()[-1]]))

    failpoints.arm(step, beside)
    creator = leader.creator()
    second.append(creator.create().id)
    assert done[0].waits_for == [creator.id] or not done[0].deleted_pieces
    check_all(leader)
    assert leader.repository.backup_ids() == second
    prune(leader, KeepRules(last=1))
    check_all(leader)
    needed = {name for manifest in leader.repository.manifests() for name in manifest.names()}
    assert {key.rpartition("/")[2] for key in pieces(leader)} == needed


def test_what_is_listed_for_deletion_is_sent_again(leader: BackedUpLeader) -> None:
    """The list is written while one backup runs, and what it names is deleted while another one does."""
    replace_noise(leader, leader.log())
    first = leader.backup().id

    def list_all() -> None:
        failpoints.disarm()
        leader.target.delete([backup_key(first)])
        assert Pruner(leader.repository).sweep()[2] == [second.id]

    failpoints.arm("backup.pieces", list_all)
    second = leader.creator()
    second.create()
    deleted: list[int] = []

    def delete_all() -> None:
        failpoints.disarm()
        deleted.append(prune(leader, KeepRules(), drop=[second.id]).deleted_pieces)

    failpoints.arm("backup.pieces", delete_all)
    third = leader.backup()
    assert deleted[0] > 0
    assert leader.repository.backup_ids() == [third.id]
    check_all(leader)


def test_a_backup_that_was_taken_for_dead_does_not_count(leader: BackedUpLeader) -> None:
    fill(leader.log(), [os.urandom(50_000)])

    def beside() -> None:
        prune(leader, KeepRules(last=1), dead_after_seconds=-1.0)

    failpoints.arm("backup.committing", beside)
    with pytest.raises(Taken):
        leader.backup()
    failpoints.disarm()
    assert leader.repository.backup_ids() == []
    leader.backup()
    check_all(leader)


def test_backups_and_prunes_beside_each_other(leader: BackedUpLeader, seed: int) -> None:
    log = leader.log()
    failed: list[BaseException] = []

    def backups() -> None:
        try:
            for _ in range(6):
                replace_noise(leader, log)
                leader.backup()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=backups)
    thread.start()
    randomly = random.Random(seed)
    while thread.is_alive():
        prune(leader, KeepRules(last=randomly.randint(1, 3)))
    thread.join()
    assert not failed
    check_all(leader)


def test_a_backup_that_another_prune_deletes_just_now_needs_nothing(
    leader: BackedUpLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = leader.log()
    for _ in range(2):
        replace_noise(leader, log)
        leader.backup()
    gone, newest = sorted(leader.repository.backup_ids())
    ids = leader.repository.backup_ids
    listed = [newest, gone]
    leader.target.delete([backup_key(gone)])
    monkeypatch.setattr(leader.repository, "backup_ids", lambda: listed)
    assert prune(leader, KeepRules(last=2)).deleted_pieces
    monkeypatch.setattr(leader.repository, "backup_ids", ids)
    check_all(leader)


def test_nothing_is_deleted_when_it_is_not_known_what_is_needed(leader: BackedUpLeader) -> None:
    log = leader.log()
    replace_noise(leader, log)
    first = leader.backup().id
    replace_noise(leader, log)
    leader.backup()
    before = pieces(leader)
    leader.target.put(backup_key(first), leader.target.get(backup_key(first))[:-1])
    bad: list[str] = []
    good = leader.repository.summaries(lambda backup_id, _why: bad.append(backup_id))
    assert bad == [first]
    with pytest.raises(Corrupt):
        Pruner(leader.repository).prune(KeepRules(last=1), good, 2**62)
    assert pieces(leader) == before
    Pruner(leader.repository).prune(KeepRules(), good, 2**62, drop=[first])
    assert pieces(leader) < before
    check_all(leader)
    with pytest.raises(NotFound):
        Pruner(leader.repository).prune(KeepRules(), good, 2**62, drop=[first])


DAY = 24 * 3600 * 10**9
NOW = int(dt.datetime(2026, 6, 15, 12, tzinfo=dt.UTC).timestamp()) * 10**9


def summary(age_hours: int, store: str = "s") -> Summary:
    created = NOW - age_hours * 3600 * 10**9
    stamp = dt.datetime.fromtimestamp(created / 1e9, dt.UTC).strftime("%Y%m%dT%H%M%S000Z")
    return Summary(f"{stamp}-{age_hours:08x}", created, created, store, 2, "h", "0", 1, 1, 1, "k", "i", "asked")


RULES = st.builds(
    KeepRules,
    last=st.integers(0, 4),
    days=st.sampled_from([0.0, 0.5, 3.0]),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 3),
    monthly=st.integers(0, 3),
)


@given(st.lists(st.integers(0, 24 * 120), unique=True, min_size=1, max_size=40), RULES.filter(bool))
def test_the_rules_against_a_model(ages: list[int], rules: KeepRules) -> None:
    backups = [summary(age) for age in ages]
    found = set(kept(rules, backups, NOW))
    by_age = sorted(backups, key=lambda one: one.created_ns, reverse=True)
    expected = {one.id for one in by_age[: max(1, rules.last)]}
    expected |= {one.id for one in by_age if rules.days and NOW - one.created_ns < rules.days * DAY}
    for count, form in ((rules.daily, "%Y%j"), (rules.weekly, "%G%V"), (rules.monthly, "%Y%m")):
        newest: dict[str, str] = {}
        for one in by_age:
            newest.setdefault(dt.datetime.fromtimestamp(one.created_ns / 1e9, dt.UTC).strftime(form), one.id)
        expected |= set(list(newest.values())[:count])
    assert found == expected


def test_each_store_keeps_its_newest() -> None:
    assert set(kept(KeepRules(last=1), [summary(1, "a"), summary(2, "a"), summary(500, "b")], NOW)) == {
        summary(1).id,
        summary(500).id,
    }


class KeepingVersions(FolderStore):
    """A folder whose store keeps old versions of some objects, as a lock of a bucket does."""

    held: frozenset[str] = frozenset()
    failing = False
    purged: frozenset[str] = frozenset()

    def keeps_versions(self) -> bool:
        return True

    def purge(self, keys: Sequence[str]) -> dict[str, int]:
        assert not any(self.head(key) for key in keys)
        if self.failing:
            raise Unavailable("1 old versions were not deleted")
        self.purged |= {key for key in keys if key not in self.held}
        return {key: 2**62 for key in keys if key in self.held}


def test_pieces_whose_versions_are_kept_are_asked_for_again(tmp_path: Path) -> None:
    target = KeepingVersions(tmp_path / "target")
    leader = BackedUpLeader(tmp_path / "data", target)
    try:
        log = leader.log()
        for _ in range(2):
            replace_noise(leader, log)
            leader.backup()
        newest = leader.repository.manifest(leader.repository.resolve("latest"))
        needed = {piece_key(name) for name in newest.names()}
        doomed = sorted(pieces(leader) - needed)
        assert len(doomed) > 1
        target.held = frozenset(doomed[::2])
        prune(leader, KeepRules(last=1))
        assert pieces(leader) == needed
        assert {piece_key(name) for trash in trash_lists(target) for name in trash.names} == target.held
        target.held = frozenset()
        prune(leader, KeepRules(last=1))
        assert not trash_lists(target)
        check_all(leader)
    finally:
        leader.close()


@pytest.mark.parametrize("ends", ["refused", "locked", "killed"])
def test_old_versions_of_a_manifest_go_with_a_later_prune(tmp_path: Path, ends: str) -> None:
    target = KeepingVersions(tmp_path / "target")
    leader = BackedUpLeader(tmp_path / "data", target)
    try:
        fill(leader.log(), [b"a line\n"])
        ids = [leader.backup().id for _ in range(3)]
        target.failing = ends == "refused"
        target.held = frozenset({backup_key(ids[0])} if ends == "locked" else ())
        if ends == "killed":
            failpoints.arm("prune.manifest", _kill)
        if ends == "locked":
            prune(leader, KeepRules(last=1))
        else:
            with pytest.raises(Unavailable if ends == "refused" else Killed):
                prune(leader, KeepRules(last=1))
        failpoints.disarm()
        target.failing, target.held = False, frozenset()
        # By a prune that has nothing else to do, unless it is to delete the other one still.
        prune(leader, KeepRules(last=1))
        assert {backup_key(one) for one in ids[:2]} <= target.purged
        assert backup_key(ids[2]) not in target.purged
        assert not trash_lists(target)
        check_all(leader)
    finally:
        leader.close()


def _kill() -> None:
    raise Killed


def test_no_version_of_what_is_pruned_is_left(tmp_path: Path, moto: str) -> None:
    target = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "b/", options_for(moto))
    target.check(create=True)
    target.client.put_bucket_versioning(Bucket=target.bucket, VersioningConfiguration={"Status": "Enabled"})
    leader = BackedUpLeader(tmp_path / "data", target)
    try:
        log = leader.log()
        for _ in range(2):
            replace_noise(leader, log)
            leader.backup()
        assert prune(leader, KeepRules(last=1)).deleted_pieces
        found = target.client.list_object_versions(Bucket=target.bucket)
        versions = {one["Key"].removeprefix("b/") for one in found["Versions"]}
        there = {info.key for info in walk(target, "")}
        assert {key for key in versions if key.startswith(("pieces/", "backups/"))} <= there
    finally:
        leader.close()
