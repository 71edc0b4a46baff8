"""One suite for every object store: a folder, moto for S3 in memory, and Ceph's RADOS Gateway, a real S3 server."""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from joblog.errors import Corrupt, Denied, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.objects import MIN_PART_BYTES, ObjectStore, PreconditionFailed, checksum_of, walk
from joblog.leader.archive.options import ArchiveOptions
from joblog.leader.archive.retrying import RetryingStore
from joblog.leader.archive.s3 import S3Store
from tests.object_servers import KMS_KEY, SECRET_KEY, free_port, options_for, pass_days

SERVERS = ("moto", "rgw")


@pytest.fixture(params=["folder", "retrying", *SERVERS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "folder":
        made: ObjectStore = FolderStore(tmp_path / "objects")
    elif request.param == "retrying":
        made = RetryingStore(FolderStore(tmp_path / "objects"), 1.0)
    else:
        endpoint = request.getfixturevalue(request.param)
        made = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "some/prefix/", options_for(endpoint))
    made.check(create=True)
    yield made
    made.close()


def test_an_object_comes_back_as_it_was_put(store: ObjectStore) -> None:
    data = os.urandom(100_000)
    info = store.put("a/b/c.pack", [data[:10], memoryview(data)[10:]], metadata={"writer": "me"})
    assert (info.key, info.size, info.checksum) == ("a/b/c.pack", len(data), checksum_of(data))
    assert store.get("a/b/c.pack") == data
    head = store.head("a/b/c.pack")
    assert head is not None
    assert (head.size, head.etag, head.checksum) == (info.size, info.etag, info.checksum)
    assert head.metadata == {"writer": "me"} or not head.metadata
    again = store.put("a/b/c.pack", b"other")
    assert again.etag != info.etag
    assert store.get("a/b/c.pack") == b"other"


def test_ranges(store: ObjectStore) -> None:
    data = bytes(range(256)) * 100
    store.put("x", data)
    assert store.get("x", 10, 20) == data[10:30]
    assert store.get("x", len(data) - 5, 5) == data[-5:]
    assert store.get("x", -7) == data[-7:]
    assert store.get("x", -1_000_000) == data
    assert store.get("x", 25_000) == data[25_000:]
    assert store.get("x", 3, 0) == b""
    for start, length in ((len(data) - 5, 6), (len(data), 1), (len(data) + 1, 1)):
        with pytest.raises(Corrupt):
            store.get("x", start, length)
    with pytest.raises(InvalidInput):
        store.get("x", -5, 2)


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.head("no/such") is None
    with pytest.raises(NotFound):
        store.get("no/such")
    with pytest.raises(NotFound):
        store.get("no/such", 5, 2)
    store.delete(["no/such", "neither"])
    assert store.list("no/") == ([], False)


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "a/", "../a", "a/../b", ".hidden", "a/.b", "a\0b", "a\nb", "x" * 1100]
)
def test_hostile_keys_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidInput):
        store.put(key, b"x")
    with pytest.raises(InvalidInput):
        store.get(key)


def test_one_of_many_writers_wins(store: ObjectStore) -> None:
    barrier = threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait()
        try:
            store.put("claim", f"writer {number}".encode(), if_absent=True)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert store.get("claim") == f"writer {won.index(True)}".encode()


def test_a_conditional_write_knows_its_predecessor(store: ObjectStore) -> None:
    first = store.put("claim", b"1", if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put("claim", b"1b", if_absent=True)
    second = store.put("claim", b"2", if_match=first.etag)
    with pytest.raises(PreconditionFailed):
        store.put("claim", b"3", if_match=first.etag)
    assert store.get("claim") == b"2"
    store.put("claim", b"3", if_match=second.etag)
    with pytest.raises((PreconditionFailed, NotFound)):
        store.put("other", b"x", if_match=first.etag)


def test_lists_are_in_order_and_in_pages(store: ObjectStore) -> None:
    keys = sorted([f"runs/{number:03d}/log" for number in range(25)] + ["runs/", "runs-a/x", "other"][1:])
    for key in keys:
        store.put(key, key.encode())
    page, more = store.list("runs/", limit=10)
    assert more
    assert [info.key for info in page] == [f"runs/{number:03d}/log" for number in range(10)]
    assert [info.size for info in page] == [12] * 10
    rest, more = store.list("runs/", after=page[-1].key, limit=100)
    assert not more
    assert [info.key for info in rest] == [f"runs/{number:03d}/log" for number in range(10, 25)]
    assert [info.key for info in walk(store, "")] == keys
    assert [info.key for info in walk(store, "runs/00")] == [f"runs/{number:03d}/log" for number in range(10)]


def test_deletes_take_many_at_once(store: ObjectStore) -> None:
    keys = [f"d/{number}" for number in range(30)]
    for key in keys:
        store.put(key, b"x")
    store.delete([*keys[:29], "d/none"])
    assert [info.key for info in walk(store, "")] == ["d/29"]


def test_without_versions_there_is_nothing_to_purge(store: ObjectStore) -> None:
    store.put("d/1", b"x")
    assert not store.keeps_versions()
    assert store.purge(["d/1", "d/none"]) == {}
    assert store.get("d/1") == b"x"


@pytest.mark.parametrize("server", SERVERS)
def test_no_version_of_what_is_purged_is_left_and_all_others_are(server: str, request: pytest.FixtureRequest) -> None:
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "p/", options_for(request.getfixturevalue(server)))
    store.check(create=True)
    store.client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})
    runs = [f"n/r{run}/t{task}/1/{name}" for run in range(2) for task in range(3) for name in ("a", "b")]
    packs = [f"_live/one/{number}.pack" for number in range(4)]
    for key in (*runs, *packs):
        store.put(key, b"1")
        store.put(key, b"2")
    gone = [*runs[:5], packs[1], packs[3], "n/none/t/1/a"]
    store.delete(gone)
    assert store.keeps_versions()
    assert store.purge(gone) == {}
    assert store.purge(gone) == {}
    found = store.client.list_object_versions(Bucket=store.bucket)
    assert "DeleteMarkers" not in found
    left = Counter(one["Key"].removeprefix("p/") for one in found["Versions"])
    assert left == Counter({key: 2 for key in (*runs, *packs) if key not in gone})


def test_an_object_of_parts(store: ObjectStore) -> None:
    parts = [os.urandom(MIN_PART_BYTES), os.urandom(MIN_PART_BYTES + 3), b"the end"]
    store.put("source", parts[1] + b"more")
    upload = store.start_multipart("whole", {"kind": "sealed"})
    upload.upload(3, parts[2])
    upload.upload(1, parts[0])
    upload.copy(2, "source", 0, len(parts[1]))
    upload.upload(3, [parts[2][:3], parts[2][3:]])
    assert store.head("whole") is None
    info = upload.complete(if_absent=True)
    assert info.size == sum(map(len, parts))
    assert store.get("whole") == b"".join(parts)
    again = store.start_multipart("whole")
    again.upload(1, b"other")
    with pytest.raises(PreconditionFailed):
        again.complete(if_absent=True)
    again.abort()
    again.abort()
    assert store.get("whole", -7) == b"the end"


def test_parts_that_were_never_put_together_go(store: ObjectStore) -> None:
    upload = store.start_multipart("lost")
    upload.upload(1, b"x")
    # moto says of every upload that it was begun in 2010.
    assert store.drop_uploads(10**9) == 0
    assert store.drop_uploads(0) >= 1
    with pytest.raises((NotFound, InvalidInput, Unavailable)):
        upload.complete()
    upload.abort()
    assert [info.key for info in walk(store, "")] == []


def test_lifecycle_rules_leave_those_of_others_alone(store: ObjectStore) -> None:
    if not store.set_lifecycle(live_days=3, upload_days=7):
        pytest.skip(f"{store.name}: a folder has no lifecycle rules")
    assert isinstance(store, S3Store)
    foreign = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    rules = store.client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    store.client.put_bucket_lifecycle_configuration(
        Bucket=store.bucket, LifecycleConfiguration={"Rules": [*rules, foreign]}
    )
    assert store.set_lifecycle(live_days=0, upload_days=5)
    rules = store.client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    assert {rule["ID"] for rule in rules} == {"theirs", "joblog-uploads"}


@pytest.mark.parametrize("versions", [True, False])
def test_lifecycle_rules_never_take_what_is_there(rgw: str, versions: bool) -> None:
    """A claim and packs may be old and needed all the same; of what was deleted the versions go."""
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "p/", options_for(rgw))
    store.check(create=True)
    if versions:
        store.client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})
    needed = ["_live/claim.json", "_live/one/00000000000000000001.pack", "default/r/t/1/log.joblog"]
    for key in (*needed, "_live/one/00000000000000000002.pack"):
        store.put(key, b"first")
    store.put("_live/claim.json", b"second")
    store.delete(["_live/one/00000000000000000002.pack"])
    assert store.set_lifecycle(live_days=1, upload_days=1)
    pass_days(rgw, 2)
    assert [info.key for info in walk(store, "")] == needed
    assert store.get("_live/claim.json") == b"second"
    found = store.client.list_object_versions(Bucket=store.bucket).get("Versions", [])
    assert sorted(one["Key"] for one in found) == [f"p/{key}" for key in needed]


@pytest.mark.parametrize("server", SERVERS)
def test_a_missing_bucket_is_made_only_when_allowed(server: str, request: pytest.FixtureRequest) -> None:
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "", options_for(request.getfixturevalue(server)))
    with pytest.raises(NotFound, match="bucket"):
        store.check(create=False)
    with pytest.raises(NotFound):
        store.put("a", b"x")
    store.check(create=True)
    store.check(create=True)
    store.put("a", b"x")


def test_wrong_credentials_are_denied_and_not_repeated(rgw: str) -> None:
    wrong = "wrong-secret-that-nobody-may-see"
    for options in (options_for(rgw, secret_key=wrong), options_for(rgw, access_key="nobody", secret_key=wrong)):
        store = S3Store("joblog-denied", "", options)
        with pytest.raises(Denied) as raised:
            store.check(create=True)
        assert wrong not in str(raised.value)
        assert SECRET_KEY not in str(raised.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    store = S3Store("joblog-none", "", options_for(f"http://127.0.0.1:{free_port()}"))
    for work in (lambda: store.put("a", b"x"), lambda: store.get("a"), lambda: store.check(create=True)):
        with pytest.raises(Unavailable):
            work()


def test_a_server_that_sends_without_end_is_not_listened_to() -> None:
    sent = 0
    ended = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal sent
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while sent < 1 << 30:
                    self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
                    sent += 1 << 16
            except OSError:
                pass
            ended.set()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = S3Store("joblog-endless", "", options_for(f"http://127.0.0.1:{server.server_port}"))
        with pytest.raises(Corrupt, match="sends more than 1000 bytes"):
            store.get("a", -1000)
        assert ended.wait(10)
        assert sent < 64 << 20
        store.close()
        server.shutdown()


@pytest.mark.parametrize("sse", ["kms", "customer"])
def test_encryption_at_the_server(rgw: str, sse: str) -> None:
    key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    options = options_for(rgw, sse=sse, sse_kms_key=KMS_KEY, sse_customer_key=key)
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "", options)
    store.check(create=True)
    data = os.urandom(20_000)
    store.put("a", data)
    assert store.get("a") == data
    upload = store.start_multipart("b")
    upload.upload(1, os.urandom(MIN_PART_BYTES))
    upload.upload(2, data)
    assert upload.complete().size == MIN_PART_BYTES + len(data)
    assert store.get("b", -len(data)) == data
    reply = store.client.head_object(Bucket=store.bucket, Key="a", **store.customer_fields())
    assert reply.get("ServerSideEncryption") == "aws:kms" or reply.get("SSECustomerAlgorithm") == "AES256"


def test_a_read_back_finds_what_the_server_changed(moto: str) -> None:
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "", options_for(moto, verify="read"))
    store.check(create=True)
    assert store.put("a", b"good").size == 4
    store.client.put_object(
        Bucket=store.bucket, Key="a", Body=b"evil", Metadata={"joblog-checksum": checksum_of(b"good")}
    )
    with pytest.raises(Corrupt):
        store.get("a")


def test_urls(tmp_path: Path) -> None:
    from joblog.leader.archive.open import open_store

    store = open_store(ArchiveOptions(f"file://{tmp_path}/archive"))
    store.check(create=True)
    store.put("a", b"x")
    assert (tmp_path / "archive" / "a").read_bytes() == b"x"
    for url in ("http://x/y", "s3://a", "s3://user:pass@bucket/x", "file://relative", "file:///", "s3://bucket?x=1"):
        with pytest.raises(InvalidInput) as raised:
            open_store(ArchiveOptions(url))
        assert "pass" not in str(raised.value).replace("password", "")


@pytest.mark.parametrize(("code", "message"), [("InternalError", ""), ("SlowDown", "Please reduce your request rate.")])
def test_a_version_that_is_not_deleted_as_the_server_failed_is_no_locked_one(
    moto: str, code: str, message: str
) -> None:
    store, key = _versioned(moto, "d/1")
    refuse = _refusing(store, code, message)
    with pytest.raises(Unavailable, match=f"1 old versions were not deleted.*{code}"):
        store.purge([key])
    retrying = RetryingStore(store, 60.0, sleep=lambda _seconds: refuse(None))
    assert retrying.purge([key]) == {}
    assert "Versions" not in store.client.list_object_versions(Bucket=store.bucket)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", ""),
        ("SomethingElse", ""),
        ("InvalidRequest", "Object is WORM protected and cannot be overwritten"),
    ],
)
def test_a_locked_version_is_kept_for_a_day_at_least(moto: str, code: str, message: str) -> None:
    store, key = _versioned(moto, "d/1")
    _refusing(store, code, message)
    kept = store.purge([key])
    assert set(kept) == {key}
    assert kept[key] > time.time_ns() + 86_000 * 10**9


def _versioned(endpoint: str, key: str) -> tuple[S3Store, str]:
    """A store that keeps versions, and an object in it that was deleted."""
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "p/", options_for(endpoint))
    store.check(create=True)
    store.client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration={"Status": "Enabled"})
    store.put(key, b"x")
    store.delete([key])
    return store, key


def _refusing(store: S3Store, code: str, message: str) -> Callable[[None], None]:
    """The server answers so for each version; gives what ends it."""

    def answer(params: dict[str, Any], **_: object) -> tuple[SimpleNamespace, dict[str, Any]]:
        names = re.findall(rb"<Key>([^<]*)</Key><VersionId>([^<]*)</VersionId>", params["body"])
        errors = [
            {"Key": key.decode(), "VersionId": version.decode(), "Code": code, "Message": message}
            for key, version in names
        ]
        return SimpleNamespace(status_code=200), {"Errors": errors}

    event = "before-call.s3.DeleteObjects"
    store.client.meta.events.register(event, answer)
    return lambda _: store.client.meta.events.unregister(event, answer)
