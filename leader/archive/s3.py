"""An object store in a bucket: S3, or anything that speaks it. With its two neighbours the only user of boto3.

A put carries an MD5 that the server holds against the bytes it got, and our own CRC-32C as metadata; what it has then
is asked for. Retries are those of joblog.leader.archive.retrying: boto3's own would hide that an outcome is unknown.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config

from joblog.errors import Corrupt, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.objects import (
    MAX_DELETES,
    Data,
    ObjectInfo,
    PreconditionFailed,
    check_key,
    check_prefix,
    checksum_of,
    pieces_of,
)
from joblog.leader.archive.options import S3Options, customer_key
from joblog.leader.archive.s3_errors import translated
from joblog.leader.archive.s3_upload import S3Upload

CHECKSUM = "joblog-checksum"
_LIST_PAGE = 1000
_LIVE = "_live/"
_RULES = ("joblog-live", "joblog-uploads")


def make_client(options: S3Options) -> Any:
    """A client with the connection settings of `options`; credentials by boto3's own chain unless they are given."""
    session = boto3.session.Session(
        aws_access_key_id=options.access_key or None,
        aws_secret_access_key=options.secret_key or None,
        aws_session_token=options.session_token or None,
        region_name=options.region or None,
    )
    config = Config(
        signature_version="s3v4",
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        max_pool_connections=options.max_connections,
        s3={"addressing_style": "path" if options.path_style else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = session.region_name or "us-east-1"
    return session.client(
        "s3",
        region_name=region,
        endpoint_url=options.endpoint or None,
        verify=str(options.ca_file) if options.ca_file else None,
        config=config,
    )


class S3Store:
    """An ObjectStore in a bucket below a prefix ("" or ending in "/"); see the module."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self.bucket = bucket
        self._prefix = prefix
        self._options = options
        with translated(f"s3://{bucket}"):
            self.client = make_client(options)

    @property
    def name(self) -> str:
        return f"s3://{self.bucket}/{self._prefix}".rstrip("/")

    def where(self, key: str) -> str:
        """Store and key, for messages."""
        return f"{self.name}: {key}"

    def full_key(self, key: str) -> str:
        """The key in the bucket."""
        return self._prefix + check_key(key)

    def customer_fields(self, prefix: str = "SSECustomer") -> dict[str, str]:
        """What goes with each request where the key comes from us (SSE-C)."""
        if self._options.sse != "customer":
            return {}
        key = customer_key(self._options.sse_customer_key)
        return {
            f"{prefix}Algorithm": "AES256",
            f"{prefix}Key": base64.b64encode(key).decode(),
            f"{prefix}KeyMD5": base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode(),
        }

    def write_fields(self, key: str) -> dict[str, Any]:
        """What goes with each new object: encryption at the server, and for what stays class and lock."""
        options = self._options
        fields: dict[str, Any] = dict(self.customer_fields())
        if options.sse == "s3":
            fields["ServerSideEncryption"] = "AES256"
        elif options.sse == "kms":
            fields["ServerSideEncryption"] = "aws:kms"
            if options.sse_kms_key:
                fields["SSEKMSKeyId"] = options.sse_kms_key
        if not key.startswith(_LIVE) and not key.endswith(".seg"):
            if options.storage_class:
                fields["StorageClass"] = options.storage_class
            if options.object_lock_mode and options.object_lock_days:
                until = dt.datetime.now(dt.UTC) + dt.timedelta(days=options.object_lock_days)
                fields["ObjectLockMode"] = options.object_lock_mode
                fields["ObjectLockRetainUntilDate"] = until
        return fields

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        body = b"".join(pieces_of(data)) if not isinstance(data, bytes) else data
        checksum = checksum_of(body)
        fields = self.write_fields(key) | {
            "Bucket": self.bucket,
            "Key": self.full_key(key),
            "Body": body,
            "ContentMD5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
            "Metadata": {**(metadata or {}), CHECKSUM: checksum},
        }
        with translated(self.where(key)):
            if if_absent:
                self.client.put_object(**fields, IfNoneMatch="*")
            elif if_match is not None:
                self._put_matching(fields, if_match)
            else:
                self.client.put_object(**fields)
        return self._verified(key, len(body), checksum, body)

    def _put_matching(self, fields: dict[str, Any], etag: str) -> None:
        """Some servers compare a quoted etag with their own unquoted one."""
        try:
            with translated(self.name):
                self.client.put_object(**fields, IfMatch=etag)
        except PreconditionFailed:
            bare = etag.strip('"')
            if bare == etag:
                raise
            self.client.put_object(**fields, IfMatch=bare)

    def _verified(self, key: str, size: int, checksum: str, body: bytes) -> ObjectInfo:
        info = self.head(key)
        if info is None:
            raise Unavailable(f"{self.where(key)}: the store does not show what it has just taken")
        if (info.size, info.checksum) != (size, checksum):
            raise PreconditionFailed(f"{self.where(key)}: another writer's object is there")
        if self._options.verify == "read" and self.get(key) != body:
            raise Corrupt(f"{self.where(key)}: the store gives back other bytes than it took")
        return info

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        full = self.full_key(key)
        if length is not None and (length < 0 or start < 0):
            raise InvalidInput(f"{key}: a range of {length} bytes from {start} is not one")
        if length == 0:
            return b""
        fields = self.customer_fields()
        if start or length is not None:
            end = "" if length is None else str(start + length - 1)
            fields["Range"] = f"bytes={start}{'-' if start >= 0 else ''}{end}"
        with translated(self.where(key)):
            try:
                reply = self.client.get_object(Bucket=self.bucket, Key=full, **fields)
            except self.client.exceptions.ClientError as error:
                if start < 0 and error.response.get("Error", {}).get("Code") == "InvalidRange":
                    return b""  # an empty object has no last bytes
                raise
            data: bytes = reply["Body"].read()
        if length is not None and len(data) != length:
            raise Corrupt(f"{self.where(key)} ends before {start + length}, the end of the range that was asked for")
        recorded = reply.get("Metadata", {}).get(CHECKSUM, "")
        if start == 0 and length is None and recorded and recorded != checksum_of(data):
            raise Corrupt(f"{self.where(key)}: its bytes are not those that were written")
        return data

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with translated(self.where(key)):
                reply = self.client.head_object(Bucket=self.bucket, Key=self.full_key(key), **self.customer_fields())
        except NotFound:
            return None
        metadata = dict(reply.get("Metadata", {}))
        checksum = metadata.pop(CHECKSUM, "")
        modified = int(reply["LastModified"].timestamp() * 1e9)
        return ObjectInfo(key, reply["ContentLength"], reply["ETag"], checksum, modified, metadata)

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        check_prefix(prefix)
        fields: dict[str, Any] = {"StartAfter": self._prefix + after} if after else {}
        with translated(self.where(prefix)):
            reply = self.client.list_objects_v2(
                Bucket=self.bucket, Prefix=self._prefix + prefix, MaxKeys=min(limit, _LIST_PAGE), **fields
            )
        skip = len(self._prefix)
        found = [
            ObjectInfo(
                entry["Key"][skip:], entry["Size"], entry["ETag"], "", int(entry["LastModified"].timestamp() * 1e9)
            )
            for entry in reply.get("Contents", [])
        ]
        return found, bool(reply.get("IsTruncated"))

    def delete(self, keys: Sequence[str]) -> None:
        full = [self.full_key(key) for key in keys]
        for begin in range(0, len(full), MAX_DELETES):
            entries = [{"Key": key} for key in full[begin : begin + MAX_DELETES]]
            with translated(self.name):
                reply = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": entries, "Quiet": True})
            failed = [error for error in reply.get("Errors", []) if error.get("Code") != "NoSuchKey"]
            if failed:
                first = failed[0]
                raise Unavailable(
                    f"{self.name}: {len(failed)} objects were not deleted, {first.get('Key')}: {first.get('Code')}"
                )

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> S3Upload:
        return S3Upload(self, key, metadata or {})

    def drop_uploads(self, older_than_seconds: float) -> int:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=older_than_seconds)
        dropped = 0
        with translated(self.name):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self._prefix
            )
            for page in pages:
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] <= before:
                        self.client.abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                        dropped += 1
        return dropped

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        rules = [rule for rule in self._lifecycle() if rule.get("ID") not in _RULES]
        if live_days:
            where = {"Prefix": self._prefix + _LIVE}
            rules.append({"ID": _RULES[0], "Status": "Enabled", "Filter": where, "Expiration": {"Days": live_days}})
        if upload_days:
            aborts = {"DaysAfterInitiation": upload_days}
            rules.append(
                {
                    "ID": _RULES[1],
                    "Status": "Enabled",
                    "Filter": {"Prefix": self._prefix},
                    "AbortIncompleteMultipartUpload": aborts,
                }
            )
        with translated(self.name):
            if rules:
                self.client.put_bucket_lifecycle_configuration(
                    Bucket=self.bucket, LifecycleConfiguration={"Rules": rules}
                )
            else:
                self.client.delete_bucket_lifecycle(Bucket=self.bucket)
        return True

    def _lifecycle(self) -> Sequence[dict[str, Any]]:
        try:
            reply = self.client.get_bucket_lifecycle_configuration(Bucket=self.bucket)
        except self.client.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchLifecycleConfiguration":
                return []
            with translated(self.name):
                raise
        rules: Sequence[dict[str, Any]] = reply.get("Rules", [])
        return rules

    def check(self, *, create: bool) -> None:
        try:
            with translated(self.name):
                self.client.head_bucket(Bucket=self.bucket)
                return
        except NotFound:
            if not create:
                raise NotFound(
                    f"{self.name}: there is no bucket {self.bucket}: make it, or set create_bucket"
                ) from None
        region = self.client.meta.region_name
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with translated(self.name):
            try:
                self.client.create_bucket(
                    Bucket=self.bucket, **place, ObjectLockEnabledForBucket=bool(self._options.object_lock_mode)
                )
            except self.client.exceptions.BucketAlreadyOwnedByYou:
                return

    def close(self) -> None:
        self.client.close()
