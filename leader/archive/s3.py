"""An object store in a bucket: S3, or anything that speaks it. With its neighbours s3_* the only user of boto3.

Each body goes with its SHA-256 in the signature and its CRC-32C in a header: a server refuses what does not fit those
of them that it knows. What it says of the object is then held against what was sent. Retries are those of
joblog.leader.archive.retrying: boto3's own would hide that an outcome is unknown.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from joblog.errors import Corrupt, Denied, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.layout import LIVE_PREFIX
from joblog.leader.archive.objects import (
    MAX_DELETES,
    Data,
    ObjectInfo,
    PreconditionFailed,
    check_key,
    check_prefix,
    checksum_of,
    pieces_of,
    size_of,
)
from joblog.leader.archive.options import S3Options, customer_key
from joblog.leader.archive.s3_body import body_of
from joblog.leader.archive.s3_bucket import check_bucket, drop_uploads, set_lifecycle
from joblog.leader.archive.s3_client import make_client
from joblog.leader.archive.s3_errors import code_of, translated
from joblog.leader.archive.s3_upload import S3Upload
from joblog.leader.archive.s3_verify import UPLOAD, check_etag, check_said, header_of, said_checksum
from joblog.leader.archive.s3_versions import has_versions, purge_versions

CHECKSUM = "joblog-checksum"
_LIST_PAGE = 1000
# What servers say that can't delete many objects at once, or only with a header of their own.
_NO_BATCHES = frozenset({"NotImplemented", "MissingContentMD5", "InvalidRequest", "MethodNotAllowed"})


def _stays(key: str) -> bool:
    """Whether an object is there for good: packs, segments and the like go again."""
    return not key.startswith(LIVE_PREFIX) and not key.endswith(".seg")


# Of an object that is read whole. The larger ones are read by ranges.
MAX_WHOLE_BYTES = 1 << 30
_READ_BYTES = 1 << 20


def read_at_most(reply: Mapping[str, Any], max_bytes: int, where: str) -> bytes:
    """The body of a reply. Raises Corrupt where it is longer, and then does not read it all."""
    body, said = reply["Body"], reply.get("ContentLength")
    if said is not None and said <= max_bytes:
        data: bytes = body.read()
        return data
    parts, size = [], 0
    while said is None and size <= max_bytes and (part := body.read(_READ_BYTES)):
        parts.append(part)
        size += len(part)
    if said is not None or size > max_bytes:
        body.close()
        raise Corrupt(f"{where}: the server sends more than {max_bytes} bytes, which is not what was written there")
    return b"".join(parts)


class S3Store:
    """An ObjectStore in a bucket below a prefix ("" or ending in "/"); see the module."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self.bucket = bucket
        self._prefix = prefix
        self._options = options
        self._made: Any = None
        self._making = threading.Lock()
        # Learnt from the server: it compares etags without their quotes.
        self._bare_etags = False
        # Whether the bucket keeps versions, once it was asked.
        self._versioned: bool | None = None

    @property
    def client(self) -> Any:
        """boto3's client, made when first needed: looking for credentials may take a while."""
        with self._making:
            if self._made is None:
                self._made = make_client(self._options)
            return self._made

    def forget_client(self) -> None:
        """Has credentials looked for again: a client that once found none never does."""
        with self._making:
            self._made = None

    @property
    def is_plain(self) -> bool:
        """Whether the server's etags may be MD5s: they are not where it encrypts with a key of a KMS or ours."""
        return self._options.sse in ("", "s3")

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
        if _stays(key) and options.storage_class:
            fields["StorageClass"] = options.storage_class
        if lock := self._lock_of(key):
            fields["ObjectLockMode"], fields["ObjectLockRetainUntilDate"] = lock
        return fields

    def _lock_of(self, key: str) -> tuple[str, dt.datetime] | None:
        options = self._options
        if not (options.object_lock_mode and options.object_lock_days and _stays(key)):
            return None
        return options.object_lock_mode, dt.datetime.now(dt.UTC) + dt.timedelta(days=options.object_lock_days)

    def lock(self, key: str) -> None:
        """Locks an object that was put together of parts: not every server does as it was asked to at the start."""
        if lock := self._lock_of(key):
            mode, until = lock
            with translated(self.where(key), self) as client:
                client.put_object_retention(
                    Bucket=self.bucket, Key=self.full_key(key), Retention={"Mode": mode, "RetainUntilDate": until}
                )

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        body, checksum = body_of(data), checksum_of(data)
        fields = self.write_fields(key) | {
            "Bucket": self.bucket,
            "Key": self.full_key(key),
            "Body": body,
            "ChecksumAlgorithm": "CRC32C",
            "ChecksumCRC32C": header_of(checksum),
            "Metadata": {**(metadata or {}), CHECKSUM: checksum},
        }
        with translated(self.where(key), self):
            if if_absent:
                reply = self.client.put_object(**fields, IfNoneMatch="*")
            elif if_match is not None:
                reply = self._put_matching(key, fields, if_match)
            else:
                reply = self.client.put_object(**fields)
        check_said(self.where(key), reply, checksum)
        if self.is_plain:
            check_etag(self.where(key), reply, body)
        return self._verified(key, reply, data, checksum)

    def _put_matching(self, key: str, fields: dict[str, Any], etag: str) -> Any:
        """Some servers compare a quoted etag with their own unquoted one."""
        bare = etag.strip('"')
        try:
            return self._put_if(key, fields, bare if self._bare_etags else etag)
        except PreconditionFailed:
            there = None if bare == etag or self._bare_etags else self.head(key)
            if there is None or there.etag != etag:
                raise
        reply = self._put_if(key, fields, bare)
        self._bare_etags = True
        return reply

    def _put_if(self, key: str, fields: dict[str, Any], etag: str) -> Any:
        with translated(self.where(key), self) as client:
            try:
                return client.put_object(**fields, IfMatch=etag)
            except client.exceptions.ClientError as error:
                if code_of(error) == "NoSuchKey":
                    raise PreconditionFailed(f"{self.where(key)} is gone") from None
                raise

    def _verified(self, key: str, reply: Mapping[str, Any], data: Data, checksum: str) -> ObjectInfo:
        """What the store shows now of an object that it took."""
        info = self.head(key)
        if info is None:
            raise Unavailable(f"{self.where(key)}: the store does not show what it has just taken")
        if info.etag != reply.get("ETag"):
            raise Unavailable(f"{self.where(key)}: the store shows another object than the one it has just taken")
        if (info.size, info.checksum) != (size_of(data), checksum):
            raise Corrupt(f"{self.where(key)}: the store has {info.size} bytes, {info.checksum or 'no checksum'}")
        if self._options.verify == "read" and self.get(key) != b"".join(pieces_of(data)):
            raise Corrupt(f"{self.where(key)}: the store gives back other bytes than it took")
        return info

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        full = self.full_key(key)
        if length is not None and (length < 0 or start < 0):
            raise InvalidInput(f"{key}: a range of {length} bytes from {start} is not one")
        if length == 0:
            return b""
        fields = self.customer_fields()
        limit = length if length is not None else (-start if start < 0 else MAX_WHOLE_BYTES)
        if start or length is not None:
            end = "" if length is None else str(start + length - 1)
            fields["Range"] = f"bytes={start}{'-' if start >= 0 else ''}{end}"
        reply: dict[str, Any] = {}
        try:
            with translated(self.where(key), self) as client:
                reply = client.get_object(Bucket=self.bucket, Key=full, **fields)
                data = read_at_most(reply, limit, self.where(key))
        except Corrupt:
            if start < 0 and not reply:
                return b""  # an empty object has no last bytes
            raise
        if start > 0 and not str(reply.get("ContentRange", "")).startswith(f"bytes {start}-"):
            raise Corrupt(f"{self.where(key)}: the server gave another range than the one from {start}")
        if length is not None and len(data) != length:
            raise Corrupt(f"{self.where(key)} ends before {start + length}, the end of the range that was asked for")
        recorded = reply.get("Metadata", {}).get(CHECKSUM, "")
        if start == 0 and length is None and recorded and recorded != checksum_of(data):
            raise Corrupt(f"{self.where(key)}: its bytes are not those that were written")
        return data

    def head(self, key: str) -> ObjectInfo | None:
        found = self.seen(key)
        return None if found is None else found[0]

    def seen(self, key: str) -> tuple[ObjectInfo, str] | None:
        """As head(), and which upload made the object: what S3Upload had put with it under UPLOAD, "" for none."""
        try:
            with translated(self.where(key), self):
                reply = self.client.head_object(
                    Bucket=self.bucket, Key=self.full_key(key), ChecksumMode="ENABLED", **self.customer_fields()
                )
        except NotFound:
            return None
        metadata = dict(reply.get("Metadata", {}))
        ours, upload = metadata.pop(CHECKSUM, ""), metadata.pop(UPLOAD, "")
        checksum = said_checksum(reply) or ours
        modified = int(reply["LastModified"].timestamp() * 1e9)
        return ObjectInfo(key, reply["ContentLength"], reply["ETag"], checksum, modified, metadata), upload

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[list[ObjectInfo], bool]:
        check_prefix(prefix)
        fields: dict[str, Any] = {"StartAfter": self._prefix + after} if after else {}
        with translated(self.where(prefix), self):
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
            self._delete_some(full[begin : begin + MAX_DELETES])

    def _delete_some(self, full: Sequence[str]) -> None:
        with translated(self.name, self) as client:
            try:
                entries = [{"Key": key} for key in full]
                reply = client.delete_objects(Bucket=self.bucket, Delete={"Objects": entries, "Quiet": True})
            except client.exceptions.ClientError as error:
                if code_of(error) not in _NO_BATCHES:
                    raise
                for key in full:
                    client.delete_object(Bucket=self.bucket, Key=key)
                return
        failed = [error for error in reply.get("Errors", []) if error.get("Code") != "NoSuchKey"]
        if failed:
            first = failed[0]
            kind = Denied if first.get("Code") == "AccessDenied" else Unavailable
            raise kind(f"{self.name}: {len(failed)} objects were not deleted, {first.get('Key')}: {first.get('Code')}")

    def keeps_versions(self) -> bool:
        if self._versioned is None:
            self._versioned = self._options.delete_versions and has_versions(self)
        return self._versioned

    def purge(self, keys: Sequence[str]) -> Mapping[str, int]:
        return purge_versions(self, keys, self._options.object_lock_days) if self.keeps_versions() else {}

    def start_multipart(self, key: str, metadata: Mapping[str, str] | None = None) -> S3Upload:
        return S3Upload(self, key, metadata or {})

    def drop_uploads(self, older_than_seconds: float) -> int:
        return drop_uploads(self, self._prefix, older_than_seconds)

    def set_lifecycle(self, *, live_days: int, upload_days: int) -> bool:
        set_lifecycle(self, self._prefix, live_days=live_days, upload_days=upload_days)
        return True

    def check(self, *, create: bool) -> None:
        check_bucket(self, create=create, locked=bool(self._options.object_lock_mode))

    def close(self) -> None:
        with self._making:
            if self._made is not None:
                self._made.close()
