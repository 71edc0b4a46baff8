"""What is kept of a verification, and what makes it say nothing of the bytes that are there now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.leader.archive.folder import FolderStore
from joblog.leader.backup.restored import RestoredNote, incarnation_of, note_restored
from joblog.leader.buffer import keys
from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.store import Store
from joblog.leader.reading.piece import ReadSpec
from joblog.leader.reading.reader import LogReader
from joblog.leader.reading.verified import keep_verification
from joblog.v1 import types_pb2
from tests.archived_log import Archived
from tests.stored_log import StoredLeader, StoredLog, fill, stored_leader

NAME = LogName("default", "demo", "build", 1)


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[StoredLeader]:
    with stored_leader(tmp_path) as stored:
        yield stored


@pytest.fixture
def log(leader: StoredLeader) -> StoredLog:
    """A completed log."""
    log = leader.log(NAME)
    fill(log, [b"one\n", b"two\n", b"three\n"])
    log.complete()
    return log


async def verify(reader: LogReader, log: StoredLog) -> types_pb2.Verification:
    verdict = await reader.verify(log.number, lambda *_: None)
    assert verdict.kept is not None
    return verdict.kept


async def verified(reader: LogReader) -> tuple[str, str]:
    """What readers are told: what was found, and why that does not count any more."""
    found = (await reader.details(NAME)).verified
    assert found is not None
    return found.says, found.outdated


def reader_of(leader: StoredLeader, store: Store, restored_ns: int = 0) -> LogReader:
    return LogReader(store, leader.keyring, leader.live, leader.pool, leader.metrics, restored_ns=restored_ns)


async def test_it_is_kept_and_goes_with_a_backup_and_the_log(
    leader: StoredLeader, log: StoredLog, tmp_path: Path
) -> None:
    assert (await leader.reader.details(NAME)).verified is None
    before = time.time_ns()
    kept = await verify(leader.reader, log)
    assert before <= kept.began_ns <= kept.ended_ns <= time.time_ns()
    assert await verified(leader.reader) == ("complete, as it was written", "")
    assert (await leader.reader.details(NAME)).verified == kept
    again = await verify(leader.reader, log)
    assert again.began_ns > kept.ended_ns
    assert (await leader.reader.details(NAME)).verified == again

    # A backup has it, and after a restore it is told that it is of before.
    leader.store.checkpoint(tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    try:
        assert await verified(reader_of(leader, copy)) == ("complete, as it was written", "")
        note_restored(copy, RestoredNote("b", again.ended_ns, time.time_ns()))
        restored = reader_of(leader, copy, incarnation_of(copy))
        assert await verified(restored) == (
            "complete, as it was written",
            "the leader's store was restored from a backup",
        )
        await verify(restored, log)
        assert await verified(restored) == ("complete, as it was written", "")
    finally:
        copy.close()

    # One that was deleted leaves nothing behind, also when a verification ends only then.
    verdict = await leader.reader.verify(log.number, lambda *_: None)
    changes = Changes()
    changes.delete_log(log.number)
    leader.store.write(changes)
    assert keep_verification(leader.store, verdict, 1, 2) is None
    assert leader.store._engine.get(keys.LOGS, keys.verified_key(log.number)) is None


async def test_a_live_log_is_verified_as_far_as_it_goes(leader: StoredLeader) -> None:
    log = leader.log(NAME)
    fill(log, [b"one\n", b"two\n"])
    assert not (await verify(leader.reader, log)).complete
    assert await verified(leader.reader) == (
        "nothing wrong in the 8 bytes that there were; it was not sealed yet",
        "",
    )
    fill(log, [b"three\n"])
    assert (await verified(leader.reader))[1] == "it has 14 bytes now, 8 were verified"
    await verify(leader.reader, log)
    log.complete()
    assert (await verified(leader.reader))[1] == "it was sealed"
    await verify(leader.reader, log)
    assert await verified(leader.reader) == ("complete, as it was written", "")


async def test_damage_and_its_mending_are_told(leader: StoredLeader, log: StoredLog) -> None:
    await verify(leader.reader, log)
    log.damage(4)
    async for _ in leader.reader.read(log.number, ReadSpec()):
        pass
    # Whoever reads it has come across it: it is not shown as good any more.
    assert await verified(leader.reader) == (
        "complete, as it was written",
        "bytes of it turned out to be missing",
    )
    found = await verify(leader.reader, log)
    assert not found.complete
    assert found.problem_count == 3
    says, outdated = await verified(leader.reader)
    assert says.startswith("not complete: offsets 4 to 8: missing or damaged in the store")
    assert says.endswith(", and 2 more")
    assert outdated == ""
    log.event("bytes_restored", time.time_ns())
    assert (await verified(leader.reader))[1] == "bytes that were missing came back"


async def test_gaps_that_the_seal_declares_are_told(leader: StoredLeader) -> None:
    log = leader.log(NAME)
    fill(log, [b"one\n"])
    log.gap(10)
    fill(log, [b"two\n"])
    log.complete()
    await verify(leader.reader, log)
    assert await verified(leader.reader) == ("as it was written; 1 range is missing, as its record says", "")


async def test_what_was_verified_in_the_buffer_does_not_count_for_the_archive(
    leader: StoredLeader, tmp_path: Path
) -> None:
    log = leader.log(NAME)
    log.append((STDOUT, b"one\n" * 100))
    log.complete()
    archived = Archived(leader, FolderStore(tmp_path / "archive"))
    await verify(archived.reader, log)
    archived.mover.flush([log])
    assert (await verified(archived.reader))[1] == "some of its bytes were moved"
    key = archived.mover.join(log, sealed=True)
    log.record.tier = types_pb2.TIER_ARCHIVE
    log.put_record()
    assert (await verified(archived.reader))[1] == "its bytes were moved to the archive"
    await verify(archived.reader, log)
    assert await verified(archived.reader) == ("complete, as it was written", "")
    # What is gone from the archive is not good any more, as soon as somebody has come across it.
    archived.objects.put("other", b"the archive is there")
    archived.objects.delete([key])
    archived.forget(leader)
    async for _ in archived.reader.read(log.number, ReadSpec()):
        pass
    assert (await verified(archived.reader))[1] == "bytes of it turned out to be missing"
    assert not (await verify(archived.reader, log)).complete
    assert (await verified(archived.reader))[1] == ""
    archived.close()
