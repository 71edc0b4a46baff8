"""Stores around stores: what is counted, what waits for what, and how an archive's URL becomes one."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google_crc32c import value
from hypothesis import given
from hypothesis import strategies as st

from joblog.errors import InvalidInput, Unavailable
from joblog.leader.archive.crc import combine_crc32c
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.limited import LimitedStore
from joblog.leader.archive.metered import MeteredStore
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.open import open_store
from joblog.leader.archive.options import ArchiveOptions, parse_url
from joblog.leader.archive.retrying import RetryingStore
from joblog.leader.metrics import Metrics
from tests.faulty_store import Faults, FaultyStore

DEADLINE_SECONDS = 10


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


def test_every_attempt_counts(folder: FolderStore) -> None:
    faulty = FaultyStore(folder, seed=5)
    metrics = Metrics()
    metered = MeteredStore(faulty, metrics.object_store)
    store = RetryingStore(metered, 1000.0, sleep=lambda _: None)
    faulty.faults = Faults(before=0.5)
    for number in range(20):
        store.put(f"k/{number}", b"x" * 10)
    faulty.faults = Faults()
    assert store.get("k/0") == b"x" * 10
    store.delete([f"k/{number}" for number in range(20)])
    store.delete([f"k/{number}" for number in range(2500)])
    usage = metered.usage()
    failed = usage.failures["Unavailable"]
    assert failed == faulty.hit["before"] > 0
    # A look before each repeated put, and one that verifies each put that was done.
    assert usage.requests["put"] + usage.requests["head"] == 20 + faulty.requests["put"] + faulty.requests["head"]
    assert usage.requests["delete"] == 1 + 3
    assert usage.sent_bytes == 10 * usage.requests["put"]
    assert usage.got_bytes == 10
    assert usage.writes == usage.requests["put"]
    assert usage.reads == usage.requests["head"] + 1
    text = metrics.exposition().decode()
    assert f'joblog_archive_requests_total{{operation="put",outcome="ok"}} {20.0}' in text
    assert "joblog_archive_got_bytes_total 10.0" in text


def test_an_upload_counts_each_part(folder: FolderStore) -> None:
    metered = MeteredStore(folder)
    upload = metered.start_multipart("a")
    upload.upload(1, b"x" * (5 << 20))
    upload.upload(2, b"y")
    upload.complete()
    metered.start_multipart("b").abort()
    assert metered.usage().requests == {"start": 2, "part": 2, "complete": 1, "head": 1, "abort": 1}
    assert metered.usage().writes == 5
    assert metered.usage().sent_bytes == (5 << 20) + 1


class Busy(FaultyStore):
    """Holds requests until they are let go, and notes how many are under way at once."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.go = threading.Event()
        self.changed = threading.Condition()
        self.under_way = 0
        self.most = 0

    def request(self, what, key, work):  # type: ignore[no-untyped-def]
        if what == "get":
            return work()
        with self.changed:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            self.changed.notify_all()
        try:
            assert self.go.wait(DEADLINE_SECONDS)
            return work()
        finally:
            with self.changed:
                self.under_way -= 1


def test_writes_wait_for_each_other_and_reads_do_not_wait_for_them(folder: FolderStore) -> None:
    folder.put("there", b"x")
    busy = Busy(folder)
    store = LimitedStore(busy, 6)
    with ThreadPoolExecutor(20) as pool:
        puts = [pool.submit(store.put, f"k/{number}", b"x") for number in range(12)]
        with busy.changed:
            assert busy.changed.wait_for(lambda: busy.under_way == 3, DEADLINE_SECONDS)
        assert store.get("there") == b"x"
        busy.go.set()
        for put in puts:
            put.result(DEADLINE_SECONDS)
    assert busy.most == 3


def test_a_request_that_fails_leaves_its_place(folder: FolderStore) -> None:
    faulty = FaultyStore(folder)
    store = LimitedStore(faulty, 1)
    faulty.down = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            store.put("a", b"x")
    faulty.down = False
    store.put("a", b"x")
    with pytest.raises(InvalidInput):
        LimitedStore(faulty, 0)


def test_a_store_in_s3_is_opened_without_a_look_at_the_network() -> None:
    store = open_store(ArchiveOptions("s3://some-bucket/a/prefix/"))
    assert store.name == "s3://some-bucket/a/prefix"
    store.close()


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("boto", "joblog.leader.archive.s3"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InvalidInput, match=r"joblog\[s3\]"):
        open_store(ArchiveOptions("s3://bucket/prefix"))


@pytest.mark.parametrize(
    ("url", "folder", "bucket", "prefix"),
    [
        ("file:///var/lib/archive", "/var/lib/archive", "", ""),
        ("file:///a%20b", "/a b", "", ""),
        ("s3://bucket", None, "bucket", ""),
        ("s3://bucket/", None, "bucket", ""),
        ("s3://my.bucket-1/a/b/", None, "my.bucket-1", "a/b/"),
    ],
)
def test_urls_of_archives(url: str, folder: str | None, bucket: str, prefix: str) -> None:
    assert parse_url(url) == (None if folder is None else Path(folder), bucket, prefix)


@pytest.mark.parametrize(
    "url", ["", "s3://", "s3://a", "s3://bucket/../x", "s3://bucket/" + "x" * 200, "s3://key:secret@bucket/x",
            "s3://bucket?x=secret", "file://host/x", "file:///", "file:///a/../b", "gs://bucket", "/folder"]
)  # fmt: skip
def test_urls_that_are_none_are_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_url(url)
    assert "secret" not in str(raised.value)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_checksum_of_both_follows_from_that_of_each(first: bytes, second: bytes) -> None:
    assert combine_crc32c(value(first), value(second), len(second)) == value(first + second)


def test_the_checksum_of_much() -> None:
    zeros = bytes(3 << 20)
    assert combine_crc32c(value(b"head"), value(zeros), len(zeros)) == value(b"head" + zeros)
