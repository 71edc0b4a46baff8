"""Adopting from a folder: what becomes of logs, names and metadata, and that nothing is written where they lie."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.errors import Unavailable
from joblog.identity import LogName
from joblog.leader.archive.foreign_folder import ForeignFolder
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.leader.buffer.changes import Changes
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from joblog.leader.search.log_search import SearchSpec
from joblog.leader.search.pattern import Pattern
from joblog.leader.search.scope import Scope, SearchLimits
from joblog.leader.search.searcher import Searcher
from joblog.v1 import types_pb2
from joblog.v1.adoption_pb2 import ADOPT_RESULT_CHANGED, ADOPT_RESULT_LATER, ADOPT_RESULT_REFUSED
from tests.adopting import ENDED, AdoptingSite, OldFolder
from tests.archiving import CountedPuts


@pytest.fixture
def old(tmp_path: Path) -> OldFolder:
    return OldFolder(tmp_path / "old")


@pytest.fixture
def site(tmp_path: Path, old: OldFolder) -> Iterator[AdoptingSite]:
    old.root.mkdir()
    made = AdoptingSite(tmp_path / "leader", CountedPuts(tmp_path / "archive"), ForeignFolder(old.root))
    yield made
    made.close()


def text_of(lines: int, seed: int = 1) -> bytes:
    rng = random.Random(seed)
    return b"".join(b"%d %s\n" % (line, rng.randbytes(rng.randrange(60)).hex().encode()) for line in range(lines))


async def test_a_log_is_in_the_catalog_and_reads_as_it_is(site: AdoptingSite, old: OldFolder) -> None:
    text = text_of(20_000)
    old.put("team/build/api/job-1/logs.txt", text, {**ENDED, "image": "api:7", "labels": {"tier": "gold"}})
    old.put("team/notes.txt", b"none of the logs")
    totals, [found] = site.adopt()
    assert (totals.listed, totals.adopted, totals.bytes, totals.others) == (3, 1, len(text), 1)
    assert found.name == "team:job-1/api/1"
    record = site.record("team", "job-1", "api")
    assert record.state == types_pb2.LOG_STATE_COMPLETED
    assert record.seal.sha256 == hashlib.sha256(text).digest()
    assert dict(record.start.labels) == {"jobType": "build", "image": "api:7", "tier": "gold"}
    assert (record.outcome.kind, record.outcome.exit_code) == (types_pb2.OUTCOME_KIND_EXITED, 0)
    assert record.completed_ns - record.created_ns == 300_500_000_000
    run = site.store.get_run("team", "job-1")
    assert run is not None
    assert run.state == types_pb2.RUN_STATE_SUCCEEDED
    assert await site.text(record.number) == text
    line = ReadSpec(Start(StartKind.LINE, 15_000), limit_bytes=5)
    assert await site.text(record.number, line) == b"14999"
    tail = ReadSpec(Start(StartKind.LAST_LINES, 2))
    assert await site.text(record.number, tail) == b"".join(text.splitlines(keepends=True)[-2:])
    verdict = await site.verify(record.number)
    assert (verdict.complete, verdict.unchanged, verdict.problems) == (False, True, [])
    # Nothing of the text is in the archive.
    assert all(text[:40] not in path.read_bytes() for path in (site.objects._root).rglob("*") if path.is_file())  # type: ignore[attr-defined]
    assert sum(size for key, size in site.objects.puts if key.endswith(".joblog")) < 10_000  # type: ignore[attr-defined]


async def test_gzip_text_reads_as_what_it_holds(site: AdoptingSite, old: OldFolder) -> None:
    text = text_of(50_000)
    half = len(text) // 2
    old.put("t/b/s/j/logs.txt.gz", gzip.compress(text[:half]) + gzip.compress(text[half:]) + bytes(100))
    site.adopt()
    record = site.record("t", "j", "s")
    assert record.adopted.gzip
    assert record.seal.length == len(text)
    for start in (0, half - 3, len(text) - 10, 300_000, 5):
        spec = ReadSpec(Start(StartKind.OFFSET, start), limit_bytes=1000)
        assert await site.text(record.number, spec) == text[start : start + 1000]
    assert await site.text(record.number) == text
    assert (await site.verify(record.number)).unchanged


async def test_again_adopts_only_what_is_new(site: AdoptingSite, old: OldFolder) -> None:
    for number in range(5):
        old.put(f"t/b/s/j{number}/logs.txt", b"text %d\n" % number, ENDED)
    dry, would = site.adopt(dry_run=True)
    assert (dry.adopted, len(would), site.store.list_namespaces()) == (5, 5, [])
    first, _ = site.adopt(limit=2)
    assert (first.adopted, first.known) == (2, 0)
    second, _ = site.adopt()
    assert (second.adopted, second.known) == (3, 2)
    old.put("t/b/s/j1/logs.txt", b"another text\n")
    old.put("t/b/s/j9/logs.txt", b"", ENDED)
    third, found = site.adopt()
    assert (third.adopted, third.known, third.changed) == (1, 4, 1)
    assert [one.url[-16:] for one in found if one.result == ADOPT_RESULT_CHANGED] == ["/b/s/j1/logs.txt"]
    assert await site.text(site.record("t", "j9", "s").number) == b""
    assert (await site.verify(site.record("t", "j9", "s").number)).unchanged


async def test_a_changed_object_is_told_and_never_taken_for_the_log(site: AdoptingSite, old: OldFolder) -> None:
    text = text_of(30_000)
    for job in ("changed", "gone", "longer"):
        old.put(f"t/b/s/{job}/logs.txt", text, ENDED)
    site.adopt()
    old.put("t/b/s/changed/logs.txt", text[:-1] + b"!")
    (old.root / "t/b/s/gone/logs.txt").unlink()
    with (old.root / "t/b/s/longer/logs.txt").open("ab") as file:
        file.write(b"more")
    site.reader = site.new_reader()
    for job in ("changed", "gone", "longer"):
        number = site.record("t", job, "s").number
        pieces = [piece async for piece in site.reader.read(number, ReadSpec())]
        assert b"".join(piece.data for piece in pieces) == b""
        gaps = [piece.gap for piece in pieces if piece.gap is not None]
        assert {gap.reason for gap in gaps} == {types_pb2.GAP_REASON_SOURCE_CHANGED}
        assert sum(gap.length for gap in gaps) == len(text)
        verdict = await site.verify(number)
        assert not verdict.unchanged
        assert "changed or deleted since it was adopted" in verdict.problems[0]


async def test_a_source_out_of_reach_is_no_loss(site: AdoptingSite, old: OldFolder, tmp_path: Path) -> None:
    for job in ("j1", "j2"):
        old.put(f"t/b/s/{job}/logs.txt", b"a needle\n", ENDED)
    site.adopt()
    own = site.leader.log(LogName("t", "own", "s", 1))
    own.append((1, b"a needle of its own\n"))
    number = site.record("t", "j1", "s").number
    shutil.move(old.root, tmp_path / "elsewhere")
    site.reader = site.new_reader()
    archive = site.reader._archive
    searcher = Searcher(site.store, site.reader.open_cipher, archive)
    with pytest.raises(Unavailable, match="can't be read"):
        await site.text(number)
    with pytest.raises(Unavailable, match="can't be read"):
        await site.verify(number)
    spec = SearchSpec(Pattern("needle"))
    reports = [report async for report in searcher.search(Scope("t"), spec, SearchLimits())]
    assert [str(report.name) for report in reports if report.hits] == ["t:own/s/1"]
    assert sorted(str(report.name) for report in reports if report.skipped) == ["t:j1/s/1", "t:j2/s/1"]
    with pytest.raises(Unavailable):
        [report async for report in searcher.search(Scope("t", "j1", "s", 1), spec, SearchLimits())]
    shutil.move(tmp_path / "elsewhere", old.root)
    assert await site.text(number) == b"a needle\n"
    assert [event.kind for event in site.store.events(number)] == ["adopted"]
    # A leader that is not told of the place any more.
    site.foreign = ForeignReader([])
    site.source = ForeignFolder(tmp_path / "other")
    with pytest.raises(Unavailable, match=r"adoption\.sources"):
        reader = site.new_reader()
        [piece async for piece in reader.read(number, ReadSpec())]
    await searcher.stop()


async def test_deleting_and_cleaning_leave_the_source_alone(site: AdoptingSite, old: OldFolder) -> None:
    for number in range(3):
        old.put(f"t/b/s/j{number}/logs.txt", b"text\n", ENDED)
    before = {path: path.stat().st_mtime_ns for path in old.root.rglob("*")}
    site.adopt()
    changes = Changes()
    changes.delete_run("t", "j1")
    changes.delete_log(site.record("t", "j2", "s").number)
    site.store.write(changes)
    while site.clean():
        pass
    assert {path: path.stat().st_mtime_ns for path in old.root.rglob("*")} == before
    assert {key.split("/")[1] for key in site.objects.all_keys() if key.endswith(".joblog")} == {"j0"}  # type: ignore[attr-defined]
    assert site.orphans() == []
    totals, _ = site.adopt()
    assert (totals.adopted, totals.known) == (2, 1)


async def test_what_can_not_be_adopted_is_said(site: AdoptingSite, old: OldFolder) -> None:
    old.put("t/b/s/running/logs.txt", b"x", {"status": "running"})
    old.put("t/b/s/bad/logs.txt", b"x", b"{not json")
    old.put("t/b/s/large/logs.txt", b"x", b'{"a": "' + b"x" * (1 << 20) + b'"}')
    old.put("t/b/s/code/logs.txt", b"x", {"exitCode": "many"})
    old.put("t/b/s/when/logs.txt", b"x", {"startTime": "yesterday"})
    old.put("t/b/s/nogzip/logs.txt.gz", b"x", ENDED)
    old.put("t/b/s/bomb/logs.txt.gz", gzip.compress(bytes((64 << 20) + 1), 1), ENDED)
    old.put("t/b/s/cut/logs.txt.gz", gzip.compress(b"text" * 1000)[:-5], ENDED)
    old.put("t/b/s/both/logs.txt", b"x", ENDED)
    old.put("t/b/s/both/logs.txt.gz", gzip.compress(b"y"), ENDED)
    old.put("t/b/" + "s" * 251 + "/job/logs.txt", b"x", ENDED)
    os.symlink("/etc", old.root / "etc")
    totals, found = site.adopt()
    assert (totals.adopted, totals.later, totals.refused) == (1, 1, 9)
    why = {one.url.split("/")[-2]: one.why for one in found if one.result in (ADOPT_RESULT_REFUSED, ADOPT_RESULT_LATER)}
    assert "says that it is running" in why["running"]
    assert "metadata.json: is no JSON" in why["bad"]
    assert "at most 1048576 are read" in why["large"]
    assert "exit_code is 'many', no integer" in why["code"]
    assert "started is 'yesterday', no time such as" in why["when"]
    assert "named as a gzip file, and is none" in why["nogzip"]
    assert "longer than 67108864 bytes (adoption.max_log_bytes)" in why["bomb"]
    assert "ends in the middle" in why["cut"]
    assert "another object gives the same name" in why["both"]
    assert "not a valid name" in why["job"]
    old.put("t/b/s/young/logs.txt", b"x", ENDED)
    totals, found = site.adopt(min_age_seconds=3600, ignore_metadata=True)
    assert totals.adopted == 0
    assert "less than 3600 s ago" in {one.url.split("/")[-2]: one.why for one in found}["young"]
    totals, _ = site.adopt(ignore_metadata=True)
    assert totals.adopted == 5


async def test_what_the_archive_has_of_a_log_that_the_catalog_lacks_is_left(site: AdoptingSite, old: OldFolder) -> None:
    log = site.leader.log(LogName("t", "j", "s", 1))
    log.append((1, b"its own text"))
    log.complete()
    site.seal()
    objects = {key: site.objects.get(key) for key in ("t/j/s/1/log.joblog", "t/j/s/1/metadata.json")}
    changes = Changes()
    changes.delete_log(log.number)
    site.store.write(changes)
    # As after a rebuild that could not use it: nothing names the objects, nor shall they be deleted.
    changes = Changes()
    changes.forget_objects(objects)
    site.store.write(changes)
    old.put("t/b/s/j/logs.txt", b"another text", ENDED)
    totals, [found] = site.adopt()
    assert (totals.adopted, totals.refused) == (0, 1)
    assert "has t/j/s/1/metadata.json of another log" in found.why
    site.clean()
    assert {key: site.objects.get(key) for key in objects} == objects


async def test_a_log_of_joblogs_own_is_not_replaced(site: AdoptingSite, old: OldFolder) -> None:
    log = site.leader.log()
    name = log.record.id
    old.put(f"{name.namespace}/b/{name.task}/{name.run}/logs.txt", b"x", ENDED)
    totals, [found] = site.adopt()
    assert (totals.adopted, totals.refused) == (0, 1)
    assert "not an adopted one" in found.why
