"""The folder store beyond what every store promises: what lies in the folder, full disks, damage, races."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joblog.errors import Conflict, Corrupt, Denied, InvalidInput, NotFound, OutOfSpace, Unavailable
from joblog.leader.archive.folder import INCOMING, FolderStore
from joblog.leader.archive.objects import MIN_PART_BYTES, PreconditionFailed, walk
from tests.small_disk import small_disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


def left_behind(root: Path) -> list[str]:
    return [name for name in os.listdir(root / INCOMING) if name != ".lock"]


def test_an_object_is_a_file_and_nothing_else_is_one(store: FolderStore, root: Path) -> None:
    store.put("n/r/log", b"text")
    assert (root / "n/r/log").read_bytes() == b"text"
    assert left_behind(root) == []
    for folder in (root, root / "n", root / "n/r"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (root / ".hidden").write_text("x")
    (root / "link").symlink_to(root / "n/r/log")
    os.mkfifo(root / "pipe")
    assert [info.key for info in walk(store, "")] == ["n/r/log"]
    with pytest.raises(NotFound):
        store.get("n/r")
    with pytest.raises(NotFound):
        store.get("n/r/log/below")
    store.delete(["n/r/log"])
    assert sorted(os.listdir(root)) == [".hidden", INCOMING, "link", "pipe"]


def test_damage_of_a_whole_object_is_found(store: FolderStore, root: Path) -> None:
    store.put("a", b"text")
    if not (info := store.head("a")) or not info.checksum:
        pytest.skip("this file system keeps no extended attributes")
    with (root / "a").open("r+b") as file:
        file.write(b"T")
    with pytest.raises(Corrupt):
        store.get("a")
    assert store.get("a", 1, 3) == b"ext"


def test_without_extended_attributes_conditions_hold_too(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refused)
    first = store.put("a", b"1", metadata={"x": "y"})
    assert (first.checksum, first.metadata) == ("", {})
    second = store.put("a", b"22", if_match=first.etag)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"3", if_match=first.etag)
    assert store.head("a") == second
    assert store.get("a") == b"22"


def test_a_full_disk_leaves_nothing_behind(data_dir: Path) -> None:
    with small_disk(data_dir / "disk", 2 << 20) as disk:
        store = FolderStore(disk / "archive")
        store.put("small", b"x")
        with pytest.raises(OutOfSpace):
            store.put("large", bytes(4 << 20))
        upload = store.start_multipart("parts")
        with pytest.raises(OutOfSpace):
            upload.upload(1, bytes(4 << 20))
        upload.abort()
        assert left_behind(disk / "archive") == []
        assert [info.key for info in walk(store, "")] == ["small"]
        store.put("again", bytes(1 << 20))


def test_a_part_that_failed_is_sent_again(store: FolderStore) -> None:
    upload = store.start_multipart("a")

    def pieces() -> list[bytes]:
        return [b"x" * MIN_PART_BYTES]

    class Ends(list[bytes]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"y" * 1000
            raise OSError(5, "Input/output error")

    with pytest.raises(Unavailable):
        upload.upload(1, Ends())
    upload.upload(1, pieces())
    upload.upload(1, pieces())
    with pytest.raises(Conflict):
        upload.upload(1, b"other")
    upload.upload(2, b"end")
    assert upload.complete().size == MIN_PART_BYTES + 3
    assert store.get("a") == pieces()[0] + b"end"
    with pytest.raises(Conflict):
        upload.upload(3, b"late")


def test_uploads_keep_to_what_s3_takes(store: FolderStore) -> None:
    store.put("source", b"0123456789")
    upload = store.start_multipart("a")
    for number in (0, 10_001):
        with pytest.raises(InvalidInput):
            upload.upload(number, b"x")
    with pytest.raises(Corrupt):
        upload.copy(1, "source", 5, 6)
    with pytest.raises(NotFound):
        upload.copy(1, "none", 0, 1)
    upload.upload(1, b"too little")
    upload.upload(2, b"x")
    with pytest.raises(InvalidInput):
        upload.complete()
    upload.abort()
    holes = store.start_multipart("b")
    holes.upload(2, b"x")
    with pytest.raises(InvalidInput):
        holes.complete()
    holes.abort()


def test_objects_come_and_go_beside_each_other(store: FolderStore, root: Path) -> None:
    """A delete that takes an empty folder away never takes away the folder of a put."""

    def churn(number: int) -> None:
        for _ in range(200):
            store.put(f"n/r/t/{number}", b"x", if_absent=True)
            store.delete([f"n/r/t/{number}"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4)))
    assert list(walk(store, "")) == []
    assert left_behind(root) == []


def test_a_folder_that_may_not_be_made(root: Path) -> None:
    store = FolderStore(root, create=False)
    with pytest.raises(NotFound):
        store.check(create=False)
    with pytest.raises(NotFound):
        store.put("a", b"x")
    assert store.list("") == ([], False)
    assert not root.exists()
    root.parent.joinpath("file").write_text("x")
    with pytest.raises((Unavailable, NotFound, Denied)):
        FolderStore(root.parent / "file" / "below").check(create=True)


def test_what_a_killed_leader_left_goes_in_time(store: FolderStore, root: Path) -> None:
    store.put("a", b"x")
    (root / INCOMING / "0123.parts").mkdir()
    (root / INCOMING / "0456").write_text("half")
    assert store.drop_uploads(3600) == 0
    assert store.drop_uploads(0) >= 2
    assert left_behind(root) == []
    assert store.get("a") == b"x"
