"""A restored catalog follows the archive: what was sealed, written, begun, deleted since the backup."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from joblog.errors import Conflict
from joblog.leader.archive.claim import ClaimLost
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import walk
from joblog.leader.archive.reconcile import Reconcile, Reconciled
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.v1 import types_pb2
from tests.e2e.archive_leader import ArchiveLeader, archive_leader, until
from tests.e2e.push_stream import Push, append_of, close_of, open_of


@pytest.fixture
def objects(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "archive")
    store.check(create=True)
    return store


@asynccontextmanager
async def leader_in(folder: Path, objects: FolderStore) -> AsyncIterator[ArchiveLeader]:
    async with archive_leader(folder, objects, kek=folder.parent / "kek") as leader:
        yield leader


async def write(push: Push, handle: int, at: int, data: bytes) -> None:
    await push.send(appends=[append_of(handle, at, data)])
    await push.until(lambda: push.acks.get(handle, 0) >= at + len(data))


async def archived(leader: ArchiveLeader, number: int, offset: int) -> None:
    await until(lambda: leader.store.archived_offset(number) >= offset, f"log {number} is archived up to {offset}")


async def sealed(leader: ArchiveLeader, number: int) -> None:
    def done() -> bool:
        record = leader.store.get_log(number)
        return record is not None and record.tier == types_pb2.TIER_ARCHIVE

    await until(done, f"log {number} is sealed")


def reconcile(folder: Path, objects: FolderStore) -> Reconciled:
    store = Store.open(folder / "store")
    try:
        keyring = Keyring.open(store, FileKms(folder.parent / "kek"), store.store_id)
        return Reconcile(store, keyring, objects, created_ns=0).bring_up_to_date()
    finally:
        store.close()


PARTS = [os.urandom(30_000) for _ in range(4)]


async def test_what_happened_since_the_backup(tmp_path: Path, objects: FolderStore) -> None:
    now, then = tmp_path / "now", tmp_path / "then"
    writer = os.urandom(16)
    texts: dict[str, bytes] = {}
    async with leader_in(now, objects) as leader, leader.push() as push:
        names = ("sealed", "later", "live", "gone", "quiet")
        await push.open(*(open_of(handle, task=name) for handle, name in enumerate(names, 1)))
        numbers = {name: push.opened[handle].number for handle, name in enumerate(names, 1)}
        for handle in range(1, 6):
            await write(push, handle, 0, PARTS[0])
        for name in ("sealed", "gone"):
            await push.send(closes=[close_of(names.index(name) + 1, PARTS[0])])
            await sealed(leader, numbers[name])
        for name in ("later", "live", "quiet"):
            await archived(leader, numbers[name], len(PARTS[0]))
        leader.store.checkpoint(tmp_path / "checkpoint")

        await write(push, 2, len(PARTS[0]), PARTS[1])
        await push.send(closes=[close_of(2, PARTS[0] + PARTS[1])])
        await sealed(leader, numbers["later"])
        for at, part in enumerate(PARTS[1:], 1):
            await write(push, 3, at * 30_000, part)
            await archived(leader, numbers["live"], (at + 1) * 30_000)
        rosters = {info.key for info in walk(objects, "_live/") if info.key.endswith(".roster")}
        changes = Changes()
        changes.delete_log(numbers["gone"])
        leader.store.write(changes)
        leader.archiver.deleted()
        await push.open(open_of(6, task="new", writer_id=writer))
        await write(push, 6, 0, b"begun since\n")
        await push.send(closes=[close_of(6, b"begun since\n")])
        await sealed(leader, push.opened[6].number)
        await until(lambda: not any("gone" in info.key for info in walk(objects, "")), "the deleted log's objects go")
        await until(lambda: not rosters & {info.key for info in walk(objects, "_live/")}, "no roster names it")
        texts = {
            "sealed": PARTS[0],
            "later": PARTS[0] + PARTS[1],
            "live": b"".join(PARTS),
            "quiet": PARTS[0],
            "new": b"begun since\n",
        }
        fresh = {info.key for info in walk(objects, "_live/")}
    then.mkdir()
    shutil.copytree(tmp_path / "checkpoint", then / "store")

    found = reconcile(then, objects)
    assert not found.problems
    assert (found.sealed, found.added, found.deleted) == (1, 1, 1)
    assert found.live >= 1
    # Again: nothing is other any more.
    assert reconcile(then, objects)[:4] == (0, 0, 0, 0)

    async with leader_in(then, objects) as leader:
        records = {record.id.task: record for number in leader.numbers() if (record := leader.store.get_log(number))}
        assert set(records) == set(texts)
        for name, text in texts.items():
            assert await leader.text(records[name].number) == text, name
        assert records["later"].state == records["new"].state == types_pb2.LOG_STATE_COMPLETED
        # It goes on: what is live takes more, where the archive ends.
        async with leader.push() as push:
            await push.open(open_of(1, task="live", writer_id=records["live"].writer_id))
            assert push.opened[1].next_offset == len(texts["live"])
            await write(push, 1, len(texts["live"]), b"more\n")
            await push.send(closes=[close_of(1, texts["live"] + b"more\n")])
            await sealed(leader, records["live"].number)
        await until(lambda: not leader.store.objects.unused(), "what nothing names is deleted")
        for name, text in texts.items():
            more = b"more\n" if name == "live" else b""
            assert await leader.text(records[name].number) == text + more, name
    assert fresh


async def test_the_leader_of_before_stops(tmp_path: Path, objects: FolderStore) -> None:
    now, then = tmp_path / "now", tmp_path / "then"
    async with leader_in(now, objects) as leader, leader.push() as push:
        await push.open(open_of(1))
        await write(push, 1, 0, b"text\n")
        await archived(leader, push.opened[1].number, 5)
        leader.store.checkpoint(tmp_path / "checkpoint")
        then.mkdir()
        shutil.copytree(tmp_path / "checkpoint", then / "store")
        reconcile(then, objects)
        await write(push, 1, 5, b"more\n")
        await until(leader.archiving.done, "the leader of before stops")
        with pytest.raises(ClaimLost):
            leader.archiving.result()


async def test_an_archive_that_another_leader_has_is_left_alone(tmp_path: Path, objects: FolderStore) -> None:
    now, other = tmp_path / "now", tmp_path / "other"
    async with leader_in(now, objects) as leader, leader.push() as push:
        await push.open(open_of(1))
        await write(push, 1, 0, b"text\n")
        await archived(leader, push.opened[1].number, 5)
    shutil.copytree(now, tmp_path / "copy" / "then")
    shutil.copy(tmp_path / "kek", tmp_path / "copy" / "kek")
    empty = FolderStore(tmp_path / "empty")
    empty.check(create=True)
    with pytest.raises(Conflict, match="never claimed"):
        reconcile(tmp_path / "copy" / "then", empty)
    from joblog.leader.archive.rebuild import Rebuild

    other.mkdir()
    store = Store.open(other / "store")
    try:
        keyring = Keyring.open(store, FileKms(tmp_path / "kek"), store.store_id)
        Rebuild(store, keyring, objects).run()
    finally:
        store.close()
    with pytest.raises(ClaimLost, match="took over"):
        reconcile(tmp_path / "copy" / "then", objects)
