"""What can be done with the bucket and the KMS alone: cat, verify, rebuild; and gc with the catalog."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.batch import STDERR, STDOUT
from joblog.errors import Conflict, Corrupt, Denied, NotFound
from joblog.identity import LogName
from joblog.leader.archive import failpoints
from joblog.leader.archive.cat import LogParts, Sums, find_log, open_log
from joblog.leader.archive.claim import ClaimLost
from joblog.leader.archive.cost import Prices, million_tasks, month, take_census
from joblog.leader.archive.folder_files import _RECORD
from joblog.leader.archive.gc import Collector
from joblog.leader.archive.objects import walk
from joblog.leader.archive.rebuild import Rebuild, Rebuilt, is_unfinished
from joblog.leader.archive.verify import Verifier
from joblog.leader.crypto.file_kms import FileKms
from joblog.v1 import types_pb2
from tests.archiving import WHOLE, ArchiveSite, CountedPuts, Killed, kill_at
from tests.stored_log import NAME, StoredLog
from tests.vouched import document_of

KIB = 1 << 10


@pytest.fixture
def objects(tmp_path: Path) -> CountedPuts:
    return CountedPuts(tmp_path / "archive")


@pytest.fixture
def site(tmp_path: Path, objects: CountedPuts) -> Iterator[ArchiveSite]:
    made = ArchiveSite(tmp_path / "one", objects)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


def kms_of(tmp_path: Path) -> FileKms:
    return FileKms(tmp_path / "one" / "kek.key", create=False)


def name_of(log: StoredLog) -> LogName:
    id_ = log.record.id
    return LogName(id_.namespace, id_.run, id_.task, id_.attempt)


def write_some(log: StoredLog, seed: int, chunks: int = 8) -> None:
    made = random.Random(seed)
    for _ in range(chunks):
        log.append((made.choice([STDOUT, STDERR]), made.randbytes(made.randint(1, 60 * KIB)) + b"\n"))


def cat(objects: CountedPuts, kms: FileKms, name: LogName, from_offset: int = 0) -> tuple[bytes, list[tuple[int, int]]]:
    found = find_log(objects, name)
    sums = Sums()
    data, gaps = b"", []
    with LogParts(objects, open_log(kms, found.metadata), found) as log:
        for part in log.parts(from_offset):
            data += part.data
            if part.reason:
                gaps.append((part.offset, part.length))
            if not from_offset:
                sums.add(part)
    if found.sealed and not from_offset and not any(part for part in gaps):
        assert not sums.compare(found.metadata.record.seal)
    return data, gaps


def wreck(path: Path) -> None:
    """Changes a byte in the middle of a file."""
    body = bytearray(path.read_bytes())
    body[len(body) // 3] ^= 1
    path.write_bytes(body)


class Bucket:
    """A bucket with sealed logs, an empty one, one with a gap, and live ones in packs."""

    def __init__(self, site: ArchiveSite) -> None:
        self.sealed = [site.leader.log(NAME._replace(task=f"task{n}")) for n in range(3)]
        self.empty = site.leader.log(NAME._replace(task="empty"))
        self.live = [site.leader.log(NAME._replace(run="running", task=f"task{n}")) for n in range(2)]
        for part in range(3):
            for n, log in enumerate((*self.sealed, *self.live)):
                write_some(log, 10 * part + n)
            if part == 1:
                self.sealed[1].gap(1000, newlines=3)
                self.live[1].gap(500, newlines=2, reason=types_pb2.GAP_REASON_LOG_LIMIT)
            site.flush(everything=True)
        self.sealed[0].event("worker_lost")
        for log in (*self.sealed, self.empty):
            log.complete()
        site.seal()


def test_cat_needs_no_leader(tmp_path: Path, site: ArchiveSite, objects: CountedPuts) -> None:
    bucket = Bucket(site)
    for log in (*bucket.sealed, bucket.empty, *bucket.live):
        data, gaps = cat(objects, kms_of(tmp_path), name_of(log))
        assert data == log.model.present(0, log.length, None)
        assert gaps == [(gap.offset, gap.length) for gap in log.gaps]
        start = log.length // 2
        data, _ = cat(objects, kms_of(tmp_path), name_of(log)._replace(attempt=0), start)
        assert data == log.model.present(start, log.length, None)
    with pytest.raises(NotFound, match="there is no log"):
        find_log(objects, NAME._replace(task="other"))
    found = find_log(objects, name_of(bucket.sealed[0]))
    with pytest.raises(Denied):
        open_log(FileKms(tmp_path / "other.key"), found.metadata)


def test_verify_passes_what_is_whole_and_names_what_is_not(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts
) -> None:
    bucket = Bucket(site)
    checked = {one.key: one for one in Verifier(objects, kms_of(tmp_path)).run()}
    assert not any(one.problems for one in checked.values())
    assert len([one for one in checked.values() if one.name]) == 4
    root = tmp_path / "archive"
    first, second, third = (root / name.namespace / name.run / name.task / "1" for name in map(name_of, bucket.sealed))
    wreck(first / "log.joblog")
    (second / "log.joblog").unlink()
    shutil.copy(first / "metadata.json", third / "metadata.json")
    pack = max(root.glob("_live/*/*.pack"))
    wreck(pack)
    problems = {one.key: one.problems for one in Verifier(objects, kms_of(tmp_path)).run() if one.problems}
    assert set(problems) == {
        *(str((folder / "metadata.json").relative_to(root)) for folder in (first, second, third)),
        str(pack.relative_to(root)),
    }


def test_verify_holds_objects_against_checksums_of_their_own(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts
) -> None:
    """What every record and the log's seal agree with may still not be the object that was put."""
    bucket = Bucket(site)
    first, second = (f"default/demo/task{n}/1" for n in (0, 1))
    document = json.loads(objects.get(f"{first}/metadata.json"))
    assert len(document["object"]["sha256"]) == 64
    document["object"]["sha256"] = "0" * 64
    objects.put(f"{first}/metadata.json", document_of(document, bucket.sealed[0].cipher.vouch))
    assert objects.head(f"{second}/log.joblog").checksum  # type: ignore[union-attr]
    os.setxattr(tmp_path / "archive" / second / "log.joblog", _RECORD, b'{"checksum": "crc32c:00000000"}')
    problems = {one.name: one.problems for one in Verifier(objects, kms_of(tmp_path)).run() if one.problems}
    assert len(problems) == 2
    assert "metadata.json says" in problems[str(name_of(bucket.sealed[0]))][0]
    assert "the store says" in problems[str(name_of(bucket.sealed[1]))][0]


def test_verify_says_which_range_of_which_log_is_affected(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts
) -> None:
    bucket = Bucket(site)
    log = bucket.live[0]
    damaged = list(site.store.extents(log.number))[-1]
    path = tmp_path / "archive" / damaged.object
    body = bytearray(path.read_bytes())
    body[damaged.position + 100] ^= 1
    path.write_bytes(body)
    root = tmp_path / "archive" / "default" / "demo" / "task2" / "1"
    wreck(root / "log.joblog")
    found = {one.key: " ".join(one.problems) for one in Verifier(objects, kms_of(tmp_path)).run() if one.problems}
    assert f"log {name_of(log)}, offsets {damaged.offset} to " in found[damaged.object]
    assert "offsets " in found["default/demo/task2/1/metadata.json"]
    segment = f"default/running/task0/1/{0:020}-{9:020}.seg"
    objects.put(segment, b"no segment at all, and long enough to look like one that was damaged on its way to here")
    found = {one.key: one.problems[0] for one in Verifier(objects, kms_of(tmp_path)).run() if one.problems}
    assert "running/task0/1, offsets 0 to 9:" in found[segment]


def new_leader(tmp_path: Path, objects: CountedPuts) -> ArchiveSite:
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(tmp_path / "one" / "kek.key", folder / "kek.key")
    return ArchiveSite(folder, objects)


def wipe_and_rebuild(tmp_path: Path, site: ArchiveSite, objects: CountedPuts) -> tuple[ArchiveSite, Rebuilt]:
    """A new leader in another folder, with nothing but the key file."""
    fresh = new_leader(tmp_path, objects)
    return fresh, Rebuild(fresh.store, fresh.leader.keyring, objects).run()


async def test_rebuild_brings_every_log_back(tmp_path: Path, site: ArchiveSite, objects: CountedPuts) -> None:
    bucket = Bucket(site)
    write_some(bucket.live[0], 99, 1)
    records = {name_of(log): site.store.get_log(log.number) for log in (*bucket.sealed, bucket.empty, *bucket.live)}
    fresh, rebuilt = wipe_and_rebuild(tmp_path, site, objects)
    assert (rebuilt.sealed, rebuilt.live, rebuilt.problems) == (4, 2, [])
    assert not is_unfinished(fresh.store)
    for log in (*bucket.sealed, bucket.empty):
        number = fresh.store.find_log(name_of(log))
        assert number is not None
        assert await fresh.text(number) == log.model.present(0, log.length, None)
        assert (await fresh.verify(number)).complete
        record, before = fresh.store.get_log(number), records[name_of(log)]
        assert record is not None
        assert before is not None
        assert (record.tier, record.state) == (types_pb2.TIER_ARCHIVE, types_pb2.LOG_STATE_COMPLETED)
        for field in ("uid", "writer_id", "start", "outcome", "seal", "created_ns", "completed_ns", "next_offset"):
            assert getattr(record, field) == getattr(before, field), field
    number = fresh.store.find_log(name_of(bucket.sealed[0]))
    assert number is not None
    assert [event.kind for event in fresh.store.events(number)] == ["worker_lost"]
    run = fresh.store.get_run("default", "demo")
    assert run is not None
    assert (run.logs_completed, run.state) == (4, types_pb2.RUN_STATE_SUCCEEDED)
    # What one live log had in the buffer alone is gone with the disk; its worker sends it again.
    for log, lacking in zip(bucket.live, (1, 0), strict=True):
        number = fresh.store.find_log(name_of(log))
        assert number is not None
        record = fresh.store.get_log(number)
        assert record is not None
        assert record.state == types_pb2.LOG_STATE_INTERRUPTED
        assert (record.next_offset < log.length) is bool(lacking)
        assert record.writer_id == log.record.writer_id
        assert [(gap.offset, gap.length, gap.reason, gap.newlines) for gap in record.gaps] == [
            (gap.offset, gap.length, gap.reason, gap.newlines) for gap in log.gaps
        ]
        assert await fresh.text(number) == log.model.present(0, record.next_offset, None)
    fresh.close()


async def test_a_rebuilt_live_log_goes_on_and_is_sealed(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts
) -> None:
    bucket = Bucket(site)
    log = bucket.live[1]
    fresh, _ = wipe_and_rebuild(tmp_path, site, objects)
    number = fresh.store.find_log(name_of(log))
    record = None if number is None else fresh.store.get_log(number)
    assert number is not None
    assert record is not None
    log.store, log.live, log.number = fresh.store, fresh.leader.live, number
    log.record.CopyFrom(record)
    write_some(log, 77)
    fresh.flush(everything=True)
    write_some(log, 78)
    log.complete()
    fresh.seal()
    assert await fresh.text(number) == log.model.present(0, log.length, None)
    assert (await fresh.verify(number)).complete
    data, _ = cat(objects, kms_of(tmp_path), name_of(log))
    assert data == log.model.present(0, log.length, None)
    # The leader that was thought dead can do no harm.
    write_some(bucket.live[0], 5)
    with pytest.raises(ClaimLost):
        site.flush(everything=True)
    while fresh.clean():
        pass
    assert not [one.problems for one in Verifier(objects, kms_of(tmp_path)).run() if one.problems]
    other = fresh.store.find_log(name_of(bucket.live[0]))
    assert other is not None
    there = fresh.store.get_log(other)
    assert there is not None
    assert await fresh.text(other) == bucket.live[0].model.present(0, there.next_offset, None)
    fresh.close()


@pytest.mark.parametrize("step", ["rebuild.claimed", "rebuild.batch", "rebuild.live"])
async def test_a_rebuild_that_was_killed_goes_on(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts, step: str
) -> None:
    bucket = Bucket(site)
    fresh = new_leader(tmp_path, objects)
    kill_at(step)
    with pytest.raises(Killed):
        Rebuild(fresh.store, fresh.leader.keyring, objects).run()
    assert is_unfinished(fresh.store)
    with pytest.raises(Conflict, match="not complete"):
        Collector(objects, fresh.store)
    fresh.close()
    fresh = ArchiveSite(tmp_path / "two", objects)
    Rebuild(fresh.store, fresh.leader.keyring, objects).run()
    assert not is_unfinished(fresh.store)
    for log in (*bucket.sealed, bucket.empty, *bucket.live):
        number = fresh.store.find_log(name_of(log))
        assert number is not None
        assert await fresh.text(number) == log.model.present(0, log.length, None)
    run = fresh.store.get_run("default", "demo")
    assert run is not None
    assert run.logs_completed == 4
    fresh.close()


def test_a_store_with_logs_is_not_rebuilt(tmp_path: Path, site: ArchiveSite, objects: CountedPuts) -> None:
    Bucket(site)
    with pytest.raises(Conflict, match="empty data folder"):
        Rebuild(site.store, site.leader.keyring, objects).run()


async def test_a_rebuild_leaves_out_what_is_damaged_and_says_so(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts
) -> None:
    bucket = Bucket(site)
    root = tmp_path / "archive"
    (root / "default/demo/task0/1/metadata.json").write_bytes(b"{}")
    pack = min(root.glob("_live/*/*.pack"))
    pack.write_bytes(pack.read_bytes()[:-20])
    fresh, rebuilt = wipe_and_rebuild(tmp_path, site, objects)
    assert rebuilt.sealed == 3
    assert {key for key, _ in rebuilt.problems} == {
        "default/demo/task0/1/metadata.json",
        str(pack.relative_to(root)),
    }
    number = fresh.store.find_log(name_of(bucket.live[0]))
    assert number is not None
    pieces = [piece async for piece in fresh.reader.read(number, WHOLE)]
    assert pieces[0].gap is not None
    assert pieces[-1].data == bytes(bucket.live[0].model.data[pieces[-1].offset :])
    fresh.close()


def test_gc_finds_what_a_killed_leader_left_and_nothing_else(
    tmp_path: Path, site: ArchiveSite, objects: CountedPuts
) -> None:
    bucket = Bucket(site)
    assert not list(Collector(objects, site.store, min_age_seconds=0).find())
    leader = site.store.store_id
    left = {
        f"_live/{leader}/{7:020}.pack",
        f"_live/{leader}/{8:020}.roster",
        "default/demo/gone/1/log.joblog",
        "default/demo/gone/2/metadata.json",
        f"default/running/task0/1/{0:020}-{9:020}.seg",
    }
    for key in left:
        objects.put(key, b"left behind")
    objects.put("somebody/elses.txt", b"is not ours")
    assert not list(Collector(objects, site.store).find())
    collector = Collector(objects, site.store, min_age_seconds=0)
    orphans = list(collector.find())
    assert {orphan.key for orphan in orphans} == left
    before = {info.key for info in walk(objects, "")}
    assert [orphan for batch in collector.delete(orphans) for orphan in batch] == orphans
    assert {info.key for info in walk(objects, "")} == before - left
    for log in (*bucket.sealed, *bucket.live):
        data, _ = cat(objects, kms_of(tmp_path), name_of(log))
        assert data == log.model.present(0, log.length, None)


@pytest.mark.parametrize("step", ["pack.put", "seal.put", "seal.metadata", "roster.put", "clean.deleted"])
def test_gc_finds_the_orphans_of_every_kill(tmp_path: Path, site: ArchiveSite, objects: CountedPuts, step: str) -> None:
    bucket = Bucket(site)
    log = site.leader.log(NAME._replace(run="late"))
    write_some(log, 1)
    kill_at(step)
    with pytest.raises(Killed):
        site.flush(everything=True)
        log.complete()
        site.seal()
        while site.clean():
            pass
    known = {one.key for one in site.store.objects.unused(1000)}
    expected = set(site.orphans()) | {key for key in known if objects.head(key) is not None}
    found = {orphan.key for orphan in Collector(objects, site.store, min_age_seconds=0).find()}
    whole = {key for key in expected if key.endswith(("log.joblog", "metadata.json"))}
    assert found >= expected - whole
    for one in (*bucket.sealed, *bucket.live):
        assert not any(extent.object in found for extent in site.store.extents(one.number))


@pytest.mark.parametrize("step", ["gc.found", "gc.deleted"])
def test_gc_that_is_killed_is_run_again(tmp_path: Path, site: ArchiveSite, objects: CountedPuts, step: str) -> None:
    bucket = Bucket(site)
    log = site.leader.log(NAME._replace(run="late"))
    write_some(log, 1)
    kill_at("pack.put")
    with pytest.raises(Killed):
        site.flush(everything=True)
    failpoints.disarm()
    left = {orphan.key for orphan in Collector(objects, site.store, min_age_seconds=0).find()}
    assert left
    kill_at(step)
    collector = Collector(objects, site.store, min_age_seconds=0)
    with pytest.raises(Killed):
        list(collector.delete(collector.find()))
    failpoints.disarm()
    assert {info.key for info in walk(objects, "")} & left == (left if step == "gc.found" else set())

    again = Collector(objects, site.store, min_age_seconds=0)
    gone = {orphan.key for batch in again.delete(again.find()) for orphan in batch}
    assert gone == (left if step == "gc.found" else set())
    assert not {info.key for info in walk(objects, "")} & left
    # What the catalog still says of them is the cleaner's to forget.
    while site.clean():
        pass
    assert not site.store.objects.unused(1000)
    site.flush(everything=True)
    for one in (*bucket.sealed, *bucket.live, log):
        data, _ = cat(objects, kms_of(tmp_path), name_of(one))
        assert data == one.model.present(0, one.length, None)


def test_gc_refuses_another_leaders_archive(tmp_path: Path, site: ArchiveSite, objects: CountedPuts) -> None:
    with pytest.raises(Conflict, match="nobody has claimed"):
        Collector(objects, site.store)
    Bucket(site)
    other = ArchiveSite(tmp_path / "other", objects)
    with pytest.raises(Conflict, match="is not this leader's"):
        Collector(objects, other.store)
    other.close()


def test_what_an_archive_costs(site: ArchiveSite, objects: CountedPuts) -> None:
    Bucket(site)
    infos = list(walk(objects, ""))
    census = take_census(infos, max(info.modified_ns for info in infos))
    assert (census.logs, census.recent_logs) == (4, 4)
    assert census.bytes == sum(info.size for info in infos if not info.key.endswith("claim.json"))
    cost = month(census, Prices(1.0, 1.0, 0.0), 10.0)
    assert cost.puts == 2 * 30 * 24 * 360 + 30 * 24 * 60 + 8
    assert cost.request_money == pytest.approx(cost.puts / 1000)
    million = million_tasks(census, Prices(0.0, 0.005, 0.0))
    assert million is not None
    assert million.money == pytest.approx(10.0)


def test_metadata_that_was_moved_is_refused(tmp_path: Path, site: ArchiveSite, objects: CountedPuts) -> None:
    Bucket(site)
    root = tmp_path / "archive" / "default" / "demo"
    shutil.copytree(root / "task0", root / "copy")
    with pytest.raises(Corrupt, match="moved"):
        find_log(objects, NAME._replace(task="copy"))
