"""Settings that change what is asked of an S3 server, seen at the server."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Any

import pytest

from joblog.errors import Corrupt
from joblog.leader.archive.objects import checksum_of
from joblog.leader.archive.s3 import S3Store
from tests.object_servers import options_for

LIVE, SEGMENT, SEALED, METADATA = "_live/l/1.pack", "n/r/t/1/0-9.seg", "n/r/t/1/log.joblog", "n/r/t/1/metadata.json"


def store_with(endpoint: str, **options: object) -> S3Store:
    store = S3Store(f"joblog-{uuid.uuid4().hex[:12]}", "p/", options_for(endpoint, **options))
    store.check(create=True)
    return store


def put_in_parts(store: S3Store, key: str) -> None:
    upload = store.start_multipart(key)
    upload.upload(1, b"x")
    assert upload.complete().checksum == checksum_of(b"x")


def head(store: S3Store, key: str) -> dict[str, Any]:
    reply: dict[str, Any] = store.client.head_object(Bucket=store.bucket, Key=f"p/{key}")
    return reply


def test_only_what_stays_has_a_class(moto: str) -> None:
    store = store_with(moto, storage_class="STANDARD_IA")
    for key in (LIVE, SEGMENT, METADATA):
        store.put(key, b"x")
    put_in_parts(store, SEALED)
    assert [head(store, key).get("StorageClass", "STANDARD") for key in (LIVE, SEGMENT)] == ["STANDARD"] * 2
    assert [head(store, key)["StorageClass"] for key in (METADATA, SEALED)] == ["STANDARD_IA"] * 2


def test_only_what_stays_is_locked(rgw: str) -> None:
    store = store_with(rgw, object_lock_mode="GOVERNANCE", object_lock_days=3)
    for key in (LIVE, SEGMENT, METADATA):
        store.put(key, b"x")
    put_in_parts(store, SEALED)
    for key in (LIVE, SEGMENT):
        assert "ObjectLockMode" not in head(store, key)
    for key in (METADATA, SEALED):
        reply = head(store, key)
        assert reply.get("ObjectLockMode") == "GOVERNANCE", key
        left = reply["ObjectLockRetainUntilDate"] - dt.datetime.now(dt.UTC)
        assert dt.timedelta(days=2) < left <= dt.timedelta(days=3)
        with pytest.raises(store.client.exceptions.ClientError, match="AccessDenied"):
            store.client.delete_object(Bucket=store.bucket, Key=f"p/{key}", VersionId=reply["VersionId"])


# moto lets go of locked versions when several are deleted at once.
def test_what_is_locked_is_hidden_when_it_is_deleted_and_purged_once_the_lock_is_over(rgw: str) -> None:
    store = store_with(rgw, object_lock_mode="COMPLIANCE", object_lock_days=2)
    seconds = 6.0
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    for key in (METADATA, SEALED):
        reply = store.put(key, b"x")
        assert reply.key == key
    # One more of a lock that ends soon.
    store.client.put_object(
        Bucket=store.bucket, Key="p/n/r/t/2/log.joblog", Body=b"x", ChecksumAlgorithm="SHA256",
        ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until,
    )  # fmt: skip
    keys = [METADATA, SEALED, "n/r/t/2/log.joblog", LIVE]
    store.put(LIVE, b"x")
    store.delete(keys)
    kept = store.purge(keys)
    assert set(kept) == {METADATA, SEALED, "n/r/t/2/log.joblog"}
    day = 86_400 * 10**9
    assert all(1.9 * day < at - time.time_ns() < 2.1 * day for at in kept.values())
    assert store.list("")[0] == []
    time.sleep(max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds() + 1.0))
    assert set(store.purge(keys)) == {METADATA, SEALED}
    found = store.client.list_object_versions(Bucket=store.bucket)
    assert {one["Key"] for one in found["Versions"]} == {f"p/{METADATA}", f"p/{SEALED}"}
    assert {one["Key"] for one in found["DeleteMarkers"]} == {f"p/{METADATA}", f"p/{SEALED}"}
    store.close()


@pytest.mark.parametrize(("sse", "said"), [("s3", "AES256"), ("kms", "aws:kms")])
def test_encryption_at_the_server_is_asked_for(moto: str, sse: str, said: str) -> None:
    store = store_with(moto, sse=sse)
    store.put(LIVE, b"x")
    put_in_parts(store, SEALED)
    assert [head(store, key)["ServerSideEncryption"] for key in (LIVE, SEALED)] == [said] * 2


def test_the_servers_own_checksum_counts_more_than_ours(moto: str) -> None:
    """What lies there is not what the metadata says: seen by a head, without a read."""
    store = store_with(moto)
    info = store.put("a", b"good")
    evil = store.client.put_object(
        Bucket=store.bucket,
        Key="p/a",
        Body=b"evil",
        ChecksumAlgorithm="CRC32",
        Metadata={"joblog-checksum": info.checksum},
    )
    assert evil["ETag"] != info.etag
    with pytest.raises(Corrupt):
        store.get("a")


def test_a_region_of_its_own(moto: str) -> None:
    store = store_with(moto, region="eu-central-1")
    assert store.client.get_bucket_location(Bucket=store.bucket)["LocationConstraint"] == "eu-central-1"
    store.check(create=True)
