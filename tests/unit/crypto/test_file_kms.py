from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, Denied, NotFound, WrongVersion
from joblog.leader.crypto import key_file
from joblog.leader.crypto.file_kms import FileKms


def test_the_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kek.key"
    old = os.umask(0)
    try:
        first = FileKms(path)
    finally:
        os.umask(old)
    assert first.made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_size == 32
    assert os.listdir(path.parent) == ["kek.key"]
    again = FileKms(path)
    assert not again.made
    assert again.key_id == first.key_id
    assert FileKms(tmp_path / "other.key").key_id != first.key_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o700 | 0o001])
def test_a_file_that_others_may_use_is_denied(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "kek.key"
    FileKms(path)
    path.chmod(mode)
    with pytest.raises(Denied, match=f"chmod 600 {path}"):
        FileKms(path)


def test_a_file_with_versions_that_was_changed_or_cut_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "kek.key"
    kms = FileKms(path)
    kms.rotate()
    whole = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["kek.key"]
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((Corrupt, WrongVersion)):
            FileKms(path)
        path.write_bytes(whole[:place])
        with pytest.raises(Corrupt):
            FileKms(path)
    path.write_bytes(whole)
    assert FileKms(path).current_version() == kms.current_version()


def test_two_who_rotate_at_once_lose_no_version(tmp_path: Path) -> None:
    path = tmp_path / "kek.key"
    FileKms(path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: FileKms(path).rotate(), range(24)))
    assert len(set(made)) == 24
    assert {key_file.version_id(key).hex() for key in key_file.read_key_file(path).keys[1:]} == set(made)


def test_a_rotation_that_fails_leaves_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kek.key"
    kms = FileKms(path)
    before = path.read_bytes(), kms.current_version()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(Denied, match="can't be made or changed"):
        kms.rotate()
    assert (path.read_bytes(), kms.current_version()) == before
    assert os.listdir(tmp_path) == ["kek.key"]
    monkeypatch.undo()
    monkeypatch.setattr(key_file, "MAX_VERSIONS", 1)
    with pytest.raises(Conflict, match="use a new file"):
        kms.rotate()


@pytest.mark.parametrize("length", [0, 31, 33, 100])
def test_a_file_of_a_wrong_length_is_corrupt(tmp_path: Path, length: int) -> None:
    path = tmp_path / "kek.key"
    path.write_bytes(bytes(length))
    path.chmod(0o600)
    with pytest.raises(Corrupt, match=f"has {length} bytes"):
        FileKms(path)


def test_links_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    FileKms(tmp_path / "real.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    (tmp_path / "loose.key").symlink_to(tmp_path / "nowhere.key")
    (tmp_path / "folder.key").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe.key", 0o600)
    for name in ("link.key", "loose.key", "folder.key", "pipe.key"):
        with pytest.raises(Denied):
            FileKms(tmp_path / name)
    assert not (tmp_path / "nowhere.key").exists()


def test_a_missing_file_is_not_made_where_that_is_not_wanted(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="give the one that the store was made with"):
        FileKms(tmp_path / "kek.key", create=False)
    assert not os.listdir(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match=f"{tmp_path}.*can't be made"):
        FileKms(tmp_path / "file" / "kek.key")
