"""Deleting a log destroys its key: no file below the store, and nothing in the archive, holds it any more."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from joblog.errors import Corrupt, NotFound, Unavailable
from joblog.leader.archive.census import load_index, load_rosters
from joblog.leader.archive.objects import walk
from joblog.leader.archive.rosters import Rosters
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.reading.reader import CipherCache
from joblog.leader.shredding import Shredder
from joblog.v1 import types_pb2
from tests.archiving import ArchiveSite, CountedPuts
from tests.stored_log import NAME, eventually, fill


class Keys:
    """Logs without bytes in a store, and their wrapped DEKs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kms = FileKms(folder / "kek.key")
        self.deks: dict[int, bytes] = {}
        self.reopen()

    def reopen(self) -> None:
        self.store = Store.open(self.folder / "store")
        self.keyring = Keyring.open(self.store, self.kms, self.store.store_id)

    def add(self, count: int) -> list[int]:
        changes, added = Changes(), []
        for _ in range(count):
            uid, number = os.urandom(16), self.store.next_number()
            record = types_pb2.LogRecord(
                id=types_pb2.LogId(namespace="default", run="run", task=f"task{number}", attempt=1),
                uid=uid,
                number=number,
                writer_id=os.urandom(16),
                state=types_pb2.LOG_STATE_LIVE,
                created_ns=1,
            )
            _, self.deks[number] = self.keyring.new_dek(uid)
            changes.put_log(record)
            changes.put_dek(number, self.deks[number])
            added.append(number)
        self.store.write(changes)
        return added

    def delete(self, numbers: list[int]) -> None:
        changes = Changes()
        for number in numbers:
            changes.delete_log(number)
        self.store.write(changes)

    def found(self, numbers: list[int]) -> set[int]:
        """Those of whose wrapped DEK any part is in any file. In parts, as a table is compressed."""
        files = b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())
        places = (17, 37, 57)
        return {number for number in numbers if any(self.deks[number][at : at + 20] in files for at in places)}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Keys]:
    keys = Keys(tmp_path)
    yield keys
    keys.store.close()


def wait_gone(keys: Keys, numbers: list[int]) -> None:
    """RocksDB removes files that are not needed any more in a thread of its own."""
    deadline = time.monotonic() + 10
    while keys.found(numbers):
        assert time.monotonic() < deadline, f"still there: {len(keys.found(numbers))} of {len(numbers)}"
        time.sleep(0.02)


def test_keys_leave_tables_and_write_ahead_log(made: Keys) -> None:
    in_tables = made.add(300)
    made.store.reclaim()
    in_wal = made.add(300)
    doomed = [*in_tables[::2], *in_wal[::2]]
    kept = [*in_tables[1::2], *in_wal[1::2]]
    made.delete(doomed)
    assert made.found(doomed) == set(doomed), "a deletion alone leaves them in the files"
    assert made.store.shred_due()
    assert Shredder(made.store).work()
    assert not made.store.shred_due()
    wait_gone(made, doomed)
    assert made.found(kept) == set(kept)
    assert made.store.get_dek(kept[0]) == made.deks[kept[0]]


def test_a_view_that_is_open_holds_them_no_longer_than_it_lives(made: Keys) -> None:
    doomed = made.add(50)
    made.store.reclaim()
    with made.store.view():
        made.delete(doomed)
        assert Shredder(made.store).work()
    made.store.reclaim()
    wait_gone(made, doomed)


def test_what_a_killed_leader_left_is_due_in_the_next_life(made: Keys) -> None:
    doomed = made.add(100)
    made.store.reclaim()
    made.delete(doomed)
    made.store.close()
    made.reopen()
    assert made.found(doomed)
    due = made.store.shred_due()
    assert due
    # Deleted while a pass runs: that pass may have come too early for it.
    later = made.add(10)
    made.delete(later)
    made.store.shred(due)
    assert made.store.shred_due() not in (b"", due)
    assert Shredder(made.store).work()
    wait_gone(made, [*doomed, *later])


async def test_the_service_gathers_deletions(made: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[bytes] = []
    whole = made.store.shred

    def counted(due: bytes) -> None:
        passes.append(due)
        whole(due)

    monkeypatch.setattr(made.store, "shred", counted)
    shredder = Shredder(made.store, gather_seconds=0.3, rest_seconds=0.0)
    running = asyncio.create_task(shredder.run())
    numbers = made.add(40)
    for number in numbers:
        made.delete([number])
        shredder.wake()
    await eventually(lambda: passes and not made.store.shred_due())
    assert len(passes) <= 2
    await asyncio.to_thread(wait_gone, made, numbers)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_pass_that_fails_is_told_and_tried_again(made: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    made.delete(made.add(1))
    shredder = Shredder(made.store)
    with monkeypatch.context() as patch:

        def fail(due: bytes) -> None:
            raise Unavailable("the disk does not answer")

        patch.setattr(made.store, "shred", fail)
        assert not shredder.work()
    assert "does not answer" in shredder.warnings()[0]
    assert shredder.work()
    assert not shredder.warnings()


def test_ciphers_in_memory_are_let_go_of(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    site = ArchiveSite(folder, CountedPuts(tmp_path / "archive"))
    log = site.leader.log(NAME)
    ciphers = CipherCache(site.store, site.leader.keyring)
    cipher = ciphers.open(log.number)
    sealed = cipher.seal(b"head", 0, b"text")
    assert cipher.open(b"head", 0, sealed) == b"text"
    changes = Changes()
    changes.delete_log(log.number)
    site.store.write(changes)
    ciphers.forget(log.number)
    with pytest.raises(NotFound, match="was deleted"):
        cipher.open(b"head", 0, sealed)
    with pytest.raises(NotFound, match="was deleted"):
        cipher.seal(b"head", 0, b"text")
    with pytest.raises(NotFound):
        ciphers.open(log.number)
    site.close()


def test_chunks_left_in_packs_open_with_nothing_that_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    objects = CountedPuts(tmp_path / "archive")
    site = ArchiveSite(folder, objects)
    kept, live, done = (site.leader.log(NAME._replace(task=task)) for task in ("kept", "live", "done"))
    for log in (kept, live, done):
        fill(log, [os.urandom(2000)])
    site.flush(everything=True)
    done.complete()
    site.seal()
    wrapped = {log.number: site.store.get_dek(log.number) or b"" for log in (kept, live, done)}
    assert all(wrapped.values())
    assert {number for number, dek in wrapped.items() if dek in _everything(objects)} == set(wrapped)

    changes = Changes()
    changes.delete_log(live.number)
    changes.delete_log(done.number)
    site.store.write(changes)
    assert Shredder(site.store).work()
    rosters = Rosters(site.context)
    rosters.refresh()
    while site.clean():
        pass

    left = _everything(objects)
    assert wrapped[kept.number] in left
    assert wrapped[live.number] not in left
    assert wrapped[done.number] not in left
    # The chunks of the live one are there, in a pack that another log needs.
    packs = [info for info in walk(objects, "_live/") if info.key.endswith(".pack")]
    index = load_index(objects, packs[0])[1]
    assert live.record.uid in index.logs
    kms = FileKms(folder / "kek.key", create=False)
    for _, named in load_rosters(objects, lambda key, why: pytest.fail(f"{key}: {why}")).items():
        assert named[0].record.uid == kept.record.uid
        keyring = Keyring.open(site.store, kms, site.store.store_id)
        with pytest.raises(Corrupt):
            LogCipher(keyring.open_dek(live.record.uid, named[0].dek.dek), live.record.uid)
    site.close()


def _everything(objects: CountedPuts) -> bytes:
    """All that the archive holds, inflated and out of base64 where it is in there."""
    parts = []
    for info in walk(objects, ""):
        data = objects.get(info.key)
        if info.key.endswith(".roster"):
            data = zstandard.ZstdDecompressor().decompress(data[8:-32])
        parts.append(data)
    whole = b"".join(parts)
    decoded = [base64.b64decode(part) for part in whole.split(b'"') if len(part) % 4 == 0 and _is_base64(part)]
    return whole + b"".join(decoded)


def _is_base64(part: bytes) -> bool:
    return len(part) > 60 and part.rstrip(b"=").replace(b"+", b"").replace(b"/", b"").isalnum()
