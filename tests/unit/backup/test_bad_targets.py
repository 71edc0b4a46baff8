"""A target that is damaged, of another key or of another time: a clear error, and nothing is touched."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, JoblogError, NotFound, WrongVersion
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import ObjectStore, walk
from joblog.leader.backup.fence import fenced_at, keep_fence
from joblog.leader.backup.layout import backup_key
from joblog.leader.backup.restore import Keys
from joblog.leader.backup.verify import BackupVerifier, VerifiedBackup, note_verified, verified_note
from joblog.leader.crypto.file_kms import FileKms
from tests.backing_up import BackedUpLeader, contents, opened, restore
from tests.stored_log import fill

Spoil = Callable[[ObjectStore, str, Path], None]


def replace(target: ObjectStore, key: str, change: Callable[[bytes], bytes]) -> None:
    """Puts other bytes in an object's place, as one who may write to the bucket can."""
    target.put(key, change(target.get(key)))


def first_piece(target: ObjectStore) -> str:
    return next(info.key for info in walk(target, "pieces/"))


def other_key(_target: ObjectStore, _backup: str, kek: Path) -> None:
    kek.unlink()
    FileKms(kek)


def missing_piece(target: ObjectStore, _backup: str, _kek: Path) -> None:
    target.delete([first_piece(target)])


def flipped_piece(target: ObjectStore, _backup: str, _kek: Path) -> None:
    replace(target, first_piece(target), lambda data: data[:-30] + bytes([data[-30] ^ 4]) + data[-29:])


def swapped_pieces(target: ObjectStore, _backup: str, _kek: Path) -> None:
    one, other = [info.key for info in walk(target, "pieces/")][:2]
    data = target.get(one)
    replace(target, one, lambda _: target.get(other))
    replace(target, other, lambda _: data)


def half_manifest(target: ObjectStore, backup: str, _kek: Path) -> None:
    replace(target, backup_key(backup), lambda data: data[: len(data) // 2])


def newer_manifest(target: ObjectStore, backup: str, _kek: Path) -> None:
    replace(target, backup_key(backup), lambda data: data[:8] + bytes([2]) + data[9:])


def newer_piece(target: ObjectStore, _backup: str, _kek: Path) -> None:
    replace(target, first_piece(target), lambda data: data[:7] + bytes([9]) + data[8:])


def newer_target(target: ObjectStore, _backup: str, _kek: Path) -> None:
    replace(target, "repository.json", lambda data: json.dumps({**json.loads(data), "version": 2}).encode())


def no_key(target: ObjectStore, _backup: str, _kek: Path) -> None:
    target.delete(["repository.json"])


def moved_manifest(target: ObjectStore, backup: str, _kek: Path) -> None:
    data = target.get(backup_key(backup))
    target.delete([backup_key(backup)])
    target.put(backup_key("20300101T000000000Z-00000000"), data)


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (other_key, Denied, "need KMS 'file', key"),
        (missing_piece, NotFound, "1 objects are missing"),
        (flipped_piece, Corrupt, "was changed"),
        (swapped_pieces, Corrupt, "was changed"),
        (half_manifest, Corrupt, "cut short"),
        (newer_manifest, WrongVersion, "has format version 2"),
        (newer_piece, WrongVersion, "has version 9"),
        (newer_target, WrongVersion, "has version 2"),
        (no_key, NotFound, "holds no backups"),
        (moved_manifest, Corrupt, "can't be opened"),
    ],
)
def test_nothing_is_touched(
    leader: BackedUpLeader, tmp_path: Path, spoil: Spoil, error: type[JoblogError], says: str
) -> None:
    fill(leader.log(), [b"x" * 100_000, b"y" * 100_000])
    summary = leader.backup()
    kek = tmp_path / "kek.key"
    kek.write_bytes(leader.source.path.read_bytes())
    kek.chmod(0o600)
    old = tmp_path / "old"
    restore(opened(leader.target, kek), summary.id, old, kek)
    before = contents(old, kek)
    spoil(leader.target, summary.id, kek)
    with pytest.raises(error, match=says) as caught:
        restore(opened(leader.target, kek), "latest", old, kek)
    assert "Traceback" not in str(caught.value)
    kek.write_bytes(leader.source.path.read_bytes())
    assert contents(old, kek) == before
    assert not list((old / "leader").glob("*.before-*"))


@pytest.mark.parametrize(("spoil", "says"), [(missing_piece, "is missing"), (flipped_piece, "was changed")])
def test_verifying_with_a_restore_says_what_is_damaged(
    leader: BackedUpLeader, tmp_path: Path, spoil: Spoil, says: str
) -> None:
    fill(leader.log(), [b"x" * 100_000])
    manifest = leader.repository.manifest(leader.backup().id)
    spoil(leader.target, manifest.summary.id, tmp_path)
    scratch = tmp_path / "scratch"
    found = BackupVerifier(leader.repository, manifest).verify_restored(scratch, Keys(leader.source))
    assert "can't be restored" in found.problems[0] and not found.restored
    assert any(says in problem for problem in found.problems[1:])
    assert not scratch.exists()


def test_a_backup_that_is_deleted_while_it_is_verified_is_not_damaged(leader: BackedUpLeader) -> None:
    fill(leader.log(), [b"x" * 100_000])
    manifest = leader.repository.manifest(leader.backup().id)

    def delete(_done: int, _total: int) -> None:
        for info in [*walk(leader.target, "backups/"), *walk(leader.target, "pieces/")]:
            leader.target.delete([info.key])

    with pytest.raises(NotFound, match="was deleted while"):
        BackupVerifier(leader.repository, manifest, at_once=1, progress=delete).verify()


def test_any_flipped_bit_of_a_target_is_found(leader: BackedUpLeader, tmp_path: Path, seed: int) -> None:
    fill(leader.log(), [b"some text\n" * 1000])
    summary = leader.backup()
    keys = [info.key for info in walk(leader.target, "") if not info.key.startswith(("_live/", "_keys/"))]
    randomly = random.Random(seed)
    for turn in range(60):
        key = randomly.choice(keys) if turn % 3 else backup_key(summary.id)
        data = leader.target.get(key)
        at, bit = randomly.randrange(len(data)), 1 << randomly.randrange(8)
        leader.target.put(key, data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        try:
            repository = opened(leader.target, leader.source.path)
            manifest = repository.manifest(summary.id)
            problems = BackupVerifier(repository, manifest).verify().problems
        except JoblogError:
            problems = ["refused"]
        # What is for people in repository.json is not vouched for.
        assert problems or key == "repository.json", (key, at, bit)
        leader.target.put(key, data)
    repository = opened(leader.target, leader.source.path)
    assert not BackupVerifier(repository, repository.manifest(summary.id)).verify().problems


def test_a_folder_of_something_else_is_no_target(tmp_path: Path) -> None:
    other = FolderStore(tmp_path / "other")
    other.put("repository.json", b"{}")
    FileKms(tmp_path / "kek")
    with pytest.raises(Corrupt, match=r"repository\.json"):
        opened(other, tmp_path / "kek")


@pytest.mark.parametrize("prefix", ["pieces/", "backups/", "repository.json", "_live/stores/", "verified/"])
def test_an_object_longer_than_any_of_its_kind_is_not_read(leader: BackedUpLeader, tmp_path: Path, prefix: str) -> None:
    """Who may write to the target makes it as long as he likes."""
    summary = leader.backup()
    keep_fence(leader.repository, summary.store_id, 7)
    note_verified(leader.repository, VerifiedBackup(summary.id, 1, 1, 1, restored=False, logs=0, problems=[]))
    key = next(info.key for info in walk(leader.target, prefix))
    os.truncate(tmp_path / "target" / key, 1 << 40)

    def use_all() -> None:
        repository = opened(leader.target, leader.source.path)
        assert verified_note(repository, summary.id)
        assert fenced_at(repository, summary.store_id) == 7
        list(repository.manifests())
        assert not BackupVerifier(repository, repository.manifest(summary.id)).verify().problems

    with pytest.raises((Corrupt, AssertionError)):
        use_all()
