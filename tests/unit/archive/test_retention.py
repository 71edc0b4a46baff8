"""Runs that no policy keeps, with an archive: killed at each step, nothing is half there, and nothing comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joblog.errors import Denied
from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.clean import DENIED_SECONDS, Cleaner
from joblog.leader.archive.rebuild import Rebuild
from joblog.leader.buffer import keys
from joblog.leader.buffer.cursor import scan
from joblog.leader.buffer.engine import Operations
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.deletion import Deleter
from joblog.leader.retention import service
from joblog.leader.retention.policy import Policies
from joblog.v1.retention_pb2 import Hold
from tests.archiving import ArchiveSite, CountedPuts, Killed, kill_at
from tests.retaining import Audit, Fence, add_run, clean, names, one_pass, retention

STEPS = ("retention.noted", "retention.deleted", "clean.listed", "clean.deleted", "clean.forgotten")


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_it_is_ended_by_the_next_life_and_a_rebuild_brings_nothing_back(
    open_site: Callable[[], ArchiveSite],
    objects: CountedPuts,
    tmp_path: Path,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So that a run takes several writes.
    monkeypatch.setattr(service, "LOGS_AT_ONCE", 2)
    site = open_site()
    add_run(site, "large", 5)
    add_run(site, "buffered", 3, sealed=False)
    add_run(site, "held")
    site.store.holds.set(Hold(namespace="default", run="held"))
    kill_at(step)
    with pytest.raises(Killed):
        await one_pass(retention(site))
        clean(site)
    failpoints.disarm()

    site = open_site()
    await one_pass(retention(site))
    clean(site)
    assert names(site.store) == ["held"]
    assert site.store.expiry.begun() == []
    assert {key.split("/")[1] for key in objects.all_keys() if key.startswith("default/")} == {"held"}
    assert site.orphans() == []
    assert sum(site.store.count_deks().values()) == 3
    assert len(await site.text(site.store.list_logs("default", "held")[0][0].number)) == 7

    again = Store.open(tmp_path / "rebuilt")
    try:
        keyring = Keyring.open(again, FileKms(tmp_path / "one" / "kek.key"), again.store_id)
        done = Rebuild(again, keyring, objects).run()
        assert (done.sealed, done.live, names(again)) == (3, 0, ["held"])
    finally:
        again.close()


async def test_a_run_that_was_begun_is_left_alone_once_it_is_held_or_goes_on(
    open_site: Callable[[], ArchiveSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOGS_AT_ONCE", 2)
    site = open_site()
    add_run(site, "one", 5)
    add_run(site, "two", 5)
    for run in ("one", "two"):
        record = site.store.get_run("default", run)
        assert record is not None
        done = site.store.expiry.expire([record], 2)
        assert (done.runs, done.logs, len(done.left)) == (0, 2, 1)
    assert [run.run for run in site.store.expiry.begun()] == ["one", "two"]
    site.store.holds.set(Hold(namespace="default", run="one"))
    site.leader.log(LogName("default", "two", "t9", 1))
    # Without policies what was begun is ended all the same, but for these.
    done_pass = await one_pass(retention(site, policies=Policies()))
    assert (done_pass.runs, done_pass.held_runs) == (0, 1)
    assert site.store.expiry.begun() == []
    assert [len(site.store.list_logs("default", run)[0]) for run in ("one", "two")] == [3, 4]


@pytest.mark.parametrize("lost", ["some", "all", "miscounted"])
async def test_a_run_whose_logs_are_not_what_it_counts_is_named_and_holds_up_no_other(
    open_site: Callable[[], ArchiveSite], lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = open_site()
    add_run(site, "after")
    broken = add_run(site, "broken", 5)
    records = [(keys.LOGS, keys.record_key(log.number)) for log in broken]
    if lost == "miscounted":
        record = site.store.get_run("default", "broken")
        assert record is not None
        record.logs_interrupted, record.logs_completed = 3, 2
        put = [(keys.RUNS, keys.run_key("default", "broken"), record.SerializeToString())]
        site.store._engine.write(Operations([], [], put))
    else:
        site.store._engine.write(Operations([], records if lost == "all" else records[1:3], []))
    made = retention(site)
    for expected in ((1, 3), (0, 0)):
        async with asyncio.timeout(30):
            done = await one_pass(made)
        assert (done.runs, done.logs, names(site.store)) == (*expected, ["broken"])
    [warning] = made.warnings()
    assert "run default:broken: due, and not deleted" in warning
    assert len([line for line in caplog.messages if "default:broken" in line]) == 1
    # What it says to do helps.
    prefix = keys.attempt_prefix("default", "broken")
    await Deleter(site.store, Fence(), site.reader.forget, ThreadPoolExecutor(1)).delete("default", "broken")
    assert names(site.store) == []
    assert list(scan(site.store._engine, keys.INDEX, prefix, keys.after(prefix))) == []
    await one_pass(made)
    assert made.warnings() == []


async def test_the_audit_log_is_told_before_anything_goes(open_site: Callable[[], ArchiveSite]) -> None:
    site = open_site()
    add_run(site, "a")
    add_run(site, "b")
    audit = Audit()

    def look() -> None:
        assert [event.action for event in audit.events] == ["retention.delete"]
        assert names(site.store) == ["a", "b"]

    failpoints.arm("retention.noted", look)
    done = await one_pass(retention(site, audit))
    assert (done.runs, done.logs) == (2, 6)
    assert done.bytes > 0
    [event] = audit.events
    assert event.detail == {"policy": "*: keep=1h", "runs": "2", "logs": "6", "first": "a", "last": "b"}


class Locking(CountedPuts):
    """A folder of which deleted objects stay behind until a lock is over, as versions do in a bucket."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.locked: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.denied = False

    def keeps_versions(self) -> bool:
        return True

    def delete(self, keys: Sequence[str]) -> None:
        if self.denied:
            raise Denied("not allowed here")
        super().delete(keys)

    def purge(self, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(list(keys))
        return {key: until for key in keys if (until := self.locked.get(key, 0))}


async def test_what_is_locked_is_asked_for_again_when_its_lock_is_over_and_not_before(tmp_path: Path) -> None:
    objects = Locking(tmp_path / "archive")
    site = ArchiveSite(tmp_path / "one", objects)
    try:
        site.context.claim.ensure()
        [log] = add_run(site, "a", 1)
        keys = [f"default/a/t0/1/{name}" for name in ("log.joblog", "metadata.json")]
        now = time.time_ns()
        cleaner = Cleaner(site.context, grace_seconds=0.0, clock_ns=lambda: now)
        objects.locked = dict.fromkeys(keys, now + 100)
        await one_pass(retention(site))
        assert site.store.get_log(log.number) is None
        cleaner.clean()
        assert [sorted(set(keys) & set(asked)) for asked in objects.asked] == [keys]
        assert site.store.objects.count_locked(10) == 2
        assert cleaner.clean() == 0
        assert len(objects.asked) == 1
        now += 101
        objects.locked.clear()
        assert cleaner.clean() == 2
        assert (site.store.objects.count_locked(10), sorted(objects.asked[-1])) == (0, keys)
        assert cleaner.clean() == 0
    finally:
        site.close()


async def test_a_denial_is_said_and_no_storm_follows(tmp_path: Path) -> None:
    objects = Locking(tmp_path / "archive")
    site = ArchiveSite(tmp_path / "one", objects)
    try:
        site.context.claim.ensure()
        add_run(site, "a", 1)
        await one_pass(retention(site))
        now = time.time_ns()
        cleaner = Cleaner(site.context, grace_seconds=0.0, clock_ns=lambda: now)
        objects.denied = True
        assert cleaner.clean() > 0
        assert cleaner.refusal == "not allowed here"
        assert cleaner.clean() == 0
        objects.denied = False
        now += (DENIED_SECONDS + 1) * 10**9
        assert cleaner.clean() > 0
        assert cleaner.refusal == ""
        assert not [key for key in objects.all_keys() if key.startswith("default/")]
    finally:
        site.close()
