"""The first start after a restore, without an archive: live logs are told, and who was replaced does not start."""

from __future__ import annotations

import time

import pytest

from joblog.errors import Denied, JoblogError
from joblog.leader.backup.after import AfterRestore
from joblog.leader.backup.fence import Replaced
from joblog.leader.backup.restored import RestoredNote, note_restored, restored_note
from joblog.leader.start_note import StartNote
from tests.backing_up import BackedUpLeader
from tests.stored_log import fill


def after_restore(leader: BackedUpLeader, fails_with: JoblogError | None = None) -> AfterRestore:
    made = AfterRestore(leader.store, leader.keyring, None, StartNote(leader.folder.leader_file))

    def fence() -> None:
        if fails_with is not None:
            raise fails_with

    made.fence = fence
    return made


async def test_a_target_that_does_not_open_holds_up_no_start(leader: BackedUpLeader) -> None:
    log = leader.log()
    fill(log, [b"text\n"])
    note_restored(leader.store, RestoredNote("20260131T120000000Z-0a1b2c3d", 1, time.time_ns()))
    await after_restore(leader, Denied("the KMS is gone")).start()
    assert restored_note(leader.store) is None
    (event,) = [event for event in leader.store.events(log.number) if event.kind == "restored"]
    assert (event.offset, "0a1b2c3d" in event.message) == (log.length, True)
    # It is told once.
    await after_restore(leader).start()
    assert len([event for event in leader.store.events(log.number) if event.kind == "restored"]) == 1


async def test_who_was_replaced_does_not_start(leader: BackedUpLeader) -> None:
    note_restored(leader.store, RestoredNote("20260131T120000000Z-0a1b2c3d", 1, time.time_ns()))
    with pytest.raises(Replaced):
        await after_restore(leader, Replaced("by another leader")).start()
    assert restored_note(leader.store) is not None
