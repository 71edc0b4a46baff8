"""One suite for every place that logs are adopted from: a folder, and moto for S3."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblog.errors import InvalidInput, NotFound, Unavailable
from joblog.leader.archive.foreign import ForeignInfo, ForeignSource
from joblog.leader.archive.foreign_folder import ForeignFolder
from joblog.leader.archive.foreign_s3 import ForeignBucket
from joblog.leader.archive.s3 import S3Store
from joblog.leader.buffer.opening import SourceChanged
from joblog.leader.reading.piece import ReadSpec, Start, StartKind
from tests.adopting import ENDED, AdoptingSite
from tests.archiving import CountedPuts
from tests.object_servers import options_for


class Place:
    """A source, and what its owner does to it."""

    def __init__(self, source: ForeignSource, put: Callable[[str, bytes], object], delete: Callable[[str], object]):
        self.source = source
        self.put = put
        self.delete = delete


def folder_place(root: Path) -> Place:
    def put(key: str, data: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)

    root.mkdir()
    return Place(ForeignFolder(root), put, lambda key: (root / key).unlink())


@pytest.fixture(params=["folder", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        made = folder_place(tmp_path / "old")
    else:
        options = options_for(request.getfixturevalue("moto"))
        bucket = f"old-{uuid.uuid4().hex[:12]}"
        owner = S3Store(bucket, "some/prefix/", options)
        owner.check(create=True)
        made = Place(ForeignBucket(bucket, "some/prefix/", options), owner.put, lambda key: owner.delete([key]))
    yield made
    made.source.close()


def read(place: Place, info: ForeignInfo, start: int = 0, length: int | None = None) -> bytes:
    return place.source.get(info, start, info.size - start if length is None else length)


def test_objects_are_listed_page_by_page_and_read_by_ranges(place: Place) -> None:
    data = os.urandom(50_000)
    for number in range(5):
        place.put(f"a/{number}/logs.txt", data[number:])
    place.put("b/other", b"")
    keys, after, more = [], "", True
    while more:
        page, more = place.source.list("a/", after, 2)
        keys += [(info.key, info.size) for info in page]
        after = page[-1].key
    assert keys == [(f"a/{number}/logs.txt", 50_000 - number) for number in range(5)]
    info = place.source.look("a/0/logs.txt")
    assert (info.size, info.gzip) == (50_000, False)
    assert read(place, info) == data
    assert read(place, info, 123, 4567) == data[123 : 123 + 4567]
    assert read(place, info, 49_999) == data[-1:]
    assert read(place, place.source.look("b/other")) == b""
    listed = place.source.list("a/0", "", 1)[0][0]
    assert (listed.etag, listed.modified_ns // 10**9) == (info.etag, info.modified_ns // 10**9)


def test_what_is_not_there(place: Place) -> None:
    place.put("a/logs.txt", b"x")
    with pytest.raises(NotFound):
        place.source.look("a/other")
    with pytest.raises(NotFound):
        place.source.look("a")
    assert place.source.list("c/") == ([], False)
    for key in ("../a", "a/../b", "/etc/passwd", "", ".hidden/x", "a\0b"):
        with pytest.raises(InvalidInput):
            place.source.look(key)


def test_another_object_under_the_key_is_told_from_the_first(place: Place) -> None:
    place.put("a/logs.txt", b"one text")
    info = place.source.look("a/logs.txt")
    with pytest.raises(SourceChanged):
        place.source.get(info, 4, 100)
    place.put("a/logs.txt", b"two texts")
    with pytest.raises(SourceChanged, match="changed since it was adopted"):
        read(place, info)
    assert place.source.look("a/logs.txt").etag != info.etag
    place.delete("a/logs.txt")
    place.put("a/other", b"so that the folder is not empty")
    with pytest.raises(SourceChanged, match="not there any more"):
        read(place, info)


def test_a_gzip_file_is_known_by_its_name(place: Place) -> None:
    place.put("logs.txt.gz", b"\x1f\x8b")
    assert place.source.look("logs.txt.gz").gzip


def test_a_source_that_is_gone_is_no_reason_to_believe_that_logs_are(tmp_path: Path, moto: str) -> None:
    folder = ForeignFolder(tmp_path / "not-mounted")
    bucket = ForeignBucket("no-such-bucket-of-ours", "", options_for(moto))
    info = ForeignInfo("a/logs.txt", 10, "etag", 0)
    for source in (folder, bucket):
        with pytest.raises(Unavailable):
            source.list("")
        with pytest.raises(Unavailable):
            source.get(info, 0, 10)
        with pytest.raises(Unavailable):
            source.look("a/logs.txt")
    (tmp_path / "not-mounted").mkdir()
    with pytest.raises(Unavailable, match="is empty"):
        folder.get(info, 0, 10)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "logs.txt").write_bytes(b"a key")
    place = folder_place(tmp_path / "old")
    place.put("real/logs.txt", b"x")
    (tmp_path / "old" / "linked").symlink_to(secret)
    (tmp_path / "old" / "file.txt").symlink_to(secret / "logs.txt")
    os.mkfifo(tmp_path / "old" / "pipe.txt")
    assert [info.key for info in place.source.list("")[0]] == ["real/logs.txt"]
    for key in ("linked/logs.txt", "file.txt", "pipe.txt", "real"):
        with pytest.raises(NotFound):
            place.source.look(key)


async def test_logs_are_adopted_from_it_and_read_in_it(place: Place, tmp_path: Path) -> None:
    text = b"".join(b"%d of many lines\n" % number for number in range(100_000))
    for number in range(3):
        place.put(f"t/b/s/j{number}/logs.txt", text[number:])
        place.put(f"t/b/s/j{number}/metadata.json", json.dumps(ENDED).encode())
    place.put("t/b/s/packed/logs.txt.gz", gzip.compress(text))
    site = AdoptingSite(tmp_path / "leader", CountedPuts(tmp_path / "archive"), place.source)
    try:
        assert site.adopt()[0].adopted == 4
        assert site.adopt()[0].known == 4
        for number, run in enumerate(("j0", "j1", "j2")):
            assert await site.text(site.record("t", run, "s").number) == text[number:]
        log = site.record("t", "packed", "s")
        spec = ReadSpec(Start(StartKind.LINE, 90_001), limit_bytes=5)
        assert await site.text(log.number, spec) == b"90000"
        assert (await site.verify(log.number)).unchanged
        place.put("t/b/s/j1/logs.txt", text)
        site.reader = site.new_reader()
        assert await site.text(site.record("t", "j1", "s").number) == b""
        assert site.adopt()[0].changed == 1
    finally:
        site.close()


def test_a_version_that_was_adopted_stays_readable(moto: str) -> None:
    options = options_for(moto)
    owner = S3Store(f"old-{uuid.uuid4().hex[:12]}", "", options)
    owner.check(create=True)
    owner.client.put_bucket_versioning(Bucket=owner.bucket, VersioningConfiguration={"Status": "Enabled"})
    source = ForeignBucket(owner.bucket, "", options)
    owner.put("logs.txt", b"the first")
    info = source.look("logs.txt")
    assert info.version_id
    owner.put("logs.txt", b"the second")
    owner.delete(["logs.txt"])
    assert source.get(info, 4, 5) == b"first"
    source.close()
