"""The bucket as a whole: whether it is there, its lifecycle rules, uploads that were left in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from joblog.errors import NotFound
from joblog.leader.archive.layout import LIVE_PREFIX
from joblog.leader.archive.s3_errors import code_of, translated

if TYPE_CHECKING:
    from joblog.leader.archive.s3 import S3Store

_RULES = ("joblog-live", "joblog-uploads")


def check_bucket(store: S3Store, *, create: bool, locked: bool) -> None:
    """As ObjectStore.check(). locked: whether one that is made is to know object locks."""
    try:
        with translated(store.name, store) as client:
            client.head_bucket(Bucket=store.bucket)
            return
    except NotFound:
        if not create:
            raise NotFound(
                f"{store.name}: there is no bucket {store.bucket}: make it, or set archive.create_bucket"
            ) from None
    with translated(store.name, store) as client:
        region = client.meta.region_name
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        lock = {"ObjectLockEnabledForBucket": True} if locked else {}
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=store.bucket, **place, **lock)


def set_lifecycle(store: S3Store, prefix: str, *, live_days: int, upload_days: int) -> None:
    """As ObjectStore.set_lifecycle(), below `prefix`; rules of others stay as they are."""
    rules = [rule for rule in _lifecycle(store) if rule.get("ID") not in _RULES]
    if live_days:
        # Never what is there now: how old it is tells nothing of whether it is needed.
        rules.append(
            {
                "ID": _RULES[0],
                "Status": "Enabled",
                "Filter": {"Prefix": prefix + LIVE_PREFIX},
                "NoncurrentVersionExpiration": {"NoncurrentDays": live_days},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
            }
        )
    if upload_days:
        rules.append(
            {
                "ID": _RULES[1],
                "Status": "Enabled",
                "Filter": {"Prefix": prefix},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": upload_days},
            }
        )
    with translated(store.name, store) as client:
        if rules:
            client.put_bucket_lifecycle_configuration(Bucket=store.bucket, LifecycleConfiguration={"Rules": rules})
        else:
            client.delete_bucket_lifecycle(Bucket=store.bucket)


def _lifecycle(store: S3Store) -> Sequence[dict[str, Any]]:
    with translated(store.name, store) as client:
        try:
            reply = client.get_bucket_lifecycle_configuration(Bucket=store.bucket)
        except client.exceptions.ClientError as error:
            if code_of(error) == "NoSuchLifecycleConfiguration":
                return []
            raise
    rules: Sequence[dict[str, Any]] = reply.get("Rules", [])
    return rules


def drop_uploads(store: S3Store, prefix: str, older_than_seconds: float) -> int:
    """As ObjectStore.drop_uploads()."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=older_than_seconds)
    dropped = 0
    with translated(store.name, store) as client:
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=store.bucket, Prefix=prefix):
            for upload in page.get("Uploads", []):
                if upload["Initiated"] <= before:
                    client.abort_multipart_upload(Bucket=store.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                    dropped += 1
    return dropped
