"""What becomes of requests to a real S3 server when the way to it, or the server itself, fails."""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.auth
import pytest

from joblog.errors import Corrupt, Denied, InvalidInput, JoblogError, NotFound, Unavailable
from joblog.leader.archive.metered import MeteredStore
from joblog.leader.archive.objects import MIN_PART_BYTES, PreconditionFailed
from joblog.leader.archive.retrying import RetryingStore, RetryingUpload
from joblog.leader.archive.s3 import S3Store
from tests.object_servers import ACCESS_KEY, SECRET_KEY, options_for
from tests.s3_proxy import (
    DAMAGED_REPLY,
    DAMAGED_REQUEST,
    LOST,
    REFUSED,
    SILENT,
    TRUNCATED,
    WRONG_ETAG,
    Fault,
    S3Proxy,
    s3_proxy,
    self_signed,
)

RETRY_SECONDS = 10.0


@pytest.fixture
def proxy(rgw: str) -> Iterator[S3Proxy]:
    with s3_proxy(rgw) as made:
        yield made


@pytest.fixture
def bucket() -> str:
    return f"joblog-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def direct(rgw: str, bucket: str) -> Iterator[S3Store]:
    """The same objects without the proxy."""
    store = S3Store(bucket, "p/", options_for(rgw))
    store.check(create=True)
    yield store
    store.close()


@pytest.fixture
def raw(proxy: S3Proxy, direct: S3Store) -> Iterator[S3Store]:
    store = S3Store(direct.bucket, "p/", options_for(proxy.endpoint, read_timeout_seconds=2.0))
    yield store
    store.close()


@pytest.fixture
def metered(raw: S3Store) -> MeteredStore:
    return MeteredStore(raw)


@pytest.fixture
def store(metered: MeteredStore) -> RetryingStore:
    return RetryingStore(metered, RETRY_SECONDS)


@pytest.mark.parametrize("kind", [REFUSED, "503 SlowDown", "500 InternalError", "503 ServiceUnavailable"])
def test_a_storm_passes(store: RetryingStore, proxy: S3Proxy, direct: S3Store, kind: str) -> None:
    data = os.urandom(300_000)
    proxy.faults = [Fault("PUT", kind, 2)]
    store.put("a", data, if_absent=True)
    proxy.faults = [Fault("GET", kind, 2), Fault("HEAD", kind, 2)]
    assert store.get("a", 1000, 5000) == data[1000:6000]
    assert store.head("a") == direct.head("a")
    proxy.faults = [Fault("GET", kind, 2)]
    assert [info.key for info in store.list("")[0]] == ["a"]
    proxy.faults = [Fault("POST", kind, 2)]
    store.delete(["a"])
    assert direct.head("a") is None


@pytest.mark.parametrize("kind", [LOST, SILENT])
@pytest.mark.parametrize("condition", ["none", "absent", "match"])
def test_a_put_whose_answer_was_lost_is_looked_up_and_not_repeated(
    store: RetryingStore, proxy: S3Proxy, direct: S3Store, kind: str, condition: str
) -> None:
    etag = None
    if condition == "match":
        first = store.put("a", b"first")
        # That this server compares etags without quotes is learnt once.
        etag = store.put("a", b"before", if_match=first.etag).etag
    proxy.faults = [Fault("PUT", kind)]
    before = proxy.forwarded["PUT"]
    info = store.put("a", b"after", if_absent=condition == "absent", if_match=etag)
    assert info == direct.head("a")
    assert direct.get("a") == b"after"
    assert proxy.forwarded["PUT"] == before + 1
    with pytest.raises(PreconditionFailed):
        store.put("a", b"again", if_match=etag or '"0"')


def test_how_a_server_compares_etags_is_learnt_though_the_first_answer_was_lost(
    store: RetryingStore, proxy: S3Proxy, direct: S3Store
) -> None:
    first = direct.put("a", b"before")
    proxy.faults = [Fault("PUT", LOST)]
    assert store.put("a", b"after", if_match=first.etag) == direct.head("a")


def test_a_put_that_was_lost_on_the_way_of_two_writers_has_one_winner(
    store: RetryingStore, proxy: S3Proxy, direct: S3Store
) -> None:
    proxy.faults = [Fault("PUT", REFUSED)]
    barrier = threading.Barrier(2)

    def write(who: RetryingStore | S3Store, data: bytes) -> bool:
        barrier.wait()
        try:
            who.put("claim", data, if_absent=True)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.submit(write, store, b"ours"), pool.submit(write, direct, b"theirs")
        won = (ours.result(), theirs.result())
    assert won.count(True) == 1
    assert direct.get("claim") == (b"ours" if won[0] else b"theirs")


def test_bytes_that_were_damaged_on_the_way_there_never_become_an_object(
    store: RetryingStore, raw: S3Store, proxy: S3Proxy, direct: S3Store
) -> None:
    data = os.urandom(2_000_000)
    proxy.faults = [Fault("PUT", DAMAGED_REQUEST)]
    with pytest.raises(Unavailable, match="damaged"):
        raw.put("a", data)
    assert direct.head("a") is None
    proxy.faults = [Fault("PUT", DAMAGED_REQUEST)]
    store.put("a", data)
    assert direct.get("a") == data
    upload = store.start_multipart("b")
    proxy.faults = [Fault("PUT", DAMAGED_REQUEST)]
    upload.upload(1, data)
    assert upload.complete().size == len(data)
    assert direct.get("b") == data


def test_bodies_that_are_cut_or_changed_on_the_way_back_are_not_taken(
    store: RetryingStore, raw: S3Store, proxy: S3Proxy
) -> None:
    data = os.urandom(400_000)
    raw.put("a", data)
    proxy.faults = [Fault("GET", TRUNCATED, 2)]
    assert store.get("a") == data
    proxy.faults = [Fault("GET", TRUNCATED, 2)]
    assert store.get("a", 5, 300_000) == data[5:300_005]
    proxy.faults = [Fault("GET", DAMAGED_REPLY)]
    with pytest.raises(Corrupt):
        raw.get("a")
    assert raw.get("a") == data


def test_a_wrong_etag_is_no_success_before_it_is_looked_up(
    store: RetryingStore, raw: S3Store, metered: MeteredStore, proxy: S3Proxy, direct: S3Store
) -> None:
    proxy.faults = [Fault("PUT", WRONG_ETAG)]
    with pytest.raises(Unavailable, match="etag"):
        raw.put("a", b"data")
    proxy.faults = [Fault("PUT", WRONG_ETAG)]
    assert store.put("b", b"data", if_absent=True) == direct.head("b")
    assert metered.usage().requests["put"] == 1
    proxy.faults = [Fault("PUT", WRONG_ETAG)]
    with pytest.raises(Unavailable, match="shows another object"):
        raw.put("c", os.urandom(2_000_000))
    upload = raw.start_multipart("d")
    proxy.faults = [Fault("PUT", WRONG_ETAG)]
    upload.upload(1, os.urandom(MIN_PART_BYTES))
    with pytest.raises(InvalidInput, match="InvalidPart"):
        upload.complete()
    assert direct.head("d") is None


def test_a_denial_in_the_middle_is_said_at_once(store: RetryingStore, proxy: S3Proxy, direct: S3Store) -> None:
    data = os.urandom(MIN_PART_BYTES)
    upload = store.start_multipart("a")
    upload.upload(1, data)
    proxy.faults = [Fault("*", "403 AccessDenied", 1000)]
    before = proxy.requests.total()
    calls: list[Callable[[], object]] = [
        lambda: upload.upload(2, data),
        lambda: store.put("b", b"x"),
        lambda: store.get("a"),
        lambda: store.head("a"),
        lambda: store.list(""),
        lambda: store.delete(["a"]),
        lambda: store.check(create=True),
    ]
    for call in calls:
        with pytest.raises(Denied):
            call()
    assert proxy.requests.total() - before == len(calls)
    proxy.faults = []
    upload.upload(2, data)
    assert upload.complete().size == 2 * len(data)
    assert direct.get("a", len(data)) == data


def test_a_bucket_that_vanishes(store: RetryingStore, direct: S3Store, proxy: S3Proxy) -> None:
    store.put("a", b"x")
    direct.delete(["a"])
    direct.client.delete_bucket(Bucket=direct.bucket)
    before = proxy.requests.total()
    for call in (lambda: store.put("b", b"x"), lambda: store.get("a"), lambda: store.list("")):
        with pytest.raises(NotFound):
            call()
    assert proxy.requests.total() - before == 3
    store.check(create=True)
    store.put("b", b"x")


def test_clocks_that_differ(store: RetryingStore, raw: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(remove_tzinfo: bool = True) -> dt.datetime:
        now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        return now.replace(tzinfo=None) if remove_tzinfo else now

    with monkeypatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", later)
        with pytest.raises(Unavailable, match="clock"):
            raw.put("a", b"x")
        with pytest.raises(JoblogError):
            raw.head("a")
    store.put("a", b"x")


def test_a_part_whose_answer_was_lost_is_sent_again(store: RetryingStore, proxy: S3Proxy, direct: S3Store) -> None:
    parts = [os.urandom(MIN_PART_BYTES), os.urandom(MIN_PART_BYTES), b"end"]
    direct.put("source", parts[1])
    upload = store.start_multipart("a")
    for number, fault in ((1, LOST), (2, LOST), (3, TRUNCATED)):
        proxy.faults = [Fault("PUT", fault)]
        if number == 2:
            upload.copy(2, "source", 0, len(parts[1]))
        else:
            upload.upload(number, parts[number - 1])
    info = upload.complete(if_absent=True)
    assert info == direct.head("a")._replace(checksum=info.checksum)  # type: ignore[union-attr]
    assert direct.get("a") == b"".join(parts)


def two_parts(store: RetryingStore, direct: S3Store, *, copied: bool) -> tuple[RetryingUpload, bytes]:
    """An upload that only has to be completed, and what its object will hold."""
    parts = [os.urandom(MIN_PART_BYTES), b"end"]
    direct.put("source", parts[0])
    upload = store.start_multipart("a", {"kind": "sealed"})
    if copied:
        upload.copy(1, "source", 0, MIN_PART_BYTES)
    else:
        upload.upload(1, parts[0])
    upload.upload(2, parts[1])
    return upload, b"".join(parts)


@pytest.fixture(params=["rgw", "moto"])
def multipart(request: pytest.FixtureRequest, bucket: str) -> Iterator[tuple[RetryingStore, S3Proxy, S3Store]]:
    """A store through a proxy, the proxy, and the same objects without it."""
    endpoint = request.getfixturevalue(request.param)
    direct = S3Store(bucket, "p/", options_for(endpoint))
    direct.check(create=True)
    with s3_proxy(endpoint) as proxy:
        raw = S3Store(bucket, "p/", options_for(proxy.endpoint, read_timeout_seconds=2.0))
        yield RetryingStore(raw, RETRY_SECONDS), proxy, direct
        raw.close()
    direct.close()


@pytest.mark.parametrize(
    ("kind", "if_absent", "copied"),
    [
        (LOST, True, False),
        (LOST, False, True),
        (SILENT, True, True),
        ("503 SlowDown", True, False),
        (REFUSED, False, True),
    ],
)
def test_a_completion_whose_answer_was_lost_is_looked_up(
    multipart: tuple[RetryingStore, S3Proxy, S3Store], kind: str, if_absent: bool, copied: bool
) -> None:
    store, proxy, direct = multipart
    upload, data = two_parts(store, direct, copied=copied)
    before = proxy.forwarded["POST"]
    proxy.faults = [Fault("POST", kind)]
    info = upload.complete(if_absent=if_absent)
    assert proxy.forwarded["POST"] == before + 1
    shown = direct.head("a")
    assert shown is not None
    assert (info.size, info.etag, info.metadata) == (len(data), shown.etag, {"kind": "sealed"})
    assert direct.get("a") == data


def test_a_completion_that_was_seen_late_is_found_by_no_such_upload(
    multipart: tuple[RetryingStore, S3Proxy, S3Store],
) -> None:
    """Nothing is there yet when it is looked up; then the server knows the upload no more."""
    store, proxy, direct = multipart
    upload, data = two_parts(store, direct, copied=False)
    proxy.faults = [Fault("POST", LOST), Fault("HEAD", "404 NoSuchKey", 2), Fault("POST", "404 NoSuchUpload")]
    assert upload.complete(if_absent=True).size == len(data)
    assert direct.get("a") == data


def test_an_upload_that_is_gone_without_an_object_is_said_to_be(
    multipart: tuple[RetryingStore, S3Proxy, S3Store],
) -> None:
    """Another leader's object of the same size is none of ours."""
    store, proxy, direct = multipart
    for theirs in (None, b"x" * (MIN_PART_BYTES + 3)):
        upload, _ = two_parts(store, direct, copied=False)
        direct.drop_uploads(0.0)
        if theirs is not None:
            direct.put("a", theirs)
        proxy.faults = [Fault("POST", REFUSED), Fault("POST", "404 NoSuchUpload")]
        with pytest.raises(NotFound):
            upload.complete()
        assert (direct.get("a") if theirs else direct.head("a")) == theirs


def test_an_outage_under_load_loses_nothing(store: RetryingStore, proxy: S3Proxy, direct: S3Store) -> None:
    """Many writers while the server is away for longer than the first retries; what was acked is there."""
    outage = Fault("*", REFUSED, 10**6)
    back = threading.Timer(1.5, lambda: setattr(outage, "times", 0))
    proxy.faults = [Fault("PUT", LOST, 3), outage]
    back.start()
    bodies = {f"k/{number}": os.urandom(20_000) for number in range(24)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: store.put(item[0], item[1], if_absent=True), bodies.items()))
    back.join()
    assert {info.key: info.size for info in direct.list("k/")[0]} == dict.fromkeys(bodies, 20_000)
    assert all(direct.get(key) == data for key, data in bodies.items())


def test_no_message_and_no_log_line_has_credentials(
    rgw: str, proxy: S3Proxy, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails: keys of S3, session tokens and keys of SSE-C stay where they are."""
    caplog.set_level(logging.INFO)
    secret, token, key = (
        "secret-that-nobody-may-see",
        "token-that-nobody-may-see",
        "c2VjcmV0LWtleS1uby1vbmUtbWF5LXNlZS0xMjM0NTY=",
    )
    several = [
        options_for(rgw, access_key=ACCESS_KEY, secret_key=secret),
        options_for(rgw, session_token=token),
        options_for(proxy.endpoint, sse="customer", sse_customer_key=key),
        options_for("http://127.0.0.1:9", secret_key=secret),
        options_for(rgw, region="no region at all", secret_key=secret),
    ]
    proxy.faults = [Fault("PUT", "500 InternalError", 100)]
    for options in several:
        store = S3Store(bucket, "", options)
        calls: list[Callable[[S3Store], object]] = [
            lambda s: s.check(create=True),
            lambda s: s.put("a", b"x"),
            lambda s: s.get("a"),
        ]
        for call in calls:
            try:
                call(store)
            except JoblogError as error:
                shown = f"{error} {error!r} {error.__context__ if not error.__suppress_context__ else ''}"
                for hidden in (secret, token, key, SECRET_KEY, ACCESS_KEY):
                    assert hidden not in shown
        assert all(hidden not in repr(options) for hidden in (secret, token, key, SECRET_KEY, ACCESS_KEY))
    for hidden in (secret, token, key, SECRET_KEY, ACCESS_KEY):
        assert hidden not in caplog.text


def test_without_credentials_it_says_so_and_looks_again(
    rgw: str, direct: S3Store, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    store = S3Store(direct.bucket, "p/", options_for(rgw, access_key="", secret_key=""))
    with pytest.raises(Denied, match="no credentials"):
        store.put("a", b"x")
    # boto3's own chain: they come later, from the environment.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    store.put("a", b"x")


def test_a_server_without_tls_where_it_is_expected(rgw: str, bucket: str) -> None:
    store = S3Store(bucket, "", options_for(rgw.replace("http://", "https://")))
    with pytest.raises(Unavailable, match="TLS"):
        store.put("a", b"x")


def test_over_tls_with_a_certificate_of_our_own(rgw: str, direct: S3Store, tmp_path: Path) -> None:
    context, ca_file = self_signed(tmp_path)
    data = os.urandom(MIN_PART_BYTES)
    with s3_proxy(rgw, context) as proxy:
        trusting = S3Store(direct.bucket, "p/", options_for(proxy.endpoint, ca_file=ca_file))
        trusting.put("a", data, if_absent=True)
        assert trusting.get("a", 5, 100) == data[5:105]
        upload = trusting.start_multipart("b")
        upload.upload(1, data)
        upload.copy(2, "a", 0, len(data))
        assert upload.complete().size == 2 * len(data)
        trusting.delete(["a"])
        proxy.faults = [Fault("PUT", DAMAGED_REQUEST)]
        with pytest.raises(Unavailable, match="damaged"):
            trusting.put("c", data)
        with pytest.raises(Unavailable, match="ca_file"):
            S3Store(direct.bucket, "p/", options_for(proxy.endpoint)).get("b")
    assert direct.get("b") == data + data


def test_a_server_that_takes_connections_and_says_nothing(bucket: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        store = S3Store(bucket, "", options_for(endpoint, read_timeout_seconds=0.3))
        with pytest.raises(Unavailable, match="Timeout"):
            store.get("a")
