"""Settings that change what is asked of an S3 server, seen at the server."""

from __future__ import annotations

import datetime as dt
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
