"""Legal holds, with an archive: what they keep, how they are shown, and that they outlive the leader's disk."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from joblog.errors import Corrupt
from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.layout import HOLDS_KEY
from joblog.leader.archive.state_object import HOLDS, load_state, state_keys
from joblog.leader.archive.takeover import Takeover
from joblog.leader.archive.verify import Verifier
from joblog.leader.archived_holds import HoldWriter, hold_keeper, restore_holds
from joblog.leader.archived_state import StateKeeper
from joblog.leader.buffer.holds import Held, unpack_holds
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.deletion import Deleter
from joblog.leader.retention import held
from joblog.leader.retention.keeping import Keeping
from joblog.leader.retention.policy import Policies
from joblog.leader.retention.sweep import Sweep
from joblog.v1.retention_pb2 import Hold
from joblog.v1.types_pb2 import LogRecord
from tests.archiving import ArchiveSite, CountedPuts
from tests.retaining import POLICIES, Fence, add_run, names, one_pass, retention
from tests.stored_log import fill


async def test_a_hold_that_comes_in_the_last_moment_counts(open_site: Callable[[], ArchiveSite]) -> None:
    site = open_site()
    add_run(site, "a")

    def hold() -> None:
        site.store.holds.set(Hold(label="kind", value="test"))

    failpoints.arm("retention.noted", hold)
    done = await one_pass(retention(site))
    assert (done.runs, done.held_runs) == (0, 1)
    assert names(site.store) == ["a"]


async def test_a_log_that_carries_a_held_label_holds_its_whole_run(open_site: Callable[[], ArchiveSite]) -> None:
    site = open_site()
    logs = add_run(site, "a", 5)
    # A run says the first value of a label that comes; this one is the log's own.
    odd = site.leader.log(LogName("default", "a", "u", 1))
    odd.record.start.labels["kind"] = "odd"
    fill(odd, [b"x"])
    odd.complete()
    record = site.store.get_run("default", "a")
    assert record is not None
    assert record.labels["kind"] == "test"
    keeping, made = Keeping(site.store, POLICIES), retention(site)
    assert [(found.runs, found.held_runs) async for _, found in made.preview() if found.runs] == [(1, 0)]
    site.store.holds.set(Hold(label="kind", value="odd"))
    for kept in (keeping.of("default", "a"), keeping.kept(record)):
        assert kept is not None
        assert list(kept.held_by) == ["label kind=odd"]
    assert [[due.is_held for due in found] async for found, _ in made.preview() if found] == [[True]]
    # A quota passes it over, too.
    quota = Sweep(site.store, Policies.parse([], ["*: 1"]), time.time_ns())
    assert list(itertools.chain(*quota.slices(10))) == []
    assert site.store.expiry.expire([record], 2).held == 1
    deleter = Deleter(site.store, Fence(), site.reader.forget, ThreadPoolExecutor(1))
    for task, attempt in (("", 0), ("t0", 0), ("t0", 1), ("u", 1)):
        with pytest.raises(Held, match="kind=odd"):
            await deleter.delete("default", "a", task, attempt)
    assert len(site.store.list_logs("default", "a")[0]) == len(logs) + 1


async def test_logs_are_read_for_their_labels_only_where_a_hold_may_be_on_one(
    open_site: Callable[[], ArchiveSite], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = open_site()
    add_run(site, "a", 2)
    record = site.store.get_run("default", "a")
    assert record is not None
    asked: list[str] = []

    def logs_of_run(_store: Store, _namespace: str, run: str) -> list[LogRecord]:
        asked.append(run)
        return []

    monkeypatch.setattr(held, "logs_of_run", logs_of_run)
    for hold in (Hold(namespace="default", run="b"), Hold(label="case", value="1"), Hold(namespace="n", label="kind")):
        site.store.holds.set(hold)
        assert (held.holds_on(site.store, record), asked) == ([], [])
    site.store.holds.set(Hold(label="kind", value="odd"))
    assert (held.holds_on(site.store, record), asked) == ([], ["a"])


async def test_a_rebuild_knows_holds_and_deletes_nothing_where_it_can_not(
    open_site: Callable[[], ArchiveSite], objects: CountedPuts, tmp_path: Path
) -> None:
    site = open_site()
    add_run(site, "a")
    keeper = hold_keeper(site.store, HoldWriter(site.store, objects, site.leader.keyring, site.context.claim.ensure))
    assert await keeper.keep()
    assert HOLDS_KEY not in objects.all_keys()
    hold = Hold(namespace="default", run="a", reason="case", set_by="token ann", set_ns=5)
    site.store.holds.set(hold)
    before = keeper.is_current
    assert await keeper.keep()
    assert (before, keeper.is_current) == (False, True)
    keys = state_keys(objects, site.leader.keyring)
    content = load_state(HOLDS, objects, keys)
    assert content is not None
    assert unpack_holds(content) == [hold]
    assert b"case" not in objects.get(HOLDS_KEY)
    assert [one.problems for one in Verifier(objects, keys).run() if one.key == HOLDS_KEY] == [[]]

    def taken_over(folder: str) -> Store:
        store = Store.open(tmp_path / folder)
        keyring = Keyring.open(store, FileKms(tmp_path / "one" / "kek.key"), store.store_id)
        take = Takeover(
            store,
            keyring,
            objects,
            claimed=lambda: restore_holds(store, objects, state_keys(objects, keyring)),
            clock_ns=lambda: time.time_ns() + 10**16,
        )
        assert take.run()
        return store

    store = taken_over("two")
    try:
        assert list(store.holds.present.all.values()) == [hold]
        run = store.get_run("default", "a")
        assert run is not None
        assert store.expiry.expire([run], 100).held == 1
    finally:
        store.close()

    document = objects.get(HOLDS_KEY)
    at = document.index(b'"sealed": "') + 30
    objects.put(HOLDS_KEY, document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :])
    store = taken_over("three")
    try:
        run = store.get_run("default", "a")
        assert run is not None
        assert store.expiry.expire([run], 100).held == 1
        with pytest.raises(Held, match="can't be read"):
            store.holds.present.check("default", "a", {})
        # What can't be read is not written over.
        keyring = Keyring.open(store, FileKms(tmp_path / "one" / "kek.key"), store.store_id)
        other = hold_keeper(store, HoldWriter(store, FolderStore(tmp_path / "archive"), keyring, lambda: None))
        assert not await other.keep()
        assert "legal holds are not kept there" in other.warnings()[0]
        store.holds.restore([])
        assert store.expiry.expire([run], 100).runs == 1
    finally:
        store.close()


async def test_a_store_from_a_backup_takes_up_holds_that_are_newer_and_lifting_lasts(
    open_site: Callable[[], ArchiveSite], objects: CountedPuts, tmp_path: Path
) -> None:
    site = open_site()
    old, new = Hold(namespace="default", run="old"), Hold(namespace="default", run="new")

    def keeper(of: ArchiveSite) -> StateKeeper:
        return hold_keeper(of.store, HoldWriter(of.store, objects, of.leader.keyring, of.context.claim.ensure))

    site.store.holds.set(old)
    assert await keeper(site).keep()
    site.close()
    shutil.copytree(tmp_path / "one", tmp_path / "backup")
    site = open_site()
    site.store.holds.set(new)
    assert await keeper(site).keep()
    site.close()
    shutil.rmtree(tmp_path / "one")
    shutil.move(tmp_path / "backup", tmp_path / "one")
    site = open_site()
    assert await keeper(site).keep()
    assert {hold.run for hold in site.store.holds.present.all.values()} == {"old", "new"}

    # Lifted while the archive was away: what it still has is this store's own, and is written over.
    site.store.holds.lift(old)
    site = open_site()
    assert await keeper(site).keep()
    assert {hold.run for hold in site.store.holds.present.all.values()} == {"new"}
    content = load_state(HOLDS, objects, state_keys(objects, site.leader.keyring))
    assert content is not None
    assert [hold.run for hold in unpack_holds(content)] == ["new"]


def test_damaged_holds_are_said_to_be() -> None:
    for data in (b"\0", b"\0\0\0\x05ab", b"\0\0\0\x02\xff\xff", b"\0\0\0\0"):
        with pytest.raises(Corrupt):
            unpack_holds(data)
